"""Tests of :mod:`rendezvous.web.peers`: every route of the dialect, through the whole service."""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.testing import MemoryServer, Response
from rendezvous.wire.pulse import PulseCode, decode_reply

START = 1_800_000_000.0
HOME = ("198.51.100.7", 40000)
ELSEWHERE = ("203.0.113.9", 40001)
NOBODY = "0" * 32


class _Case(SynchronousTestCase):
    """A server that started at ``START``, and one client of it."""

    settings: ClassVar[dict[str, Any]] = {}

    def setUp(self) -> None:
        """Start the server and register."""
        self.server = MemoryServer(**self.settings)
        self.addCleanup(self.server.stop)
        self.server.reactor.advance(START)
        self.client_id, self.key, self.headers = self.server.register()
        self.bare = {"Authorization": f"Bearer {self.key.hex()}"}

    def advance(self, seconds: float) -> None:
        """Let time pass, the sweeps included."""
        self.server.reactor.pump([seconds])

    def pulse(self, source: tuple[str, int] = HOME) -> PulseCode:
        """:returns: what a pulse is answered with."""
        (reply,) = self.server.deliver(self.key, source)
        return decode_reply(reply)

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None) -> Response:
        """:returns: the answer to a request that is authenticated unless other headers are given."""
        return self.server.request(method, path, headers=self.headers if headers is None else headers)

    def udp(self, what: str = "", headers: dict[str, str] | None = None) -> Response:
        """:returns: the answer to a question about the client."""
        return self.ask("GET", f"/peer/{self.client_id}/udp{what}", headers)

    def assert_error(self, response: Response, status: int, code: str) -> dict[str, Any]:
        """Check that a response is an error in the one form that errors have."""
        self.assertEqual(response.status, status, response)
        self.assertEqual(response.headers["content-type"], "application/json")
        body: dict[str, Any] = response.json()
        names = {"ok", "error", "code"}
        self.assertEqual(set(body), names | {"request_id"} if status >= 500 else names)
        self.assertEqual((body["ok"], body["code"]), (False, code))
        self.assertTrue(body["error"].endswith("."), body)
        return body

    def assert_unauthorized(self, response: Response) -> None:
        """Check that a response asks for a credential."""
        self.assert_error(response, 401, "unauthorized")
        self.assertEqual(response.headers["www-authenticate"], "Bearer")


class RegisterTests(_Case):
    """Tests of ``POST /register``."""

    def test_answer_is_the_union_that_both_dialects_read(self) -> None:
        """The id and the key are there under the names of both dialects, as lower-case hex."""
        response = self.server.request("POST", "/register")
        self.assertEqual((response.status, response.headers["content-type"]), (200, "application/json"))
        body = response.json()
        facts = {"pulseInterval", "pulseGrace", "errorTime", "registrationTime", "udpPorts", "limits"}
        self.assertEqual(set(body) - facts, {"client_id", "private_id", "peerId", "secret", "timestamp", "ok"})
        self.assertRegex(body["client_id"], r"\A[0-9a-f]{32}\Z")
        self.assertRegex(body["private_id"], r"\A[0-9a-f]{64}\Z")
        self.assertEqual((body["peerId"], body["secret"]), (body["client_id"], body["private_id"]))
        self.assertEqual(body["timestamp"], START)
        self.assertIs(body["ok"], True)

    def test_each_client_is_another(self) -> None:
        """No two registrations share an id or a key."""
        made = [self.server.register()[:2] for _ in range(20)]
        self.assertEqual(len({client_id for client_id, _ in made}), 20)
        self.assertEqual(len({key for _, key in made}), 20)

    def test_any_body_will_do(self) -> None:
        """The body is not looked at: JSON, not JSON, of any type."""
        for body, media in ((b"\xff\x00", "no/such-type"), (b"{", "application/json"), ({"a": 1}, "application/json")):
            response = self.server.request("POST", "/register", body, {"Content-Type": media})
            self.assertEqual(response.status, 200, body)

    def test_full_server_says_when_to_try_again(self) -> None:
        """One client more than there may be is refused with 503 and Retry-After."""
        server = MemoryServer(max_clients=1)
        self.addCleanup(server.stop)
        self.assertEqual(server.request("POST", "/register").status, 200)
        response = server.request("POST", "/register")
        self.assert_error(response, 503, "full")
        self.assertEqual(response.headers["retry-after"], "30")

    def test_departed_client_makes_room(self) -> None:
        """Once the only client has expired, the next one is let in."""
        server = MemoryServer(max_clients=1)
        self.addCleanup(server.stop)
        server.register()
        server.reactor.pump([300])
        self.assertEqual(server.request("POST", "/register").status, 503)
        server.reactor.pump([1])
        self.assertEqual(server.request("POST", "/register").status, 200)


