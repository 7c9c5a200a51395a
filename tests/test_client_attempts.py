"""The client library's attempts and ICE servers: what is sent, what is read, and the time of the server."""

from __future__ import annotations

import json
from typing import Any, ClassVar, cast

from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.server import Request

from rendezvous.client import (
    AttemptState,
    Candidate,
    CandidateKind,
    IceServer,
    Invitation,
    NatMapping,
    NotFound,
    PeerNotFound,
    RendezvousClient,
    RequestRefused,
    ServerBusy,
    ServerError,
    Strategy,
    Via,
)
from rendezvous.client._http import segment
from rendezvous.client._server_time import ServerTime
from tests._client_fakes import (
    BASE_URL,
    CLIENT_ID,
    IDENTITY,
    PEER_ID,
    PRIVATE_ID,
    CannedServer,
    PatientTreq,
    client_of,
    treq_of,
)

ATTEMPT = bytes.fromhex("0123456789abcdef")
KEY = bytes(range(32))
CREDENTIAL = f"Bearer {CLIENT_ID}:{PRIVATE_ID}"

INVITED: dict[str, Any] = {
    "attempt": ATTEMPT.hex(),
    "state": "invited",
    "role": "controlling",
    "version": 1,
    "expires": 1_790_000_060_000,
    "round": 1,
    "iceServers": [
        {"urls": ["stun:rendezvous.example:5024"]},
        {"urls": ["turn:turn.example:3478"], "username": "1:a", "credential": "hidden"},
    ],
    "peer": {"client_id": PEER_ID},
}
GO: dict[str, Any] = {
    **INVITED,
    "state": "go",
    "key": KEY.hex(),
    "hold": 40,
    "strategy": "direct",
    "mapping": "endpoint-independent",
    "peer": {
        "client_id": PEER_ID,
        "mapping": "sequential",
        "candidates": [{"kind": "server-reflexive", "host": "2001:DB8::1", "port": 40000}],
    },
}


class RecordingServer(CannedServer):
    """
    A server that also remembers bodies.

    :ivar bodies: that of each request, decoded; ``None`` for one without.
    """

    def __init__(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, body, headers)
        self.bodies: list[Any] = []

    def render(self, request: Request) -> bytes:
        """
        Answer.

        :param request: any.
        """
        content = cast(Any, request).content.read()
        self.bodies.append(json.loads(content) if content else None)
        return super().render(request)


class RequestTests(SynchronousTestCase):
    """What each method sends."""

    host = Candidate(CandidateKind.HOST, ("192.168.1.7", 40000))

    def setUp(self) -> None:
        """Make a server that answers each request with an attempt."""
        self.server = RecordingServer(200, INVITED)
        self.attempts = client_of(self.server).attempts

    def sent(self) -> tuple[str, str, Any]:
        """:returns: method, target and body of the only request, which had a credential."""
        [(method, target, credential)] = self.server.requests
        self.assertEqual(credential, CREDENTIAL)
        return method, target, self.server.bodies[0]

    def test_connect_names_candidates_and_round_trip(self) -> None:
        """Times are in milliseconds on the wire; what is not given is left out. The status is 201."""
        self.server.status = 201
        attempt = self.successResultOf(self.attempts.connect(IDENTITY, PEER_ID, [self.host], rtt=0.0416))
        self.assertEqual((attempt.id, attempt.state), (ATTEMPT, AttemptState.INVITED))
        body = {"candidates": [{"kind": "host", "host": "192.168.1.7", "port": 40000}], "rtt": 42}
        self.assertEqual(self.sent(), ("POST", f"/peer/{PEER_ID}/connect", body))

    def test_accept_agrees_to_many_ports(self) -> None:
        """The birthday strategy is asked for."""
        self.successResultOf(self.attempts.accept(IDENTITY, ATTEMPT, birthday=True))
        expected = "POST", f"/attempts/{ATTEMPT.hex()}/accept", {"candidates": [], "birthday": True}
        self.assertEqual(self.sent(), expected)

    def test_candidates_replace_the_list(self) -> None:
        """The route has the list alone."""
        self.successResultOf(self.attempts.candidates(IDENTITY, ATTEMPT, [self.host]))
        body = {"candidates": [{"kind": "host", "host": "192.168.1.7", "port": 40000}]}
        self.assertEqual(self.sent(), ("POST", f"/attempts/{ATTEMPT.hex()}/candidates", body))

    def test_view_waits_for_a_version(self) -> None:
        """Both parameters are in the query."""
        self.successResultOf(self.attempts.view(IDENTITY, ATTEMPT, wait=30, version=4))
        self.assertEqual(self.sent(), ("GET", f"/attempts/{ATTEMPT.hex()}?wait=30&version=4", None))

    def test_done_reports_how_it_went(self) -> None:
        """With the time and the way if it worked, with a code if it did not."""
        self.successResultOf(self.attempts.done(IDENTITY, ATTEMPT, ok=True, seconds=0.25, via=Via.DIRECT))
        self.successResultOf(self.attempts.done(IDENTITY, ATTEMPT, ok=False, code="no-path"))
        self.assertEqual(
            self.server.bodies, [{"ok": True, "ms": 250, "via": "direct"}, {"ok": False, "code": "no-path"}]
        )
        self.assertEqual({target for _, target, _ in self.server.requests}, {f"/attempts/{ATTEMPT.hex()}/done"})

    def test_end_deletes(self) -> None:
        """Declining and giving up are one request."""
        self.server.body = json.dumps(INVITED | {"state": "declined"}).encode()
        self.assertTrue(self.successResultOf(self.attempts.end(IDENTITY, ATTEMPT)).state.over)
        self.assertEqual(self.sent(), ("DELETE", f"/attempts/{ATTEMPT.hex()}", None))

    def test_invitations_are_listed(self) -> None:
        """They are asked for after the last one that is known."""
        self.server.body = json.dumps(
            {"attempts": [{"attempt": ATTEMPT.hex(), "peer": PEER_ID, "seq": 7, "expires": 5}]}
        ).encode()
        found = self.successResultOf(self.attempts.invitations(IDENTITY, wait=2.5, since=6))
        self.assertEqual(found, (Invitation(ATTEMPT, PEER_ID, 7, 5),))
        self.assertEqual(self.sent(), ("GET", "/attempts?wait=2.5&since=6", None))


