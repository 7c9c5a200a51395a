"""What web pages may read: preflights, listed and unlisted origins, and errors, which carry the same headers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.errors import StartupError
from rendezvous.settings import read_settings
from rendezvous.testing import Response
from rendezvous.web.cors import Cors
from tests._web_case import Headers, WebTestCase

PAGE = {"Origin": "https://app.example"}
OTHER = {"Origin": "https://evil.example"}

ALLOW = "access-control-allow-origin"

#: Requests that fail in every way there is, by status.
FAILING: list[tuple[int, str, str, bytes | None, Headers]] = [
    (400, "POST", "/poll", b"{", {}),
    (400, "GET", "/topics?limit=0", None, {}),
    (401, "GET", "/offers/mine", None, {}),
    (404, "GET", "/no/such/path/here", None, {}),
    (405, "DELETE", "/topics", None, {}),
    (413, "POST", "/offers", None, {"Content-Length": "104857600"}),
    (415, "POST", "/poll", b"{}", {"Content-Type": "text/plain"}),
]


class CorsTestCase(WebTestCase):
    """Requests of a page."""

    def failures(self, headers: Headers) -> dict[str, Response]:
        """The answers to everything that fails, by what it was."""
        answers = {}
        for status, method, path, body, more in FAILING:
            connection = self.start(method, path, body, {**headers, **more})
            response = connection.response()
            assert response is not None, (method, path)
            self.assertEqual(response.status, status, (method, path))
            connection.lose()
            self.open.remove(connection)
            answers[f"{status} {path}"] = response
        self.server.reactor.advance(1)
        return answers


class AnyOriginTests(CorsTestCase):
    """Without ``--cors-origin``."""

    def test_preflight_lets_every_page_do_everything(self) -> None:
        """A preflight is answered at any path, known or not, with the methods and headers that routes take."""
        for path in ("/offers", "/offers/x/answer", "/events", "/no/such/path", "/a%2Fb/offer"):
            response = self.ask(
                "OPTIONS",
                path,
                None,
                {
                    **PAGE,
                    "Access-Control-Request-Method": "PUT",
                    "Access-Control-Request-Headers": "authorization, content-type",
                },
            )
            self.assertEqual((response.status, response.body), (204, b""))
            self.assertEqual(response.headers[ALLOW], "*")
            methods = response.headers["access-control-allow-methods"].split(", ")
            self.assertEqual(set(methods), {"GET", "POST", "PUT", "DELETE"})
            allowed = response.headers["access-control-allow-headers"].lower().split(", ")
            self.assertEqual(set(allowed), {"authorization", "content-type", "last-event-id"})
            self.assertGreater(int(response.headers["access-control-max-age"]), 0)
            self.assertNotIn("content-length", response.headers)  # RFC 9110, section 8.6

    def test_every_answer_may_be_read(self) -> None:
        """Good answers and errors of every kind say so, and which other headers may be read."""
        answers = {**self.failures(PAGE), "200": self.ask("GET", "/topics", None, PAGE)}
        for what, response in answers.items():
            self.assertEqual(response.headers[ALLOW], "*", what)
            exposed = response.headers["access-control-expose-headers"].lower().split(", ")
            self.assertEqual(set(exposed), {"allow", "retry-after", "www-authenticate", "x-request-id"}, what)

    def test_credentials_mode_is_not_offered(self) -> None:
        """No answer allows cookies: there are none."""
        response = self.ask("GET", "/topics", None, PAGE)
        self.assertNotIn("access-control-allow-credentials", response.headers)

    def test_who_is_no_page_is_told_nothing(self) -> None:
        """Without an Origin there are no such headers, and everything works."""
        response = self.ask("GET", "/topics")
        self.assertEqual(response.status, 200)
        self.assertNotIn(ALLOW, response.headers)
        self.assertEqual(self.ask("OPTIONS", "/topics").status, 204)

    def test_a_stream_may_be_read(self) -> None:
        """An event stream is opened to pages as well."""
        stream = self.start("GET", "/events", None, {**self.alice, **PAGE})
        self.assertIn(b"access-control-allow-origin: *", stream.transport.value().lower())


class ListedOriginTests(CorsTestCase):
    """With ``--cors-origin``, given twice."""

    settings = {"cors_origin": ("https://app.example", "https://two.example:8443")}  # noqa: RUF012

    def test_listed_pages_may(self) -> None:
        """A page of a listed origin is told its own origin, on preflights, answers and errors."""
        for origin in self.settings["cors_origin"]:
            page = {"Origin": origin}
            preflight = self.ask("OPTIONS", "/offers", None, page)
            self.assertEqual(preflight.status, 204)
            self.assertIn("access-control-allow-methods", preflight.headers)
            for response in (preflight, self.ask("GET", "/topics", None, page), *self.failures(page).values()):
                self.assertEqual(response.headers[ALLOW], origin)
                self.assertEqual(response.headers["vary"], "Origin")

    def test_other_pages_may_not(self) -> None:
        """A page of another origin, however similar, gets no permission anywhere."""
        for origin in (
            "https://evil.example",
            "http://app.example",
            "https://app.example:443",
            "https://app.example.evil.example",
            "https://two.example",
            "null",
            "",
        ):
            page = {"Origin": origin}
            preflight = self.ask("OPTIONS", "/offers", None, page)
            self.assertEqual(preflight.status, 204)
            self.assertNotIn("access-control-allow-methods", preflight.headers)
            for response in (preflight, self.ask("GET", "/topics", None, page)):
                self.assertNotIn(ALLOW, response.headers)
                self.assertEqual(response.headers["vary"], "Origin")
        for response in self.failures(OTHER).values():
            self.assertNotIn(ALLOW, response.headers)

    def test_caches_are_told_even_without_an_origin(self) -> None:
        """What is sent to somebody who is no page must not be kept for a page: Vary is always there."""
        for response in (self.ask("GET", "/topics"), self.ask("OPTIONS", "/topics"), *self.failures({}).values()):
            self.assertEqual(response.headers["vary"], "Origin")
            self.assertNotIn(ALLOW, response.headers)


class OptionTests(CorsTestCase):
    """How an origin may be written."""

    def test_origins_as_browsers_send_them_are_taken(self) -> None:
        """Scheme, host and a port that is not the scheme's own; or null."""
        for text in ("https://app.example", "http://localhost:8080", "https://[::1]:8443", "null", "app://x"):
            self.assertEqual(read_settings({"cors-origin": [text]}, {}).cors_origin, (text,))

    def test_what_no_browser_sends_is_refused(self) -> None:
        """An origin that could never match is an error at start, not a page that silently fails."""
        for text in (
            "",
            "*",
            "app.example",
            "https://app.example/",
            "https://app.example/path",
            "https://App.example",
            "https://app.example:443",
            "http://app.example:80",
            "https://caf\u00e9.example",
            "https://user@app.example",
            "HTTPS://app.example",
        ):
            with self.assertRaises(StartupError, msg=text):
                read_settings({"cors-origin": [text]}, {})


class SocketOriginTests(SynchronousTestCase):
    """Which pages may open WebSockets."""

    def test_page_of_the_server_itself_names_its_host(self) -> None:
        """A request without a host has no page of its own."""
        cors = Cors(["https://app.example"])
        self.assertTrue(cors.allows(b"https://app.example", b"server.example"))
        self.assertTrue(cors.allows(b"http://[2001:db8::1]:5025", b"[2001:db8::1]:5025"))
        for origin, host in ((b"https://", b""), (b"", b""), (b"null", b""), (b"https://a.example", b"b.example")):
            self.assertFalse(cors.allows(origin, host), (origin, host))

    def test_any_page_where_no_origin_is_given(self) -> None:
        """Without ``--cors-origin``."""
        self.assertTrue(Cors([]).allows(b"null", b"server.example"))
