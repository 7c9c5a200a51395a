"""Tests of a client's states through the whole service, at every boundary, by pulses and over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.testing import MemoryServer
from rendezvous.wire.pulse import PulseCode, decode_reply
from tests._store_case import local

START = 1_800_000_000.0
MOMENT = 1e-3
HOME = ("198.51.100.7", 40000)
ELSEWHERE = ("203.0.113.9", 40001)


class StateTests(SynchronousTestCase):
    """A client that has pulsed once, seen after every time that matters."""

    #: Whether the table is swept between; it must make no difference.
    swept = True

    @contextmanager
    def aged(self, seconds: float, *, pulsed: bool = True, **settings: Any) -> Iterator[None]:
        """For a while, have a server and a client whose last activity was that long ago."""
        self.server = MemoryServer(**settings)
        self.server.reactor.advance(START)
        self.client_id, self.key, self.headers = self.server.register()
        if pulsed:
            self.assertEqual(self.pulse(), PulseCode.ON_TIME)
        self.wait(seconds)
        yield
        self.server.stop()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        if not self.swept:
            presence = local(self.server.rendezvous.store).tables.presence
            self.patch(presence, "sweep", lambda now, at_most: 0)
            self.patch(presence, "is_due", lambda now: False)
        self.server.reactor.advance(seconds)

    def pulse(self, source: tuple[str, int] = HOME) -> PulseCode:
        """:returns: what a pulse is answered with."""
        (reply,) = self.server.deliver(self.key, source)
        return decode_reply(reply)

    def ask(self, method: str, path: str) -> tuple[int, dict[str, Any]]:
        """:returns: status and body of an authenticated request."""
        response = self.server.request(method, path, headers=self.headers)
        return response.status, response.json()

    def status(self) -> str:
        """:returns: the client's status, or the error's code."""
        _, body = self.ask("GET", f"/peer/{self.client_id}/udp/status")
        status: str = body.get("status") or body["code"]
        return status

    def address(self) -> tuple[str, int] | str:
        """:returns: the client's address, or the error's code."""
        code, body = self.ask("GET", f"/peer/{self.client_id}/udp")
        return (body["host"], body["port"]) if code == 200 else body["code"]

    def test_online_until_interval_and_grace_have_passed(self) -> None:
        """Up to 33 s a client is ONLINE, and a pulse gets 1020."""
        for seconds in (0, 1, 30, 33 - MOMENT, 33):
            with self.aged(seconds):
                self.assertEqual((self.status(), self.address()), ("ONLINE", HOME), seconds)
                self.assertEqual(self.pulse(), PulseCode.ON_TIME, seconds)

    def test_pending_until_error_time_and_interval_have_passed(self) -> None:
        """After 33 s and up to 210 s it is PENDING, keeps its address, and a pulse gets 1050."""
        for seconds in (33 + MOMENT, 34, 180, 209, 210 - MOMENT, 210):
            with self.aged(seconds):
                self.assertEqual((self.status(), self.address()), ("PENDING", HOME), seconds)
                self.assertEqual(self.pulse(ELSEWHERE), PulseCode.VERIFY, seconds)
                self.assertEqual((self.status(), self.address()), ("PENDING", HOME), seconds)

    def test_gone_after_that(self) -> None:
        """After 210 s no look-up finds it, a pulse gets 1060, and verify says to register again."""
        for seconds in (210 + MOMENT, 211, 212, 5000):
            with self.aged(seconds):
                self.assertEqual((self.status(), self.address()), ("not-found", "not-found"), seconds)
                self.assertEqual(self.pulse(), PulseCode.UNKNOWN, seconds)
                self.assertEqual(self.ask("POST", "/verify")[0], 404, seconds)

    def test_gone_by_verify_alone(self) -> None:
        """The boundary is the same for a client that asks to be taken back without pulsing first."""
        for seconds, expected in ((210, 200), (210 + MOMENT, 404)):
            with self.aged(seconds):
                self.assertEqual(self.ask("POST", "/verify")[0], expected)

    def test_refused_pulses_put_nothing_off(self) -> None:
        """A client that goes on pulsing without verifying is gone when it would have been anyway."""
        with self.aged(33 + MOMENT):
            for _ in range(5):
                self.assertEqual(self.pulse(), PulseCode.VERIFY)
                self.wait(35)
            self.assertEqual(self.status(), "PENDING")
            self.wait(2)
            self.assertEqual(self.pulse(), PulseCode.UNKNOWN)

    def test_verify_takes_a_late_client_back(self) -> None:
        """It is ONLINE at once, for one interval and grace, at its old address until its next pulse."""
        with self.aged(210):
            self.assertEqual(self.ask("POST", "/verify")[0], 200)
            self.assertEqual((self.status(), self.address()), ("ONLINE", HOME))
            self.wait(33)
            self.assertEqual(self.status(), "ONLINE")
            self.wait(MOMENT)
            self.assertEqual(self.status(), "PENDING")

    def test_pulse_after_verify_moves_the_client(self) -> None:
        """A late client that verifies and pulses from a new address is found there."""
        with self.aged(100):
            self.assertEqual(self.pulse(ELSEWHERE), PulseCode.VERIFY)
            self.ask("POST", "/verify")
            self.assertEqual(self.pulse(ELSEWHERE), PulseCode.ON_TIME)
            self.assertEqual((self.status(), self.address()), ("ONLINE", ELSEWHERE))

    def test_verify_while_online_counts_as_a_sign_of_life(self) -> None:
        """A verify puts the limits off as a pulse does."""
        with self.aged(20):
            self.ask("POST", "/verify")
            self.wait(33)
            self.assertEqual(self.status(), "ONLINE")

    def test_regular_pulses_keep_a_client_for_as_long_as_they_come(self) -> None:
        """An hour of pulses, each at the last moment, is an hour ONLINE."""
        with self.aged(0):
            for _ in range(110):
                self.wait(33)
                self.assertEqual(self.pulse(), PulseCode.ON_TIME)
            self.assertEqual(self.status(), "ONLINE")

    def test_new_address_while_online_moves_the_client(self) -> None:
        """A NAT that rebinds, by port or by address, is followed."""
        for source in ((HOME[0], 40001), (ELSEWHERE[0], HOME[1]), ("2001:db8::1", 1)):
            with self.aged(30):
                self.assertEqual(self.pulse(source), PulseCode.ON_TIME)
                self.assertEqual(self.address(), source)

    def test_new_client_has_the_registration_time(self) -> None:
        """Up to 300 s after its registration the first pulse gets 1020, whatever the other timers say."""
        for seconds in (0, 34, 211, 300 - MOMENT, 300):
            with self.aged(seconds, pulsed=False):
                self.assertEqual((self.status(), self.address()), ("PENDING", "no-address"), seconds)
                self.assertEqual(self.pulse(), PulseCode.ON_TIME, seconds)
                self.assertEqual((self.status(), self.address()), ("ONLINE", HOME), seconds)

    def test_new_client_is_gone_after_the_registration_time(self) -> None:
        """A moment after 300 s no look-up finds it, and its pulse gets 1060."""
        for seconds in (300 + MOMENT, 302):
            with self.aged(seconds, pulsed=False):
                self.assertEqual((self.status(), self.address()), ("not-found", "not-found"), seconds)
                self.assertEqual(self.pulse(), PulseCode.UNKNOWN, seconds)

    def test_timers_are_settings(self) -> None:
        """Other timers move the boundaries: here 10 + 0 s, 20 + 10 s, and 15 s."""
        timers: dict[str, Any] = {
            "pulse_interval": 10.0,
            "pulse_grace": 0.0,
            "error_time": 20.0,
            "registration_time": 15.0,
        }
        expected = ((10, "ONLINE"), (10 + MOMENT, "PENDING"), (30, "PENDING"), (30 + MOMENT, "not-found"))
        for seconds, status in expected:
            with self.aged(seconds, **timers):
                self.assertEqual(self.status(), status, seconds)
        for seconds, status in ((15, "PENDING"), (15 + MOMENT, "not-found")):
            with self.aged(seconds, pulsed=False, **timers):
                self.assertEqual(self.status(), status, seconds)

    def test_client_comes_back_as_another(self) -> None:
        """After it is gone a client registers again; its old id stays unknown."""
        with self.aged(211):
            old = self.client_id
            self.client_id, self.key, self.headers = self.server.register()
            self.assertEqual(self.pulse(), PulseCode.ON_TIME)
            self.assertEqual((self.status(), self.address()), ("ONLINE", HOME))
            self.assertEqual(self.ask("GET", f"/peer/{old}/udp")[0], 404)


class UnsweptStateTests(StateTests):
    """The same without a single sweep: the states follow from the time alone."""

    swept = False