class CredentialTests(_Case):
    """Tests of the ``Authorization`` header, on every route that needs one."""

    def routes(self) -> list[tuple[str, str]]:
        """:returns: every authenticated route, as method and path, the one that ends the client last."""
        peer = f"/peer/{self.client_id}/udp"
        reads = [("GET", peer), ("GET", f"{peer}/address"), ("GET", f"{peer}/status")]
        return [*reads, ("POST", "/verify"), ("POST", "/logout")]

    def test_both_forms_are_accepted(self) -> None:
        """The bare key and the two-part credential open every route."""
        for form in ("bare", "headers"):
            self.client_id, self.key, self.headers = self.server.register()
            self.bare = {"Authorization": f"Bearer {self.key.hex()}"}
            self.pulse()
            for method, path in self.routes():
                self.assertEqual(self.ask(method, path, getattr(self, form)).status, 200, (form, method, path))

    def test_scheme_and_digits_come_in_any_case(self) -> None:
        """``bearer`` and upper-case hex digits mean the same."""
        headers = {"Authorization": f"bearer {self.client_id.upper()}:{self.key.hex().upper()}"}
        self.assertEqual(self.ask("POST", "/verify", headers).status, 200)

    def test_everything_else_is_401(self) -> None:
        """A credential that is missing, malformed, wrong, or of another scheme is refused, on every route."""
        key, client_id = self.key.hex(), self.client_id
        wrong = [
            "", "Bearer", "Bearer ", key, f"Basic {key}", f"Digest {key}", f"Bearer{key}", f"Bearer {key[:-1]}",
            f"Bearer {key}0", f"Bearer {key[:-1]}g", "Bearer " + "0" * 64, f"Bearer {client_id}:{'0' * 64}",
            f"Bearer {NOBODY}:{key}", f"Bearer {client_id[:-1]}:{key}", f"Bearer :{key}", f"Bearer {client_id}:",
            f"Bearer {client_id}{key}", f"Bearer {key} {key}", f"Bearer {key},", "Bearer \xff\xfe",
            "Bearer " + "\xb2" * 64,
        ]  # fmt: skip
        for method, path in self.routes():
            self.assert_unauthorized(self.ask(method, path, {}))
            for header in wrong:
                self.assert_unauthorized(self.ask(method, path, {"Authorization": header}))

    def test_another_clients_key_does_not_fit_the_id(self) -> None:
        """The two-part form is refused when its halves belong to different clients, however valid each."""
        _, other_key, _ = self.server.register()
        headers = {"Authorization": f"Bearer {self.client_id}:{other_key.hex()}"}
        self.assert_unauthorized(self.ask("POST", "/verify", headers))

    def test_credential_is_checked_before_the_peer_is_looked_for(self) -> None:
        """A stranger cannot find out which ids exist."""
        for peer in (self.client_id, NOBODY, "junk"):
            self.assert_unauthorized(self.ask("GET", f"/peer/{peer}/udp/status", {}))

    def test_two_part_form_outlives_a_client_that_never_pulsed(self) -> None:
        """A WebRTC peer, which sends no pulse, can go on asking after its registration time; the bare key cannot."""
        peer_id, peer_key, _ = self.server.register()
        self.advance(301)
        self.server.deliver(peer_key, ELSEWHERE)
        other_id, other_key, _ = self.server.register()
        self.server.deliver(other_key, ELSEWHERE)
        self.assertEqual(self.ask("GET", f"/peer/{other_id}/udp").status, 200)
        self.assert_unauthorized(self.ask("GET", f"/peer/{other_id}/udp", self.bare))
        self.assert_error(self.ask("GET", f"/peer/{peer_id}/udp"), 404, "not-found")


