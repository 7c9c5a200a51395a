"""A server in memory with two peers, and what a test asks of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from rendezvous.limits import SignalingLimits
from rendezvous.storage.local import LocalStore
from rendezvous.storage.notifier import Notifier
from rendezvous.testing import Connection, MemoryReactor, MemoryServer, Response

#: Seconds since the epoch at which every test begins, and the same in milliseconds.
NOW = 1_800_000_000
NOW_MS = NOW * 1000

ORIGIN = {"Origin": "https://app.example"}
OTHER_ORIGIN = {"Origin": "https://other.example"}

LIMITS = SignalingLimits()

Headers = Mapping[str, str]

#: A value of each JSON type, by the type's name.
JSON_TYPES: dict[str, Any] = {
    "string": "text",
    "integer": 7,
    "fraction": 7.5,
    "boolean": True,
    "list": [],
    "object": {},
}


def but(*names: str) -> list[Any]:
    """A value of every JSON type but those named."""
    return [value for name, value in JSON_TYPES.items() if name not in names]


class SlowResource(Resource):
    """
    Answers when a test does so.

    :ivar request: the last that it was asked.
    """

    isLeaf = True
    request: Any = None

    def render(self, request: Any) -> int:
        """Wait."""
        self.request = request
        return NOT_DONE_YET


class WebTestCase(SynchronousTestCase):
    """A server in memory; when a test is over it is stopped, nothing waits, and no timer is left."""

    settings: dict[str, Any] = {}  # noqa: RUF012 - never changed, only replaced by subclasses

    def setUp(self) -> None:
        """Start a server and register two peers."""
        reactor = MemoryReactor()
        reactor.advance(NOW)
        self.server = MemoryServer(reactor, **self.settings)
        self.open: list[Connection] = []
        self.addCleanup(self.close)
        self.alice_id, _, self.alice = self.server.register()
        self.bob_id, _, self.bob = self.server.register()

    def close(self) -> None:
        """Stop the server and look for what it left behind."""
        for connection in self.open:
            connection.lose()
        self.assertEqual(len(self.news), 0)
        self.server.stop()

    @property
    def news(self) -> Notifier:
        """Who waits."""
        return cast(LocalStore, self.server.rendezvous.store).notifier

    def advance(self, seconds: float) -> None:
        """Let time pass, a second at a time so that whatever is to happen on the way does."""
        while seconds > 0:
            self.server.reactor.advance(min(1.0, seconds))
            seconds -= 1.0

    def ask(self, method: str, path: str, body: Any = None, headers: Headers | None = None) -> Response:
        """Send a request that is answered at once."""
        return self.server.request(method, path, body, headers)

    def start(self, method: str, path: str, body: Any = None, headers: Headers | None = None) -> Connection:
        """Send a request that may be held; its connection is lost at the end of the test."""
        connection = self.server.start_request(method, path, body, headers)
        self.open.append(connection)
        return connection

    def good(self, method: str, path: str, body: Any = None, headers: Headers | None = None) -> Any:
        """Send a request that succeeds; give its body."""
        response = self.ask(method, path, body, headers)
        self.assertEqual(response.status, 200, response.body)
        self.assertEqual(response.headers["content-type"], "application/json")
        return response.json()

    def assertRefused(self, response: Response | None, status: int, code: str, *words: str) -> str:
        """An error has the status, the shape of every error, the code, and names what was wrong."""
        assert response is not None, "not answered"
        self.assertEqual(response.status, status, response.body)
        self.assertEqual(response.headers["content-type"], "application/json")
        body = response.json()
        # What the operator may have to look for has a name, which the header has too.
        named = {"request_id": response.headers["x-request-id"]} if status >= 500 else {}
        self.assertEqual(set(body), {"ok", "error", "code", *named})
        self.assertEqual(body.get("request_id"), named.get("request_id"))
        self.assertIs(body["ok"], False)
        self.assertEqual(body["code"], code, body)
        self.assertTrue(body["error"].endswith("."), body)
        for word in words:
            self.assertIn(word, body["error"])
        message: str = body["error"]
        return message

    def refused(
        self, status: int, code: str, method: str, path: str, body: Any = None, headers: Headers | None = None
    ) -> str:
        """Send a request that is refused; give the message."""
        return self.assertRefused(self.ask(method, path, body, headers), status, code)

    def publish(self, headers: Headers | None = None, **fields: Any) -> str:
        """Publish one offer; give its id."""
        spec = {"sdp": "v=0", "topics": ["chess"], **fields}
        body = self.good("POST", "/offers", {"offers": [spec]}, self.alice if headers is None else headers)
        offer_id: str = body["offers"][0]["id"]
        return offer_id

    def answer(self, offer_id: str, headers: Headers | None = None, sdp: str = "v=1") -> Any:
        """Answer an offer; give what the answerer is told."""
        path = f"/offers/{quote(offer_id, safe='')}/answer"
        return self.good("POST", path, {"sdp": sdp}, self.bob if headers is None else headers)

    def trickle(self, offer_id: str, *candidates: Any, headers: Headers | None = None) -> Any:
        """Add candidates; give what the sender is told."""
        path = f"/offers/{quote(offer_id, safe='')}/ice-candidates"
        return self.good("POST", path, {"candidates": list(candidates)}, self.bob if headers is None else headers)

    def mine(self, headers: Headers | None = None) -> list[Any]:
        """What a peer has published."""
        offers: list[Any] = self.good("GET", "/offers/mine", None, self.alice if headers is None else headers)["offers"]
        return offers

    def open_session(self, topic: str = "chess", headers: Headers = ORIGIN, **fields: Any) -> str:
        """Open a session; give its code."""
        body = {"info": "alice", "offer": "v=0", **fields}
        code: str = self.good("POST", f"/{quote(topic, safe='')}/offer", body, headers)["code"]
        return code

    def poll(self, code: str, side: str, headers: Headers = ORIGIN, **fields: Any) -> Any:
        """Look what the other side has sent."""
        return self.good("POST", "/poll", {"code": code, "side": side, **fields}, headers)