class ReadTests(SynchronousTestCase):
    """What is read of an attempt."""

    def view(self, body: dict[str, Any]) -> Any:
        """:returns: what comes of reading an attempt."""
        return client_of(CannedServer(200, body)).attempts.view(IDENTITY, ATTEMPT)

    def test_go_has_what_the_probes_need(self) -> None:
        """The key, the hold in seconds, and the peer's candidates in the spelling of sockets."""
        attempt = self.successResultOf(self.view(GO))
        self.assertEqual((attempt.state, attempt.key, attempt.hold), (AttemptState.GO, KEY, 0.04))
        self.assertEqual((attempt.controlling, attempt.strategy, attempt.round), (True, Strategy.DIRECT, 1))
        self.assertEqual(
            (attempt.mapping, attempt.peer.mapping), (NatMapping.ENDPOINT_INDEPENDENT, NatMapping.SEQUENTIAL)
        )
        self.assertEqual(attempt.peer.candidates, (Candidate(CandidateKind.SERVER_REFLEXIVE, ("2001:db8::1", 40000)),))
        turn = IceServer(("turn:turn.example:3478",), "1:a", "hidden")
        self.assertEqual(attempt.ice_servers, (IceServer(("stun:rendezvous.example:5024",)), turn))
        self.assertEqual([server.is_turn for server in attempt.ice_servers], [False, True])

    def test_words_of_a_later_server_are_passed_over(self) -> None:
        """A candidate of an unknown kind is left out; an unknown mapping or strategy is the most general one."""
        later = {"kind": "carrier-pigeon", "host": "192.0.2.1", "port": 1}
        peer = GO["peer"] | {"mapping": "quantum", "candidates": [later, *GO["peer"]["candidates"]]}
        attempt = self.successResultOf(self.view(GO | {"peer": peer, "strategy": "prayer"}))
        self.assertEqual((attempt.strategy, attempt.peer.mapping), (Strategy.DIRECT, NatMapping.UNKNOWN))
        [candidate] = attempt.peer.candidates
        self.assertIs(candidate.kind, CandidateKind.SERVER_REFLEXIVE)

    def test_secrets_are_not_shown(self) -> None:
        """Neither the pair key nor the credential of TURN is in a repr."""
        shown = repr(self.successResultOf(self.view(GO)))
        self.assertNotIn(repr(KEY), shown)
        self.assertNotIn("hidden", shown)

    def test_failure_has_its_reason(self) -> None:
        """For programs and for people."""
        body = INVITED | {"state": "failed", "code": "symmetric-pair", "reason": "Both NATs ..."}
        attempt = self.successResultOf(self.view(body))
        self.assertEqual((attempt.code, attempt.reason, attempt.state.over), ("symmetric-pair", "Both NATs ...", True))

    def test_wrong_members_are_the_servers_error(self) -> None:
        """Each member is checked before it is believed."""
        peer = GO["peer"]
        cases: list[dict[str, Any]] = [
            {"attempt": "0123"},
            {"attempt": "x" * 16},
            {"state": "gone"},
            {"role": "other"},
            {"version": -1},
            {"version": True},
            {"round": 1.5},
            {"key": "00"},
            {"hold": -1},
            {"strategy": None},
            {"peer": []},
            {"peer": peer | {"candidates": [{"kind": "host", "host": "example", "port": 1}]}},
            {"peer": peer | {"candidates": [{"kind": "host", "host": "192.0.2.1", "port": 0}]}},
            {"iceServers": [{"urls": "stun:x"}]},
        ]
        for wrong in cases:
            self.failureResultOf(self.view(GO | wrong), ServerError)


