"""Tests of the limits of sources over HTTP, on a server in memory."""

from __future__ import annotations

from io import BytesIO
from itertools import count
from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from twisted.web import http

from rendezvous.core.sources import UNKNOWN
from rendezvous.counters import Counters, Report
from rendezvous.errors import Full
from rendezvous.limits import SourceLimits
from rendezvous.refusals import FULL_TABLES, LIMITED_SOURCES, Refusals
from rendezvous.testing import Connection, MemoryReactor, MemoryServer, Response
from rendezvous.web.deadlines import REFUSAL_TIME
from rendezvous.web.quotas import MAX_UNFINISHED

NOW = 1_800_000_000
HOME, NEIGHBOUR, ELSEWHERE = ("198.51.100.7", 1), ("198.51.100.8", 1), ("203.0.113.7", 1)


class QuotaCase(SynchronousTestCase):
    """A server with the limits that are on by default, or as a test says."""

    def start(self, **options: Any) -> None:
        """Start it."""
        reactor = MemoryReactor()
        reactor.advance(NOW)
        self.server = MemoryServer(reactor, no_source_limits=False, **options)
        self.addCleanup(self.server.stop)

    def ask(self, method: str, path: str, source: tuple[str, int] = HOME, **headers: str) -> Response:
        """Send a request that is answered at once."""
        connection = self.server.start_request(method, path, None, headers, source)
        response = connection.response()
        assert response is not None
        connection.lose()
        return response

    def taken(self, method: str, path: str, tries: int, source: tuple[str, int] = HOME, **headers: str) -> int:
        """:returns: how many of so many requests are not refused because of a limit."""
        return sum(self.ask(method, path, source, **headers).status != 429 for _ in range(tries))

    def assert_limited(self, response: Response, code: str, wait: int) -> None:
        """Check an error about a limit."""
        self.assertEqual((response.status, response.json()["code"]), (429, code))
        self.assertEqual(response.headers["retry-after"], str(wait))
        self.assertIn(HOME[0], response.json()["error"])

    def counted(self, family: str) -> dict[str, int]:
        """:returns: what the server has counted of a kind."""
        return dict(+self.server.rendezvous.counters.family(family))


class RateTests(QuotaCase):
    """Requests and registrations a second."""

    def test_requests_by_default(self) -> None:
        """400 at once, and 50 a second after that; a fourth of a second gives twelve."""
        self.start()
        self.assertEqual(self.taken("GET", "/health", 401), 400)
        self.assert_limited(self.ask("GET", "/health"), "source-requests", 1)
        self.server.reactor.advance(0.25)
        self.assertEqual(self.taken("GET", "/health", 20), 12)
        self.assertEqual(self.taken("GET", "/health", 10, ELSEWHERE), 10)
        self.assertEqual(self.counted(LIMITED_SOURCES), {"source-requests": 1 + 1 + 8})

    def test_registrations_by_default(self) -> None:
        """200 at once, for a school or an office behind one address, and 2 a second after that."""
        self.start()
        self.assertEqual(self.taken("POST", "/register", 201), 200)
        self.assert_limited(self.ask("POST", "/register"), "source-registrations", 1)
        self.server.reactor.advance(0.499)
        self.assertEqual(self.taken("POST", "/register", 1), 0)
        self.server.reactor.advance(0.001)
        self.assertEqual(self.taken("POST", "/register", 2), 1)
        self.assertEqual(len(self.server.rendezvous.store.live), 201)

    def test_site_has_four_times_as_much(self) -> None:
        """The neighbours of one /24 together; another /24 has its own."""
        self.start(source_registrations=0.02)
        taken = [self.taken("POST", "/register", 3, (f"198.51.100.{number}", 1)) for number in range(10)]
        self.assertEqual(taken, [2, 2, 2, 2, 0, 0, 0, 0, 0, 0])
        self.assertEqual(self.taken("POST", "/register", 3, ELSEWHERE), 2)

    def test_wait_is_in_whole_seconds_rounded_up(self) -> None:
        """At one in 50 seconds: 50 s at first, 1 s shortly before the end."""
        self.start(source_registrations=0.02)
        self.assertEqual(self.taken("POST", "/register", 2), 2)
        for passed, wait in ((0, 50), (0.5, 50), (0.5, 49), (48.5, 1)):
            self.server.reactor.advance(passed)
            self.assert_limited(self.ask("POST", "/register"), "source-registrations", wait)
        self.server.reactor.advance(0.5)
        self.assertEqual(self.ask("POST", "/register").status, 200)

    def test_every_kind_of_request_counts(self) -> None:
        """Preflights, errors, and what there is nothing at; a page may read why."""
        self.start(source_requests=0.5)
        for method, path in (("OPTIONS", "/x"), ("GET", "/nothing"), ("PUT", "/health"), ("GET", "/events")):
            self.assertNotEqual(self.ask(method, path).status, 429)
        for method in ("OPTIONS", "GET"):
            response = self.ask(method, "/health", Origin="https://app.example")
            self.assert_limited(response, "source-requests", 2)
            self.assertEqual(response.headers["access-control-allow-origin"], "*")
            self.assertIn("Retry-After", response.headers["access-control-expose-headers"])

    def test_limits_can_be_turned_off(self) -> None:
        """One by one with 0, or all at once."""
        self.start(source_requests=0.0, source_registrations=0.0, source_connections=0, source_waiting=0)
        self.assertEqual(self.taken("POST", "/register", 500), 500)
        self.server.stop()
        self.server = MemoryServer(no_source_limits=True, udp_rate=1.0)
        self.assertEqual(self.taken("POST", "/register", 500), 500)
        self.assertEqual(self.counted(LIMITED_SOURCES), {})

    def test_trusted_proxy_names_the_source(self) -> None:
        """Each address behind it has its own buckets; from anybody else the header means nothing."""
        self.start(source_registrations=0.02, trusted_proxy=("198.51.100.7",))
        for client in ("192.0.2.1", "203.0.113.1"):
            self.assertEqual(self.taken("POST", "/register", 3, HOME, **{"X-Forwarded-For": client}), 2)
        forged = [self.taken("POST", "/register", 1, NEIGHBOUR, **{"X-Forwarded-For": f"10.{n}.0.1"}) for n in range(5)]
        self.assertEqual(forged, [1, 1, 0, 0, 0])


