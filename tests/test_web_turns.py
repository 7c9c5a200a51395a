"""Tests of :mod:`rendezvous.web.turns`: how requests share the time of the reactor."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.clock import WorkingTime
from rendezvous.web.channel import EAGER
from rendezvous.web.request import CHUNK, FREE_CHUNKS
from rendezvous.web.turns import BUDGET, REMEMBERED, Turns
from tests._web_case import WebTestCase


class _Reactor:
    """
    A reactor that is turned by hand.

    :ivar now: its clock, which moves only when somebody sets it.
    :ivar calls: what is to be called in the next turn.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[Callable[[], None]] = []

    def seconds(self) -> float:
        """:returns: the time."""
        return self.now

    def callLater(self, delay: float, call: Callable[[], None]) -> object:
        """Call in the next turn."""
        assert delay == 0
        self.calls.append(call)
        return object()


class TurnsTests(SynchronousTestCase):
    """Work that takes time, on a clock that it moves."""

    def setUp(self) -> None:
        """Begin in the middle of nothing."""
        self.reactor = _Reactor()
        self.turns = Turns(self.reactor)
        self.done: list[str] = []

    def work(self, name: str, seconds: float) -> None:
        """Do something for the source with the first letter of its name."""

        def take(data: bytes) -> None:
            self.reactor.now += seconds
            self.done.append(name)

        self.turns.run(name[0], take, b"")

    def later(self, name: str, seconds: float = 2 * BUDGET) -> None:
        """Do it in a later turn; by default one thing fills a turn."""
        self.turns.add(name[0], partial(self.work, name, seconds))

    def turn(self) -> list[str]:
        """:returns: what is done in the next turn of the reactor."""
        self.done.clear()
        calls, self.reactor.calls = self.reactor.calls, []
        self.assertLessEqual(len(calls), 1)
        for call in calls:
            call()
        return list(self.done)

    def test_a_turn_is_over_after_its_time(self) -> None:
        """Neither sooner nor in the next turn."""
        self.work("a", BUDGET - 0.001)
        self.assertFalse(self.turns.are_over)
        self.work("a", 0.001)
        self.assertTrue(self.turns.are_over)
        self.turn()
        self.assertFalse(self.turns.are_over)

    def test_a_source_is_charged_for_work_and_not_for_what_interrupts_it(self) -> None:
        """On a clock of its own; on that of the reactor, the source that was interrupted would be the last of all."""
        self.turns = Turns(self.reactor, working=WorkingTime(lambda: self.worked))
        self.worked = 0.0

        def interrupted(data: bytes) -> None:
            self.reactor.now += 1.0
            self.worked += BUDGET / 5
            self.done.append("a")

        def steady(data: bytes) -> None:
            self.reactor.now += 2 * BUDGET / 5
            self.worked += 2 * BUDGET / 5
            self.done.append("b")

        for _ in range(4):
            self.turns.add("a", lambda: self.turns.run("a", interrupted, b""))
            self.turns.add("b", lambda: self.turns.run("b", steady, b""))
        self.assertEqual(self.turn(), ["a", "b", "a", "b"])
        self.assertEqual(self.turn(), ["a", "a", "b", "b"])

    def test_work_that_fails_is_counted(self) -> None:
        """Its error is the caller's; its time was spent."""

        def fail(data: bytes) -> None:
            self.reactor.now += BUDGET
            raise ValueError

        self.assertRaises(ValueError, self.turns.run, "a", fail, b"")
        self.assertTrue(self.turns.are_over)

    def test_work_that_fails_does_not_stop_the_others(self) -> None:
        """Neither those of its source nor those of other sources."""

        def fail() -> None:
            raise ValueError

        self.turns.add("a", fail)
        self.later("a1")
        self.later("b1")
        self.assertRaises(ValueError, self.turn)
        self.assertEqual([self.turn(), self.turn()], [["b1"], ["a1"]])

    def test_work_that_ends_a_turn_counts_against_its_source(self) -> None:
        """It was done while nothing waited, and those that wait now come before its source."""
        self.work("a", 3 * BUDGET)
        self.later("a1")
        self.later("b1")
        self.later("b2")
        self.assertEqual([self.turn() for _ in range(3)], [["b1"], ["b2"], ["a1"]])

    def test_short_work_is_forgotten_while_nothing_waits(self) -> None:
        """Then its source waits like one that has done nothing, in the order of arrival."""
        self.work("a", BUDGET / 2)
        self.later("a1")
        self.later("b1")
        self.assertEqual([self.turn() for _ in range(2)], [["a1"], ["b1"]])

    def test_what_is_added_waits_for_the_next_turn(self) -> None:
        """Also what the work itself adds, however short it is."""

        def again() -> None:
            self.done.append("again")
            self.turns.add("a", again)

        self.turns.add("a", again)
        self.assertEqual(self.done, [])
        for _ in range(3):
            self.assertEqual(self.turn(), ["again"])

    def test_as_much_as_fits_is_done_in_one_turn(self) -> None:
        """Then the rest in the next ones."""
        for number in range(5):
            self.later(f"a{number}", BUDGET * 0.6)
        self.assertEqual([self.turn() for _ in range(4)], [["a0", "a1"], ["a2", "a3"], ["a4"], []])

    def test_sources_take_turns(self) -> None:
        """A source with one thing to do does not wait for another one with many."""
        for number in range(5):
            self.later(f"a{number}")
        self.later("b")
        self.assertEqual([self.turn() for _ in range(6)], [["a0"], ["b"], ["a1"], ["a2"], ["a3"], ["a4"]])

    def test_sources_share_time_and_not_requests(self) -> None:
        """A source whose requests take a fifth of the time is served five times as often."""
        for number in range(3):
            self.later(f"a{number}", 5.0)
        for number in range(9):
            self.later(f"b{number}", 1.0)
        served = [name for _ in range(12) for name in self.turn()]
        self.assertEqual("".join(name[0] for name in served), "abbbbbabbbba")

    def test_one_that_comes_late_is_next(self) -> None:
        """It does not wait for those that have used their time already."""
        for number, source in enumerate("abcde"):
            self.later(f"{source}0", (2.0 + number / 10) * BUDGET)
            self.later(f"{source}1")
        for _ in range(6):
            self.turn()
        self.later("z")
        self.assertEqual(self.turn(), ["z"])

    def test_time_that_was_not_used_is_no_credit(self) -> None:
        """After a long silence a source gets its share, and no more than that."""
        for number in range(20):
            self.later(f"a{number}")
        for _ in range(15):
            self.turn()
        for number in range(3):
            self.later(f"b{number}")
        self.assertEqual([self.turn()[0][0] for _ in range(6)], ["b", "a", "b", "a", "b", "a"])

    def test_what_is_remembered_is_bounded(self) -> None:
        """Sources that have nothing to do any more are forgotten, also while others have."""
        for number in range(3 * REMEMBERED):
            self.later("a", 0.0)
            self.turns.run(number, lambda data: None, b"")
            self.turn()
            self.later("a", BUDGET)
            self.assertLessEqual(len(self.turns._used), REMEMBERED + 2)
        while self.turn():
            pass
        self.assertEqual((len(self.turns._used), len(self.turns._order), self.reactor.calls), (0, 0, []))


