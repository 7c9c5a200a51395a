"""ICE servers over HTTP, and the credentials of TURN servers."""

from __future__ import annotations

import hmac
import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.ice import Turn, credential, stun_urls
from rendezvous.testing import MemoryServer
from tests._web_case import NOW, WebTestCase

URIS = ("turn:turn.example:3478?transport=udp", "turns:turn.example:443?transport=tcp")


class CredentialTests(SynchronousTestCase):
    """Tests of :mod:`rendezvous.core.ice`."""

    def test_credential_is_what_coturn_expects(self) -> None:
        """The example of the protocol."""
        self.assertEqual(credential(b"north", "1795255200:alice"), "lgwI8jbupgLAC8zPGv+3v8UzTa4=")

    def test_user_name_has_a_known_value(self) -> None:
        """The end of its validity, and HMAC-SHA256 of the client id under the secret, cut to 8 bytes."""
        entry = Turn(("turn:a.example",), b"north", 3600).entry(bytes(range(16)), 1795251600.9)
        name = hmac.new(b"north", b"rendezvous user" + bytes(range(16)), "sha256").hexdigest()[:16]
        self.assertEqual(entry["username"], f"1795255200:{name}")

    def test_addresses_of_ipv6_have_brackets(self) -> None:
        """RFC 7064, section 3.1."""
        self.assertEqual(stun_urls("a.example", [5024, 5026]), ["stun:a.example:5024", "stun:a.example:5026"])
        self.assertEqual(stun_urls("2001:db8::1", [5024]), ["stun:[2001:db8::1]:5024"])


class IceCase(WebTestCase):
    """A server with TURN servers."""

    def setUp(self) -> None:
        """Write the file of the secret."""
        self.path = self.mktemp()
        self.write("north")
        self.settings = {"turn_uri": URIS, "turn_secret_file": self.path, "turn_ttl": 600.0, "udp_port": (5024, 5026)}
        super().setUp()

    def write(self, secret: str) -> None:
        """Put a secret into the file."""
        with open(self.path, "w", encoding="ascii") as file:
            file.write(secret)
        os.chmod(self.path, 0o600)


class IceTests(IceCase):
    """Tests of :mod:`rendezvous.web.ice`."""

    def test_answer_is_what_a_peer_connection_takes(self) -> None:
        """Our own STUN ports first, below the host of the request, then TURN with credentials."""
        body = self.good("GET", "/ice", None, self.alice)
        stun, turn = body["iceServers"]
        self.assertEqual(stun, {"urls": ["stun:rendezvous.example:5024", "stun:rendezvous.example:5026"]})
        self.assertEqual(turn["urls"], list(URIS))
        self.assertEqual(turn["credential"], credential(b"north", turn["username"]))
        self.assertEqual((body["ttl"], body["expires"]), (600, (NOW + 600) * 1000))

    def test_user_name_says_when_it_ends_and_not_whose_it_is(self) -> None:
        """It is the same for one client, so that a TURN server can count; another client has another one."""
        names = []
        for headers in (self.alice, self.alice, self.bob):
            username = self.good("GET", "/ice", None, headers)["iceServers"][1]["username"]
            until, _, name = username.partition(":")
            self.assertEqual(int(until), NOW + 600)
            self.assertRegex(name, r"\A[0-9a-f]{16}\Z")
            self.assertNotIn(name, self.alice_id)
            names.append(name)
        self.assertEqual((names[0] == names[1], names[0] == names[2]), (True, False))

    def test_answer_is_not_stored(self) -> None:
        """It holds a credential."""
        self.assertEqual(self.ask("GET", "/ice", None, self.alice).headers["cache-control"], "no-store")

    def test_host_is_that_of_the_request(self) -> None:
        """Without its port; an address of IPv6 keeps its brackets."""
        for host, shown in (("a.example:8080", "a.example"), ("[2001:db8::1]:80", "[2001:db8::1]"), ("a", "a")):
            self.advance(60)
            body = self.good("GET", "/ice", None, {**self.alice, "Host": host})
            self.assertEqual(body["iceServers"][0]["urls"][0], f"stun:{shown}:5024")

    def test_only_clients_may_ask(self) -> None:
        """TURN costs somebody money."""
        self.refused(401, "unauthorized", "GET", "/ice")

    def test_a_client_may_ask_six_times_a_minute(self) -> None:
        """The next one says when to come back; another client is not concerned."""
        for _ in range(6):
            self.good("GET", "/ice", None, self.alice)
        response = self.ask("GET", "/ice", None, self.alice)
        self.assertRefused(response, 429, "ice-rate")
        self.assertEqual(response.headers["retry-after"], "60")
        self.good("GET", "/ice", None, self.bob)
        self.advance(60)
        self.good("GET", "/ice", None, self.alice)

    def test_reload_reads_the_secret_again(self) -> None:
        """So it can be rotated without a restart. A file that cannot be used leaves everything as it was."""
        rendezvous = self.server.rendezvous
        self.write("south\nnorth\n")
        rendezvous.reload(rendezvous.settings)
        turn = self.good("GET", "/ice", None, self.alice)["iceServers"][1]
        self.assertEqual(turn["credential"], credential(b"south", turn["username"]))
        self.write("")
        self.assertRaises(ValueError, rendezvous.reload, rendezvous.settings)
        turn = self.good("GET", "/ice", None, self.alice)["iceServers"][1]
        self.assertEqual(turn["credential"], credential(b"south", turn["username"]))

    def test_failure_does_not_deny_the_relay(self) -> None:
        """If a side reports that no path worked, the other one learns that the relay did not either."""
        attempt = self.ask("POST", f"/peer/{self.bob_id}/connect", {}, self.alice).json()["attempt"]
        self.good("POST", f"/attempts/{attempt}/accept", {}, self.bob)
        self.good("POST", f"/attempts/{attempt}/done", {"ok": False, "code": "udp-blocked"}, self.alice)
        self.assertEqual(
            self.good("GET", f"/attempts/{attempt}", None, self.bob)["reason"],
            "No datagram of one side has reached the server; a relay is needed, and none has worked.",
        )


class PlainTests(SynchronousTestCase):
    """Servers without TURN, without STUN, and without the protocol."""

    def servers(self, **settings: Any) -> list[Any]:
        """:returns: the ICE servers that a server names."""
        server = MemoryServer(**settings)
        self.addCleanup(server.stop)
        _, _, alice = server.register()
        found: list[Any] = server.request("GET", "/ice", None, alice).json()["iceServers"]
        return found

    def test_without_turn_servers_there_is_stun(self) -> None:
        """The list may be empty, too: then there is nothing that an agent could use."""
        self.assertEqual(self.servers(udp_port=(5024,)), [{"urls": ["stun:rendezvous.example:5024"]}])
        self.assertEqual(self.servers(without=("stun",)), [])

    def test_protocol_can_be_turned_off(self) -> None:
        """The route is gone."""
        server = MemoryServer(without=("connect",))
        self.addCleanup(server.stop)
        _, _, alice = server.register()
        self.assertEqual(server.request("GET", "/ice", None, alice).status, 404)
