"""Who may use the operators' port: every route of its table, with every method, spelled in every way."""

from __future__ import annotations

import hmac
import re
from itertools import product
from typing import Any
from unittest.mock import patch

from zope.interface import implementer

from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher

from rendezvous.operator.page import PUBLIC
from rendezvous.testing import Connection, Response
from rendezvous.web.route import Route
from tests._operator_case import TOKEN, OperatorCase

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "X")
#: A credential of a client has this form.
CREDENTIAL = f"{'0' * 32}:{'0' * 64}"
#: Authorization headers that hold no token, and those that hold another one.
NONE = (None, "", "Bearer", "Bearer ", TOKEN, f"Basic {TOKEN}", f"Bearer: {TOKEN}", f"Bearer {TOKEN} {TOKEN}",
        "Bearer é", f"Bearer {CREDENTIAL}", f"Bearer {TOKEN},", f"Bearer {'x' * 300}")  # fmt: skip
OTHER = ("Bearer x", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN.upper()}", f"Bearer {'x' * 256}")
HOST = "127.0.0.1:5027"
#: Other spellings of a path, such as ``/overview``.
SPELLINGS = (
    "/{}", "//{}", "/./{}", "/../{}", "/%2e/{}", "/%2e%2e/{}", "/{}/", "/{}//", "/{}/.", "/{};x", "/{}?token=" + TOKEN,
    "/{}?authorization=Bearer%20" + TOKEN, "/{}%2f", "/{}%00", "/{}%ff", "/{}?%ff", "/{}#x", "http://" + HOST + "/{}",
    "/dashboard/../{}", "/dashboard/%2e%2e/{}", "/dashboard/icon.svg/../../{}", "/dashboard/icon.svg/{}",
    "/dashboard%2f..%2f{}", "/?/{}", "/{}" + "/x" * 100, "/{}" + "x" * 3000,
)  # fmt: skip
#: Statuses without the token, with the challenge that they have. 404 is of paths that no table is asked for: those with
#: an empty first segment, and those with very many segments. 400 is of what is no path.
REFUSED = ((401, "Bearer"), (404, None), (400, None))
FIELDS = {"x-frame-options": "DENY", "cross-origin-resource-policy": "same-origin", "referrer-policy": "no-referrer"}


class AuthorizationCase(OperatorCase):
    """A server with a client, whose id and key nobody may learn here."""

    def setUp(self) -> None:
        """Register the client."""
        super().setUp()
        self.client_id, self.key, _ = self.server.register()
        self.server.deliver(self.key, ("203.0.113.9", 40123))
        self.page = getattr(self.sent("GET", "/", None), "body", b"")
        self.bodies = set[bytes]()

    def paths(self, route: Route) -> list[str]:
        """:returns: paths of a route, with a client that is there and one that is not."""
        found = []
        for client_id in (self.client_id, "0" * 32):
            parts = {"client_id": client_id, "target": "192.0.2.0%2F24", "file": "icon.svg"}
            found.append(re.sub("<([a-z_]+)>", lambda match, parts=parts: parts[match[1]], route.path))  # type: ignore[misc]
        return sorted(set(found))

    def guarded(self) -> list[str]:
        """:returns: the paths of all routes that need the token."""
        return [path for route in self.routes for path in self.paths(route) if path[1:].encode() not in PUBLIC]

    def sent(self, method: str, target: str, authorization: str | None, **headers: str) -> Response | None:
        """:returns: the answer of the port of operators; ``None`` if it closes the connection without one."""
        connection = Connection(self.port.factory, ("127.0.0.1", 40000))
        fields = {"Host": HOST, **headers}
        if authorization is not None:
            fields["Authorization"] = authorization
        if method in ("POST", "PUT", "PATCH"):
            fields["Content-Length"] = "0"
        connection.request(method, target, fields)
        # One address may send so many requests in a second, with a token and without.
        for _ in range(3):
            self.server.reactor.advance(0.02)
        response = connection.response()
        connection.lose()
        return response

    def assertNothing(self, response: Response | None, what: Any, *, may_be_page: bool = False) -> None:
        """An answer is a refusal, the same for what is there and what is not; or the page, which holds no data."""
        assert response is not None, what
        if may_be_page and response.status == 200:
            self.assertEqual(response.body, self.page if response.body else b"", what)
            return
        self.assertIn((response.status, response.headers.get("www-authenticate")), REFUSED, what)
        if response.body:
            self.bodies.add(response.body)
        if response.status == 401:
            for name, value in FIELDS.items():
                self.assertEqual(response.headers[name], value, what)