class ChannelTests(WebTestCase):
    """Connections share the reactor's time."""

    settings = {"no_source_limits": False, "source_requests": 1}  # noqa: RUF012

    def test_data_that_comes_when_the_turn_is_over(self) -> None:
        """It is read in the next turn, in its order. When more comes meanwhile, the connection is not read any more."""
        connection = self.server.connect(("192.0.2.1", 1))
        self.server.site.turns._spent = BUDGET
        connection.send(b"GET /health HTTP/1.1\r\nHo")
        self.assertEqual(connection.transport.producerState, "producing")
        connection.send(b"st: ")
        self.assertEqual(connection.transport.producerState, "paused")
        connection._channel.dataReceived(b"a\r\n\r\n")  # TLS hands over what it has, in any case.
        self.assertIsNone(connection.response())
        self.server.reactor.advance(0)
        response = connection.response()
        assert response is not None
        self.assertEqual(response.status, 200)
        self.assertEqual(connection.transport.producerState, "producing")

    def test_much_data_that_comes_when_the_turn_is_over(self) -> None:
        """The connection is not read any more until it is its turn."""
        connection = self.server.connect(("192.0.2.1", 1))
        self.server.site.turns._spent = BUDGET
        connection.send(b"GET /health HTTP/1.1\r\nHost: a\r\nX: " + b"x" * EAGER)
        self.assertEqual(connection.transport.producerState, "paused")
        self.server.reactor.advance(0)
        self.assertEqual(connection.transport.producerState, "producing")

    def test_data_that_comes_behind_a_held_request(self) -> None:
        """A request of which one part was read, and the other waits for its turn, is read in its order."""
        offer = self.publish()
        connection = self.start("GET", "/offers/answers?wait=5", None, self.alice)
        connection._methods.append("GET")
        connection.send(b"GET /health HTTP/1.1\r\nHo")
        turns = self.server.site.turns
        turns._used["198.51.100.7"] = turns._spent = BUDGET
        connection.send(b"st: a\r\n\r\n")
        # Another source has used less time: its request is next, and ends the one that is held.
        body = b'{"sdp":"v=1"}'
        headers = {"Host": "a", "Content-Length": str(len(body)), **self.bob}
        self.server.connect(("192.0.2.1", 1)).request("POST", f"/offers/{offer}/answer", headers, body)
        self.server.reactor.advance(0)
        self.server.reactor.advance(0)
        self.assertEqual([each.status for each in connection.responses()], [200, 200])

    def test_data_that_comes_while_the_client_has_to_read(self) -> None:
        """It is read behind what came before it, when the client has read its answers."""
        self.publish()
        connection = self.start("GET", "/offers/answers?wait=5", None, self.alice)
        connection._methods.append("GET")
        self.server.site.turns._spent = BUDGET
        connection.send(b"GET /health HTTP/1.1\r\nHo")
        producer = cast(Any, connection.transport.producer)
        producer.pauseProducing()
        self.server.reactor.advance(0)
        connection._channel.dataReceived(b"st: a\r\n\r\n")  # TLS hands over what it has, in any case.
        producer.resumeProducing()
        self.advance(6)
        self.assertEqual([each.status for each in connection.responses()], [200, 200])

    def test_a_client_that_leaves_while_it_waits_for_its_turn(self) -> None:
        """What it has sent is not looked at."""
        connection = self.server.connect(("192.0.2.1", 1))
        self.server.site.turns._spent = BUDGET
        connection.send(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        connection.lose()
        self.server.reactor.advance(0)
        self.assertEqual(connection.transport.value(), b"")

    def test_a_source_with_too_many_requests_is_not_read_for_a_second(self) -> None:
        """Its refusals cost time as well; other codes do not stop a connection."""
        connection = self.server.connect(("192.0.2.1", 1))
        for _ in range(8):
            connection.request("GET", "/health", {"Host": "a"})
        connection.request("GET", "/health", {"Host": "a"})
        self.assertEqual([each.status for each in connection.responses()], [200] * 8 + [429])
        self.assertEqual(connection.transport.producerState, "paused")
        self.server.reactor.advance(0.999)
        self.assertEqual(connection.transport.producerState, "paused")
        self.server.reactor.advance(0.001)
        self.assertEqual(connection.transport.producerState, "producing")
        connection.request("GET", "/health", {"Host": "a"})
        self.assertEqual(connection.responses()[-1].status, 200)

    def test_a_connection_of_a_proxy_is_read_on(self) -> None:
        """The next request on it may be of another source, which has sent only one."""
        self.server.site.root.gate.proxies.trust(["192.0.2.1"])
        connection = self.server.connect(("192.0.2.1", 1))
        for _ in range(9):
            connection.request("GET", "/health", {"Host": "a", "X-Forwarded-For": "203.0.113.1"})
        connection.request("GET", "/health", {"Host": "a", "X-Forwarded-For": "203.0.113.2"})
        self.assertEqual([each.status for each in connection.responses()], [200] * 8 + [429, 200])

    def test_leaving_during_that_second(self) -> None:
        """Nothing is left."""
        connection = self.server.connect(("192.0.2.1", 1))
        connection.send(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n" * 9)
        self.server.reactor.advance(0)
        self.assertEqual(connection.responses()[-1].status, 429)
        connection.lose()
        self.server.reactor.advance(2)


class ChunkTests(WebTestCase):
    """Bodies in chunks that are too small."""

    HEAD = b"POST /poll HTTP/1.1\r\nHost: a\r\nOrigin: https://a.test\r\nTransfer-Encoding: chunked\r\n\r\n"

    def sent(self, *chunks: bytes) -> bytes:
        """:returns: what the server answers to chunks in one packet."""
        connection = self.server.connect()
        framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
        connection.send(self.HEAD + framed + b"0\r\n\r\n")
        return bytes(connection.transport.value())

    def test_many_small_chunks_are_refused(self) -> None:
        """More than may be small; the connection is closed."""
        answer = self.sent(*[b" "] * (FREE_CHUNKS + 4))
        self.assertTrue(answer.startswith(b"HTTP/1.1 400 "))
        self.assertIn(b"64 bytes", answer)
        self.assertIn(b"Connection: close", answer)

    def test_a_few_small_chunks_are_read(self) -> None:
        """A body of so many is read to its end."""
        answer = self.sent(*[b" "] * FREE_CHUNKS)
        self.assertIn(b"bad-json", answer)

    def test_chunks_of_a_usual_size_are_read(self) -> None:
        """As many as fit into the limit of the route."""
        answer = self.sent(*[b" " * CHUNK] * (4096 // CHUNK))
        self.assertIn(b"bad-json", answer)

    def test_a_body_that_is_not_chunked_may_come_in_any_pieces(self) -> None:
        """A client that writes byte by byte has no chunks. Its deadline is that of every body."""
        connection = self.server.connect()
        connection.send(b"POST /poll HTTP/1.1\r\nHost: a\r\nOrigin: https://a.test\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(1000):
            connection.send(b" ")
        self.assertIn(b"bad-json", connection.transport.value())

    def test_what_follows_is_not_looked_at(self) -> None:
        """The decoder stops at the first chunk too many."""
        connection = self.server.connect()
        connection.send(self.HEAD + b"1\r\na\r\n" * 5000)
        [request] = connection._channel.requests
        self.assertLess(request._chunks, FREE_CHUNKS + 5)