class RefusalTests(SynchronousTestCase):
    """Errors of the routes."""

    refusals: ClassVar = [
        (404, "no-such-peer", PeerNotFound),
        (404, "no-such-attempt", NotFound),
        (409, "too-many-attempts", RequestRefused),
        (429, "attempt-rate", ServerBusy),
        (503, "full-attempts", ServerBusy),
    ]

    def test_each_code_has_its_error(self) -> None:
        """The error keeps the server's code."""
        for status, code, kind in self.refusals:
            client = client_of(CannedServer(status, {"ok": False, "error": "No.", "code": code}))
            error = self.failureResultOf(client.attempts.view(IDENTITY, ATTEMPT), kind).value
            self.assertEqual((type(error), cast(Any, error).code), (kind, code))


class IceTests(SynchronousTestCase):
    """``GET /ice``."""

    def test_servers_and_their_validity_are_read(self) -> None:
        """As the protocol's example has them."""
        body = {"iceServers": INVITED["iceServers"], "ttl": 3600, "expires": 1795255200000}
        server = CannedServer(200, body)
        ice = self.successResultOf(client_of(server).ice(IDENTITY))
        self.assertEqual((len(ice.servers), ice.ttl, ice.expires), (2, 3600.0, 1795255200000))
        self.assertEqual(server.requests, [("GET", "/ice", CREDENTIAL)])


class ServerTimeTests(SynchronousTestCase):
    """The time of the server."""

    def test_time_is_learned_from_answers(self) -> None:
        """In seconds, or in milliseconds as the route says; the local clock may have any value."""
        for timestamp in (1_790_000_000.25, 1_790_000_000_250):
            clock = Clock()
            clock.advance(77)
            server = CannedServer(200, {"status": "ok", "timestamp": timestamp, "version": "1.0"})
            client = RendezvousClient(BASE_URL, treq_of(server), clock)
            self.assertFalse(client.time.known)
            self.successResultOf(client.health())
            clock.advance(1.5)
            self.assertEqual(client.time.milliseconds(), 1_790_000_001_750)

    def test_what_is_no_time_is_ignored(self) -> None:
        """The time stays unknown, or as it was."""
        time = ServerTime(lambda: 5.0)
        for timestamp in (0, -1, float("nan"), float("inf"), 10**400):
            time.learn(timestamp, 5.0)
        self.assertFalse(time.known)
        self.assertRaises(RuntimeError, time.milliseconds)
        time.learn(9.0, 5.0)
        self.assertEqual(time.ahead, 4.0)


class RoundTripTests(SynchronousTestCase):
    """The round trip to the server, which attempts tell it."""

    def test_shortest_exchange_counts(self) -> None:
        """The first one opens a connection as well, which takes one more round trip, and two more with TLS."""
        for base_url, first in ((BASE_URL, 0.12), ("https://rendezvous.example", 0.08)):
            treq = PatientTreq()
            clock = Clock()
            client = RendezvousClient(base_url, treq, clock)
            self.assertIsNone(client.round_trip)
            for took, expected in ((0.24, first), (0.2, first), (0.05, 0.05), (0.3, 0.05)):
                health = client.health()
                clock.advance(took)
                treq.calls[-1].callback(response_with({"status": "ok", "timestamp": 1, "version": "1"}))
                self.successResultOf(health)
                self.assertAlmostEqual(client.round_trip or 0, expected)

    def test_request_that_the_server_holds_does_not_count(self) -> None:
        """Its time says nothing about the way."""
        treq = PatientTreq()
        client = RendezvousClient(BASE_URL, treq, Clock())
        asked = client.attempts.invitations(IDENTITY, wait=20)
        treq.calls[-1].callback(response_with({"attempts": []}))
        self.successResultOf(asked)
        self.assertIsNone(client.round_trip)


def response_with(body: object) -> Any:
    """A whole response."""

    class Whole:
        code = 200
        headers = Headers()

        def deliverBody(self, protocol: Any) -> None:
            protocol.dataReceived(json.dumps(body).encode())
            protocol.connectionLost(Failure(ResponseDone()))

    return Whole()


class SegmentTests(SynchronousTestCase):
    """Names in paths."""

    def test_name_stays_one_segment(self) -> None:
        """Slashes are quoted, and so are the names that a path would resolve."""
        self.assertEqual([segment(name) for name in ("a/b", "☃", ".", "..")], ["a%2Fb", "%E2%98%83", "%2E", "%2E%2E"])
