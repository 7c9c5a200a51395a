"""Tests of what no route serves: other paths, methods, hosts and headers, each refused with its status and as JSON."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.testing import Connection, MemoryServer, Response
from rendezvous.web.deadlines import REFUSAL_TIME

REGISTER = "POST /register HTTP/1.1\r\nHost: a\r\n"


class _Case(SynchronousTestCase):
    """A server."""

    def setUp(self) -> None:
        """Start it."""
        self.server = MemoryServer()
        self.addCleanup(self.server.stop)

    def assert_error(self, response: Response, status: int, code: str, what: object = None) -> None:
        """Check that a response is an error in the one form that errors have."""
        self.assertEqual((response.status, response.headers["content-type"]), (status, "application/json"), what)
        body = response.json()
        self.assertEqual((set(body), body["ok"], body["code"]), ({"ok", "error", "code"}, False, code), what)
        self.assertIsInstance(body["error"], str)

    def assert_ends(self, connection: Connection, status: int, code: str, what: object = None) -> None:
        """Check that the only answer is an error, and that the connection is closed soon after it."""
        [response] = connection.responses()
        self.assert_error(response, status, code, what)
        self.assertEqual(response.headers["connection"], "close")
        self.server.reactor.advance(REFUSAL_TIME)
        self.assertTrue(connection.closed, what)

    def assert_alive(self) -> None:
        """Check that the server goes on serving."""
        self.assertEqual(self.server.request("GET", "/health").status, 200)


class PathTests(_Case):
    """Tests of paths at which there is nothing."""

    def test_unknown_paths_are_404(self) -> None:
        """So are those that only look like a route's: with a slash too many or too few, or in other letters."""
        paths = (
            "/nope", "/register/", "//register", "///register", "//", "/Register", "/register/x", "/register;a=b",
            "/peer", "/peer/", "/peer//udp", f"/peer/{'0' * 32}", f"/peer/{'0' * 32}/udp/", f"/peer/{'0' * 32}//udp",
            f"/peer/{'0' * 32}/tcp", f"/peer/{'0' * 32}/udp/nope", "/peer/a/b/udp", "/./health", "/../health",
        )  # fmt: skip
        for path in paths:
            for method in ("GET", "POST"):
                self.assert_error(self.server.request(method, path), 404, "no-such-path", path)

    def test_error_says_where_the_paths_are(self) -> None:
        """A newcomer who types a path wrong finds those that there are."""
        self.assertIn("/openapi.json", self.server.request("GET", "/demo/").json()["error"])

    def test_percent_encoded_junk_is_404(self) -> None:
        """Bytes that are no UTF-8, half an escape, slashes, NULs and line ends in disguise are only unknown names."""
        for path in ("/%", "/%f", "/%zz", "/%00", "/%FF%FE", "/%C3%28", "/%2Fregister", "/%2F%2F", "/%0D%0A", "/%25"):
            self.assert_error(self.server.request("GET", path), 404, "no-such-path", path)

    def test_raw_bytes_beyond_ascii_are_refused(self) -> None:
        """A request line must be ASCII (RFC 9112, section 3); it is refused before there is a path at all."""
        for path in ("/\xff\xfe", "/caf\xe9"):
            connection = self.server.start_request("GET", path)
            self.assert_ends(connection, 400, "bad-request", path)

    def test_query_is_no_part_of_the_path(self) -> None:
        """Whatever follows a question mark is ignored by routes that take none."""
        for query in ("?", "?a=b", "?%ff", "?a=/b", "??"):
            self.assertEqual(self.server.request("GET", f"/health{query}").status, 200, query)

    def test_encoded_letters_of_a_path_are_its_letters(self) -> None:
        """``%68`` is ``h`` (RFC 3986, section 2.3)."""
        self.assertEqual(self.server.request("GET", "/%68ealth").status, 200)

    def test_long_path_is_404_or_ends_the_connection(self) -> None:
        """A path that fits a request line is only unknown; a longer one is refused and not read to its end."""
        self.assert_error(self.server.request("GET", "/" + "a" * 16_000), 404, "no-such-path")
        connection = self.server.start_request("GET", "/" + "a" * 17_000)
        response = connection.response()
        assert response is not None
        self.assert_error(response, 414, "line-too-long")
        self.server.reactor.advance(REFUSAL_TIME)
        self.assertTrue(connection.closed)

    @settings(max_examples=150, deadline=None)
    @given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=60))
    def test_any_path_gets_a_json_answer(self, path: str) -> None:
        """No printable path makes the server fail or answer in anything but JSON."""
        response = self.server.request("GET", "/" + path)
        self.assertIn(response.status, {200, 401, 404, 405})
        self.assertIsInstance(response.json(), dict)


