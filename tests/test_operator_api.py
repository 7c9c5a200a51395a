"""The operator's API on a server in memory: who may use it, what it shows, and what it changes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from zope.interface import implementer

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher

from rendezvous.operator.examples import EXAMPLES
from rendezvous.settings import Settings
from rendezvous.storage import queries
from rendezvous.storage.slices import Slices
from rendezvous.testing import Connection, MemoryReactor, MemoryServer, MemorySocket, Response
from tests._operator_case import TOKEN, OperatorCase
from tests.test_openapi import closed

#: Values of the parts of paths that vary.
PARTS = {"client_id": "0" * 32, "target": "192.0.2.0%2F24", "file": "icon.svg"}
HOME = ("198.51.100.7", 40000)
SDP = "v=0"


class ApiCase(OperatorCase):
    """A server with a port for operators, and with the time of the wall clock."""

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        """:returns: the answer to a request with further headers; with the token unless another one is given."""
        fields = {"Host": "127.0.0.1:5027", "Authorization": f"Bearer {TOKEN}"}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = b"" if body is None else json.dumps(body).encode("ascii")
        if body is not None:
            fields |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
        if not fields["Authorization"]:
            del fields["Authorization"]
        connection = Connection(self.port.factory, ("127.0.0.1", 40000))
        connection.request(method, path, fields, data)
        for _ in range(5):
            self.server.reactor.advance(0)
        response = connection.response()
        assert response is not None, (method, path)
        connection.lose()
        return response

    def good(self, method: str, path: str, body: Any = None, status: int = 200, **headers: str) -> Any:
        """:returns: the JSON of a good answer."""
        response = self.send(method, path, body, **headers)
        self.assertEqual(response.status, status, response.body)
        return response.json()

    def refused(self, method: str, path: str, status: int, code: str, body: Any = None, **headers: str) -> str:
        """:returns: the sentence of an error."""
        response = self.send(method, path, body, **headers)
        found = response.json()
        self.assertEqual((response.status, found["code"]), (status, code), found)
        error: str = found["error"]
        return error

    def table(self) -> list[tuple[str, str]]:
        """:returns: method and path of every route, as its own description lists them."""
        return [
            (method.upper(), path.format(**PARTS))
            for path, item in self.good("GET", "/openapi.json")["paths"].items()
            for method in item
        ]

    def pulsing(self, source: tuple[str, int] = HOME) -> tuple[str, bytes]:
        """:returns: the id and the key of a client that has pulsed."""
        client_id, key, _ = self.server.register()
        self.server.deliver(key, source)
        return client_id, key


class OtherSiteTests(ApiCase):
    """Pages of other sites."""

    OTHERS = (
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:5028"},
        {"Origin": "http://127.0.0.1:5027", "Sec_Fetch_Site": "cross-site"},
    )

    def test_they_change_nothing(self) -> None:
        """Even if they have the token."""
        client_id, _ = self.pulsing()
        changes = [(method, path) for method, path in self.table() if method != "GET"]
        self.assertEqual(len(changes), 6)
        for headers in self.OTHERS:
            for method, path in [*changes, ("POST", f"/clients/{client_id}/kick")]:
                self.refused(method, path, 403, "other-site", **headers)
        self.assertEqual(self.good("GET", f"/clients/{client_id}")["client"]["state"], "online")

    def test_reading_changes_nothing(self) -> None:
        """It needs the token alone."""
        for headers in self.OTHERS:
            for method in ("GET", "HEAD"):
                self.assertEqual(self.send(method, "/overview", **headers).status, 200)

    def test_page_of_the_port_itself_may(self) -> None:
        """As may what is no page."""
        for headers in (
            {"Sec_Fetch_Site": "same-origin", "Origin": "http://127.0.0.1:5027"},
            {"Sec_Fetch_Site": "none"},
        ):
            self.good("DELETE", "/drain", None, 200, **headers)

    def test_nothing_can_be_framed_or_read(self) -> None:
        """No answer allows another origin to read it; none can be put into a frame, errors and the page included."""
        for path in ("/", "/overview", "/nothing", "/dashboard/icon.svg"):
            for authorization in ("", f"Bearer {TOKEN}"):
                response = self.send("GET", path, Authorization=authorization, Origin="https://elsewhere.example")
                self.assertEqual(response.headers["x-frame-options"], "DENY", path)
                self.assertIn("frame-ancestors 'none'", response.headers["content-security-policy"], path)
                self.assertEqual([name for name in response.headers if name.startswith("access-control-")], [])


class DescriptionTests(ApiCase):
    """The description of the routes."""

    def setUp(self) -> None:
        """Ask for it."""
        super().setUp()
        self.document = self.good("GET", "/openapi.json")

    def test_it_is_openapi_3_1(self) -> None:
        """The document is valid, and has every route."""
        self.assertEqual([error.message for error in OpenAPIV31SpecValidator(self.document).iter_errors()], [])
        described = {
            f"{method.upper()} {path.replace('{', '<').replace('}', '>')}"
            for path, item in self.document["paths"].items()
            for method in item
        }
        self.assertEqual(described, set(EXAMPLES))

    def validator(self, schema: Any) -> Draft202012Validator:
        """:returns: what checks a value; keys that are not described are errors."""
        return Draft202012Validator(closed({**schema, "components": self.document["components"]}))

    def test_what_each_route_reads_is_listed(self) -> None:
        """Its parameters, and the schema of its body."""
        described, found = self.good("GET", "/openapi.json"), {}
        for path, item in described["paths"].items():
            for method, operation in item.items():
                keys = [each["$ref"].rpartition("/")[2] for each in operation.get("parameters", ())]
                parameters = [described["components"]["parameters"][key] for key in keys]
                names = tuple(each["name"] for each in parameters if each["in"] == "query")
                content = operation.get("requestBody", {}).get("content", {})
                schemas = tuple(each["schema"]["$ref"].rpartition("/")[2] for each in content.values())
                if names or schemas:
                    found[f"{method.upper()} {path}"] = names + schemas
        pages = ("limit", "after")
        self.assertEqual(
            found,
            {
                "GET /clients": ("prefix", "network", "state", *pages),
                "GET /offers": pages,
                "GET /sessions": pages,
                "GET /topics": ("startsWith", "limit", "offset"),
                "GET /sockets": pages,
                "GET /attempts": ("client", *pages),
                "GET /log": ("after",),
                "GET /updates": ("after",),
                "POST /bans": ("NewBan",),
            },
        )

    def test_worked_requests_are_what_their_schemas_say(self) -> None:
        """Bodies and answers."""
        for path, item in self.document["paths"].items():
            for method, operation in item.items():
                for content in operation.get("requestBody", {}).get("content", {}).values():
                    self.validator(content["schema"]).validate(content["examples"]["worked"]["value"])
                answer = operation["responses"].get("200") or operation["responses"]["201"]
                for media, content in answer["content"].items():
                    if media == "application/json":
                        found = [
                            error.message
                            for error in self.validator(content["schema"]).iter_errors(
                                content["examples"]["worked"]["value"]
                            )
                        ]
                        self.assertEqual(found, [], (method, path))

    def test_answers_are_what_their_schemas_say(self) -> None:
        """Of a server that has something of everything."""
        client_id, _ = self.pulsing()
        _, _, alice = self.server.register()
        self.server.request("POST", "/offers", {"offers": [{"sdp": SDP, "topics": ["chess"]}]}, alice)
        session = {"info": "a", "offer": SDP}
        self.server.request("POST", "/chess/offer", session, {"Origin": "https://app.example"})
        self.server.request("POST", f"/peer/{client_id}/connect", {"candidates": []}, alice)
        socket = MemorySocket(self.server.connect(HOME), "/signal")
        self.good("POST", "/bans", {"target": "192.0.2.0/24", "seconds": 60, "reason": "floods"}, 201)
        asked = 0
        for method, path in self.table():
            if method != "GET" or path in ("/updates", "/", "/metrics", "/dashboard/icon.svg"):
                continue
            path = path.replace("0" * 32, client_id)
            described = self.document["paths"][path.replace(client_id, "{client_id}")]["get"]
            schema = described["responses"]["200"]["content"]["application/json"]["schema"]
            answer = self.good(method, path)
            self.assertEqual([error.message for error in self.validator(schema).iter_errors(answer)], [], path)
            asked += 1
        self.assertEqual(asked, 15)
        socket.lose()


class ClientTests(ApiCase):
    """Clients: the list, one of them, its end."""

    def test_by_id_network_and_state(self) -> None:
        """Each filter, and several at once."""
        online, _ = self.pulsing()
        away, _ = self.pulsing(("2001:db8::9", 40001))
        new, _, _ = self.server.register()
        for query, expected in (
            ("", {online, away, new}),
            (f"?prefix={online[:6].upper()}", {online}),
            ("?state=online", {online, away}),
            ("?state=registered", {new}),
            ("?state=late", set()),
            ("?network=2001:db8::/32", {away}),
            ("?network=2001:db8::9", {away}),
            ("?network=203.0.113.0/24", set()),
            # All have registered from there.
            ("?network=198.51.100.0/24", {online, away, new}),
            ("?network=198.51.100.0/24&state=registered", {new}),
        ):
            page = self.good("GET", f"/clients{query}")
            self.assertEqual({each["client_id"] for each in page["clients"]}, expected, query)
            self.assertIsNone(page["next"])

    def test_wrong_filters(self) -> None:
        """One sentence says what is wrong."""
        for query in ("prefix=xyz", f"prefix={'0' * 33}", "state=gone", "network=home", "limit=0", "after=x"):
            self.refused("GET", f"/clients?{query}", 400, "malformed")

    def test_pages(self) -> None:
        """Each client is on one of them."""
        made = {self.server.register()[0] for _ in range(25)}
        found, after = [], ""
        for _ in range(10):
            page = self.good("GET", f"/clients?limit=10{after}")
            found += [each["client_id"] for each in page["clients"]]
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
        self.assertEqual((len(found), set(found)), (25, made))

    def test_history_of_one(self) -> None:
        """What has happened to it, in sentences, also after its end."""
        client_id, key = self.pulsing()
        reactor = self.server.reactor
        reactor.advance(1)
        self.server.deliver(key, ("203.0.113.9", 40123))
        for _ in range(40):
            reactor.advance(1)
        found = self.good("GET", f"/clients/{client_id}")["client"]
        self.assertEqual((found["state"], found["host"], found["port"]), ("late", "203.0.113.9", 40123))
        self.assertEqual(
            [(each["time"], each["event"]) for each in found["events"]],
            [(0.0, "registered"), (0.0, "first_pulse"), (1.0, "moved"), (34.0, "late")],
        )
        self.assertIn("203.0.113.9:40123", found["events"][2]["text"])
        headers = {"Authorization": f"Bearer {client_id}:{key.hex()}"}
        for _ in range(3):
            self.server.request("POST", "/verify", None, headers)
        self.server.request("POST", "/logout", None, headers)
        found = self.good("GET", f"/clients/{client_id}")["client"]
        of_gone = {"client_id": client_id, "state": "gone"} | dict.fromkeys(("network", "host", "port", "last_seen"))
        self.assertEqual({name: found[name] for name in of_gone}, of_gone)
        # A client that is not late may verify as often as it likes; that would overwrite what has happened to others.
        self.assertEqual([each["event"] for each in found["events"]][-3:], ["moved", "verified", "logged_out"])
        self.refused("GET", f"/clients/{'0' * 32}", 404, "no-such-client")

    def test_kick(self) -> None:
        """The client is gone at once, and the log says who it was."""
        client_id, key = self.pulsing()
        with Logged() as logged:
            self.assertEqual(
                self.good("POST", f"/clients/{client_id}/kick", Rendezvous_Operator="alice"),
                {"client_id": client_id, "kicked": True},
            )
        self.assertEqual(logged.lines, [f"operator alice (127.0.0.1): client {client_id} was kicked"])
        self.assertEqual(self.server.deliver(key, HOME), [(1060).to_bytes(4, "big")])
        events = self.good("GET", f"/clients/{client_id}")["client"]["events"]
        self.assertEqual(events[-1]["event"], "kicked")
        self.refused("POST", f"/clients/{client_id}/kick", 404, "no-such-client")


@implementer(ILogObserver)
class Logged:
    """What operators have changed and could not, as the log has it, for the duration of a ``with`` block."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, event: LogEvent) -> None:
        """Keep a line."""
        if event.get("event") in ("operator_acted", "reload_refused"):
            self.lines.append(event["log_format"].format(**event))

    def __enter__(self) -> Logged:
        """Begin."""
        globalLogPublisher.addObserver(self)
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        globalLogPublisher.removeObserver(self)


