"""What every store must do: the tracker's peers."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from rendezvous.core.replies import (
    Announced,
    Expired,
    PeerInfo,
    Pulsed,
    Pushed,
    PushNotice,
    Replies,
    Source,
    StillAlive,
)
from rendezvous.errors import Full, Malformed, NotFound
from rendezvous.model import Swept
from tests._store_case import NOW, StoreCase

__all__ = ["TRACKER"]

ALICE: Source = ("192.0.2.1", 4000, 5024)
BOB: Source = ("2001:db8::2", 4001, 3000)
CAROL: Source = ("192.0.2.3", 4002, 5024)


class TrackerCase(StoreCase):
    """Peers that have announced themselves."""

    def announce(self, source: Source, now: float = NOW) -> str:
        """:returns: the name that a peer is given."""
        ((reply, to),) = self.done(self.store.announce(source, now))
        assert isinstance(reply, Announced)
        self.assertEqual(to, source)
        return reply.share_id

    def tracker_pulse(self, source: Source, now: float = NOW, **asked: Any) -> Coroutine[Any, Any, Replies]:
        """:returns: the verb, with what it is asked for beyond keeping the peer alive."""
        plain = {"override": False, "ip": None, "port": None, "multiaddr": None, "renew_share_id": False}
        return self.store.tracker_pulse(source, now, **(plain | asked))

    def is_alive(self, source: Source, now: float = NOW) -> bool:
        """:returns: the answer to a peer that asks; its question counts as activity."""
        ((reply, to),) = self.done(self.store.alive(source, now))
        self.assertIn(reply, (StillAlive(), Expired()))
        self.assertEqual(to, source)
        return reply == StillAlive()

    def learns(self, source: Source, share_id: str, now: float = NOW) -> Pushed:
        """:returns: what the caller of a push learns."""
        reply, to = self.done(self.store.push(source, now, share_id))[0]
        assert isinstance(reply, Pushed)
        self.assertEqual(to, source)
        return reply


class TrackerContract(TrackerCase):
    """The verbs of the tracker."""

    def test_announced_peer_keeps_its_name(self) -> None:
        """Eight characters, its own; it stays when the peer announces itself again."""
        names = [self.announce(source) for source in (ALICE, BOB, ALICE)]
        self.assertEqual((names[0], len(set(names))), (names[2], 2))
        for name in names:
            self.assertRegex(name, r"\A[0-9A-Za-z]{8}\Z")

    def test_peer_lives_for_its_lifetime(self) -> None:
        """Five minutes from its last activity, whichever that was."""
        bob = self.announce(BOB)
        self.announce(ALICE)
        now = NOW
        for sign in (
            lambda now: self.announce(ALICE, now),
            lambda now: self.done(self.tracker_pulse(ALICE, now)),
            lambda now: self.assertTrue(self.is_alive(ALICE, now)),
            lambda now: self.learns(ALICE, bob, now),
        ):
            now += 300
            self.assertTrue(self.is_alive(BOB, now))
            sign(now)
        self.assertFalse(self.is_alive(ALICE, now + 300.001))
        self.assertFalse(self.is_alive(CAROL, now))

    def test_tracker_lifetime_is_the_one_given(self) -> None:
        """The option's, to the moment."""
        self.store = self.opened(tracker_lifetime=8.0)
        self.announce(ALICE)
        self.announce(BOB)
        self.assertEqual((self.is_alive(ALICE, NOW + 8), self.is_alive(BOB, NOW + 8.001)), (True, False))

    def test_full_tracker_refuses_newcomers(self) -> None:
        """Those who are there may announce themselves again; there is room once one has expired."""
        self.store = self.opened(max_tracker_peers=2)
        self.announce(ALICE)
        self.announce(BOB, NOW + 1)
        self.refused(self.store.announce(CAROL, NOW + 300), Full)
        self.announce(BOB, NOW + 300)
        self.announce(CAROL, NOW + 300.5)
        self.assertFalse(self.is_alive(ALICE, NOW + 300.5))

    def test_push_tells_two_peers_of_each_other(self) -> None:
        """The caller of the target, and the target of the caller, each at its source."""
        alice, bob = self.announce(ALICE), self.announce(BOB)
        self.assertEqual(
            self.done(self.store.push(ALICE, NOW, bob)),
            ((Pushed(PeerInfo(BOB[0], BOB[1], bob)), ALICE), (PushNotice(PeerInfo(ALICE[0], ALICE[1], alice)), BOB)),
        )

    def test_push_that_goes_nowhere_is_refused(self) -> None:
        """Its caller is not there, or its target, or no longer."""
        alice, bob = self.announce(ALICE), self.announce(BOB)
        self.assertEqual(self.refused(self.store.push(CAROL, NOW, alice), NotFound).code, "expired-caller")
        self.assertEqual(self.refused(self.store.push(ALICE, NOW, "nobody"), NotFound).code, "unknown-share-id")
        self.assertTrue(self.is_alive(ALICE, NOW + 200))
        self.assertEqual(self.refused(self.store.push(ALICE, NOW + 301, bob), NotFound).code, "unknown-share-id")

    def test_what_a_peer_records_is_passed_on(self) -> None:
        """Its port and a private address, its multiaddr; a new name ends the old one."""
        alice = self.announce(ALICE)
        self.announce(BOB)
        plain = self.done(self.tracker_pulse(ALICE, ip="10.0.0.1", port=7))
        self.assertEqual(plain, ((Pulsed(), ALICE),))
        self.assertEqual(self.learns(BOB, alice), Pushed(PeerInfo(*ALICE[:2], alice)))
        moved = self.done(self.tracker_pulse(ALICE, override=True, ip="10.0.0.1", port=7000, multiaddr="/a"))
        self.assertEqual(moved, ((Pulsed(overridden=True), ALICE),))
        self.assertEqual(self.learns(BOB, alice), Pushed(PeerInfo("10.0.0.1", 7000, alice, "/a")))
        ((renewed, _),) = self.done(self.tracker_pulse(ALICE, renew_share_id=True))
        assert isinstance(renewed, Pulsed)
        assert renewed.share_id is not None
        self.refused(self.store.push(BOB, NOW, alice), NotFound)
        self.assertEqual(self.learns(BOB, renewed.share_id), Pushed(PeerInfo("10.0.0.1", 7000, renewed.share_id, "/a")))

    def test_record_that_may_not_be_is_refused(self) -> None:
        """Somebody else's address, a multiaddr that is too long, a peer that is not there: nothing is changed."""
        alice = self.announce(ALICE)
        self.announce(BOB)
        refused = self.done(self.tracker_pulse(ALICE, override=True, ip="8.8.8.8", multiaddr="/a"))
        self.assertEqual(refused, ((Pulsed(refused=True), ALICE),))
        self.refused(self.tracker_pulse(ALICE, multiaddr="m" * 257), Malformed)
        self.assertEqual(self.learns(BOB, alice), Pushed(PeerInfo(*ALICE[:2], alice)))
        for source, now in ((CAROL, NOW), (ALICE, NOW + 301)):
            self.assertEqual(self.refused(self.tracker_pulse(source, now), NotFound).code, "expired-caller")

    def test_sweep_counts_tracker_peers(self) -> None:
        """Those that have expired, once."""
        self.announce(ALICE)
        self.announce(BOB, NOW + 100)
        swept = [self.done(self.store.sweep(NOW + since)) for since in (300, 301, 302, 401)]
        self.assertEqual(swept, [Swept(), Swept(tracker_peers=1), Swept(), Swept(tracker_peers=1)])


TRACKER = [TrackerContract]