class MethodTests(_Case):
    """Tests of methods that a path does not take."""

    def test_wrong_method_is_405_with_allow(self) -> None:
        """Every path says which methods it takes."""
        peer = f"/peer/{'0' * 32}/udp"
        reads = ("/", "/health", peer, f"{peer}/address", f"{peer}/status")
        for path, allow, taken in (
            *((path, "GET, HEAD", ("GET", "HEAD")) for path in reads),
            *((path, "POST", ("POST",)) for path in ("/register", "/verify", "/logout")),
        ):
            for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "QUUX"}.difference(taken):
                response = self.server.request(method, path)
                self.assert_error(response, 405, "method-not-allowed", (method, path))
                self.assertEqual(response.headers["allow"], allow)
                self.assertIn(allow, response.json()["error"])

    def test_head_is_get_without_the_body(self) -> None:
        """Headers are those of GET, the length included; what follows on the connection is not taken for a body."""
        whole = self.server.request("GET", "/health")
        response = self.server.request("HEAD", "/health")
        self.assertEqual((response.status, response.body), (200, b""))
        self.assertEqual(response.headers["content-length"], str(len(whole.body)))
        self.assertEqual(response.headers["content-type"], "application/json")

    def test_head_of_nothing_is_404(self) -> None:
        """An error has no body either."""
        response = self.server.request("HEAD", "/nope")
        self.assertEqual((response.status, response.body), (404, b""))

    def test_method_that_is_no_word_is_400(self) -> None:
        """A token that no method is (RFC 9110, section 9.1, would allow it) is refused as malformed."""
        for method in ("G3T", "GET1", "X-Y", "GET_"):
            self.assert_error(self.server.request(method, "/health"), 400, "bad-method", method)

    def test_what_is_no_token_ends_the_connection(self) -> None:
        """With 400, as it is no HTTP."""
        for method in ("B@D", "GET\xff", ""):
            connection = self.server.start_request(method, "/health")
            self.assert_ends(connection, 400, "bad-request", method)
        self.assert_alive()


class HostTests(_Case):
    """Tests of the ``Host`` header, which no answer depends on."""

    def status(self, host: str) -> int:
        """:returns: the status of a request to such a host."""
        return self.server.request("GET", "/health", headers={"Host": host}).status

    def test_any_host_that_can_be_is_served(self) -> None:
        """Names, addresses of both families, ports, none at all; a label of 63 characters, 255 in all."""
        longest = ".".join(["a" * 63] * 3 + ["b" * 62]) + "."
        for host in (
            "", "a", "localhost:5025", "rendezvous.example", "rendezvous.example.", "my_host", "a-b.c",
            "xn--bcher-kva.example", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65535", "[::1]", "[::1]:5025",
            "[::ffff:1.2.3.4]:1", "[fe80::1%25eth0]:80", "a" * 63, longest, longest + ":5025",
        ):  # fmt: skip
            self.assertEqual(self.status(host), 200, host)

    def test_any_other_is_400(self) -> None:
        """Empty and overlong labels, spaces, delimiters, bytes beyond ASCII, ports that are none."""
        for host in (
            "...", "a..b", ".a", "a" * 64, "a" * 64 + ".b", "b." + "a" * 64, ".".join(["a" * 63] * 4) + ".",
            "a b", "a/b", "a?b", "a#b", "a@b", "<>", "*", "[", "]", "[]", "[..::]", "[a..b]", "::1",
            "a:b", "a:123456", "a:1:2", "\xff", "caf\xe9", "caf\xc3\xa9", "%00", "\\",
        ):  # fmt: skip
            response = self.server.request("GET", "/health", headers={"Host": host})
            self.assert_error(response, 400, "bad-host", host)

    def test_each_request_of_http_1_1_has_one_host(self) -> None:
        """None or two of them are 400 (RFC 9112, section 3.2); HTTP/1.0 may leave it out."""
        for head, status in (
            (b"GET /health HTTP/1.0\r\n", 200),
            (b"GET /health HTTP/1.1\r\nHost: a\r\n", 200),
            (b"GET /health HTTP/1.1\r\n", 400),
            (b"GET /health HTTP/1.1\r\nHost: a\r\nHost: a\r\n", 400),
            (b"GET /health HTTP/1.0\r\nHost: a\r\nHost: b\r\n", 400),
        ):
            connection = self.server.connect()
            connection.send(head + b"\r\n")
            response = connection.response()
            assert response is not None
            self.assertEqual(response.status, status, head)
            if status == 400:
                self.assert_error(response, 400, "bad-host", head)

    @settings(max_examples=300, deadline=None)
    @given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF), max_size=80))
    def test_no_host_makes_the_server_fail(self, host: str) -> None:
        """Whatever stands there, the answer is 200 or 400."""
        self.assertIn(self.status(host), {200, 400})


