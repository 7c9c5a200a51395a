"""The server's routes as the client calls them: what is sent, what is read, and which error says what went wrong."""

from __future__ import annotations

import json
from typing import Any, ClassVar, cast

from treq.testing import StubTreq

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.client import (
    ClientError,
    Health,
    Identity,
    NotRegistered,
    PeerAddress,
    PeerHasNoAddress,
    PeerNotFound,
    PeerStatus,
    RendezvousClient,
    RequestRefused,
    ServerBusy,
    ServerError,
    ServerFacts,
    Status,
)
from rendezvous.client.api import Treq
from rendezvous.client.errors import LONGEST_MESSAGE
from tests._client_fakes import BASE_URL, CLIENT_ID, IDENTITY, PEER_ID, PRIVATE_ID, CannedServer, PatientTreq, client_of

CREDENTIAL = f"Bearer {CLIENT_ID}:{PRIVATE_ID}"


def refusal(code: str, message: str = "No.") -> dict[str, object]:
    """An error as the server words it."""
    return {"ok": False, "error": message, "code": code}


class IdentityTests(SynchronousTestCase):
    """A client's name and key."""

    def test_saved_values_make_the_same_identity(self) -> None:
        """Both values, saved as text, are all that an identity needs."""
        self.assertEqual(Identity(IDENTITY.client_id, IDENTITY.private_id), IDENTITY)

    def test_key_is_the_private_id_as_bytes(self) -> None:
        """A pulse carries the 32 bytes that the hex digits stand for."""
        self.assertEqual(IDENTITY.private_key, bytes.fromhex(PRIVATE_ID))

    def test_credential_has_two_parts(self) -> None:
        """The credential names the client, so that the server can check it by arithmetic alone."""
        self.assertEqual(IDENTITY.credential, CREDENTIAL)

    def test_repr_hides_the_key(self) -> None:
        """Neither repr nor str shows the key."""
        for shown in (repr(IDENTITY), str(IDENTITY)):
            self.assertIn(CLIENT_ID, shown)
            self.assertNotIn(PRIVATE_ID, shown)

    def test_anything_but_hex_digits_of_the_right_number_is_refused(self) -> None:
        """A wrong id or key is refused, by a message that does not show the value."""
        for client_id, private_id in (
            (CLIENT_ID[:-1], PRIVATE_ID),
            (CLIENT_ID + "0", PRIVATE_ID),
            (CLIENT_ID + "\n", PRIVATE_ID),
            (CLIENT_ID, PRIVATE_ID[:-1]),
            (CLIENT_ID, PRIVATE_ID + "0"),
            (CLIENT_ID, "g" + PRIVATE_ID[1:]),
            (CLIENT_ID, cast(str, bytes(64))),
        ):
            error = self.assertRaises(ValueError, Identity, client_id, private_id)
            self.assertNotIn(PRIVATE_ID[:-1], str(error))


class FactsTests(SynchronousTestCase):
    """What a registration says of the server."""

    registered: ClassVar[dict[str, object]] = {"client_id": CLIENT_ID, "private_id": PRIVATE_ID}
    said: ClassVar[dict[str, object]] = {
        "pulseInterval": 30,
        "pulseGrace": 3.5,
        "errorTime": 180,
        "registrationTime": 300,
        "udpPorts": [5024, 5026],
    }

    def test_facts_come_with_the_identity(self) -> None:
        """They do not make it another one."""
        identity = self.successResultOf(client_of(CannedServer(200, self.registered | self.said)).register())
        self.assertEqual(identity, IDENTITY)
        self.assertEqual(identity.facts, ServerFacts(30.0, 3.5, 180.0, 300.0, (5024, 5026)))

    def test_server_that_says_nothing_is_fine(self) -> None:
        """There are no facts then."""
        identity = self.successResultOf(client_of(CannedServer(200, self.registered)).register())
        self.assertIsNone(identity.facts)

    def test_facts_that_cannot_be_are_an_error(self) -> None:
        """A time that is negative, no number, or missing; an interval of zero; ports that are none."""
        for name, value in (
            ("pulseInterval", 0),
            ("pulseInterval", "30"),
            ("pulseGrace", -1),
            ("errorTime", None),
            ("registrationTime", True),
            ("udpPorts", 5024),
            ("udpPorts", [0]),
            ("udpPorts", ["5024"]),
        ):
            server = CannedServer(200, self.registered | self.said | {name: value})
            self.failureResultOf(client_of(server).register(), ServerError)


