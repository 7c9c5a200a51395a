"""What is sent on one WebSocket: what is counted, for how long it is waited, and that nothing comes after the end."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.sources import UNKNOWN, source_network
from rendezvous.errors import Full
from rendezvous.limits import UnreadLimits
from rendezvous.web.sending import PIECES, SMALL, STALL_TIME, YIELD_TIME, Sender, Stalled
from rendezvous.web.sockets.batch import Batch
from rendezvous.web.sockets.writer import SocketWriter

HOME = source_network("198.51.100.7")

#: Bytes that all clients may leave unread.
ALL = 2 * 1024 * 1024


class WriterTestCase(SynchronousTestCase):
    """A writer on a clock."""

    def setUp(self) -> None:
        """Make a writer that may have 1000 bytes unread."""
        self.clock = Clock()
        self.sender = Sender(self.clock, UnreadLimits(most=ALL, share=0))
        self.batch = Batch()
        self.transport = StringTransport()
        self.writer = self.make(1000)

    def make(self, most: int) -> SocketWriter:
        """:returns: a writer that may have so many bytes unread."""
        return SocketWriter(self.transport, HOME, most, self.batch, self.sender)

    def write(self, size: int) -> Deferred[bool]:
        """Write a long text."""
        return Deferred.fromCoroutine(self.writer.write(b"x" * size))


class EndTests(WriterTestCase):
    """RFC 6455, section 5.5.1: after a close frame nothing more is sent."""

    def test_nothing_after_the_end(self) -> None:
        """Neither messages nor pings. What was collected comes before it."""
        with self.batch:
            self.writer.send(b"collected,")
            self.writer.end(b"end")
            self.writer.send(b"late")
        self.writer.send(b"late")
        self.writer.ping()
        self.assertEqual(self.transport.value(), b"collected,end")

    def test_nothing_after_an_abort(self) -> None:
        """What was collected is dropped."""
        with self.batch:
            self.writer.send(b"collected")
            self.writer.abort()
            self.writer.send(b"late")
        self.assertEqual((self.transport.value(), self.transport.disconnected), (b"", True))

    def test_nothing_is_counted_after_the_end(self) -> None:
        """A reader that is ended while it does not read holds nothing for others."""
        self.writer.pauseProducing()
        self.writer.send(b"x" * 500)
        self.writer.end(b"end")
        self.writer.send(b"x" * 400)
        self.assertEqual(self.sender.unread, 500)
        self.writer.lost()
        self.assertEqual(self.sender.unread, 0)


class CountTests(WriterTestCase):
    """What is counted as unread."""

    def test_limit_of_a_socket(self) -> None:
        """It may have exactly as much. One byte more ends it, and nothing of it is counted any more."""
        self.writer.send(b"x" * 5000)
        self.assertEqual(self.sender.unread, 0)
        self.writer.pauseProducing()
        self.writer.send(b"x" * 600)
        self.writer.send(b"x" * 400)
        self.assertEqual((self.sender.unread, self.transport.disconnected), (1000, False))
        self.writer.send(b"x")
        self.assertEqual((self.sender.unread, self.transport.disconnected), (0, True))

    def test_limit_begins_anew(self) -> None:
        """As soon as the other side has read everything."""
        for _ in range(3):
            self.writer.pauseProducing()
            self.writer.send(b"x" * 1000)
            self.writer.resumeProducing()
            self.assertEqual(self.sender.unread, 0)
        self.assertFalse(self.transport.disconnected)

    def test_long_frames_need_room_at_once(self) -> None:
        """One of more than 16 KiB is refused where there is no room for it, also if nothing is unread yet."""
        self.writer.send(b"x" * SMALL)
        self.assertFalse(self.transport.disconnected)
        self.writer.send(b"x" * (SMALL + 1))
        self.assertTrue(self.transport.disconnected)
        self.assertEqual(len(self.transport.value()), SMALL)

    def test_room_of_all(self) -> None:
        """A reader that does not read makes room for others after some time, and not before."""
        self.writer.pauseProducing()
        self.writer.send(b"x" * 100)
        self.clock.advance(YIELD_TIME - 0.1)
        self.assertRaises(Full, self.sender.reserve, UNKNOWN, ALL)
        self.clock.advance(0.1)
        self.sender.reserve(UNKNOWN, ALL)
        self.assertEqual((self.sender.unread, self.transport.disconnected), (ALL, True))

    def test_reader_that_has_read_does_not_make_room(self) -> None:
        """It is not among those that are closed for others."""
        self.writer.pauseProducing()
        self.writer.send(b"x" * 100)
        self.writer.resumeProducing()
        self.clock.advance(YIELD_TIME)
        self.sender.reserve(UNKNOWN, ALL)
        self.assertRaises(Full, self.sender.reserve, UNKNOWN, 1)
        self.assertFalse(self.transport.disconnected)

    def test_time_of_a_pause(self) -> None:
        """It counts from its beginning, however often the transport asks for it."""
        self.assertEqual((self.writer.is_paused, self.writer.paused_for()), (False, 0.0))
        self.clock.advance(5)
        self.writer.pauseProducing()
        self.clock.advance(3)
        self.writer.pauseProducing()
        self.assertEqual((self.writer.is_paused, self.writer.paused_for()), (True, 3.0))
        self.writer.resumeProducing()
        self.assertEqual((self.writer.is_paused, self.writer.paused_for()), (False, 0.0))


class DrainTests(WriterTestCase):
    """Waiting until the other side has read everything."""

    def drain(self) -> Deferred[None]:
        """Wait."""
        return Deferred.fromCoroutine(self.writer.drain())

    def test_reader_that_reads(self) -> None:
        """There is nothing to wait for, or it ends with the pause."""
        self.successResultOf(self.drain())
        self.writer.pauseProducing()
        waiting = self.drain()
        self.clock.advance(STALL_TIME - 1)
        self.assertNoResult(waiting)
        self.writer.resumeProducing()
        self.successResultOf(waiting)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_reader_that_does_not_read(self) -> None:
        """It has a minute from the beginning of its pause on, whenever the waiting has begun."""
        self.writer.pauseProducing()
        self.clock.advance(STALL_TIME - 10)
        waiting = self.drain()
        self.clock.advance(9)
        self.assertNoResult(waiting)
        self.clock.advance(1)
        self.failureResultOf(waiting, Stalled)
        self.failureResultOf(self.drain(), Stalled)
        self.writer.resumeProducing()
        self.successResultOf(self.drain())


class LongTests(WriterTestCase):
    """Events that are longer than 16 KiB."""

    def test_short_one_waits_for_nothing(self) -> None:
        """It is not counted either, unless the other side has to read."""
        self.assertIs(self.successResultOf(self.write(SMALL)), False)
        self.assertEqual((self.sender.unread, len(self.transport.value())), (0, SMALL))

    def test_counted_until_it_is_read(self) -> None:
        """Once, whatever the limit of the socket is."""
        writing = self.write(SMALL + 1)
        self.assertEqual(self.sender.unread, SMALL + 1)
        self.assertEqual(len(self.transport.value()), SMALL + 1)
        self.writer.pauseProducing()
        self.clock.advance(10)
        self.assertNoResult(writing)
        self.assertEqual(self.sender.unread, SMALL + 1)
        self.writer.resumeProducing()
        self.assertIs(self.successResultOf(writing), True)
        self.assertEqual((self.sender.unread, self.clock.getDelayedCalls()), (0, []))

    def test_read_at_once(self) -> None:
        """The transport may ask for a pause until the next turn of the reactor."""
        writing = self.write(50_000)
        self.assertNoResult(writing)
        self.clock.advance(0)
        self.assertIs(self.successResultOf(writing), True)
        self.assertEqual(self.sender.unread, 0)

    def test_turns(self) -> None:
        """Each waits for its turn: in one turn of the reactor, so many are handed over for all sources together."""
        writers = [self.make(1000) for _ in range(PIECES + 1)]
        for writer in writers:
            Deferred.fromCoroutine(writer.write(b"x" * 20_000))
        self.assertEqual(len(self.transport.value()), PIECES * 20_000)
        self.clock.advance(0)
        self.assertEqual(len(self.transport.value()), (PIECES + 1) * 20_000)

    def test_long_one_during_a_pause(self) -> None:
        """It is not counted for the limit of the socket, which is for what is sent without being asked for."""
        self.writer.pauseProducing()
        writing = self.write(50_000)
        self.assertEqual((self.sender.unread, self.transport.disconnected), (50_000, False))
        self.writer.resumeProducing()
        self.clock.advance(0)
        self.assertIs(self.successResultOf(writing), True)

    def test_room_for_others(self) -> None:
        """A reader of a long event makes room, too."""
        self.write(50_000).addErrback(lambda failure: None)
        self.writer.pauseProducing()
        self.clock.advance(YIELD_TIME)
        self.sender.reserve(UNKNOWN, ALL)
        self.assertEqual((self.sender.unread, self.transport.disconnected), (ALL, True))

    def test_never_read(self) -> None:
        """It is given up after a minute."""
        writing = self.write(50_000)
        self.writer.pauseProducing()
        self.clock.advance(STALL_TIME)
        self.clock.advance(0)
        self.failureResultOf(writing, Stalled)
        self.assertEqual(self.sender.unread, 0)
