"""The worked requests of the operators' port: each is answered as its description shows."""

from __future__ import annotations

import json
import os
from typing import Any

import attrs

from rendezvous.operator.examples import EXAMPLES
from rendezvous.operator.schemas import parameters
from rendezvous.testing import Connection, MemoryReactor, MemoryServer, MemorySocket
from rendezvous.web.examples.values import ALICE, BOB, MOMENT, OFFER, ORIGIN, TOPIC
from rendezvous.web.exchange import Exchange, exchange
from rendezvous.web.route import Route
from tests._operator_case import TOKEN, table_of
from tests.test_web_examples import PLACES, ReplayCase

#: Answers whose numbers depend on what else a server does. They are held to the form of what is shown.
IN_FORM = {"GET /overview", "GET /history", "GET /log", "GET /limited", "GET /settings"}
#: These show an attempt that has ended.
ENDED = {"GET /attempts", "GET /attempt-pairs"}
#: Objects of which only some keys are shown.
MAPS = {"settings", "series", "rates", "tables", "limits", "full", "dropped"}
HOME = PLACES[ALICE]


class OperatorReplayCase(ReplayCase):
    """A server at the moment of the worked requests, with Alice, who has an offer and a socket, and with Bob."""

    def setUp(self) -> None:
        """Start the server, and let a little of everything happen."""
        path = self.mktemp()
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write(TOKEN)
        reactor = MemoryReactor()
        reactor.advance(MOMENT)
        self.routes = table_of(self)
        self.server = MemoryServer(reactor, admin="tcp:5027:interface=127.0.0.1", admin_token_file=path)
        self.addCleanup(self.server.stop)
        _, self.port = reactor.tcp_ports
        bob, key, _ = self.server.register()
        alice, _, headers = self.server.register()
        self.names = {BOB: bob, ALICE: alice}
        self.server.deliver(key, PLACES[BOB])
        offers = {"offers": [{"sdp": "v=0", "topics": [TOPIC]}]}
        [offer] = self.server.request("POST", "/offers", offers, headers).json()["offers"]
        self.names[OFFER] = offer["id"]
        session = {"info": "Alice", "offer": "v=0"}
        made = self.server.request("POST", f"/{TOPIC}/offer", session, {"Origin": ORIGIN}).json()
        answer = {"code": made["code"], "side": "answerer", "answer": "v=0"}
        self.server.request("POST", "/answer", answer, {"Origin": ORIGIN})
        self.socket = MemorySocket(self.server.connect(HOME), "/events")
        self.addCleanup(self.socket.lose)
        credential = headers["Authorization"].removeprefix("Bearer ")
        self.socket.say(json.dumps({"type": "authenticate", "credential": credential}))
        self.server.request("POST", f"/peer/{bob}/connect", {"candidates": []}, headers)
        self.server.rendezvous.counters.limited.add("198.51.100.9", "source-requests")

    def send(self, each: Exchange) -> Connection:
        """:returns: a connection with a worked request on it."""
        connection = Connection(self.port.factory, ("127.0.0.1", 40000))
        self.addCleanup(connection.lose)
        headers = {"Host": "127.0.0.1:5027", "Authorization": f"Bearer {TOKEN}", **each.headers}
        body = b"" if each.body is None else self.sent(json.dumps(each.body)).encode()
        if body:
            headers |= {"Content-Type": "application/json", "Content-Length": f"{len(body)}"}
        connection.request(each.method, self.sent(each.target), headers, body)
        for _ in range(5):
            self.server.reactor.advance(0)
        return connection

    def assertForm(self, shown: Any, given: Any, where: str = "answer") -> None:
        """
        A value of JSON has the keys that are shown, and values of the same kinds; ``null`` may stand for any of them.

        There may be other keys only if keys are no words of the API, such as names of settings.
        """
        if isinstance(shown, dict) and isinstance(given, dict):
            self.assertLessEqual(set(shown), set(given), where)
            if where.rpartition(".")[2] not in MAPS:
                self.assertEqual(set(shown), set(given), where)
            for key, value in shown.items():
                self.assertForm(value, given[key], f"{where}.{key}")
        elif isinstance(shown, list) and isinstance(given, list):
            for each in given if shown else ():
                self.assertForm(shown[0], each, f"{where}[]")
            self.assertTrue(given, f"{where} is empty")
        elif shown is not None and given is not None:
            kinds = [bool if isinstance(each, bool) else float if isinstance(each, (int, float)) else type(each)
                     for each in (shown, given)]  # fmt: skip
            self.assertIs(kinds[0], kinds[1], where)


class OperatorReplayTests(OperatorReplayCase):
    """Each request is sent, in their order."""

    def test_every_answer_is_the_one_that_is_shown(self) -> None:
        """Its status, its media type and its body; of some answers the form."""
        rendezvous = self.server.rendezvous
        rendezvous.read_again = lambda: attrs.evolve(rendezvous.settings, max_offers=200_000)
        routes = {route.example: route for route in self.routes}
        self.assertEqual(set(routes), set(EXAMPLES))
        for name in [each for each in EXAMPLES if each not in ENDED]:
            self.replay(routes[name])

    def test_attempts_that_have_ended(self) -> None:
        """They are in both lists."""
        for _ in range(40):
            self.server.reactor.advance(1)
        for route in self.routes:
            if route.example in ENDED:
                self.replay(route)

    def replay(self, route: Route) -> None:
        """Send the worked request to a route."""
        each = exchange(route, EXAMPLES, parameters())
        try:
            self.check(route.example, each, self.send(each))
        except (AssertionError, self.failureException) as error:
            raise self.failureException(f"{route.example}: {error}") from error

    def check(self, name: str, each: Exchange, connection: Connection) -> None:
        """The answer on a connection is the one that is shown."""
        head, _, rest = connection.transport.value().partition(b"\r\n\r\n")
        self.assertEqual(int(head.split()[1]), each.status, head + rest)
        media = each.answer_headers["Content-Type"].partition(";")[0]
        self.assertIn(f"content-type: {media}", head.decode("ascii").lower())
        response = connection.response()
        if response is None:
            self.assertIn(each.answer, rest.decode())
        elif isinstance(each.answer, str):
            self.assertTrue(response.body.decode().lower().startswith(each.answer.lower()), response.body[:100])
        elif name in IN_FORM | ENDED:
            self.assertForm(each.answer, response.json())
        else:
            self.assertShown(each.answer, response.json(), is_abridged=each.is_abridged)