class HeaderTests(_Case):
    """Tests of headers that are too many, too long, or no headers."""

    def answer(self, data: str) -> tuple[bytes, bool]:
        """:returns: what came back for raw bytes, and whether the connection was closed."""
        connection = self.server.connect()
        connection.send(data.encode("latin-1"))
        return connection.transport.value(), connection.closed

    def test_long_header_is_served(self) -> None:
        """A header of 10 000 bytes is only useless."""
        answer, closed = self.answer(REGISTER + f"X: {'a' * 10_000}\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "))
        self.assertFalse(closed)

    def test_too_much_of_it_ends_the_connection(self) -> None:
        """Headers are read up to a limit, one by one and together; nothing is registered then."""
        for header in (f"X: {'a' * 20_000}\r\n", "X: y\r\n" * 600):
            connection = self.server.connect()
            connection.send((REGISTER + header + "\r\n").encode())
            self.assert_ends(connection, 431, "headers-too-large", header[:10])
        self.assertEqual(len(self.server.rendezvous.store.live), 0)
        self.assert_alive()

    def test_contradictory_framing_ends_the_connection(self) -> None:
        """Lengths that are none, or two ways to tell the length, get 400 and nothing else."""
        for header in (
            "Content-Length: x", "Content-Length: -1", "Content-Length: +1", "Content-Length: 1, 2",
            "Content-Length: 1\r\nTransfer-Encoding: chunked", "Content-Length: 1\r\nContent-Length: 2",
        ):  # fmt: skip
            connection = self.server.connect()
            connection.send(f"{REGISTER}{header}\r\n\r\n".encode())
            self.assert_ends(connection, 400, "bad-request", header)
        self.assertEqual(len(self.server.rendezvous.store.live), 0)

    def test_what_is_no_http_ends_the_connection(self) -> None:
        """Noise, TLS and other protocols get 400, and the connection is closed."""
        for data in ("GARBAGE", "\x16\x03\x01\x02\x00\x01", "GET /health HTTP/9.1", "GET /"):
            connection = self.server.connect()
            connection.send(f"{data}\r\n\r\n".encode("latin-1"))
            self.assert_ends(connection, 400, "bad-request", data)
        self.assert_alive()

    @settings(max_examples=150, deadline=None)
    @given(st.binary(max_size=200))
    def test_any_bytes_leave_the_server_serving(self, data: bytes) -> None:
        """Whatever arrives on the HTTP port raises nothing, with a request in front of it or without."""
        for prefix in (b"", b"POST /register HTTP/1.1\r\n", b"POST /verify HTTP/1.1\r\nAuthorization: "):
            connection = self.server.connect()
            connection.send(prefix + data + b"\r\n\r\n")
            connection.lose()
        self.assert_alive()
        self.assertEqual(self.flushLoggedErrors(), [])