class PublicationTests(QuotaCase):
    """Offers and sessions made, which share one bucket."""

    numbers = count()

    def publish(self, number: int, credential: dict[str, str], source: tuple[str, int] = HOME) -> Response:
        """:returns: the answer to a request that publishes so many offers."""
        offers = [{"sdp": f"v=0 {next(self.numbers)}", "topics": ["a"]} for _ in range(number)]
        response = self.server.start_request("POST", "/offers", {"offers": offers}, credential, source).response()
        assert response is not None
        return response

    def open(self, source: tuple[str, int] = HOME) -> Response:
        """:returns: the answer to a request that opens a session."""
        body = {"info": "", "offer": "v=0"}
        headers = {"Origin": "https://app.example"}
        response = self.server.start_request("POST", "/a/offer", body, headers, source).response()
        assert response is not None
        return response

    def test_each_offer_and_each_session_costs_one(self) -> None:
        """At 0.2 a second there are ten at once; nothing is made of what is refused."""
        self.start(source_publications=0.2)
        _, _, credential = self.server.register()
        self.assertEqual(self.publish(6, credential).status, 200)
        self.assert_limited(self.publish(5, credential), "source-publications", 5)
        self.assertEqual(self.publish(3, credential).status, 200)
        self.assertEqual(self.open().status, 200)
        self.assert_limited(self.open(), "source-publications", 5)
        self.assertEqual(self.open(ELSEWHERE).status, 200)
        self.server.reactor.advance(5)
        self.assertEqual([self.open().status, self.open().status], [200, 429])
        mine = self.server.request("GET", "/offers/mine", None, credential).json()["offers"]
        self.assertEqual(len(mine), 9)

    def test_a_thousand_by_default(self) -> None:
        """At once; 20 a second after that."""
        self.start(source_requests=0.0)
        self.assertEqual(sum(self.open().status == 200 for _ in range(1001)), 1000)
        self.server.reactor.advance(0.051)
        self.assertEqual([self.open().status, self.open().status], [200, 429])

    def test_malformed_request_costs_nothing(self) -> None:
        """It is refused before it is counted."""
        self.start(source_publications=0.02)
        _, _, credential = self.server.register()
        for _ in range(5):
            response = self.server.start_request("POST", "/offers", {"offers": [{}]}, credential, HOME).response()
            self.assertEqual(response and response.status, 400)
        self.assertEqual(self.publish(1, credential).status, 200)


