"""Tests for what :mod:`rendezvous.core.tracker` holds and notes over time."""

from __future__ import annotations

from collections.abc import Callable

from attrs import asdict, evolve
from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.notes import Removed
from rendezvous.core.replies import Announced, Expired, PeerInfo, Pulsed, Pushed, StillAlive
from rendezvous.core.tracker import Tracker, TrackerPeer
from rendezvous.errors import Full, NotFound
from tests.test_core_tracker import ALICE, BOB, CAROL, NOW, TrackerTestCase, counting


class JournalTests(TrackerTestCase):
    """Notes for a journal, and reading it back."""

    def test_each_change_is_noted(self) -> None:
        """Whatever is recorded notes the peer, once, as it is afterwards; a refused request notes nothing."""
        name = self.announce(ALICE)
        expected = TrackerPeer(ALICE, *ALICE[:2], name, NOW)
        (noted,) = self.notes
        assert isinstance(noted, TrackerPeer)
        self.assertEqual(asdict(noted), asdict(expected))
        self.tracker.pulse(ALICE, NOW + 1, override=True, port=7000, multiaddr="/a")
        self.assertEqual(self.notes[1:], [noted])
        self.assertEqual(asdict(noted), asdict(evolve(expected, port=7000, multiaddr="/a", last_seen=NOW + 1)))
        self.assertRaises(NotFound, self.tracker.pulse, BOB, NOW)
        self.tracker.alive(BOB, NOW)
        self.assertEqual((len(self.notes), self.touches), (2, []))

    def test_each_kind_of_change_is_noted_and_not_touched(self) -> None:
        """An override, a multiaddr and a new name are changes, even where they leave the record as it was."""
        self.announce(ALICE)
        self.tracker.pulse(ALICE, NOW + 1, override=True, port=ALICE[1])
        self.tracker.pulse(ALICE, NOW + 2, multiaddr="/a")
        self.tracker.pulse(ALICE, NOW + 3, renew_share_id=True)
        self.assertEqual((len(self.notes), self.touches), (4, []))

    def test_sign_of_life_is_touched_and_not_noted(self) -> None:
        """What changes nothing but the time is left to ``touch``: a journal may write those in batches."""
        name = self.announce(BOB)
        self.announce(ALICE)
        noted = len(self.notes)
        signs: list[Callable[[float], object]] = [
            lambda now: self.tracker.announce(ALICE, now),
            lambda now: self.tracker.pulse(ALICE, now),
            lambda now: self.tracker.pulse(ALICE, now, ip="10.0.0.1", port=1),
            lambda now: self.tracker.pulse(ALICE, now, override=True, ip="8.8.8.8"),
            lambda now: self.tracker.alive(ALICE, now),
            lambda now: self.tracker.push(ALICE, now, name),
            lambda now: self.assertRaises(NotFound, self.tracker.push, ALICE, now, "nobody"),
        ]
        times = []
        for number, sign in enumerate(signs, 1):
            sign(NOW + number)
            touched = self.touches[-1]
            assert isinstance(touched, TrackerPeer)
            times.append((touched.source, touched.last_seen, len(self.touches)))
        self.assertEqual(times, [(ALICE, NOW + number, number) for number in range(1, len(signs) + 1)])
        self.assertEqual(len(self.notes), noted)

    def test_strangers_are_neither_noted_nor_touched(self) -> None:
        """A request that is refused, or that asks about an unknown peer, counts as activity of no peer."""
        self.assertRaises(NotFound, self.tracker.pulse, ALICE, NOW)
        self.assertRaises(NotFound, self.tracker.push, ALICE, NOW, "nobody")
        self.tracker.alive(ALICE, NOW)
        self.assertEqual((self.notes, self.touches), ([], []))

    def test_removal_is_noted(self) -> None:
        """A peer that is swept, or found to have expired, is noted as removed."""
        self.announce(ALICE)
        self.announce(BOB)
        alice, bob = self.notes
        self.tracker.alive(BOB, NOW + 301)
        self.tracker.expire(NOW + 301, 100)
        self.assertEqual(self.notes[2:], [Removed(bob), Removed(alice)])

    def test_restored_peer_is_as_it_was(self) -> None:
        """A peer from the journal is known by address and name, and lives on from when it was last seen."""
        peer = TrackerPeer(ALICE, "10.0.0.1", 7000, "restored", NOW, "/a")
        self.assertTrue(self.tracker.restore(peer))
        self.assertEqual(self.notes, [])
        self.announce(BOB, NOW + 300)
        self.assertEqual(self.seen_by(BOB, "restored", NOW + 300), Pushed(PeerInfo("10.0.0.1", 7000, "restored", "/a")))
        self.assertEqual(self.tracker.alive(ALICE, NOW + 301), ((Expired(), ALICE),))

    def test_restoring_never_breaks_the_table(self) -> None:
        """A source or name that is taken, and a peer above the bound, are left out."""
        self.assertTrue(self.tracker.restore(TrackerPeer(ALICE, *ALICE[:2], "aaaaaaaa", NOW)))
        self.assertFalse(self.tracker.restore(TrackerPeer(ALICE, *ALICE[:2], "bbbbbbbb", NOW)))
        self.assertFalse(self.tracker.restore(TrackerPeer(BOB, *BOB[:2], "aaaaaaaa", NOW)))
        self.assertTrue(self.tracker.restore(TrackerPeer(BOB, *BOB[:2], "bbbbbbbb", NOW)))
        self.assertTrue(self.tracker.restore(TrackerPeer(CAROL, *CAROL[:2], "cccccccc", NOW)))
        self.assertFalse(self.tracker.restore(TrackerPeer(("192.0.2.9", 1, 5024), "192.0.2.9", 1, "dddddddd", NOW)))
        self.assertEqual(self.tracker.expire(NOW + 301, 100), 3)