class AddressTests(_Case):
    """Tests of ``GET /peer/<client_id>/udp`` and ``/udp/address``."""

    def test_address_is_where_the_last_pulse_came_from(self) -> None:
        """Both paths give the host as text and the port as a number, with the time of the answer."""
        self.pulse(HOME)
        self.advance(2.5)
        expected = {
            "client_id": self.client_id, "host": HOME[0], "port": HOME[1], "timestamp": START + 2.5, "ok": True
        }  # fmt: skip
        for what in ("", "/address"):
            response = self.udp(what)
            self.assertEqual((response.status, response.json()), (200, expected))
            self.assertIs(type(response.json()["port"]), int)

    def test_any_client_may_ask_for_any_other(self) -> None:
        """The caller need not be the peer it asks for, nor ever have pulsed."""
        self.pulse()
        _, _, headers = self.server.register()
        self.assertEqual(self.udp("", headers).json()["host"], HOME[0])

    def test_id_comes_in_any_case_and_any_encoding(self) -> None:
        """Upper-case and percent-encoded digits name the same peer; the answer gives its plain form."""
        self.pulse()
        encoded = "".join(f"%{ord(digit):02X}" for digit in self.client_id)
        for spelling in (self.client_id.upper(), encoded):
            response = self.ask("GET", f"/peer/{spelling}/udp")
            self.assertEqual((response.status, response.json().get("client_id")), (200, self.client_id))

    def test_peer_that_never_pulsed_has_none(self) -> None:
        """The message says why there is no address, and the code tells it from an unknown peer."""
        for what in ("", "/address"):
            body = self.assert_error(self.udp(what), 404, "no-address")
            self.assertIn("pulse", body["error"])

    def test_unknown_peer_is_404(self) -> None:
        """An id that was never drawn, or that is none, has neither address nor status."""
        shapes = ("0", "x" * 32, "0" * 31, "0" * 33, "%00", "%FF%FE", "..", "%2e%2e", "a%2Fb", "%", "%zz", "%C3%A9")
        for peer in (NOBODY, *shapes):
            for what in ("", "/address", "/status"):
                self.assert_error(self.ask("GET", f"/peer/{peer}/udp{what}"), 404, "not-found")

    def test_departed_peer_is_404(self) -> None:
        """A peer that has logged out, or was silent for too long, has neither address nor status."""
        for leave in (self.log_out, self.fall_silent):
            peer_id, key, headers = self.server.register()
            self.server.deliver(key)
            leave(headers)
            for what in ("", "/address", "/status"):
                self.assert_error(self.ask("GET", f"/peer/{peer_id}/udp{what}"), 404, "not-found")

    def log_out(self, headers: dict[str, str]) -> None:
        """Leave at once."""
        self.assertEqual(self.ask("POST", "/logout", headers).status, 200)

    def fall_silent(self, headers: dict[str, str]) -> None:
        """Leave by waiting, without a sweep in between."""
        self.server.reactor.advance(210.5)

    def test_ipv6_address_is_given_as_it_is(self) -> None:
        """An IPv6 host comes without brackets."""
        self.pulse(("2001:db8::7", 5))
        self.assertEqual(self.udp().json()["host"], "2001:db8::7")

    def test_mapped_address_is_given_as_ipv4(self) -> None:
        """What an IPv6 socket calls ``::ffff:a.b.c.d`` is an IPv4 address."""
        self.pulse(("::ffff:198.51.100.7", 5))
        self.assertEqual(self.udp().json()["host"], "198.51.100.7")


