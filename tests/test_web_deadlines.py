"""Tests of :mod:`rendezvous.web.deadlines`: how long each part of a request, and of its answer, may take."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.base import DelayedCall
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.testing import Connection, MemoryServer
from rendezvous.web.deadlines import (
    BODY_RATE,
    BODY_TIME,
    FIRST_BYTE_TIME,
    HEADER_TIME,
    IDLE_TIME,
    REFUSAL_TIME,
    UNREAD_TIME,
    Awaited,
    Deadlines,
)

#: A little more or less than nothing.
JUST = 0.01

HEAD = b"POST /offers HTTP/1.1\r\nHost: a\r\n"
GET = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"


class OneConnection:
    """What has deadlines: it notes which of them was reached, and when."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.reached: list[tuple[float, str]] = []

    def overdue(self) -> None:
        """Note it."""
        self.reached.append((self._clock.seconds(), "overdue"))

    def rested(self) -> None:
        """Note it."""
        self.reached.append((self._clock.seconds(), "rested"))

    def abort(self) -> None:
        """Note it."""
        self.reached.append((self._clock.seconds(), "abort"))


class OneTimerTests(SynchronousTestCase):
    """The timer of one connection."""

    def test_a_sooner_deadline_is_in_time_and_moves_no_timer(self) -> None:
        """A reactor looks through all of its timers to move one to an earlier time."""
        clock = Clock()
        connection = OneConnection(clock)
        deadlines = Deadlines(clock, connection)
        self.patch(DelayedCall, "reset", None)
        deadlines.expect(Awaited.REQUEST, 60.0)
        deadlines.rest(1.0)
        deadlines.abort_in(0.5)
        self.assertEqual(len(clock.getDelayedCalls()), 1)
        clock.pump([0.5, 0.5, 59.0])
        self.assertEqual(connection.reached, [(0.5, "abort"), (1.0, "rested"), (60.0, "overdue")])

    def made(self) -> tuple[Clock, OneConnection, Deadlines]:
        """:returns: a clock at zero, and a connection without a deadline."""
        clock = Clock()
        connection = OneConnection(clock)
        return clock, connection, Deadlines(clock, connection)

    def test_each_deadline_is_reached_by_itself(self) -> None:
        """Whichever it is, once, and without the others."""
        for begin, expected in (
            (lambda deadlines: deadlines.expect(Awaited.BODY, 2.0), "overdue"),
            (lambda deadlines: deadlines.rest(2.0), "rested"),
            (lambda deadlines: deadlines.abort_in(2.0), "abort"),
        ):
            clock, connection, deadlines = self.made()
            begin(deadlines)
            clock.pump([1.5, 0.5, 60.0])
            self.assertEqual(connection.reached, [(2.0, expected)])
            self.assertEqual(clock.getDelayedCalls(), [])

    def test_wait_can_become_longer_and_shorter(self) -> None:
        """Its time counts from when it began. None is left a moment before its end."""
        clock, connection, deadlines = self.made()
        deadlines.expect(Awaited.BODY, 10.0)
        clock.advance(4.0)
        self.assertTrue(deadlines.extend(20.0))
        clock.advance(15.5)
        self.assertTrue(deadlines.extend(19.75))
        clock.advance(0.125)
        self.assertEqual(connection.reached, [])
        clock.advance(0.125)
        self.assertEqual(connection.reached, [(19.75, "overdue")])
        deadlines.expect(Awaited.BODY, 1.0)
        self.assertFalse(deadlines.extend(0.0))
        self.assertFalse(deadlines.extend(0.0009))
        self.assertTrue(deadlines.extend(0.002))
        self.assertIs(deadlines.awaited, Awaited.BODY)

    def test_what_is_not_waited_for_any_more_is_never_late(self) -> None:
        """A whole request has come, the client has read, or the connection is gone."""
        clock, connection, deadlines = self.made()
        deadlines.expect(Awaited.BODY, 1.0)
        deadlines.abort_in(2.0)
        self.assertTrue(deadlines.is_closing)
        deadlines.expect_nothing()
        deadlines.keep_open()
        self.assertEqual((deadlines.awaited, deadlines.is_closing), (Awaited.NOTHING, False))
        clock.advance(60.0)
        deadlines.expect(Awaited.BODY, 1.0)
        deadlines.rest(1.0)
        deadlines.abort_in(1.0)
        deadlines.end()
        deadlines.rest(1.0)
        clock.advance(60.0)
        self.assertEqual((connection.reached, clock.getDelayedCalls()), ([], []))


