"""Tests of :mod:`rendezvous.web.site`: bodies over the limit, connections, and mounting below a path."""

from __future__ import annotations

import io
from typing import Any, ClassVar

from klein import Klein

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource, Resource
from twisted.web.server import Site

from rendezvous.clock import WorkingTime
from rendezvous.counters import Counters
from rendezvous.limits import CANDIDATES_BODY, MAX_BODY, SESSION_BODY, SMALL_BODY, SourceLimits, UnreadLimits
from rendezvous.testing import Connection, MemoryServer
from rendezvous.web.bodies import BodyLimits
from rendezvous.web.cors import Cors
from rendezvous.web.deadlines import REFUSAL_TIME
from rendezvous.web.gate import make_gate
from rendezvous.web.root import RootResource
from rendezvous.web.site import RendezvousSite
from tests._web_case import SlowResource

LIMIT = 100
HOME = ("198.51.100.7", 50000)


def in_front_of(routes: IResource) -> RootResource:
    """:returns: a root resource that takes bodies up to the limit, without limits of sources."""
    gate = make_gate(
        SourceLimits.none(),
        UnreadLimits(),
        (),
        Clock(),
        Counters(),
        lambda size: b"\x01" * size,
        working=WorkingTime(Clock().seconds),
    )
    return RootResource(routes, BodyLimits(default=LIMIT), Cors(()), gate)


