"""Tests of :mod:`rendezvous.web.channel`: strict HTTP/1.1, with answers in JSON and without lines in the log."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.logger import ILogObserver, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.testing import MemoryServer, Response
from rendezvous.web.deadlines import REFUSAL_TIME

ORIGIN = b"Origin: https://app.example\r\n"


class StrictCase(SynchronousTestCase):
    """A server, and what was logged since it has started."""

    cors: tuple[str, ...] = ()

    def setUp(self) -> None:
        """Start it."""
        self.server = MemoryServer(cors_origin=self.cors)
        self.addCleanup(self.server.stop)
        self.logged: list[Any] = []
        observer = cast(ILogObserver, self.logged.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def answers(self, data: bytes) -> list[Response]:
        """:returns: all answers to raw bytes. Nothing may be logged."""
        connection = self.server.connect()
        connection.send(data)
        found = connection.responses()
        self.server.reactor.advance(REFUSAL_TIME)
        connection.lose()
        self.assertEqual(self.logged, [], data)
        return found

    def assert_refused(self, data: bytes, status: int, code: str) -> Response:
        """Check that raw bytes have one answer, an error."""
        [response] = self.answers(data)
        self.assertEqual((response.status, response.headers["content-type"]), (status, "application/json"), data)
        body = response.json()
        names = {"ok", "error", "code"} | ({"request_id"} if status >= 500 else set())
        self.assertEqual((set(body), body["code"]), (names, code), data)
        self.assertEqual(response.headers["vary"], "Origin")
        self.assertEqual(response.headers["cache-control"], "no-store")
        return response


class FramingTests(StrictCase):
    """Where a request ends (RFC 9112, section 6)."""

    def test_length_with_absurd_digits_is_400(self) -> None:
        """19 digits are only too long a body; 20 and 5000 are no length."""
        head = b"POST /offers HTTP/1.1\r\nHost: a\r\nContent-Length: "
        self.assert_refused(head + b"9" * 19 + b"\r\n\r\n", 413, "too-large")
        for digits in (20, 4300, 4301, 5000):
            self.assert_refused(head + b"9" * digits + b"\r\n\r\n", 400, "bad-request")
            self.assert_refused(head + b"9" * digits + b"\r\nX: y\r\n\r\n", 400, "bad-request")

    def test_unknown_transfer_codings_are_501(self) -> None:
        """Only chunked is known; identity is none any more (RFC 9112, section 6.1)."""
        head = b"POST /register HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
        for coding in (b"identity", b"gzip", b"gzip, chunked", b"chunked, chunked", b"xchunked", b""):
            self.assert_refused(head + coding + b"\r\n\r\n0\r\n\r\n", 501, "unsupported")
        for coding in (b"chunked", b"Chunked", b"CHUNKED"):
            self.assertEqual(
                [response.status for response in self.answers(head + coding + b"\r\n\r\n0\r\n\r\n")], [200]
            )

    def test_two_ways_to_tell_the_length_are_400(self) -> None:
        """In either order, and also when they agree."""
        for one, other in (
            (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
            (b"Transfer-Encoding: chunked", b"Content-Length: 5"),
            (b"Content-Length: 5", b"Content-Length: 5"),
        ):
            head = b"POST /register HTTP/1.1\r\nHost: a\r\n%b\r\n%b\r\n\r\n0\r\n\r\n" % (one, other)
            self.assert_refused(head, 400, "bad-request")

    def test_broken_chunks_are_400(self) -> None:
        """Sizes that are none, and chunks that do not end."""
        head = b"POST /register HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        for body in (b"x\r\n", b"-1\r\n", b"1\r\nab\r\n", b"\r\n", b"1" * 2000):
            self.assert_refused(head + body, 400, "bad-request")

    def test_nothing_behind_a_refused_request_is_read(self) -> None:
        """A request that follows in the same packet is not served."""
        behind = b"POST /register HTTP/1.1\r\nHost: a\r\n\r\n"
        self.assert_refused(b"POST / HTTP/1.1\r\nContent-Length: x\r\nHost: a\r\n\r\n" + behind, 400, "bad-request")
        self.assertEqual(len(self.server.rendezvous.store.live), 0)


class SizeTests(StrictCase):
    """Lines and headers that are too long."""

    def test_long_first_line_is_414(self) -> None:
        """It is refused as soon as it is too long."""
        self.assert_refused(b"GET /" + b"x" * 20_000, 414, "line-too-long")

    def test_long_header_is_431(self) -> None:
        """One alone, with its end or without."""
        head = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
        self.assert_refused(head + b"x" * 20_000, 431, "headers-too-large")
        self.assert_refused(head + b"x" * 20_000 + b"\r\n\r\n", 431, "headers-too-large")

    def test_long_headers_together_are_431(self) -> None:
        """Twenty of 1 KB, and 501 short ones; 500 are served."""
        head = b"GET /health HTTP/1.1\r\n"
        self.assert_refused(head + b"X: %b\r\n" % (b"x" * 1000) * 20 + b"\r\n", 431, "headers-too-large")
        self.assert_refused(head + b"X: y\r\n" * 502 + b"\r\n", 431, "headers-too-large")
        self.assertEqual([r.status for r in self.answers(head + b"Host: a\r\n" + b"X: y\r\n" * 499 + b"\r\n")], [200])

    def test_path_of_many_segments_is_404(self) -> None:
        """It is not looked for."""
        self.assert_refused(b"GET " + b"/a" * 8000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 404, "no-such-path")

    def test_page_may_read_why(self) -> None:
        """The headers of CORS are there, though the Origin may not have been read yet."""
        response = self.assert_refused(
            b"GET / HTTP/1.1\r\n" + ORIGIN + b"X: " + b"x" * 20_000, 431, "headers-too-large"
        )
        self.assertEqual(response.headers["access-control-allow-origin"], "*")


class OriginTests(StrictCase):
    """What cannot be read, where only some pages may use the server."""

    cors = ("https://app.example",)

    def test_only_those_pages_may_read_why(self) -> None:
        """Another page's request has the same answer without the header."""
        for origin, shown in ((ORIGIN, "https://app.example"), (b"Origin: https://other.example\r\n", None)):
            response = self.assert_refused(b"GET / HTTP/1.1\r\n" + origin + b"bad header\r\n\r\n", 400, "bad-request")
            self.assertEqual(response.headers.get("access-control-allow-origin"), shown)