class WaitingTests(QuotaCase):
    """Requests and streams that wait."""

    def test_source_has_so_many_places(self) -> None:
        """Long polls and streams together; a look without waiting needs none, and what ends gives its place back."""
        self.start(source_waiting=2)
        self.assertEqual(SourceLimits().waiting, 1000)
        _, _, credential = self.server.register()
        stream = self.server.start_request("GET", "/events", None, credential, HOME)
        poll = self.server.start_request("GET", "/offers/answers?wait=30", None, credential, HOME)
        self.assertIsNone(poll.response())
        for path in ("/offers/answers?wait=1", "/events"):
            response = self.server.start_request("GET", path, None, credential, HOME).response()
            assert response is not None
            self.assert_limited(response, "source-waiting", 30)
        response = self.server.start_request("GET", "/offers/answers", None, credential, HOME).response()
        self.assertEqual(response and response.status, 200)
        elsewhere = self.server.start_request("GET", "/events", None, credential, ELSEWHERE)
        self.assertIn(b"200 OK", elsewhere.transport.value())
        stream.lose()
        again = self.server.start_request("GET", "/events", None, credential, HOME)
        self.assertIn(b"200 OK", again.transport.value())
        self.server.reactor.pump([1] * 31)
        self.assertEqual(poll.response() and poll.responses()[0].status, 200)
        last = self.server.start_request("GET", "/events", None, credential, HOME)
        self.assertIn(b"200 OK", last.transport.value())
        self.assertEqual(self.counted(LIMITED_SOURCES), {"source-waiting": 2})


class ShareTests(QuotaCase):
    """The part of each table that one source may hold."""

    def test_tenth_of_the_clients_and_a_quarter_for_a_site(self) -> None:
        """Of 40 clients, 4 and 10; another part is an option."""
        self.start(max_clients=40)
        taken = [self.taken("POST", "/register", 6, (f"198.51.100.{number}", 1)) for number in range(4)]
        self.assertEqual(taken, [4, 4, 2, 0])
        self.assertEqual(self.ask("POST", "/register").json()["code"], "source-share")
        self.server.stop()
        self.start(max_clients=40, source_share="50%")
        self.assertEqual(self.taken("POST", "/register", 40), 20)
        self.server.stop()
        self.start(max_clients=40, source_share="0%")
        self.assertEqual(self.taken("POST", "/register", 40), 40)


class BodyTests(QuotaCase):
    """Bodies that have not arrived whole."""

    HEAD = b"POST /offers HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n"

    def begin(self, source: tuple[str, int], size: int) -> Connection:
        """:returns: a connection on which so much of a body was sent."""
        connection = self.server.connect(source)
        connection.send(self.HEAD + bytes(size))
        return connection

    def test_one_source_may_have_16_mib(self) -> None:
        """At that it is taken, one byte more is 429; what ends gives its part back."""
        self.start()
        self.assertEqual(SourceLimits().unfinished, 16 * 2**20)
        half = 2**20
        begun = [self.begin(HOME, half) for _ in range(16)]
        self.assertEqual([connection.response() for connection in begun], [None] * 16)
        response = self.begin(HOME, 1).response()
        assert response is not None
        self.assertEqual((response.status, response.json()["code"]), (429, "source-bodies"))
        self.assertIsNone(self.begin(ELSEWHERE, half).response())
        begun[0].lose()
        begun[1].send(bytes(2_000_000 - half))
        response = begun[1].response()
        self.assertEqual(response and response.status, 401)
        self.assertEqual([self.begin(HOME, half).response() for _ in range(2)], [None] * 2)
        self.server.reactor.advance(REFUSAL_TIME)
        self.assertEqual(self.counted(LIMITED_SOURCES), {"source-bodies": 1})

    def test_one_site_may_have_half_of_all(self) -> None:
        """However many addresses it has: the rest is there for others."""
        self.start()
        for number in range(32):
            self.assertIsNone(self.begin((f"10.0.0.{number % 8 + 1}", 1), 2**20).response())
        response = self.begin(("10.0.0.9", 1), 1).response()
        assert response is not None
        self.assertEqual((response.status, response.json()["code"]), (429, "source-bodies"))
        self.assertIsNone(self.begin(ELSEWHERE, 2**20).response())

    def test_all_sources_together_have_64_mib(self) -> None:
        """Beyond that it is 503."""
        self.start()
        self.assertEqual(MAX_UNFINISHED, 64 * 2**20)
        for number in range(64):
            self.assertIsNone(self.begin((f"10.{number}.0.1", 1), 2**20).response())
        response = self.begin(HOME, 1).response()
        assert response is not None
        self.assertEqual((response.status, response.json()["code"]), (503, "full-bodies"))
        self.assertEqual(self.counted(FULL_TABLES), {"full-bodies": 1})
        self.server.reactor.advance(REFUSAL_TIME)

    def test_bodies_are_kept_in_memory(self) -> None:
        """Twisted would take a temporary file, and a descriptor, for each of more than 100 kB."""
        self.start()

        def no_file(length: object) -> BytesIO:
            raise AssertionError("a file")

        self.patch(http, "_getContentFile", no_file)
        self.assertIsNone(self.begin(HOME, 1_000_000).response())