class ChangeTests(ApiCase):
    """Bans, drain and reload."""

    def test_operator_who_leaves_at_once(self) -> None:
        """What has changed is logged all the same: it holds before it is saved, and so before the answer."""
        client_id, _ = self.pulsing()
        store: Any = self.server.rendezvous.store
        saved = list[Deferred[None]]()

        def slow(verb: Callable[..., Any]) -> Callable[..., Any]:
            async def decide(*given: Any) -> Any:
                decided = await verb(*given)
                saved.append(Deferred())
                await saved[-1]
                return decided

            return decide

        network = {"target": "203.0.113.0/24", "seconds": None}
        with Logged() as logged:
            for name, method, path, body in (
                ("ban", "POST", "/bans", network),
                ("lift", "DELETE", "/bans/203.0.113.0%2F24", None),
                ("kick", "POST", f"/clients/{client_id}/kick", {}),
            ):
                self.patch(store, name, slow(getattr(store, name)))
                self.open(method, path, body).lose()
                saved[-1].callback(None)
        self.assertEqual(
            logged.lines,
            [
                "operator 127.0.0.1: 203.0.113.0/24 was banned for good",
                "operator 127.0.0.1: the ban of 203.0.113.0/24 was lifted",
                f"operator 127.0.0.1: client {client_id} was kicked",
            ],
        )

    def test_ban_and_lift(self) -> None:
        """A network is refused from then on; the log says for how long and why."""
        with Logged() as logged:
            made = self.good("POST", "/bans", {"target": "198.51.100.7", "seconds": 60, "reason": "floods"}, 201)
            self.assertEqual(self.server.request("GET", "/health").status, 403)
            self.assertEqual(self.good("GET", "/bans"), {"bans": [made]})
            self.assertEqual(self.good("GET", "/overview")["bans"], 1)
            self.assertEqual(self.good("DELETE", f"/bans/{quote(made['target'], safe='')}"), made)
        self.assertEqual(made, {"target": "198.51.100.7/32", "until": 60.0, "reason": "floods", "since": 0.0})
        self.assertEqual(
            logged.lines,
            [
                "operator 127.0.0.1: 198.51.100.7/32 was banned for 60 s (floods)",
                "operator 127.0.0.1: the ban of 198.51.100.7/32 was lifted",
            ],
        )
        self.assertEqual(self.server.request("GET", "/health").status, 200)
        self.refused("DELETE", "/bans/198.51.100.7", 404, "no-such-ban")

    def test_operators_are_never_banned_from_their_port(self) -> None:
        """Not even by a ban of everybody."""
        self.good("POST", "/bans", {"target": "0.0.0.0/0"}, 201)
        self.good("GET", "/overview")

    def test_client(self) -> None:
        """It is shown with its ban, also when it is gone."""
        client_id, _ = self.pulsing()
        with Logged() as logged:
            made = self.good("POST", "/bans", {"target": client_id}, 201)
        self.assertEqual(logged.lines, [f"operator 127.0.0.1: {client_id} was banned for good"])
        self.assertEqual((made["until"], made["reason"]), (None, ""))
        found = self.good("GET", f"/clients/{client_id}")["client"]
        self.assertEqual((found["ban"], found["events"][-1]["event"]), (made, "banned"))

    def test_what_cannot_be_banned(self) -> None:
        """Nothing has changed then, and nothing is logged."""
        with Logged() as logged:
            for body, code in (
                ({}, "missing-field"),
                ({"target": 5}, "malformed"),
                ({"target": "home"}, "malformed"),
                ({"target": "192.0.2.1", "seconds": "60"}, "malformed"),
                ({"target": "192.0.2.1", "seconds": True}, "malformed"),
                ({"target": "192.0.2.1", "seconds": 0}, "malformed"),
                ({"target": "192.0.2.1", "seconds": 10**400}, "bad-json"),
                ({"target": "192.0.2.1", "reason": "x" * 201}, "too-long"),
            ):
                self.refused("POST", "/bans", 400, code, body)
        self.assertEqual((self.good("GET", "/bans"), logged.lines), ({"bans": []}, []))

    def test_drain(self) -> None:
        """New clients are refused until it is taken back."""
        with Logged() as logged:
            self.assertEqual(self.good("POST", "/drain"), {"draining": True})
            self.assertEqual(self.server.request("POST", "/register").json()["code"], "draining")
            overview = self.good("GET", "/overview")
            self.assertEqual((overview["draining"], overview["ready"]), (True, False))
            self.assertEqual(self.good("DELETE", "/drain"), {"draining": False})
        self.assertEqual(
            logged.lines,
            [
                "operator 127.0.0.1: the server is draining",
                "operator 127.0.0.1: the server takes new clients again",
            ],
        )
        self.server.register()

    def test_names_of_operators(self) -> None:
        """What could forge a line of the log is refused, and nothing is changed."""
        for name in ("", " ", "a b", "a\tb", "é", "x" * 65, "-a"):
            self.refused("POST", "/drain", 400, "bad-operator", Rendezvous_Operator=name)
        self.assertFalse(self.good("GET", "/overview")["draining"])
        for name in ("a", "x" * 64, "alice@example.org"):
            self.good("DELETE", "/drain", Rendezvous_Operator=name)

    def test_reload(self) -> None:
        """It says what has changed and what has not; what is wrong is one sentence, and nothing has changed."""
        server = self.server.rendezvous
        settings = server.settings
        self.assertEqual(self.good("POST", "/reload"), {"changed": [], "refused": [], "certificates": 0})
        changed = {field: getattr(settings, field) for field in ("store", "interface", "admin", "admin_token_file")}
        server.read_again = lambda: Settings(**changed, no_source_limits=True, max_offers=5, error_time=99.0)
        found = self.good("POST", "/reload")
        self.assertEqual(found["changed"], ["max_offers = 5 (was 100000)"])
        self.assertEqual(found["refused"], ["error_time = 99 (was 180)"])
        server.read_again = lambda: Settings(**changed, no_source_limits=True, turn_uri=("turn:turn.example",))
        with Logged() as logged:
            error = self.refused("POST", "/reload", 400, "not-reloaded", Rendezvous_Operator="alice")
        self.assertIn("turn-uri and turn-secret-file need each other", error)
        [requested, refused] = logged.lines
        self.assertEqual(requested, "operator alice (127.0.0.1): a reload was requested")
        self.assertIn("nothing was reloaded: turn-uri and turn-secret-file need each other", refused)

    def test_settings_show_no_secret(self) -> None:
        """Neither the token, nor what is in the files that are named."""
        shown = self.send("GET", "/settings")
        self.assertEqual(shown.json()["settings"]["udp_port"], ["5024", "5026"])
        self.assertNotIn(TOKEN.encode("ascii"), shown.body)


