"""Stdin as lines, and stdout."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.commands.rendezvous.console import LINES_IN_A_SLOT, SLOT, Console


@attrs.define
class Events:
    """
    What the console has said.

    :ivar on_line: called with each line.
    """

    seen: list[Any] = attrs.field(factory=list)
    on_line: Any = None

    def line(self, line: bytes) -> None:
        """Keep a line."""
        self.seen.append(line)
        if self.on_line is not None:
            self.on_line(line)

    def too_long(self, size: int) -> None:
        """Keep a size."""
        self.seen.append(size)

    def input_ended(self) -> None:
        """Keep that."""
        self.seen.append("ended")

    def output_closed(self) -> None:
        """Keep that."""
        self.seen.append("closed")


class FakeIO:
    """What ``StandardIO`` is to a protocol."""

    def __init__(self) -> None:
        self.reading = True
        self.written = b""
        self.producer: Any = None
        self.losing = False

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Have a producer."""
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        """Have none."""
        self.producer = None

    def pauseProducing(self) -> None:
        """Read no more."""
        self.reading = False

    def resumeProducing(self) -> None:
        """Read."""
        self.reading = True

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written += data

    def loseConnection(self) -> None:
        """Write what is left, then close."""
        self.losing = True


class ConsoleTests(SynchronousTestCase):
    """:class:`Console`."""

    def setUp(self) -> None:
        """Begin."""
        self.clock = Clock()
        self.events = Events()
        self.restored: list[None] = []
        self.io = FakeIO()
        self.console = Console(self.clock, self.events, 8, lambda: self.restored.append(None))
        self.console.makeConnection(self.io)

    def tearDown(self) -> None:
        """Nothing is left to be done."""
        self.console.close()
        self.console.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_lines(self) -> None:
        """They come whole, however the bytes come."""
        self.assertFalse(self.io.reading)
        self.console.resume()
        self.assertTrue(self.io.reading)
        for data in (b"o", b"ne\ntw", b"o\n\n", b"\xff\r\n", b"last"):
            self.console.dataReceived(data)
            self.clock.advance(SLOT)
        self.assertEqual(self.events.seen, [b"one", b"two", b"", b"\xff\r"])
        self.console.readConnectionLost()
        self.assertEqual(self.events.seen[4:], [b"last", "ended"])
        self.clock.advance(SLOT)
        self.console.resume()
        self.assertEqual(self.events.seen[6:], [])

    def test_longest_line(self) -> None:
        """A longer one is left out, and its size is said."""
        self.console.resume()
        self.console.dataReceived(b"12345678\n123456789\n1234")
        self.console.dataReceived(b"5678")
        self.console.dataReceived(b"9" * 100)
        self.console.dataReceived(b"\nnext\n")
        self.assertEqual(self.events.seen[:1], [b"12345678"])
        self.clock.pump([SLOT] * 3)
        self.assertEqual(self.events.seen[1:], [9, 108, b"next"])

    @given(st.lists(st.binary(max_size=12)))
    def test_any_bytes(self, parts: list[bytes]) -> None:
        """The lines are those of the whole, wherever it is cut."""
        self.setUp()
        self.console.resume()
        for part in parts:
            self.console.dataReceived(part)
        self.console.readConnectionLost()
        self.clock.pump([SLOT] * 200)
        *lines, rest = b"".join(parts).split(b"\n")
        whole = [*lines, rest] if rest else lines
        expected: list[Any] = [line if len(line) <= 8 else len(line) for line in whole]
        self.assertEqual(self.events.seen, [*expected, "ended"])

    def test_pace(self) -> None:
        """No more lines than that are handed on in each slot, and nothing more is read meanwhile."""
        self.console.resume()
        self.console.dataReceived(b"x\n" * (2 * LINES_IN_A_SLOT + 1))
        for slot in (1, 2):
            self.assertEqual(len(self.events.seen), slot * LINES_IN_A_SLOT)
            self.assertFalse(self.io.reading)
            self.clock.advance(SLOT)
        self.assertEqual(len(self.events.seen), 2 * LINES_IN_A_SLOT + 1)
        self.assertTrue(self.io.reading)

    def test_pause(self) -> None:
        """Lines stay where they are, and so does the end of stdin."""
        self.console.resume()
        self.events.on_line = lambda _: self.console.pause()
        self.console.dataReceived(b"one\ntwo\n")
        self.console.readConnectionLost()
        self.clock.advance(1)
        self.assertEqual((self.events.seen, self.io.reading), ([b"one"], False))
        self.events.on_line = None
        self.console.resume()
        self.clock.advance(SLOT)
        self.assertEqual(self.events.seen, [b"one", b"two", "ended"])

    def test_write(self) -> None:
        """Text is UTF-8, and bytes that are none come out as they were."""
        self.assertTrue(self.console.write("ä\udcff\n"))
        self.assertEqual(self.io.written, b"\xc3\xa4\xff\n")

    def test_slow_reader(self) -> None:
        """What may be dropped is dropped until the reader has caught up."""
        self.io.producer.pauseProducing()
        self.assertFalse(self.console.write("data", droppable=True))
        self.assertTrue(self.console.write("event"))
        self.io.producer.resumeProducing()
        self.assertTrue(self.console.write("data", droppable=True))
        self.assertEqual(self.io.written, b"eventdata")

    def test_reader_has_gone(self) -> None:
        """It is said once, and nothing is written any more."""
        self.console.writeConnectionLost()
        self.assertFalse(self.console.write("x"))
        self.successResultOf(self.console.close())
        self.assertEqual((self.events.seen, self.io.written, self.restored), (["closed"], b"", [None]))

    def test_close(self) -> None:
        """It takes until stdout is written. A line that was read and not handed on is dropped."""
        self.console.resume()
        self.console.dataReceived(b"x\n" * (LINES_IN_A_SLOT + 1))
        closed = self.console.close()
        self.assertTrue(self.io.losing)
        self.assertNoResult(closed)
        self.assertEqual(self.restored, [])
        self.console.connectionLost(Failure(ConnectionDone()))
        self.successResultOf(closed)
        self.successResultOf(self.console.close())
        self.clock.advance(1)
        self.assertEqual((len(self.events.seen), self.restored), (LINES_IN_A_SLOT, [None]))

    def test_close_with_a_reader_that_does_not_read(self) -> None:
        """It takes a second, and stdin says nothing meanwhile."""
        self.console.resume()
        closed = self.console.close()
        self.console.dataReceived(b"x\n")
        self.console.resume()
        self.clock.advance(0.9)
        self.assertNoResult(closed)
        self.clock.advance(0.1)
        self.successResultOf(closed)
        self.assertEqual((self.events.seen, self.restored), ([], [None]))
