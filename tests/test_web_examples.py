"""The worked requests: every route has one, and each is answered as it says."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.testing import Connection, MemoryReactor, MemoryServer
from rendezvous.web.examples import EXAMPLES
from rendezvous.web.examples.values import ALICE, ATTEMPT, BOB, KEYS, MOMENT, RANDOM
from rendezvous.web.exchange import Exchange, exchange
from rendezvous.wire.frames import text_frame

#: Where the sockets of the two clients appear to be.
PLACES = {ALICE: ("198.51.100.7", 40000), BOB: ("203.0.113.9", 40123)}


class ReplayCase(SynchronousTestCase):
    """
    A server at the moment of the worked requests, with Bob.

    :ivar names: what the server has drawn at random, by what is shown in its place.
    """

    def setUp(self) -> None:
        """Start the server, which has a TURN server beside it and lists the peers of PeerJS."""
        secret = self.mktemp()
        with open(secret, "w", encoding="ascii") as file:
            file.write("north")
        os.chmod(secret, 0o600)
        reactor = MemoryReactor()
        reactor.advance(MOMENT)
        self.server = MemoryServer(
            reactor, turn_uri=("turn:turn.example:3478",), turn_secret_file=secret, peerjs_discovery=True
        )
        self.addCleanup(self.server.stop)
        bob, key, _ = self.server.register()
        self.names = {BOB: bob, KEYS[BOB]: key.hex()}

    def sent(self, text: str) -> str:
        """A text of a worked request, with what this server has drawn."""
        for shown, drawn in self.names.items():
            text = text.replace(shown, drawn)
        return text

    def seen(self, text: str) -> str:
        """A text of this server, with what is shown in place of what it has drawn."""
        for shown, drawn in self.names.items():
            text = text.replace(drawn, shown)
        return text

    def assertShown(self, shown: Any, given: Any, *, is_abridged: bool = False) -> None:
        """Two values of JSON are the same, but for what is drawn at random, which is the same each time it is shown."""
        self.assertIs(isinstance(given, bool), isinstance(shown, bool), (shown, given))
        if isinstance(shown, dict) and isinstance(given, dict):
            self.assertEqual(set(given) if shown or not is_abridged else set(), set(shown))
            for key, value in shown.items():
                self.assertShown(value, given[key], is_abridged=is_abridged)
        elif isinstance(shown, list) and isinstance(given, list):
            self.assertEqual(len(given) if shown or not is_abridged else 0, len(shown))
            for one, other in zip(shown, given, strict=False):
                self.assertShown(one, other, is_abridged=is_abridged)
        elif isinstance(shown, str) and isinstance(given, str):
            if shown in RANDOM and shown not in self.names:
                self.assertEqual(len(given), len(shown), given)
                self.names[shown] = given
            self.assertEqual(self.seen(given), shown)
        else:
            self.assertEqual(given, shown)


class ReplayTests(ReplayCase):
    """Each request is sent, in their order."""

    def test_every_answer_is_the_one_that_is_shown(self) -> None:
        """Its status, its media type and its body: all but what is drawn at random."""
        routes = {route.example: route for route in self.server.rendezvous.routes()}
        before: dict[str, Callable[[], object]] = {
            "GET /peer/<client_id>/udp": self.pulse,
            "GET /attempts/<attempt>": self.observe,
        }
        for name in EXAMPLES:
            before.get(name, lambda: None)()
            each = exchange(routes[name])
            body = None if each.body is None else json.loads(self.sent(json.dumps(each.body)))
            headers = {field: self.sent(value) for field, value in each.headers.items()}
            connection = self.server.start_request(each.method, self.sent(each.target), body, headers)
            try:
                self.check(each, connection)
            except (AssertionError, self.failureException) as error:
                raise self.failureException(f"{name}: {error}") from error

    def check(self, each: Exchange, connection: Connection) -> None:
        """The answer on a connection is the one that is shown."""
        self.server.reactor.advance(0)
        head, _, rest = connection.transport.value().partition(b"\r\n\r\n")
        self.assertEqual(int(head.split()[1]), each.status, head + rest)
        for name, value in each.answer_headers.items():
            self.assertIn(f"\r\n{name}: {value}\r\n".lower(), head.decode("ascii").lower() + "\r\n")
        response = connection.response()
        if each.status == 101:
            self.assertEqual(rest, text_frame(each.answer.encode()))
        elif response is None:
            # A stream, which does not end. Its first chunk is the first event.
            self.assertEqual(self.seen(rest.decode()).split("\r\n")[1], each.answer)
        elif isinstance(each.answer, str) and each.is_abridged:
            self.assertTrue(response.body.decode().startswith(each.answer), response.body[:100])
        elif isinstance(each.answer, str):
            self.assertShown(each.answer, response.body.decode())
        else:
            self.assertShown(each.answer, response.json(), is_abridged=each.is_abridged)

    def pulse(self) -> None:
        """Have Bob send a pulse."""
        self.server.deliver(bytes.fromhex(self.names[KEYS[BOB]]), PLACES[BOB])

    def observe(self) -> None:
        """Have both ports see both sides of the attempt."""
        store, now = self.server.rendezvous.store, self.server.rendezvous.clock.seconds()
        attempt = bytes.fromhex(self.names[ATTEMPT])
        for client, place in PLACES.items():
            for port in range(2):
                verb = store.observe(bytes.fromhex(self.names[client]), attempt, 1, 1, port, place, now)
                self.assertEqual(self.successResultOf(Deferred.fromCoroutine(verb)), 1020)


class ComparisonTests(ReplayCase):
    """The comparison finds what is wrong."""

    def test_the_same_is_the_same(self) -> None:
        """Also if a whole number is written with a fraction."""
        self.assertShown({"a": [1, "b", None, True]}, {"a": [1.0, "b", None, True]})

    def test_what_is_drawn_at_random_stays_the_same(self) -> None:
        """Its first value is remembered, and has the same length."""
        self.assertShown([ALICE, {"x": ALICE}], ["a" * 32, {"x": "a" * 32}])
        self.assertRaises(self.failureException, self.assertShown, ALICE, "b" * 32)
        self.assertRaises(self.failureException, self.assertShown, ATTEMPT, "b" * 15)

    def test_differences_are_found(self) -> None:
        """In keys, in types, in values and in lengths."""
        for shown, given in (
            ({"a": 1}, {}),
            ({"a": 1}, {"a": 1, "b": 2}),
            ({"a": 1}, {"a": 2}),
            ({"a": 1}, {"a": "1"}),
            ({"a": 1}, {"a": True}),
            ({"a": 1}, [1]),
            ({}, {"a": 1}),
            ([1], [1, 2]),
            ([], [1]),
            ("a", None),
        ):
            self.assertRaises(self.failureException, self.assertShown, shown, given)

    def test_what_is_abridged_may_be_longer(self) -> None:
        """Where nothing is shown, and nowhere else."""
        self.assertShown({"a": {}, "b": []}, {"a": {"c": 1}, "b": [1]}, is_abridged=True)
        for shown, given in (({"a": {}}, {"a": {}, "b": 1}), ({"a": {}}, {"a": []}), ([1], [1, 2])):
            self.assertRaises(self.failureException, self.assertShown, shown, given, is_abridged=True)


class CompletenessTests(SynchronousTestCase):
    """Routes and worked requests belong together."""

    def test_every_route_has_one(self) -> None:
        """And each one belongs to a route, whatever the paths of PeerJS are."""
        for key in ("peerjs", "other"):
            server = MemoryServer(peerjs_key=key)
            self.addCleanup(server.stop)
            routes = server.rendezvous.routes()
            self.assertEqual(sorted(route.example for route in routes), sorted(EXAMPLES))
            for route in routes:
                example = EXAMPLES[route.example]
                self.assertEqual(example.body is not None, route.request is not None, route)
                self.assertEqual(example.caller is not None, route.credential, route)
                self.assertLessEqual(set(example.params), set(route.params), route)