class ConnectionTests(QuotaCase):
    """Open connections of one source."""

    def test_oldest_idle_connection_of_the_source_gives_way(self) -> None:
        """The limit is 2000 by default; a connection over it takes the place of the oldest that is idle."""
        self.start(source_connections=3)
        self.assertEqual(SourceLimits().connections, 2000)
        first, second, third = (self.server.connect(HOME) for _ in range(3))
        other = self.server.connect(ELSEWHERE)
        first.request("GET", "/health", {"Host": "a"})
        fourth = self.server.connect(HOME)
        self.assertEqual(
            [c.transport.disconnected for c in (first, second, third, fourth, other)],
            [False, True, False, False, False],
        )
        fifth, sixth = self.server.connect(HOME), self.server.connect(HOME)
        self.assertTrue(third.transport.disconnected)
        self.assertTrue(first.transport.disconnected)
        self.assertFalse(fifth.transport.disconnected or sixth.transport.disconnected or other.transport.disconnected)
        self.assertEqual(self.counted(LIMITED_SOURCES), {"source-connections": 3})

    def test_without_an_idle_one_the_new_one_is_closed(self) -> None:
        """Requests that wait are never cut for it."""
        self.start(source_connections=2)
        _, _, credential = self.server.register()
        streams = [self.server.start_request("GET", "/events", None, credential, HOME) for _ in range(2)]
        new = self.server.connect(HOME)
        self.assertTrue(new.transport.disconnected)
        new.send(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(new.transport.value(), b"")
        self.assertFalse(any(stream.transport.disconnected for stream in streams))
        streams[0].lose()
        self.assertFalse(self.server.connect(HOME).transport.disconnected)

    def test_connections_of_a_proxy_are_not_counted(self) -> None:
        """It has one for each of its clients."""
        self.start(source_connections=1, trusted_proxy=("198.51.100.7",))
        connections = [self.server.connect(HOME) for _ in range(5)]
        self.assertFalse(any(connection.transport.disconnected for connection in connections))


class ReportTests(QuotaCase):
    """What the operator reads."""

    def test_limited_source_is_one_line_a_minute_with_its_network(self) -> None:
        """However often it was refused; the next minute has the difference."""
        self.start(source_registrations=0.02)
        with capturedLogs() as events:
            self.taken("POST", "/register", 12)
            for _ in range(130):
                self.server.reactor.advance(1)
        lines = [formatEvent(event) for event in events if "limited sources" in formatEvent(event)]
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("'source-registrations': 10", lines[0])
        self.assertIn("198.51.100.7", lines[0])

    def test_holder_of_a_full_table_is_looked_for_once_a_minute(self) -> None:
        """To find it costs milliseconds, and refusals are many: between two lines of the log one is enough."""
        looked: list[None] = []

        def holder() -> str:
            looked.append(None)
            return "192.0.2.1"

        counters = Counters()
        refusals, report = Refusals(counters), Report(counters)
        for minute in (1, 2):
            for _ in range(100):
                refusals.note(Full("full", holder=holder), UNKNOWN)
            self.assertEqual(len(looked), minute)
            report.flush()

    def test_full_table_is_a_line_a_minute(self) -> None:
        """It says how often, and which network holds most of the table."""
        self.start(max_clients=1)
        with capturedLogs() as events:
            statuses = [self.ask("POST", "/register", (f"10.{n}.0.1", 1)).status for n in range(4)]
            for _ in range(70):
                self.server.reactor.advance(1)
        self.assertEqual(statuses, [200, 503, 503, 503])
        [line] = [formatEvent(event) for event in events if "full tables" in formatEvent(event)]
        self.assertIn("'full': 3", line)
        self.assertIn("caused by 10.0.0.1 ", line)