class ListingTests(ApiCase):
    """What goes on."""

    def test_offers_and_sessions(self) -> None:
        """Without descriptions, secrets and codes; page by page."""
        _, _, alice = self.server.register()
        for number in range(12):
            offer = {"sdp": f"v={number} hidden", "topics": ["chess"], "secret": "hidden"}
            self.server.request("POST", "/offers", {"offers": [offer]}, alice)
        session = {"info": "hidden", "offer": "hidden", "code": "hidden"}
        self.server.request("POST", "/go/offer", session, {"Origin": "https://app.example"})
        found, after = [], ""
        while True:
            response = self.send("GET", f"/offers?limit=5{after}")
            self.assertNotIn(b"hidden", response.body)
            page = response.json()
            found += page["offers"]
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
        self.assertEqual((len(found), len({each["id"] for each in found})), (12, 12))
        self.assertTrue(all(each["has_secret"] for each in found))
        response = self.send("GET", "/sessions")
        self.assertNotIn(b"hidden", response.body)
        self.assertEqual([each["origin"] for each in response.json()["sessions"]], ["https://app.example"])
        self.assertEqual(self.good("GET", "/topics"), {"topics": [{"topic": "chess", "peers": 1}], "total": 1})
        for topic in ("go", "checkers"):
            offer = {"sdp": "v=0", "topics": [topic, "chess"]}
            self.server.request("POST", "/offers", {"offers": [offer]}, self.server.register()[2])
        topics = [self.good("GET", f"/topics?limit=1&offset={offset}")["topics"] for offset in range(3)]
        self.assertEqual(topics[0], [{"topic": "chess", "peers": 3}])
        self.assertEqual({each["topic"] for page in topics for each in page}, {"chess", "go", "checkers"})
        self.assertEqual(self.good("GET", "/topics?startsWith=che")["total"], 2)
        for after in ("x", "1", "1.", ".1", "1.x", "1.2.3"):
            self.refused("GET", f"/offers?after={after}", 400, "malformed")

    def test_sockets(self) -> None:
        """The oldest first, page by page."""
        sockets = [MemorySocket(self.server.connect((f"198.51.100.{at}", 50000)), "/signal") for at in range(1, 4)]
        page = self.good("GET", "/sockets?limit=2")
        self.assertEqual([each["host"] for each in page["sockets"]], ["198.51.100.1", "198.51.100.2"])
        rest = self.good("GET", f"/sockets?limit=2&after={page['next']}")
        self.assertEqual(([each["host"] for each in rest["sockets"]], rest["next"]), (["198.51.100.3"], None))
        self.assertEqual({each["kind"] for each in page["sockets"]}, {"signal"})
        for socket in sockets:
            socket.lose()

    def test_attempts_say_why(self) -> None:
        """While they go on and after their end, also long after; by client."""
        bob, _ = self.pulsing()
        alice, _, headers = self.server.register()
        self.server.request("POST", f"/peer/{bob}/connect", {"candidates": []}, headers)
        [going_on] = self.good("GET", "/attempts")["attempts"]
        self.assertEqual(
            (going_on["state"], going_on["ok"], going_on["why"]),
            ("invited", None, "The invited client has not accepted yet."),
        )
        for _ in range(100):
            self.server.reactor.advance(1)
        for query in ("", f"?client={alice}", f"?client={bob}"):
            [ended] = self.good("GET", f"/attempts{query}")["attempts"]
            self.assertEqual(
                (ended["state"], ended["ok"], ended["why"], ended["ended"]),
                ("expired", False, "The invited client has not accepted in time.", 30.0),
            )
        self.assertEqual(self.good("GET", f"/attempts?client={'0' * 32}")["attempts"], [])
        self.assertEqual(self.good("GET", "/attempt-pairs"), {"pairs": [{"mappings": None, "ok": 0, "failed": 1}]})

    def test_attempts_of_a_client_that_go_on(self) -> None:
        """Those that it has begun, that it is invited to and that it has accepted, the latest first; no others."""
        (bob, _), (carol, _), (dave, _) = (self.pulsing((f"203.0.113.{number}", 40000)) for number in range(1, 4))
        erin, _, headers = self.server.register()
        begun = []
        for _ in range(2):
            made = self.server.request("POST", f"/peer/{bob}/connect", {"candidates": []}, headers)
            begun.append(made.json()["attempt"])
        made = self.server.request("POST", f"/peer/{carol}/connect", {"candidates": []}, headers)
        begun.append(made.json()["attempt"])
        for client, expected in ((erin, begun[::-1]), (bob, begun[1::-1]), (carol, begun[2:]), (dave, [])):
            found = self.good("GET", f"/attempts?client={client}")["attempts"]
            self.assertEqual([each["attempt"] for each in found], expected)
            self.assertEqual(
                {(each["mappings"], each["strategy"], each["via"]) for each in found} - {(None,) * 3}, set()
            )
            self.assertEqual(self.good("GET", f"/clients/{client}")["client"]["attempts"], len(expected))

    def test_limited_networks(self) -> None:
        """Who was refused what, how often, and when last; a client of that network shows it, too."""
        path = self.mktemp()
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write(TOKEN)
        server = MemoryServer(
            MemoryReactor(),
            admin="tcp:5028:interface=127.0.0.1",
            admin_token_file=path,
            no_source_limits=False,
            source_registrations=0.01,
        )
        self.addCleanup(server.stop)
        client_id, _, _ = server.register()
        server.reactor.advance(3)
        for _ in range(4):
            self.assertEqual(server.request("POST", "/register").status, 429)
        self.server, (_, self.port) = server, server.reactor.tcp_ports
        found = self.good("GET", "/limited")
        self.assertEqual(found["limits"]["source-registrations"], 4)
        self.assertEqual(
            found["networks"],
            [{"network": "198.51.100.7", "reason": "source-registrations", "times": 4, "last": 3.0}],
        )
        events = self.good("GET", f"/clients/{client_id}")["client"]["events"]
        self.assertEqual([each["event"] for each in events], ["registered", "limited"])
        self.assertIn("was reached 4 times: source-registrations.", events[1]["text"])