_VERBS = st.tuples(
    st.sampled_from(["announce", "pulse", "renew", "alive", "push", "expire"]),
    st.integers(0, 5),
    st.integers(0, 5),
    st.sampled_from([0.0, 1.0, 100.0, 299.0, 301.0]),
)


class ModelTests(SynchronousTestCase):
    """The table against the plainest account of what it should hold."""

    @given(st.lists(_VERBS, max_size=60))
    def test_table_agrees_with_a_list_of_last_signs_of_life(self, steps: list[tuple[str, int, int, float]]) -> None:
        """Whatever is asked, a peer is known exactly for 300 seconds after it spoke, by one name, within the bound."""
        tracker = Tracker(counting(), max_peers=4)
        now = NOW
        seen: dict[int, float] = {}
        names: dict[int, str] = {}
        for verb, first, second, pause in steps:
            now += pause
            seen = {number: time for number, time in seen.items() if now - time <= 300}
            caller, target = ("192.0.2.1", first, 5024), names.get(second, "nobody") if second in seen else "nobody"
            try:
                if verb == "announce":
                    ((reply, _),) = tracker.announce(caller, now)
                    assert isinstance(reply, Announced)
                    self.assertFalse(first in seen and names[first] != reply.share_id)
                    names[first] = reply.share_id
                elif verb in ("pulse", "renew"):
                    ((reply, _),) = tracker.pulse(caller, now, renew_share_id=verb == "renew")
                    assert isinstance(reply, Pulsed)
                    names[first] = reply.share_id or names[first]
                elif verb == "alive":
                    self.assertEqual(isinstance(tracker.alive(caller, now)[0][0], StillAlive), first in seen)
                    if first not in seen:
                        continue
                elif verb == "push":
                    seen = {**seen, first: now} if first in seen else seen
                    self.assertEqual(tracker.push(caller, now, target)[1][1][1], second)
                else:
                    tracker.expire(now, 100)
                    self.assertEqual(len(tracker), len(seen))
                    continue
                seen[first] = now
            except NotFound as error:
                self.assertTrue(first not in seen if error.code == "expired-caller" else target == "nobody")
            except Full:
                self.assertEqual((len(seen), first in seen), (4, False))
            self.assertLessEqual(len(tracker), 4)