class TargetTests(StrictCase):
    """Methods and targets (RFC 9112, section 3)."""

    def test_absolute_form_is_taken(self) -> None:
        """The host of the URL counts, and not the Host header; https and a query are no matter."""
        for target in (b"http://a/health", b"HTTP://a:80/health", b"https://a/health?x=y", b"http://[::1]:5/health"):
            head = b"GET %b HTTP/1.1\r\nHost: b..c\r\n\r\n" % target
            self.assertEqual([response.status for response in self.answers(head)], [200], target)
        [response] = self.answers(b"GET http://a HTTP/1.1\r\nHost: b\r\n\r\n")
        self.assertEqual(response.json()["name"], "rendezvous")
        [response] = self.answers(b"GET http://a?page=1 HTTP/1.1\r\nHost: b\r\n" + ORIGIN + b"\r\n")
        self.assertIn("pagination", response.json())
        self.assert_refused(b"GET http://a..b/health HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad-host")

    def test_other_targets_are_400(self) -> None:
        """A path without its slash, another scheme, and the forms of CONNECT and OPTIONS."""
        for target in (b"health", b"ftp://a/health", b"a:80", b"*", b"?x", b"http:/health"):
            self.assert_refused(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target, 400, "bad-target")
        [response] = self.answers(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(response.status, 204)

    def test_methods_are_case_sensitive(self) -> None:
        """In other letters they are methods that the server does not know."""
        for method in (b"get", b"Get", b"pOST", b"options"):
            self.assert_refused(b"%b /health HTTP/1.1\r\nHost: a\r\n\r\n" % method, 501, "unsupported")

    def test_body_of_an_absolute_target_has_the_limit_of_its_route(self) -> None:
        """The limit goes by the path within the URL."""
        head = b"POST http://a/%b HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
        [response] = self.answers(head % b"offers" + bytes(100_000))
        self.assertEqual(response.status, 401)
        self.assert_refused(head % b"register", 413, "too-large")


class NoiseTests(StrictCase):
    """Whatever arrives, nothing is logged."""

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=300))
    def test_any_bytes_leave_no_line(self, data: bytes) -> None:
        """Alone, as a header, as a target, as a body, and as chunks."""
        for before, after in (
            (b"", b"\r\n\r\n"),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"\r\n\r\n"),
            (b"GET /", b" HTTP/1.1\r\nHost: a\r\n\r\n"),
            (b"GET /topics?", b" HTTP/1.1\r\nHost: a\r\n\r\n"),
            (b"POST /poll HTTP/1.1\r\nOrigin: a\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(data), b""),
            (b"POST /poll HTTP/1.1\r\nOrigin: a\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"\r\n0\r\n\r\n"),
        ):
            self.answers(before + data + after)