class SliceTests(ApiCase):
    """Very many clients."""

    def test_a_search_takes_several_turns(self) -> None:
        """One for each slice of the clients; others are served between them."""
        store, turns = self.server.rendezvous.store, list[None]()
        for _ in range(1000):
            self.successResultOf(Deferred.fromCoroutine(store.register(0.0)))
        self.server.reactor.advance(0)  # They are counted for the curves, too.
        turn = Slices.next

        def counted(slices: Slices) -> Deferred[None]:
            turns.append(None)
            return turn(slices)

        self.patch(Slices, "next", counted)
        self.assertEqual(self.good("GET", "/clients?state=online"), {"clients": [], "next": None})
        self.assertEqual(len(turns), 4)

    def test_a_request_looks_at_a_bounded_number(self) -> None:
        """It says where to go on, and the next one does."""
        self.patch(queries, "LOOKED_AT", 500)
        store = self.server.rendezvous.store
        made = [self.successResultOf(Deferred.fromCoroutine(store.register(0.0)))[0].hex() for _ in range(1000)]
        page = self.good("GET", f"/clients?prefix={made[-1]}")
        self.assertEqual((page["clients"], page["next"]), ([], "500"))
        page = self.good("GET", f"/clients?prefix={made[-1]}&after={page['next']}")
        self.assertEqual([each["client_id"] for each in page["clients"]], [made[-1]])

    def test_very_many_bans(self) -> None:
        """The list is made over several turns, and has each of them."""
        bans, now = self.server.rendezvous.store.bans, self.server.rendezvous.clock.seconds()
        for number in range(2500):
            bans.begin(f"10.{number >> 8}.{number & 255}.0/24", None, "", now)
        with patch("rendezvous.operator.bans.deferLater", wraps=deferLater) as later:
            found = self.good("GET", "/bans")["bans"]
            self.assertEqual((len(found), len({ban["target"] for ban in found})), (2500, 2500))
        self.assertEqual(later.call_count, 2)
