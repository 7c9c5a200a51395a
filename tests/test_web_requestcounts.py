"""Requests as they are counted, on a server in memory."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Site

from rendezvous.testing import Connection, MemoryReactor, MemoryServer
from rendezvous.web.requestcounts import ABANDONED, UNMATCHED

HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


class RequestCountsTests(SynchronousTestCase):
    """Each request counts once: by route, method and status."""

    def setUp(self) -> None:
        """Start a server."""
        self.server = MemoryServer(MemoryReactor())
        self.addCleanup(self.server.stop)
        self.requests = self.server.rendezvous.resource().gate.requests

    def counted(self) -> Counter[tuple[str, str, int]]:
        """:returns: what was counted since the last time."""
        counts = Counter(self.requests.counts)
        self.requests.counts.clear()
        return counts

    def test_routes_are_told_apart(self) -> None:
        """By the path in the table of routes, so that no id is ever a part of it."""
        client_id, _, headers = self.server.register()
        self.server.request("GET", f"/peer/{client_id}/udp", None, headers)
        self.server.request("HEAD", "/health")
        self.server.request("POST", "/offers", {}, headers)
        self.assertEqual(
            self.counted(),
            {
                ("/register", "POST", 200): 1,
                ("/peer/<client_id>/udp", "GET", 404): 1,
                ("/health", "HEAD", 200): 1,
                ("/offers", "POST", 400): 1,
            },
        )

    def test_requests_without_a_route(self) -> None:
        """What a client has chosen is not a part of what is counted, neither paths nor methods."""
        for method, path in (("GET", "/nothing/here"), ("BREW", "/health"), ("OPTIONS", "/offers"), ("get", "/")):
            self.server.request(method, path)
        self.assertEqual(
            self.counted(),
            {
                (UNMATCHED, "GET", 404): 1,
                (UNMATCHED, "other", 405): 1,
                (UNMATCHED, "OPTIONS", 204): 1,
                (UNMATCHED, "other", 501): 1,
            },
        )

    def test_request_that_is_never_whole(self) -> None:
        """It is counted as it is refused."""
        connection = self.server.connect()
        connection.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n")
        self.assertEqual(self.counted(), {(UNMATCHED, "GET", 400): 1})
        self.assertEqual(self.requests.durations, {})

    def waiting(self) -> tuple[Connection, str]:
        """:returns: a request that waits for an answer, and its route."""
        *_, headers = self.server.register()
        self.counted()
        return self.server.start_request("GET", "/offers/answers?wait=20", None, headers), "/offers/answers"

    def test_client_that_leaves(self) -> None:
        """A request that was never answered has a code of its own."""
        connection, route = self.waiting()
        self.assertEqual(self.counted(), {})
        connection.lose()
        self.assertEqual(self.counted(), {(route, "GET", ABANDONED): 1})

    def test_durations(self) -> None:
        """From the whole request to the end of the answer, by route."""
        self.server.reactor.advance(7)
        _, route = self.waiting()
        self.server.reactor.advance(19)
        self.assertNotIn(route, self.requests.durations)
        self.server.reactor.advance(1)
        histogram = self.requests.durations[route]
        self.assertEqual((histogram.sum, sum(histogram.counts)), (20.0, 1))
        self.assertEqual(histogram.counts[histogram.bounds.index(30.0)], 1)

    def test_websocket(self) -> None:
        """It counts when it is opened, with status 101, and not again when it closes."""
        connection = self.server.start_request("GET", "/signal", None, HANDSHAKE)
        connection.lose()
        self.assertEqual(self.counted(), {("/signal", "GET", 101): 1})

    def test_resource_in_another_site(self) -> None:
        """Below a site of one's own requests are counted too."""
        site = Site(self.server.rendezvous.resource(), reactor=self.server.reactor)
        connection = Connection(site, ("192.0.2.1", 1))
        connection.request("GET", "/health", {"Host": "a"})
        self.assertEqual(self.counted(), {("/health", "GET", 200): 1})
        connection.lose()
        *_, headers = self.server.register()
        self.counted()
        waits = Connection(site, ("192.0.2.1", 2))
        waits.request("GET", "/offers/answers?wait=20", {"Host": "a", **headers})
        waits.lose()
        self.assertEqual(self.counted(), {("/offers/answers", "GET", ABANDONED): 1})