class RegisterAgainTests(SynchronousTestCase):
    """Registering with a server that is busy."""

    def setUp(self) -> None:
        """Make a server that is busy for 20 seconds, as it says."""
        self.clock = Clock()
        self.server = CannedServer(429, refusal("registrations"), {"Retry-After": "20"})
        self.client = RendezvousClient(BASE_URL, cast(Treq, StubTreq(self.server)), self.clock, random=lambda: 0.5)

    def test_one_attempt_is_the_default(self) -> None:
        """The application decides what to do then."""
        error = self.failureResultOf(self.client.register(), ServerBusy).value
        self.assertEqual((error.retry_after, len(self.server.requests)), (20, 1))
        self.assertTrue(str(error).endswith("; try again in 20 s"), error)

    def test_next_attempt_comes_when_the_server_wants_it(self) -> None:
        """Not before, and a little later than it says, so that not all come back at once."""
        registered = self.client.register(attempts=3)
        self.clock.advance(20.9)
        self.assertEqual(len(self.server.requests), 1)
        self.server.status, self.server.body = 200, json.dumps(FactsTests.registered).encode()
        self.clock.advance(0.2)
        self.assertEqual(self.successResultOf(registered), IDENTITY)

    def test_last_attempt_fails(self) -> None:
        """With what the server says then; an answer without a time is tried again after 1 s, 2 s and so on."""
        self.server.status, self.server.headers = 503, {}
        registered = self.client.register(attempts=3)
        self.clock.advance(1)
        self.assertEqual(len(self.server.requests), 2)
        self.clock.advance(2)
        self.failureResultOf(registered, ServerBusy)
        self.assertEqual(len(self.server.requests), 3)

    def test_other_errors_end_it(self) -> None:
        """They would not be different the next time."""
        self.server.status = 400
        self.failureResultOf(self.client.register(attempts=3), RequestRefused)
        self.assertEqual(len(self.server.requests), 1)

    def test_waiting_can_be_cancelled(self) -> None:
        """Nothing is left for later."""
        registered = self.client.register(attempts=3)
        registered.cancel()
        self.failureResultOf(registered, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class RouteTests(SynchronousTestCase):
    """What each method sends and returns when all is well."""

    def test_register_returns_the_new_identity(self) -> None:
        """Registering sends no credential and makes an identity of the reply."""
        server = CannedServer(200, {"client_id": CLIENT_ID, "private_id": PRIVATE_ID, "timestamp": 1, "ok": True})
        self.assertEqual(self.successResultOf(client_of(server).register()), IDENTITY)
        self.assertEqual(server.requests, [("POST", "/register", None)])

    def test_registration_token_is_sent(self) -> None:
        """In the header, as the server wants it."""
        server = CannedServer(200, {"client_id": CLIENT_ID, "private_id": PRIVATE_ID, "timestamp": 1, "ok": True})
        self.successResultOf(client_of(server).register(token="team-north-3b9d51ea70c2"))
        self.assertEqual(server.requests, [("POST", "/register", "Bearer team-north-3b9d51ea70c2")])

    def test_verify_sends_the_credential(self) -> None:
        """Verifying proves who asks."""
        server = CannedServer(200, {"client_id": CLIENT_ID, "timestamp": 1, "ok": True})
        self.assertIsNone(self.successResultOf(client_of(server).verify(IDENTITY)))
        self.assertEqual(server.requests, [("POST", "/verify", CREDENTIAL)])

    def test_logout_sends_the_credential(self) -> None:
        """Logging out proves who leaves."""
        server = CannedServer(200, {"client_id": CLIENT_ID, "ok": True})
        self.assertIsNone(self.successResultOf(client_of(server).logout(IDENTITY)))
        self.assertEqual(server.requests, [("POST", "/logout", CREDENTIAL)])

    def test_look_up_returns_the_peers_address(self) -> None:
        """A look-up gives host, port and the server's time, for IPv4 and IPv6 alike."""
        for host in ("192.0.2.7", "2001:db8::7"):
            server = CannedServer(200, {"client_id": PEER_ID, "host": host, "port": 65535, "timestamp": 1.5})
            found = self.successResultOf(client_of(server).look_up(IDENTITY, PEER_ID))
            self.assertEqual(found, PeerAddress(host, 65535, 1.5))
            self.assertEqual(server.requests, [("GET", f"/peer/{PEER_ID}/udp", CREDENTIAL)])

    def test_status_returns_the_peers_status(self) -> None:
        """A peer is online or pending, and may never have pulsed."""
        for word, last_online in (("ONLINE", 3.25), ("PENDING", None)):
            server = CannedServer(200, {"client_id": PEER_ID, "status": word, "last_online": last_online, "ok": True})
            found = self.successResultOf(client_of(server).status(IDENTITY, PEER_ID))
            self.assertEqual(found, PeerStatus(Status[word], last_online))
            self.assertEqual(server.requests, [("GET", f"/peer/{PEER_ID}/udp/status", CREDENTIAL)])

    def test_health_returns_version_and_clock(self) -> None:
        """The server's health needs no identity."""
        server = CannedServer(200, {"status": "ok", "timestamp": 1000, "version": "1.0"})
        self.assertEqual(self.successResultOf(client_of(server).health()), Health("1.0", 1000))
        self.assertEqual(server.requests, [("GET", "/health", None)])

    def test_routes_are_below_the_base_url(self) -> None:
        """A server that is mounted below a path is reached there, with or without a final slash."""
        for base_url in (f"{BASE_URL}/below/here", f"{BASE_URL}/below/here/"):
            server = CannedServer(200, {"status": "ok", "timestamp": 1000, "version": "1.0"})
            self.successResultOf(client_of(server, base_url).health())
            self.assertEqual(server.requests, [("GET", "/below/here/health", None)])

    def test_peer_id_cannot_leave_its_place_in_the_path(self) -> None:
        """Whatever a peer claims to be called stays one segment of the path."""
        server = CannedServer(404, refusal("not-found"))
        self.failureResultOf(client_of(server).look_up(IDENTITY, "../a?b#c"), PeerNotFound)
        self.assertEqual(server.requests, [("GET", "/peer/..%2Fa%3Fb%23c/udp", CREDENTIAL)])


class BaseURLTests(SynchronousTestCase):
    """Which URLs can be a server's."""

    def test_anything_but_a_plain_web_url_is_refused(self) -> None:
        """A wrong URL is refused before any request, by a message that does not show a password in it."""
        for url in (
            "rendezvous.example:5025",
            "ftp://rendezvous.example",
            "http://",
            "http://rendezvous.example:65536",
            "http://rendezvous.example?a=b",
            "http://rendezvous.example#a",
            "http://user:hidden@rendezvous.example",
        ):
            error = self.assertRaises(ValueError, RendezvousClient, url, PatientTreq(), Clock())
            self.assertNotIn("hidden", str(error))


class RefusalTests(SynchronousTestCase):
    """Each error of the server becomes one class of ours."""

    def refused(self, server: CannedServer, kind: type[ClientError], route: str = "look_up") -> ClientError:
        """Ask on a route and return the error, which must be exactly of the class."""
        client = client_of(server)
        results: dict[str, Any] = {
            "register": client.register,
            "verify": lambda: client.verify(IDENTITY),
            "logout": lambda: client.logout(IDENTITY),
            "look_up": lambda: client.look_up(IDENTITY, PEER_ID),
            "status": lambda: client.status(IDENTITY, PEER_ID),
            "health": client.health,
        }
        error = self.failureResultOf(results[route](), kind).value
        assert isinstance(error, ClientError)
        self.assertIs(type(error), kind)
        return error

    def test_error_carries_status_code_and_message(self) -> None:
        """Programs get the status and the code; people get the server's sentence and what to do."""
        error = self.refused(CannedServer(401, refusal("unauthorized", "The key is wrong.")), NotRegistered)
        self.assertEqual((error.status, error.code), (401, "unauthorized"))
        self.assertEqual(error.server_message, "The key is wrong.")
        self.assertIn("The key is wrong.", str(error))
        self.assertIn("register again", str(error))

    def test_401_means_not_registered_on_every_route(self) -> None:
        """A credential that the server does not take is the same news wherever it was shown."""
        for route in ("verify", "logout", "look_up", "status"):
            self.refused(CannedServer(401, refusal("unauthorized")), NotRegistered, route)

    def test_verify_of_a_gone_client_means_not_registered(self) -> None:
        """The two-part credential of a client that is gone gets a 404 of its own."""
        self.refused(CannedServer(404, refusal("not-registered")), NotRegistered, "verify")

    def test_unknown_peer_is_not_found(self) -> None:
        """A 404 about a peer says that there is none."""
        for route in ("look_up", "status"):
            self.refused(CannedServer(404, refusal("not-found")), PeerNotFound, route)

    def test_peer_that_never_pulsed_has_no_address(self) -> None:
        """A peer without an address has another error than one that is unknown."""
        self.refused(CannedServer(404, refusal("no-address")), PeerHasNoAddress)

    def test_404_that_is_not_about_a_peer_is_the_servers_error(self) -> None:
        """A server without the route is not one of ours."""
        for route in ("register", "verify", "health"):
            self.refused(CannedServer(404, refusal("not-found")), ServerError, route)

    def test_busy_server_says_when_to_come_back(self) -> None:
        """Both statuses for "later" carry the pause that the server asks for."""
        for status in (429, 503):
            error = self.refused(CannedServer(status, refusal("full"), {"Retry-After": "30"}), ServerBusy, "register")
            self.assertEqual(error.retry_after, 30.0)

    def test_busy_proxy_counts_as_busy(self) -> None:
        """A proxy says "later" in its own words, and may not say when."""
        error = self.refused(CannedServer(503, b"<h1>Later</h1>"), ServerBusy)
        self.assertEqual((error.status, error.code, error.retry_after), (503, None, None))

    def test_pause_in_another_form_is_not_believed(self) -> None:
        """Only a number of seconds with at most nine digits is taken as a pause."""
        for value, pause in (
            ("0", 0.0),
            ("999999999", 999999999.0),
            ("1000000000", None),
            ("-1", None),
            ("1.5", None),
            ("Fri, 01 Jan 2100 00:00:00 GMT", None),
        ):
            error = self.refused(CannedServer(503, refusal("full"), {"Retry-After": value}), ServerBusy)
            self.assertEqual(error.retry_after, pause)

    def test_500_is_the_servers_error(self) -> None:
        """A failing server is said to fail."""
        error = self.refused(CannedServer(500, refusal("internal")), ServerError)
        self.assertEqual((error.status, error.code), (500, "internal"))

    def test_other_refusals_are_told_from_failures(self) -> None:
        """Asking again will not help with what the server refuses for good."""
        for status in (400, 403, 405, 409, 413, 415):
            self.refused(CannedServer(status, refusal("word")), RequestRefused)

    def test_another_servers_reply_says_to_check_the_url(self) -> None:
        """What is not a rendezvous server's JSON is never taken for one of its answers, whatever its status."""
        for status in (200, 201, 204, 301, 401, 404, 418, 500, 502):
            for body in (b"<html>", b"", b"[]", b'"text"', b"[" * 60000, b"\xff"):
                error = self.refused(CannedServer(status, b"" if status == 204 else body), ServerError)
                self.assertIn("check that the URL is that of a rendezvous server", str(error))
                self.assertEqual(error.status, status)
                self.assertIsNone(error.code)

    def test_error_without_our_three_fields_is_not_ours(self) -> None:
        """A JSON error of another make must not end a client's registration."""
        words = {"error": "x", "code": "y"}
        for body in ({}, words, words | {"ok": True}, {"ok": False, "error": "x"}, words | {"ok": False, "code": 1}):
            self.refused(CannedServer(401, body), ServerError)

    def test_redirect_is_not_followed(self) -> None:
        """A credential never travels on to where a reply points."""
        server = CannedServer(302, b"", {"Location": f"{BASE_URL}/elsewhere"})
        self.refused(server, ServerError)
        self.assertEqual(len(server.requests), 1)

    def test_servers_message_is_cut_and_kept_on_one_line(self) -> None:
        """A server cannot fill or forge a log with its message."""
        error = self.refused(CannedServer(400, refusal("word", "a\r\nb\x1b" + "c" * 1000)), RequestRefused)
        self.assertEqual(error.server_message, "a  b " + "c" * (LONGEST_MESSAGE - 5))

    def test_wrong_fields_are_the_servers_error(self) -> None:
        """A good status with fields that are missing, of the wrong type or out of range is not believed."""
        address = {"host": "192.0.2.7", "port": 5, "timestamp": 1}
        status = {"status": "ONLINE", "last_online": 1}
        wrong: list[tuple[str, dict[str, object]]] = [
            *(("look_up", address | {"host": host}) for host in (None, "peer.example", "", 1)),
            *(("look_up", address | {"port": port}) for port in (None, 0, 65536, True, "5", 5.0)),
            *(("look_up", address | {"timestamp": time}) for time in (None, "1", True, 10**400, float("nan"))),
            *(("status", status | {"status": word}) for word in (None, "online", "GONE", 1)),
            *(("status", status | {"last_online": last}) for last in ("1", True, float("inf"))),
            ("status", {"status": "ONLINE"}),
            ("register", {"client_id": CLIENT_ID}),
            ("register", {"client_id": CLIENT_ID, "private_id": PRIVATE_ID[1:]}),
            ("verify", {"client_id": PEER_ID}),
            ("logout", {}),
            ("health", {"version": 1, "timestamp": 1}),
        ]
        for route, body in wrong:
            error = self.refused(CannedServer(200, body), ServerError, route)
            self.assertIn("missing or wrong", str(error))
