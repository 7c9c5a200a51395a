"""Attempts to connect over HTTP."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred

from rendezvous.core.attempts.attempt import Facilities
from tests._web_case import NOW_MS, WebTestCase

AT_A, AT_B = ("198.51.100.1", 40000), ("203.0.113.2", 50000)
HOST = {"kind": "host", "host": "192.168.0.2", "port": 5000}


class AttemptCase(WebTestCase):
    """Two clients of a server, and what they ask."""

    def setUp(self) -> None:
        """Begin before any observation."""
        super().setUp()
        self.ms = NOW_MS
        self.server.rendezvous.store.use_facilities(Facilities())

    def begin(self, **fields: Any) -> str:
        """:returns: the id of a new attempt of Alice to connect to Bob."""
        response = self.ask("POST", f"/peer/{self.bob_id}/connect", fields, self.alice)
        self.assertEqual(response.status, 201, response.body)
        attempt: str = response.json()["attempt"]
        return attempt

    def accept(self, attempt: str, **fields: Any) -> Any:
        """:returns: what Bob sees when he has accepted."""
        return self.good("POST", f"/attempts/{attempt}/accept", fields, self.bob)

    def observe(self, client_id: str, attempt: str, source: tuple[str, int] = AT_A, ports: int = 2) -> None:
        """Have the UDP ports see a source."""
        for port in range(ports):
            self.ms += 1
            verb = self.server.rendezvous.store.observe(
                bytes.fromhex(client_id),
                bytes.fromhex(attempt),
                1,
                self.ms,
                port,
                source,
                self.server.rendezvous.clock.seconds(),
            )
            self.assertEqual(self.successResultOf(Deferred.fromCoroutine(verb)), 1020)

    def gone(self, **fields: Any) -> str:
        """:returns: the id of an attempt that goes."""
        attempt = self.begin(**fields)
        self.accept(attempt)
        self.observe(self.alice_id, attempt, AT_A)
        self.observe(self.bob_id, attempt, AT_B)
        return attempt


class RouteTests(AttemptCase):
    """Tests of :class:`rendezvous.web.attempts.AttemptRoutes`."""

    def test_attempt_as_each_side_sees_it(self) -> None:
        """Every field of the protocol, from the beginning to the end."""
        attempt = self.begin(candidates=[HOST], rtt=40, birthday=True)
        self.assertRegex(attempt, r"\A[0-9a-f]{16}\Z")
        shown = self.good("GET", f"/attempts/{attempt}", None, self.alice)
        server = [{"urls": ["stun:rendezvous.example:5024"]}]
        self.assertEqual(shown.pop("iceServers")[0]["urls"][0], server[0]["urls"][0])
        self.assertEqual(
            shown,
            {
                "attempt": attempt,
                "state": "invited",
                "role": "controlling",
                "version": 1,
                "expires": NOW_MS + 60_000,
                "round": 1,
                "peer": {"client_id": self.bob_id},
            },
        )
        self.assertNotIn("iceServers", self.good("GET", f"/attempts/{attempt}", None, self.bob))
        accepted = self.accept(attempt)
        self.assertEqual((accepted["state"], accepted["role"]), ("observing", "controlled"))
        self.assertIn("iceServers", accepted)
        self.observe(self.alice_id, attempt, AT_A)
        self.observe(self.bob_id, attempt, AT_B)
        gone = self.good("GET", f"/attempts/{attempt}", None, self.bob)
        self.assertRegex(gone["key"], r"\A[0-9a-f]{64}\Z")
        self.assertEqual((gone["state"], gone["strategy"], gone["mapping"]), ("go", "direct", "endpoint-independent"))
        self.assertEqual(
            gone["peer"],
            {
                "client_id": self.alice_id,
                "mapping": "endpoint-independent",
                "candidates": [{"kind": "server-reflexive", "host": AT_A[0], "port": AT_A[1]}],
            },
        )
        done = self.good("POST", f"/attempts/{attempt}/done", {"ok": True, "ms": 420.5, "via": "direct"}, self.alice)
        self.assertEqual((done["state"], done["key"]), ("done", gone["key"]))

    def test_hold_counts_down(self) -> None:
        """An answer that is sent later has a smaller one; half of the own round trip is taken off."""
        attempt = self.gone(rtt=400)
        holds = []
        for _ in range(4):
            holds.append(self.good("GET", f"/attempts/{attempt}", None, self.bob)["hold"])
            self.server.reactor.advance(0.09)
        self.assertEqual(holds, [200, 110, 20, 0])
        self.assertEqual(self.good("GET", f"/attempts/{attempt}", None, self.alice)["hold"], 0)

    def test_round_trip_counts_for_two_seconds_at_most(self) -> None:
        """A client cannot make the other one wait for longer."""
        attempt = self.gone(rtt=10**9)
        self.assertEqual(self.good("GET", f"/attempts/{attempt}", None, self.bob)["hold"], 1000)

    def test_invitations_are_listed_until_they_are_answered(self) -> None:
        """Who asks, until when, and a number to wait behind."""
        self.assertEqual(self.good("GET", "/attempts", None, self.bob), {"attempts": []})
        attempt = self.begin()
        [invitation] = self.good("GET", "/attempts", None, self.bob)["attempts"]
        self.assertGreater(invitation.pop("seq"), 0)
        self.assertEqual(invitation, {"attempt": attempt, "peer": self.alice_id, "expires": NOW_MS + 30_000})
        self.assertEqual(self.good("GET", "/attempts", None, self.alice), {"attempts": []})
        self.assertEqual(self.good("DELETE", f"/attempts/{attempt}", None, self.bob)["state"], "declined")
        self.assertEqual(self.good("GET", "/attempts", None, self.bob), {"attempts": []})

    def test_held_request_gets_the_invitation(self) -> None:
        """At once, also when one that it has seen waits still; and an empty answer after its time."""
        self.begin()
        [first] = self.good("GET", "/attempts?wait=30", None, self.bob)["attempts"]
        held = self.start("GET", f"/attempts?wait=30&since={first['seq']}", None, self.bob)
        self.assertIsNone(held.response())
        attempt = self.begin()
        response = held.response()
        assert response is not None
        self.assertEqual([each["attempt"] for each in response.json()["attempts"]], [first["attempt"], attempt])
        held = self.start("GET", "/attempts?wait=5", None, self.alice)
        self.advance(4)
        self.assertIsNone(held.response())
        self.advance(1)
        response = held.response()
        assert response is not None
        self.assertEqual(response.json(), {"attempts": []})

    def test_held_request_gets_the_next_version(self) -> None:
        """As soon as there is one that this side can see."""
        attempt = self.begin()
        held = self.start("GET", f"/attempts/{attempt}?wait=30&version=1", None, self.alice)
        self.observe(self.alice_id, attempt)
        self.assertIsNone(held.response())
        self.accept(attempt)
        response = held.response()
        assert response is not None
        self.assertEqual((response.json()["state"], response.json()["version"]), ("observing", 2))
        late = self.good("GET", f"/attempts/{attempt}?wait=30&version=1", None, self.alice)
        self.assertEqual(late["version"], 2)

    def test_held_request_ends_with_the_callers_credential(self) -> None:
        """Who has logged out sees nothing any more."""
        attempt = self.begin()
        held = self.start("GET", f"/attempts/{attempt}?wait=30&version=1", None, self.alice)
        invited = self.start("GET", "/attempts?wait=30", None, self.alice)
        self.good("POST", "/logout", None, self.alice)
        for connection in (held, invited):
            self.assertRefused(connection.response(), 401, "unauthorized")

    def test_failure_says_why_in_words(self) -> None:
        """With a code for programs."""
        attempt = self.begin()
        self.accept(attempt)
        self.observe(self.alice_id, attempt)
        held = self.start("GET", f"/attempts/{attempt}?wait=30&version=2", None, self.alice)
        for _ in range(14):
            self.server.reactor.advance(0.1)
        verb = self.server.rendezvous.store.attempts_due(self.server.rendezvous.clock.seconds())
        self.successResultOf(Deferred.fromCoroutine(verb))
        response = held.response()
        assert response is not None
        body = response.json()
        self.assertEqual((body["state"], body["code"]), ("failed", "udp-blocked"))
        self.assertEqual(
            body["reason"],
            "No datagram of one side has reached the server; a relay is needed, and this server offers none.",
        )

    def test_late_candidates_are_passed_on(self) -> None:
        """They take the place of the earlier ones."""
        attempt = self.begin()
        self.accept(attempt)
        for client in (self.alice_id, self.bob_id):
            self.observe(client, attempt)
        before = self.good("GET", f"/attempts/{attempt}", None, self.bob)
        self.assertNotIn("host", [each["kind"] for each in before["peer"]["candidates"]])
        self.good("POST", f"/attempts/{attempt}/candidates", {"candidates": [HOST]}, self.alice)
        after = self.good("GET", f"/attempts/{attempt}", None, self.bob)
        self.assertEqual(after["version"], before["version"] + 1)
        self.assertIn(HOST, after["peer"]["candidates"])

    def test_errors(self) -> None:
        """Each with its code."""
        attempt = self.begin()
        one, connect = f"/attempts/{attempt}", f"/peer/{self.bob_id}/connect"
        _, _, stranger = self.server.register()
        self.refused(401, "unauthorized", "POST", connect, {})
        self.refused(404, "no-such-peer", "POST", f"/peer/{'0' * 32}/connect", {}, self.alice)
        self.refused(404, "no-such-peer", "POST", "/peer/x/connect", {}, self.alice)
        self.refused(409, "own-attempt", "POST", f"/peer/{self.alice_id}/connect", {}, self.alice)
        self.refused(409, "own-attempt", "POST", f"{one}/accept", {}, self.alice)
        self.refused(409, "not-accepted", "POST", f"{one}/done", {"ok": True}, self.alice)
        for headers, path in ((stranger, one), (self.alice, "/attempts/0123456789abcdef"), (self.alice, "/attempts/x")):
            self.refused(404, "no-such-attempt", "GET", path, None, headers)
        self.good("DELETE", one, None, self.alice)
        self.refused(409, "attempt-over", "POST", f"{one}/accept", {}, self.bob)
        self.refused(409, "attempt-over", "POST", f"{one}/candidates", {"candidates": []}, self.alice)
        for _ in range(4):
            self.begin()
        self.refused(409, "too-many-attempts", "POST", connect, {}, self.alice)

    def test_rate_of_attempts(self) -> None:
        """The seventh within a minute is refused, and says when to come back."""
        for _ in range(6):
            self.good("DELETE", f"/attempts/{self.begin()}", None, self.alice)
        response = self.ask("POST", f"/peer/{self.bob_id}/connect", {}, self.alice)
        self.assertRefused(response, 429, "attempt-rate")
        self.assertEqual(response.headers["retry-after"], "60")

    def test_bodies_that_cannot_be_read(self) -> None:
        """The message names the field, and nothing is begun."""
        for fields, field in (
            ({"candidates": {}}, "candidates"),
            ({"candidates": [1]}, "candidates[0]"),
            ({"candidates": [{**HOST, "kind": "server-reflexive"}]}, "candidates[0].kind"),
            ({"candidates": [{**HOST, "host": "a.example"}]}, "candidates[0].host"),
            ({"candidates": [HOST, {**HOST, "port": 0}]}, "candidates[1].port"),
            ({"candidates": [{**HOST, "port": 65536}]}, "candidates[0].port"),
            ({"candidates": [{**HOST, "port": "1"}]}, "candidates[0].port"),
            ({"candidates": [{"kind": "host", "host": "10.0.0.1"}]}, "candidates[0].port"),
            ({"candidates": [HOST] * 11}, "candidates"),
            ({"rtt": -1}, "rtt"),
            ({"rtt": "1"}, "rtt"),
            ({"rtt": True}, "rtt"),
            ({"birthday": 1}, "birthday"),
        ):
            response = self.ask("POST", f"/peer/{self.bob_id}/connect", fields, self.alice)
            self.assertEqual(response.status, 400, fields)
            self.assertTrue(response.json()["error"].startswith(field), response.body)
        attempt = self.begin(candidates=None, rtt=None, birthday=None)
        self.accept(attempt)
        wrong: list[tuple[dict[str, Any], str]] = [
            ({}, "ok"),
            ({"ok": 1}, "ok"),
            ({"ok": True, "via": "air"}, "via"),
            ({"ok": True, "ms": -1}, "ms"),
        ]
        for outcome, field in wrong:
            response = self.ask("POST", f"/attempts/{attempt}/done", outcome, self.alice)
            self.assertEqual(response.status, 400, outcome)
            self.assertTrue(response.json()["error"].startswith(field), response.body)
        self.refused(400, "missing-field", "POST", f"/attempts/{attempt}/candidates", {}, self.alice)

    def test_protocol_can_be_turned_off(self) -> None:
        """None of its routes is there."""
        self.server.stop()
        self.server = type(self.server)(without=("connect",))
        _, _, alice = self.server.register()
        for method, path in (("GET", "/attempts"), ("POST", f"/peer/{self.bob_id}/connect")):
            self.assertEqual(self.ask(method, path, None, alice).status, 404)


class EventTests(AttemptCase):
    """Invitations in the stream of events."""

    def events(self, **headers: str) -> list[tuple[str, str, Any]]:
        """:returns: what a new stream of Bob shows at once: id, kind and data."""
        stream = self.start("GET", "/events", None, {**self.bob, **headers})
        return self.shown(stream.transport.value())

    def shown(self, sent: bytes) -> list[tuple[str, str, Any]]:
        """:returns: the events of a stream."""
        found = []
        for block in sent.partition(b"\r\n\r\n")[2].decode().replace("\r\n", "\n").split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":"))
            if "event" in lines:
                found.append((lines["id"], lines["event"], json.loads(lines["data"])))
        return found

    def test_invitation_is_an_event(self) -> None:
        """With the attempt, who asks, and until when."""
        stream = self.start("GET", "/events", None, self.bob)
        attempt = self.begin()
        [(_, kind, data)] = self.shown(stream.transport.value())
        self.assertEqual(kind, "invitation")
        self.assertEqual(data, {"attempt": attempt, "peer": self.alice_id, "expires": NOW_MS + 30_000})

    def test_stream_that_comes_back_gets_what_it_has_missed(self) -> None:
        """And nothing twice; what was declined meanwhile is not shown any more."""
        first = self.begin()
        [(number, _, _)] = self.events(**{"Last-Event-ID": str(NOW_MS * 1000)})
        second, third = self.begin(), self.begin()
        self.good("DELETE", f"/attempts/{second}", None, self.bob)
        missed = self.events(**{"Last-Event-ID": number})
        self.assertEqual([data["attempt"] for _, _, data in missed], [third])
        self.assertEqual(
            [data["attempt"] for _, _, data in self.events(**{"Last-Event-ID": str(NOW_MS * 1000)})], [first, third]
        )