class TableTests(AuthorizationCase):
    """Every route of the table, those of metrics, curves, the log and updates included."""

    def test_table_is_whole(self) -> None:
        """The routes that this is about are in it."""
        paths = {route.path for route in self.routes}
        self.assertLessEqual(
            {"/metrics", "/history", "/log", "/updates", "/overview", "/clients/<client_id>/kick", "/bans/<target>",
             "/drain", "/reload", "/settings", "/openapi.json", "/limited", "/attempt-pairs"}, paths,
        )  # fmt: skip
        self.assertGreater(len(self.routes), 20)
        public = [route.path for route in self.routes if not route.credential]
        self.assertEqual(public, ["/", "/dashboard/<file>"])

    def test_without_the_token_all_is_401(self) -> None:
        """With each method, also those that a route has not. All answers to one kind of mistake are the same."""
        for headers in (NONE, OTHER):
            self.bodies.clear()
            fields = set()
            for authorization in headers:
                for path in self.guarded():
                    for method in METHODS:
                        what = (method, path, authorization)
                        response = self.sent(method, path, authorization)
                        self.assertNothing(response, what)
                        assert response is not None
                        self.assertEqual(response.status, 401, what)
                        self.assertEqual(response.body == b"", method == "HEAD", what)
                        fields.add(tuple(sorted(response.headers)))
            self.assertEqual((len(self.bodies), len(fields)), (1, 1), (self.bodies, fields))
        # Nothing of it has changed anything.
        self.assertEqual(self.server.request("POST", "/register").status, 200)
        found = self.get("/overview")
        self.assertEqual((found["draining"], found["bans"]), (False, 0))

    def test_with_the_token_all_is_there(self) -> None:
        """So the paths above are those of routes; methods that a route has not are 405."""
        for route in self.routes:
            path = self.paths(route)[-1]
            if path == "/updates":
                continue  # It does not end.
            response = self.sent(route.method, path, f"Bearer {TOKEN}")
            assert response is not None
            self.assertNotIn(response.status, (401, 403, 405, 500), path)
            response = self.sent("PROPFIND", path, f"Bearer {TOKEN}")
            assert response is not None
            self.assertEqual(response.status, 405, path)

    def test_other_spellings_open_nothing(self) -> None:
        """Slashes, dots, percent signs, whole URLs, long ones."""
        for path in self.guarded():
            for spelling in SPELLINGS:
                for method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS"):
                    target = spelling.format(path[1:])
                    is_page = target.startswith("/?") and method in ("GET", "HEAD")
                    self.assertNothing(self.sent(method, target, None), (method, target), may_be_page=is_page)
        self.assertEqual(len(self.bodies), 2, self.bodies)  # unauthorized and no-such-path

    def test_targets_that_are_no_paths(self) -> None:
        """As servers and proxies get them; a URL without a path is that of the page."""
        for target in ("*", "127.0.0.1:5027", "overview", "http://", f"http://{HOST}", "/\\overview", "\\overview"):
            for method in ("GET", "OPTIONS", "CONNECT"):
                self.assertNothing(self.sent(method, target, None), (method, target), may_be_page=method == "GET")
        long = self.sent("GET", "/overview" + "x" * 20_000, None)
        unknown = self.sent("get", "/overview", None)
        self.assertEqual([getattr(each, "status", 0) for each in (long, unknown)], [414, 501])

    def test_public_files_only_as_they_are_named(self) -> None:
        """Their other spellings need the token, and so do other methods."""
        for path in sorted(PUBLIC):
            name = path.decode()
            response = self.sent("GET", f"/{name}", None)
            assert response is not None
            self.assertEqual(response.status, 200, name)
            for method in set(METHODS) - {"GET", "HEAD"}:
                self.assertEqual(getattr(self.sent(method, f"/{name}", None), "status", 0), 401, (method, name))
        for target in ("/.", "/%2e", "/dashboard", "/dashboard/", "/dashboard//icon.svg", "/dashboard%2ficon.svg",
                       "/dashboard/icon.svg/", "/dashboard/../operator/token.py", "/dashboard/nothing.js"):  # fmt: skip
            self.assertEqual(getattr(self.sent("GET", target, None), "status", 0), 401, target)

    def test_no_header_stands_for_another_method(self) -> None:
        """Proxies and frameworks know some that would."""
        for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-URL", "X-Rewrite-URL"):
            value = "/overview" if name.endswith("URL") else "POST"
            response = self.sent("GET", "/", None, **{name: value})
            self.assertNothing(response, name, may_be_page=True)
            self.sent("GET", "/drain", f"Bearer {TOKEN}", **{name: value})
        self.assertFalse(self.get("/overview")["draining"])


