"""Tests of :mod:`rendezvous.web.router`: routes are found as Klein finds them, and requests leave no garbage."""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Iterator

from twisted.logger import capturedLogs

from rendezvous.errors import Unavailable
from rendezvous.testing import Response
from rendezvous.web.quotas import Place
from rendezvous.web.request import CappedRequest
from rendezvous.web.route import Route
from rendezvous.web.router import RouteTable
from tests._web_case import ORIGIN, WebTestCase

#: What may stand in a part of a path that varies, among it the fixed parts of other paths.
PARTS = ("x1", "mine", "by-topic", "answers", "sessions", "offer", "ice-candidates", "a%2Fb", "%FF", "%6dine", ".", "")

#: How often each request is made.
ROUNDS = 50

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get", "TRACE", "G~T")

#: Values that differ from one registration to the next.
_DRAWN = re.compile(
    rb'("(?:client_id|private_id|peerId|secret|request_id)":)"[0-9a-f]{16,64}"|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}'
)


def paths_of(route: Route) -> Iterator[str]:
    """:returns: the path of a route with all sorts of parts, and what is nearly that path."""
    for part in PARTS:
        path = re.sub(r"<\w+>", part, route.path)
        yield path
        if part == "x1":
            yield from (f"{path}/", f"/{path}", f"{path}/x", f"{path}//", f"{path};a=1", f"{path}?x=%FF&y", f"{path}.")
            yield path.upper()
            yield path[:-1]
            yield f"{path[:-1]}%{ord(path[-1]):02x}"
            yield f"http://other.example{path}"


class SameAsKleinTests(WebTestCase):
    """What is found without Klein is what Klein finds."""

    def setUp(self) -> None:
        """Make it possible to turn the table off."""
        super().setUp()
        self.routes = self.server.rendezvous.routes()

    def by_klein(self, method: str, path: str, headers: dict[str, str]) -> Response:
        """:returns: the answer, if there is no table beside Klein."""
        with_table = RouteTable.find
        RouteTable.find = lambda table, method, segments: None  # type: ignore[method-assign, assignment]
        try:
            return self.ask(method, path, None, headers)
        finally:
            RouteTable.find = with_table  # type: ignore[method-assign]

    def assertSame(self, method: str, path: str, headers: dict[str, str]) -> int:
        """
        Both ways give the same answer.

        :returns: its status.
        """
        ours, kleins = self.ask(method, path, None, headers), self.by_klein(method, path, headers)
        self.assertEqual(ours.status, kleins.status, (method, path))
        for answer in (ours, kleins):
            if "x-request-id" in answer.headers:
                answer.headers["x-request-id"] = "drawn"
        self.assertEqual(ours.headers, kleins.headers, (method, path))
        self.assertEqual(_DRAWN.sub(rb"\1", ours.body), _DRAWN.sub(rb"\1", kleins.body), (method, path))
        return ours.status

    def test_every_path_with_every_method(self) -> None:
        """Paths of routes, and what is nearly one, are answered the same with each method and without a credential."""
        paths = {path for route in self.routes for path in paths_of(route)}
        seen = {self.assertSame(method, path, dict(ORIGIN)) for path in sorted(paths) for method in METHODS}
        self.assertLessEqual({200, 204, 400, 401, 404, 405, 501}, seen)

    def test_reading_with_a_credential(self) -> None:
        """What a client may read is the same, to the byte."""
        self.publish(id="x1")
        reading = [route for route in self.routes if route.method == "GET" and route.path != "/events"]  # It is held.
        paths = {path for route in reading for path in paths_of(route)}
        paths |= {f"/peer/{self.alice_id}/udp{rest}" for rest in ("", "/", "/address", "/status", "/status/")}
        seen = {self.assertSame(method, path, dict(self.alice)) for path in sorted(paths) for method in ("GET", "HEAD")}
        self.assertLessEqual({200, 404}, seen)

    def test_the_table_knows_every_route(self) -> None:
        """Each route is found by its own path, with its parts in order."""
        table = RouteTable(self.routes)
        for route in self.routes:
            path = re.sub(r"<\w+>", "x1", route.path).encode("ascii")
            found = table.find(route.method.encode("ascii"), path.split(b"/")[1:])
            self.assertEqual(found, (route, ["x1"] * route.path.count("<")))