class _Echo(Resource):
    """Answers with the size of the body, and counts what it was asked."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def render(self, request: Any) -> bytes:
        """Answer."""
        self.sizes.append(request.content.seek(0, io.SEEK_END))
        return b"%d bytes" % self.sizes[-1]


class BodyLimitTests(SynchronousTestCase):
    """Tests of bodies at, below and above the limit."""

    def setUp(self) -> None:
        """Make a site with a small limit."""
        self.clock = Clock()
        self.echo = _Echo()
        self.site = RendezvousSite(in_front_of(self.echo), self.clock)

    def post(self, headers: str, body: bytes = b"") -> Connection:
        """:returns: the connection on which a request was sent."""
        connection = Connection(self.site, HOME)
        self.addCleanup(connection.lose)
        connection.send(f"POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n".encode() + body)
        return connection

    def chunked(self, *chunks: bytes, end: bool = True) -> Connection:
        """:returns: the connection on which a body was sent in chunks."""
        body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
        return self.post("Transfer-Encoding: chunked\r\n", body + (b"0\r\n\r\n" if end else b""))

    def status(self, connection: Connection) -> int:
        """:returns: the status of the only response."""
        (response,) = connection.responses()
        return response.status

    def assert_refused(self, connection: Connection) -> None:
        """Check that all there is, is a refusal, that reading has stopped, and that the connection ends in a second."""
        (response,) = connection.responses()
        self.assertEqual(response.status, 413)
        sentence = f"The body is over the limit of {LIMIT} bytes."
        self.assertEqual(response.json(), {"ok": False, "error": sentence, "code": "too-large"})
        self.assertEqual(response.headers["connection"].lower(), "close")
        self.assertEqual(response.headers["content-type"], "application/json")
        self.assertEqual(connection.transport.producerState, "paused")
        self.assertFalse(connection.closed)
        self.clock.advance(REFUSAL_TIME - 0.001)
        self.assertFalse(connection.closed)
        self.clock.advance(0.001)
        self.assertTrue(connection.closed)
        self.assertEqual(self.echo.sizes, [])

    def test_announced_length_up_to_the_limit_is_read(self) -> None:
        """A body of none, one below, and exactly the limit."""
        for length in (0, 1, LIMIT - 1, LIMIT):
            connection = self.post(f"Content-Length: {length}\r\n", bytes(length))
            self.assertEqual(self.status(connection), 200)
        self.assertEqual(self.echo.sizes, [0, 1, LIMIT - 1, LIMIT])

    def test_announced_length_over_the_limit_is_refused_before_the_body(self) -> None:
        """The answer is there as soon as the headers are, and nothing more is read."""
        for length in (LIMIT + 1, 10**15):
            self.assert_refused(self.post(f"Content-Length: {length}\r\n"))

    def test_body_that_comes_with_the_headers_changes_nothing(self) -> None:
        """A refused body is not handed on, though the whole of it has arrived."""
        self.assert_refused(self.post(f"Content-Length: {LIMIT + 1}\r\n", bytes(LIMIT + 1)))

    def test_request_behind_a_refused_one_is_not_served(self) -> None:
        """What follows on the connection may be anything."""
        following = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        self.assert_refused(self.post(f"Content-Length: {LIMIT + 1}\r\n", bytes(LIMIT + 1) + following))

    def test_chunked_body_up_to_the_limit_is_read(self) -> None:
        """In one chunk or in many, no length being announced."""
        for chunks in ((bytes(LIMIT),), (b"x",) * LIMIT, (bytes(LIMIT - 1),), ()):
            self.assertEqual(self.status(self.chunked(*chunks)), 200)
        self.assertEqual(self.echo.sizes, [LIMIT, LIMIT, LIMIT - 1, 0])

    def test_chunked_body_over_the_limit_is_refused_as_soon_as_it_is(self) -> None:
        """At the byte that is too many, whether or not the body has ended."""
        for end in (True, False):
            self.assert_refused(self.chunked(bytes(LIMIT + 1), end=end))
            self.assert_refused(self.chunked(bytes(LIMIT), b"x", end=end))

    def test_chunks_after_the_refusal_are_not_kept(self) -> None:
        """There is one refusal, however much more arrives with it."""
        self.assert_refused(self.chunked(*[bytes(LIMIT)] * 50))

    def test_expected_continue_is_invited(self) -> None:
        """A body within the limit gets 100 first, and its answer after it."""
        connection = self.post("Content-Length: 3\r\nExpect: 100-continue\r\n")
        self.assertEqual([response.status for response in connection.responses()], [100])
        connection.send(b"abc")
        self.assertEqual([response.status for response in connection.responses()], [100, 200])

    def test_expected_continue_is_refused_instead(self) -> None:
        """A body over the limit gets 413 and no 100, so that it is never sent."""
        self.assert_refused(self.post(f"Content-Length: {LIMIT + 1}\r\nExpect: 100-continue\r\n"))

    def test_pipelined_requests_are_answered_in_order(self) -> None:
        """Several on one connection, the last of them refused."""
        one = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s"
        connection = Connection(self.site, HOME)
        self.addCleanup(connection.lose)
        connection.send(one % (1, b"x") + one % (2, b"xx") + one % (LIMIT + 1, bytes(LIMIT + 1)) + one % (3, b"xxx"))
        self.clock.advance(0)
        self.assertEqual([response.status for response in connection.responses()], [200, 200, 413])
        self.assertEqual(self.echo.sizes, [1, 2])
        self.clock.advance(REFUSAL_TIME)
        self.assertTrue(connection.closed)

    def turn(self) -> None:
        """Make what is due now happen, but not what is due only because of that."""
        for call in [call for call in self.clock.calls if call.getTime() <= self.clock.seconds()]:
            self.clock.calls.remove(call)
            call.func(*call.args, **call.kw)

    def test_each_pipelined_request_has_a_turn_of_its_own(self) -> None:
        """A packet full of requests does not hold the reactor: the server answers one and lets others go first."""
        for one in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"):
            connection = Connection(self.site, HOME)
            self.addCleanup(connection.lose)
            connection.send(one * 50)
            for answered in range(1, 51):
                self.assertEqual(len(connection.responses()), answered)
                reading = "producing" if answered == 50 else "paused"
                self.assertEqual(connection.transport.producerState, reading)
                self.turn()
            connection.send(one)
            self.assertEqual(len(connection.responses()), 51)

    def test_client_that_vanishes_between_pipelined_requests_is_forgotten(self) -> None:
        """The requests that have no turn yet are not answered, and nothing is left for later."""
        connection = Connection(self.site, HOME)
        connection.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
        connection.lose()
        self.clock.advance(0)
        self.assertEqual((self.echo.sizes, self.clock.getDelayedCalls()), ([0], []))

    def test_refusal_waits_for_the_answer_before_it(self) -> None:
        """A request that takes its time is answered first, then the one behind it is refused."""
        slow = SlowResource()
        connection = Connection(RendezvousSite(in_front_of(slow), self.clock), HOME)
        self.addCleanup(connection.lose)
        connection.request("GET", "/", {"Host": "a"})
        connection.request("POST", "/", {"Host": "a", "Content-Length": str(LIMIT + 1)}, bytes(LIMIT + 1))
        self.assertEqual(connection.transport.value(), b"")
        slow.request.setHeader(b"Content-Length", b"2")
        slow.request.write(b"ok")
        slow.request.finish()
        self.clock.advance(0)
        self.assertEqual([response.status for response in connection.responses()], [200, 413])

    def test_client_that_vanishes_mid_body_is_forgotten(self) -> None:
        """Nothing is answered, handed on, logged, or left for later."""
        for headers in (f"Content-Length: {LIMIT}\r\n", "Transfer-Encoding: chunked\r\n"):
            connection = self.post(headers, b"5\r\nab")
            connection.lose()
            self.assertEqual(connection.transport.value(), b"")
        self.assertEqual((self.echo.sizes, self.clock.getDelayedCalls()), ([], []))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_client_that_vanishes_after_a_refusal_is_forgotten(self) -> None:
        """The closing that was to come finds it gone, and does no harm."""
        connection = self.post(f"Content-Length: {LIMIT + 1}\r\n")
        connection.lose()
        self.clock.advance(REFUSAL_TIME)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])


class ServerLimitTests(SynchronousTestCase):
    """Tests of the limit of the server itself."""

    #: Requests by what their bodies may have. What has no use for a body takes a small one all the same.
    LIMITS: ClassVar[dict[int, list[tuple[str, str]]]] = {
        MAX_BODY: [("POST", "/offers")],
        SESSION_BODY: [
            ("POST", "/offers/x/answer"), ("POST", "/chess/offer"), ("POST", "/a%2Fb/offer"), ("POST", "/answer"),
        ],
        CANDIDATES_BODY: [("POST", "/offers/x/ice-candidates"), ("POST", "/%6Fffers/x/ice-candidates")],
        SMALL_BODY: [
            ("POST", "/register"), ("POST", "/verify"), ("POST", "/logout"), ("POST", "/poll"), ("GET", "/offers"),
            ("PUT", "/offers/x/heartbeat"), ("DELETE", "/offers/x"), ("GET", "/health"), ("POST", "/nothing/here"),
            ("POST", "/offers/"), ("POST", "//offers"),
        ],
    }  # fmt: skip

    def test_each_route_has_its_limit(self) -> None:
        """A body at the limit of its route is read, one byte more is refused as soon as its length is known."""
        server = MemoryServer()
        self.addCleanup(server.stop)
        for limit, requests in self.LIMITS.items():
            for method, path in requests:
                taken = server.start_request(method, path, bytes(limit), {"Content-Type": "text/plain"})
                response = taken.response()
                assert response is not None, (method, path)
                self.assertNotEqual(response.status, 413, (method, path))
                headers = {"Host": "a", "Content-Length": str(limit + 1)}
                refused = server.connect()
                refused.request(method, path, headers)
                response = refused.response()
                assert response is not None, (method, path)
                self.assertEqual((response.status, response.json()["code"]), (413, "too-large"), (method, path))
                self.assertIn(str(limit), response.json()["error"])
        server.reactor.advance(REFUSAL_TIME)

    def test_query_does_not_change_the_limit(self) -> None:
        """The route is found by the path alone."""
        server = MemoryServer()
        self.addCleanup(server.stop)
        for path in ("/offers?x=/a/b", "/offers?"):
            self.assertEqual(server.request("POST", path, bytes(MAX_BODY)).status, 401)


class _Routes(Resource):
    """Routes that fail before they have an answer."""

    isLeaf = True

    def render(self, request: Any) -> int:
        """Fail."""
        raise ZeroDivisionError("a detail of ours")


class FrontTests(SynchronousTestCase):
    """Tests of :class:`RootResource` below a path of somebody else's site."""

    def setUp(self) -> None:
        """Take a server's resource, and put it below a path."""
        self.server = MemoryServer()
        self.addCleanup(self.server.stop)
        root, below = Resource(), Resource()
        root.putChild(b"", _Echo())
        root.putChild(b"api", below)
        below.putChild(b"peers", self.server.rendezvous.resource())
        self.site = Site(root, reactor=self.server.reactor)

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> Any:
        """:returns: the response of the other site."""
        connection = Connection(self.site, HOME)
        connection.request(method, path, {"Host": "a", "Content-Length": str(len(body)), **headers}, body)
        response = connection.response()
        connection.lose()
        return response

    def test_every_path_is_below_the_prefix(self) -> None:
        """Register, verify and look up, with the prefix in front; the other site keeps its own paths."""
        made = self.request("POST", "/api/peers/register").json()
        credential = f"Bearer {made['private_id']}"
        verified = self.request("POST", "/api/peers/verify", Authorization=credential)
        self.assertEqual((verified.status, verified.json()["client_id"]), (200, made["client_id"]))
        status = self.request("GET", f"/api/peers/peer/{made['client_id']}/udp/status", Authorization=credential)
        self.assertEqual((status.status, status.json()["status"]), (200, "PENDING"))
        self.assertEqual(self.request("GET", "/").body, b"0 bytes")

    def test_root_of_the_prefix_answers_with_and_without_slash(self) -> None:
        """It says what the server is."""
        for path in ("/api/peers", "/api/peers/"):
            self.assertEqual(self.request("GET", path).json()["name"], "rendezvous")

    def test_errors_are_json_below_a_prefix_too(self) -> None:
        """Unknown paths, wrong methods, malformed hosts."""
        for method, path, host, status in (
            ("GET", "/api/peers/nope", "a", 404), ("GET", "/api/peers//health", "a", 404),
            ("GET", "/api/peers/register", "a", 405), ("GET", "/api/peers/health", "a..b", 400),
        ):  # fmt: skip
            response = self.request(method, path, Host=host)
            self.assertEqual((response.status, response.json()["ok"]), (status, False), path)

    def test_long_body_is_refused_although_it_was_read(self) -> None:
        """A plain site reads every body; what is over the limit is refused all the same, at the limit it is not."""
        self.assertEqual(self.request("POST", "/api/peers/register", bytes(SMALL_BODY)).status, 200)
        self.assertEqual(self.request("POST", "/api/peers/offers", bytes(MAX_BODY)).status, 401)
        response = self.request("POST", "/api/peers/register", bytes(SMALL_BODY + 1))
        self.assertEqual((response.status, response.json()["code"]), (413, "too-large"))

    def test_fault_in_front_of_the_routes_is_500_as_json(self) -> None:
        """The log has the traceback, the body has not."""
        site = Site(in_front_of(_Routes()), reactor=Clock())
        connection = Connection(site, HOME)
        connection.request("GET", "/", {"Host": "a"})
        response = connection.response()
        connection.lose()
        assert response is not None
        self.assertEqual((response.status, response.json()["code"]), (500, "internal"))
        self.assertNotIn(b"detail", response.body)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_segments_stay_whole(self) -> None:
        """A slash or a byte that was percent-encoded reaches the routes percent-encoded, in one segment."""
        seen: list[str] = []
        app = Klein()

        @app.route("/<segment>")
        def route(request: Any, segment: str) -> bytes:
            seen.append(segment)
            return b""

        site = Site(in_front_of(app.resource()), reactor=Clock())
        for path in ("plain", "%70lain", "a%2Fb", "a%20b", "%252F", "%FF%fe", "caf%C3%A9", "..", "%2e.", "%00", "a+b"):
            connection = Connection(site, HOME)
            connection.request("GET", f"/{path}", {"Host": "a"})
            connection.lose()
        self.assertEqual(
            seen,
            ["plain", "plain", "a%2Fb", "a%20b", "%252F", "%FF%FE", "caf%C3%A9", "..", "..", "%00", "a%2Bb"],
        )