class TokenTests(AuthorizationCase):
    """How the token is compared, and where it never is."""

    def test_time_of_the_comparison_says_nothing(self) -> None:
        """Every token that has the form of one is compared whole."""
        with patch("hmac.compare_digest", wraps=hmac.compare_digest) as compared:
            for authorization in (*OTHER, f"Bearer {TOKEN}"):
                self.sent("GET", "/overview", authorization)
            self.assertEqual(compared.call_count, len(OTHER) + 1)

    def test_no_token_is_logged(self) -> None:
        """Neither the right one nor others, whatever is asked, also where the server fails."""
        lines: list[str] = []

        @implementer(ILogObserver)
        class Observer:
            def __call__(self, event: LogEvent) -> None:
                lines.append(f"{formatEvent(event)} {event.get('log_failure')} {event}")

        observer = Observer()
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        wrong = TOKEN[::-1]
        for route in self.routes:
            path = self.paths(route)[-1]
            for token in (TOKEN, wrong):
                for method in (route.method, "PUT"):
                    if path != "/updates":
                        self.sent(method, f"{path}?token={token}", f"Bearer {token}")
        with patch("rendezvous.operator.clients.number_after", side_effect=ZeroDivisionError):
            response = self.sent("GET", "/clients", f"Bearer {TOKEN}")
        self.assertEqual(getattr(response, "status", 0), 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue([line for line in lines if "operator 127.0.0.1" in line])
        self.assertEqual([line for line in lines if TOKEN in line or wrong in line], [])


class PublicPortTests(AuthorizationCase):
    """The public port, asked for what operators have."""

    TRICKS = (
        {"Host": HOST},
        {"Host": "localhost:5027"},
        {"Host": "server.example", "X-Forwarded-Host": HOST},
        {"Host": "server.example", "Forwarded": f"for=127.0.0.1;host={HOST}", "X-Forwarded-For": "127.0.0.1"},
        {"Host": HOST, "X-Original-URL": "/overview", "X-Rewrite-URL": "/overview", "X-Forwarded-Port": "5027"},
    )

    def asked(self, method: str, target: str, headers: dict[str, str]) -> Response:
        """:returns: the answer of the public port."""
        connection = self.server.connect(("127.0.0.1", 50000))
        more = {"Content-Length": "0"} if method == "POST" else {}
        connection.request(method, target, {**headers, **more})
        self.server.reactor.advance(0)
        response = connection.response()
        connection.lose()
        assert response is not None, (method, target)
        return response

    def test_nothing_of_it_is_there(self) -> None:
        """Also with the token, and whatever a request says of its host; what both have is what the public port says."""
        public = {(route.method, route.path) for route in self.server.rendezvous.routes()}
        both = set()
        for route in self.routes:
            path = self.paths(route)[-1]
            for headers, target in product(self.TRICKS, (path, f"http://{HOST}{path}", f"/{path}")):
                for token in ({}, {"Authorization": f"Bearer {TOKEN}"}):
                    response = self.asked(route.method, target, {**headers, **token})
                    if (route.method, route.path) in public:
                        both.add(route.path)
                        for data in (self.client_id, self.key.hex(), "rendezvous_build", "/clients"):
                            self.assertNotIn(data.encode(), response.body, (route.method, target, headers))
                    else:
                        self.assertIn(response.status, (400, 404, 405), (route.method, target, headers))
        self.assertEqual(both, {"/", "/attempts", "/openapi.json", "/topics"})