class GarbageTests(WebTestCase):
    """A request leaves nothing for the garbage collector, which would stop the server while it looks at everything."""

    def assertNoGarbage(self, *requests: tuple[str, str, bytes, dict[str, str]], wait: float = 0) -> None:
        """Requests on one connection leave no reference cycle."""
        connection = self.server.connect()
        self.addCleanup(gc.enable)
        asked, found = 0, 0
        for rounds in (1, ROUNDS):  # What is made once does not count.
            gc.collect()
            gc.disable()
            for method, path, body, headers in requests * rounds:
                connection.request(method, path, {"Host": "a", **headers, "Content-Length": f"{len(body)}"}, body)
                asked += 1
                if wait:
                    self.server.reactor.advance(wait)
                self.assertEqual(len(connection.responses()), asked)
            found = gc.collect()
        self.assertLess(found, ROUNDS, "less than one object for each request")

    def test_answers(self) -> None:
        """What is answered at once."""
        self.server.deliver(bytes.fromhex(self.alice["Authorization"].rpartition(":")[2]))
        self.publish(id="x1")
        offer = json.dumps({"offers": [{"sdp": "v=0", "topics": ["chess"], "id": "x1"}]}).encode()
        self.assertNoGarbage(
            ("POST", "/register", b"", {}),
            ("POST", "/verify", b"", self.alice),
            ("GET", f"/peer/{self.alice_id}/udp", b"", self.bob),
            ("GET", f"/peer/{self.alice_id}/udp/status", b"", self.bob),
            ("POST", "/offers", offer, self.alice),
            ("PUT", "/offers/x1/heartbeat", b"", self.alice),
            ("GET", "/offers/by-topic/chess", b"", {}),
            ("GET", "/topics", b"", dict(ORIGIN)),
        )

    def test_errors(self) -> None:
        """What is refused by a route, or in front of the routes."""
        self.assertNoGarbage(
            ("GET", f"/peer/{self.alice_id}/udp", b"", {}),
            ("GET", f"/peer/{self.alice_id}/udp", b"", self.bob),
            ("POST", "/offers", b"{", self.alice),
            ("GET", "//", b"", {}),
        )

    def test_answers_that_wait(self) -> None:
        """A request that is held until its time is over."""
        self.assertNoGarbage(("GET", "/offers/answers?wait=1", b"", self.alice), wait=2)


class LaterTests(WebTestCase):
    """Answers that are not there at once."""

    def test_error_that_comes_later(self) -> None:
        """A request that waits, and then fails, is answered as one that fails at once."""
        connection = self.start("GET", "/offers/answers?wait=20", None, self.alice)
        self.assertIsNone(connection.response())
        self.ask("POST", "/logout", None, self.alice)
        self.server.reactor.advance(1)
        self.assertRefused(connection.response(), 401, "unauthorized")

    def test_fault_that_comes_later(self) -> None:
        """A fault of ours is 500, and is logged."""
        connection = self.start("GET", "/offers/answers?wait=20", None, self.alice)
        self.patch(self.server.rendezvous.store, "answers", lambda owner, now, since: 1 // 0)
        self.server.reactor.advance(20)
        self.assertRefused(connection.response(), 500, "internal")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_fault_while_an_answer_is_written(self) -> None:
        """A fault of ours that comes as late as that is logged in the same words."""
        connection = self.start("GET", "/offers/answers?wait=20", None, self.alice)
        self.patch(CappedRequest, "write", lambda request, data: 1 // 0)
        with capturedLogs() as seen:
            self.server.reactor.advance(20)
        self.assertIsNone(connection.response())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIn("request_failed", [event.get("event") for event in seen])

    def test_errors_of_a_client_that_has_left(self) -> None:
        """An error that the client would have been shown is dropped, and a fault of ours is logged."""
        for raised, logged in ((Unavailable("Not now."), 0), (ZeroDivisionError(), 1)):

            def fail(*args: object, raised: Exception = raised) -> None:
                raise raised

            self.patch(Place, "__exit__", fail)
            connection = self.start("GET", "/offers/answers?wait=20", None, self.alice)
            connection.lose()
            self.assertEqual(len(self.flushLoggedErrors()), logged)