class DeadlineCase(SynchronousTestCase):
    """A server on a clock, and what was logged meanwhile."""

    def setUp(self) -> None:
        """Start it."""
        self.server = MemoryServer()
        self.addCleanup(self.server.stop)
        self.logged: list[Any] = []
        observer = cast(ILogObserver, self.logged.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def send(self, data: bytes = b"") -> Connection:
        """:returns: a connection on which some bytes were sent."""
        connection = self.server.connect()
        if data:
            connection.send(data)
        return connection

    def later(self, seconds: float) -> None:
        """Let time pass."""
        self.server.reactor.advance(seconds)

    def assert_cut(self, connection: Connection, after: float) -> None:
        """Check that a request is answered 408 after that time and not before, and that the connection is closed."""
        before = len(connection.responses())
        self.later(after - JUST)
        self.assertEqual(len(connection.responses()), before)
        self.assertFalse(connection.closed)
        self.later(2 * JUST)
        response = connection.responses()[-1]
        self.assertEqual((response.status, response.json()["code"]), (408, "request-timeout"))
        self.assertEqual(response.headers["connection"], "close")
        self.later(REFUSAL_TIME)
        self.assertTrue(connection.closed)
        self.assertEqual(self.logged, [])


class HeaderTests(DeadlineCase):
    """The time before a request, and until its headers are there."""

    def test_new_connection_must_send_something(self) -> None:
        """It is closed, without an answer and without a line in the log."""
        connection = self.send()
        self.later(FIRST_BYTE_TIME - JUST)
        self.assertFalse(connection.closed)
        self.later(JUST)
        self.assertTrue(connection.closed)
        self.assertEqual((connection.transport.value(), self.logged), (b"", []))

    def test_headers_have_their_time_from_the_first_byte(self) -> None:
        """Half a line, whole lines, and everything but the last end of line."""
        for data in (b"G", GET[:-20], HEAD, HEAD + b"Content-Length: 0\r\n", GET[:-1]):
            connection = self.send()
            self.later(FIRST_BYTE_TIME - JUST)
            connection.send(data)
            self.assert_cut(connection, HEADER_TIME)

    def test_byte_every_five_seconds_does_not_help(self) -> None:
        """Bytes of one header, and whole header lines."""
        for piece in (b"x", b"X: y\r\n"):
            connection = self.send(HEAD + (b"X: " if piece == b"x" else b""))
            self.later(5)
            connection.send(piece)
            self.later(4.9)
            connection.send(piece)
            self.assert_cut(connection, 0.1)

    def test_second_request_has_the_same_time(self) -> None:
        """From its own first byte, whatever came before it."""
        connection = self.send(GET)
        self.later(30)
        connection.send(b"GET")
        self.assert_cut(connection, HEADER_TIME)
        connection = self.send(GET + b"GET /he")
        self.assert_cut(connection, HEADER_TIME)

    def test_idle_connection_is_kept_for_a_minute(self) -> None:
        """Between two requests; it is closed without an answer then."""
        connection = self.send(GET)
        self.later(IDLE_TIME - JUST)
        connection.send(GET)
        self.assertEqual([response.status for response in connection.responses()], [200, 200])
        self.later(IDLE_TIME - JUST)
        self.assertFalse(connection.closed)
        self.later(JUST)
        self.assertTrue(connection.closed)
        self.assertEqual((len(connection.responses()), self.logged), (2, []))

    def test_slow_but_timely_headers_are_served(self) -> None:
        """The last byte comes just in time."""
        connection = self.send(GET[:-1])
        self.later(HEADER_TIME - JUST)
        connection.send(GET[-1:])
        self.assertEqual([response.status for response in connection.responses()], [200])


class BodyTests(DeadlineCase):
    """The time until a body is there."""

    def test_announced_body_has_time_by_its_length(self) -> None:
        """10 seconds, and one for each 16 KiB."""
        for length in (1, BODY_RATE, 10 * BODY_RATE, 2 * 1024 * 1024):
            connection = self.send(HEAD + b"Content-Length: %d\r\n\r\n" % length)
            self.assert_cut(connection, BODY_TIME + length / BODY_RATE)

    def test_byte_every_five_seconds_does_not_help(self) -> None:
        """A body that trickles in is cut like one that does not come at all."""
        connection = self.send(HEAD + b"Content-Length: 100\r\n\r\n")
        self.later(5)
        connection.send(b"x")
        self.later(5)
        connection.send(b"x")
        self.assert_cut(connection, 100 / BODY_RATE)

    def test_chunked_body_has_time_by_what_has_come(self) -> None:
        """A chunk of 16 KiB buys one second; bytes of a chunk's extension buy nothing."""
        connection = self.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        self.later(5)
        connection.send(b"%x\r\n%s\r\n" % (BODY_RATE, bytes(BODY_RATE)))
        self.assert_cut(connection, 6)
        connection = self.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        connection.send(b"1;x")
        self.later(5)
        connection.send(b"x")
        self.assert_cut(connection, 5)

    def test_whole_body_in_time_is_read(self) -> None:
        """The last byte comes just in time."""
        connection = self.send(HEAD + b"Content-Length: 2\r\n\r\n{")
        self.later(BODY_TIME)
        connection.send(b"}")
        self.assertEqual([response.status for response in connection.responses()], [401])


class UnreadTests(DeadlineCase):
    """Answers that the client does not read."""

    def producer(self, connection: Connection) -> Any:
        """:returns: what a transport pauses when the client does not read."""
        return connection.transport.producer

    def test_paused_transport_is_closed_after_a_minute(self) -> None:
        """Whatever is unsent by then is given up."""
        connection = self.send(GET)
        self.producer(connection).pauseProducing()
        self.later(UNREAD_TIME - JUST)
        self.assertFalse(connection.transport.disconnected)
        self.later(JUST)
        self.assertTrue(connection.transport.disconnected)
        self.assertEqual(self.logged, [])

    def test_client_that_reads_again_is_kept(self) -> None:
        """The time begins anew with the next pause."""
        connection = self.send(GET)
        for _ in range(3):
            self.producer(connection).pauseProducing()
            self.later(UNREAD_TIME / 3)
            self.producer(connection).resumeProducing()
            connection.send(GET)
        self.assertFalse(connection.transport.disconnected)
        self.assertEqual(len(connection.responses()), 4)

    def test_closed_connection_is_aborted_if_it_is_not_read(self) -> None:
        """An answer after which the connection ends has the same time."""
        connection = self.send(b"GET /health HTTP/1.0\r\n\r\n")
        self.assertTrue(connection.transport.disconnecting)
        self.later(UNREAD_TIME - JUST)
        self.assertFalse(connection.transport.disconnected)
        self.later(JUST)
        self.assertTrue(connection.transport.disconnected)


class TimerTests(DeadlineCase):
    """What the deadlines of a connection cost."""

    def test_a_connection_has_one_timer(self) -> None:
        """Also while it is idle, its next request has begun, and its client does not read."""
        before = len(self.server.reactor.getDelayedCalls())
        connection = self.send(GET)
        connection.send(b"GET")
        cast(Any, connection.transport.producer).pauseProducing()
        self.assertEqual(len(self.server.reactor.getDelayedCalls()) - before, 1)
        connection.lose()
        self.assertEqual(len(self.server.reactor.getDelayedCalls()), before)