class StatusTests(_Case):
    """Tests of ``GET /peer/<client_id>/udp/status``."""

    def test_new_client_is_pending_and_was_never_online(self) -> None:
        """Before the first pulse ``last_online`` is null."""
        response = self.udp("/status")
        self.assertEqual(response.status, 200)
        self.assertEqual(
            response.json(),
            {"client_id": self.client_id, "status": "PENDING", "last_online": None, "timestamp": START, "ok": True},
        )

    def test_online_client_tells_the_age_of_its_last_pulse(self) -> None:
        """``last_online`` is in seconds, with their fraction."""
        self.pulse()
        self.advance(12.5)
        self.assertEqual(
            self.udp("/status").json(),
            {
                "client_id": self.client_id, "status": "ONLINE", "last_online": 12.5, "timestamp": START + 12.5,
                "ok": True,
            },
        )  # fmt: skip

    def test_verify_does_not_count_as_a_pulse(self) -> None:
        """After a verify the client is ONLINE, and ``last_online`` still tells of its pulse."""
        self.pulse()
        self.advance(100)
        self.ask("POST", "/verify")
        self.advance(1)
        body = self.udp("/status").json()
        self.assertEqual((body["status"], body["last_online"]), ("ONLINE", 101))


class VerifyTests(_Case):
    """Tests of ``POST /verify``."""

    def test_answer_names_the_client_and_the_time(self) -> None:
        """The body is exactly the id, the time and ok."""
        self.pulse()
        response = self.ask("POST", "/verify")
        self.assertEqual(response.status, 200)
        self.assertEqual(response.json(), {"client_id": self.client_id, "timestamp": START, "ok": True})

    def test_gone_client_must_register_again(self) -> None:
        """The two-part credential is told so with 404; to the bare key, which nothing resolves now, it is 401."""
        self.pulse()
        self.advance(210.001)
        body = self.assert_error(self.ask("POST", "/verify"), 404, "not-registered")
        self.assertIn("register again", body["error"])
        self.assert_unauthorized(self.ask("POST", "/verify", self.bare))

    def test_new_client_stays_without_address(self) -> None:
        """A verify before the first pulse gives the registration time once more, and no address."""
        self.advance(299)
        self.ask("POST", "/verify")
        self.advance(299)
        self.assertEqual(self.udp("/status").json()["status"], "PENDING")
        self.assertEqual(self.pulse(), PulseCode.ON_TIME)


class LogoutTests(_Case):
    """Tests of ``POST /logout``."""

    def test_answer_names_the_client(self) -> None:
        """The body is exactly the id and ok."""
        response = self.ask("POST", "/logout")
        self.assertEqual((response.status, response.json()), (200, {"client_id": self.client_id, "ok": True}))

    def test_both_forms_of_the_credential_end(self) -> None:
        """After a logout neither form opens anything, a second logout included, and a pulse finds no client."""
        self.pulse()
        self.ask("POST", "/logout")
        for headers in (self.headers, self.bare):
            for path in ("/verify", "/logout"):
                self.assert_unauthorized(self.ask("POST", path, headers))
            self.assert_unauthorized(self.udp("", headers))
        self.assertEqual(self.pulse(), PulseCode.UNKNOWN)

    def test_client_that_is_gone_can_still_end_its_credential(self) -> None:
        """The two-part form stays good after silence, so it can be ended then, too."""
        self.advance(1000)
        self.assertEqual(self.ask("POST", "/logout").status, 200)
        self.assert_unauthorized(self.ask("POST", "/logout"))


class LogoutMemoryTests(_Case):
    """Tests of how long a logout is remembered."""

    settings: ClassVar[dict[str, Any]] = {"logout_memory": 1000.0}

    def test_logout_is_remembered_for_as_long_as_it_says(self) -> None:
        """The credential is refused up to the last moment of that time; what comes later is not promised."""
        self.ask("POST", "/logout")
        self.advance(999)
        self.assert_unauthorized(self.ask("POST", "/verify"))
        self.server.reactor.rightNow = START + 1000
        self.assert_unauthorized(self.ask("POST", "/verify"))
        self.server.reactor.rightNow = START + 1000.5
        self.assert_error(self.ask("POST", "/verify"), 404, "not-registered")
