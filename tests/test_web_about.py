"""Tests of :mod:`rendezvous.web.about`: health, readiness, and the facts that a client needs."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.errors import Unavailable
from rendezvous.limits import SignalingLimits
from rendezvous.testing import MemoryServer
from tests._web_case import ORIGIN, WebTestCase

FACTS = ("pulseInterval", "pulseGrace", "errorTime", "registrationTime", "udpPorts", "limits")


class HealthTests(WebTestCase):
    """Liveness and readiness are two questions."""

    def test_server_that_can_save_is_ready(self) -> None:
        """Both are 200."""
        self.assertEqual(self.good("GET", "/health")["status"], "ok")
        self.assertEqual(self.good("GET", "/ready")["status"], "ready")

    def test_server_that_cannot_save_lives_and_is_not_ready(self) -> None:
        """503 with the reason and a time to ask again, until it can save again."""

        def refuse() -> None:
            raise Unavailable("The server cannot save anything now; it keeps trying.", code="unsaved")

        store: Any = self.server.rendezvous.store
        patched = self.patch(store._durability, "raise_if_refusing", refuse)
        self.assertEqual(self.good("GET", "/health")["status"], "ok")
        response = self.ask("GET", "/ready")
        self.assertRefused(response, 503, "unsaved")
        self.assertIn("retry-after", response.headers)
        patched.restore()
        self.assertEqual(self.good("GET", "/ready")["status"], "ready")


class FactsTests(SynchronousTestCase):
    """What a client would otherwise have to be configured with."""

    def facts(self, server: MemoryServer, method: str, path: str) -> dict[str, Any]:
        """:returns: the facts of an answer."""
        body = server.request(method, path).json()
        return {name: body[name] for name in FACTS}

    def test_they_are_those_of_the_settings(self) -> None:
        """In seconds, whatever way the setting was given; the root and a registration say the same."""
        server = MemoryServer(
            pulse_interval=20.0, pulse_grace="50%", error_time=60.0, registration_time=90.0, offers_per_peer=7
        )
        self.addCleanup(server.stop)
        facts = self.facts(server, "GET", "/")
        self.assertEqual(facts, self.facts(server, "POST", "/register"))
        self.assertEqual([facts[name] for name in FACTS[:4]], [20, 10, 60, 90])
        self.assertEqual(facts["udpPorts"], [5024, 5026])
        limits = SignalingLimits(offers_per_peer=7)
        self.assertEqual(
            facts["limits"],
            {
                "sdpSize": limits.sdp_size,
                "ttlDefaultMs": 300_000,
                "ttlMinMs": 60_000,
                "ttlMaxMs": 3_600_000,
                "offersPerRequest": 10,
                "offersPerPeer": 7,
                "topicsPerOffer": 20,
                "topicChars": 256,
                "candidateSize": 4096,
                "candidatesPerRequest": 50,
                "candidatesPerSide": 256,
                "sessionLifetime": 300.0,
            },
        )

    def test_ports_are_those_that_listen(self) -> None:
        """Where any free port was asked for, the one that it has become."""
        server = MemoryServer(udp_port=("0", "5024"))
        self.addCleanup(server.stop)
        opened = sorted(port.getHost().port for port in server.udp_ports)  # type: ignore[attr-defined]
        self.assertEqual(self.facts(server, "GET", "/")["udpPorts"], opened)
        self.assertNotIn(0, opened)


class RootTests(WebTestCase):
    """The oldest clients of the sessions protocol ask for topics at the root."""

    def test_page_and_origin_ask_for_topics(self) -> None:
        """The answer is that of ``/topics``; without either of the two it is the server's own."""
        for topic in ("chess", "go"):
            self.open_session(topic)
        for query in ("page=1", "page=2&limit=1", "limit=1&page=1"):
            topics = self.good("GET", f"/topics?{query}", None, ORIGIN)
            self.assertEqual(self.good("GET", f"/?{query}", None, ORIGIN), topics)
            self.assertEqual(topics["pagination"]["total"], 2)
        self.assertEqual(self.good("GET", "/?page=1")["name"], "rendezvous")
        self.assertEqual(self.good("GET", "/", None, ORIGIN)["name"], "rendezvous")
        self.refused(400, "malformed", "GET", "/?page=x", None, ORIGIN)

    def test_without_the_sessions_protocol_it_is_the_server_itself(self) -> None:
        """Nothing else is known then."""
        self.server.stop()
        self.server = MemoryServer(without=("sessions",))
        self.assertEqual(self.server.request("GET", "/?page=1", None, ORIGIN).json()["name"], "rendezvous")


class CacheTests(WebTestCase):
    """No cache may keep an answer, and none may mix origins."""

    def test_every_answer_says_so(self) -> None:
        """Successes, errors, preflights and streams; the description alone may be kept."""
        streams = self.start("GET", "/events", None, self.alice)
        head = streams.transport.value().decode().lower()
        self.assertIn("\r\nvary: origin\r\n", head)
        self.assertIn("\r\ncache-control: no-store\r\n", head)
        for method, path, kept in (
            ("GET", "/", "no-store"),
            ("GET", "/topics", "no-store"),
            ("GET", "/chess/sessions", "no-store"),
            ("OPTIONS", "/topics", "no-store"),
            ("GET", "/nothing", "no-store"),
            ("PUT", "/health", "no-store"),
            ("POST", "/verify", "no-store"),
            ("GET", "/openapi.json", "max-age=300"),
        ):
            for headers in (ORIGIN, {}):
                response = self.ask(method, path, None, headers)
                self.assertEqual(response.headers["vary"], "Origin", path)
                self.assertEqual(response.headers["cache-control"], kept, path)


class DateTests(WebTestCase):
    """Headers that the server adds by itself."""

    def test_date_is_that_of_the_second(self) -> None:
        """In the form of RFC 9110, section 5.6.7; it goes on with the clock."""
        self.assertEqual(self.ask("GET", "/health").headers["date"], "Fri, 15 Jan 2027 08:00:00 GMT")
        self.server.reactor.advance(0.5)
        self.assertEqual(self.ask("GET", "/health").headers["date"], "Fri, 15 Jan 2027 08:00:00 GMT")
        self.server.reactor.advance(0.5)
        self.assertEqual(self.ask("GET", "/health").headers["date"], "Fri, 15 Jan 2027 08:00:01 GMT")

    def test_version_of_the_libraries_is_not_told(self) -> None:
        """There is no Server header."""
        self.assertNotIn("server", self.ask("GET", "/health").headers)
