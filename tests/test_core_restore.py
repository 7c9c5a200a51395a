"""The signaling: starting again from what a journal has kept."""

from __future__ import annotations

from rendezvous.core.notes import Removed
from rendezvous.core.signaling.entries import Entry
from rendezvous.core.signaling.events import EventLogged
from rendezvous.core.signaling.offers import OFFERS, Answer, Candidate, Offer, Role
from tests.signaling_tables import LIMITS, NOW, NOW_MS, World, publish
from tests.test_core_trickle import PairTestCase


class RestoreTests(PairTestCase):
    """Starting again from what a journal has kept."""

    def restored(self, now: float) -> World:
        """New tables with the offers of the old ones, in an unhelpful order, and what a journal has kept of events."""
        told = self.told()
        del self.notes[:]
        signaling = World(LIMITS, max_offers=1, note=self.notes.append)
        signaling.restore(self.signaling, told, self.signaling.horizon, now)
        return signaling

    def told(self) -> list[EventLogged]:
        """What a journal has kept of events."""
        return [
            note for note in self.notes if isinstance(note, EventLogged) and note.event.seq > self.signaling.horizon
        ]

    def busy(self) -> list[int]:
        """Have things happen on both sides; the number of every event, and the one before them all."""
        start = self.signaling.latest
        self.add("p", 1, 2)
        self.answer()
        self.add("q", 3)
        self.add("p", 4, now=NOW + 1)
        return [start, *(note.event.seq for note in self.told())]

    def test_offers_are_back_in_order(self) -> None:
        """Listings, limits and answers are as before, and nothing is noted."""
        publish(self.signaling, "q", "y", now=NOW + 1)
        self.signaling.heartbeat("p", "x", NOW + 2)
        signaling = self.restored(NOW + 3)
        page, total = signaling.by_topic(OFFERS, "t", 9, None, NOW + 3)
        self.assertEqual(([offer.id for offer in page], total), (["x", "y"], 2))
        self.assertEqual(self.notes, [])
        signaling.answer(OFFERS, "x", "q", "v=1", None, NOW + 3)
        self.assertEqual(signaling.count(OFFERS, "t", NOW + 3), 1)

    def test_more_than_the_bound_is_kept(self) -> None:
        """Nothing acknowledged is lost to a lower bound: offers can be refreshed, and new ones are refused."""
        publish(self.signaling, "q", "y")
        signaling = self.restored(NOW)
        self.assertEqual(len(signaling), 2)
        self.assertEqual(publish(signaling, "q", "y").id, "y")

    def test_what_expired_meanwhile_is_ended_and_noted(self) -> None:
        """The first verb ends it, its owner gets the event, and the journal may delete it."""
        signaling = self.restored(NOW + 301)
        self.assertEqual(signaling.mine("p", NOW + 301), [])
        (event,) = signaling.events_since("p", -1, NOW + 301)
        self.assertEqual(event.kind, "expired")
        self.assertEqual(self.notes, [Removed(self.offer), EventLogged("p", event)])

    def test_streams_resume_without_loss_or_repeat(self) -> None:
        """From every number, each side reads exactly what it would have read without the restart."""
        cursors = self.busy()
        signaling = self.restored(NOW + 5)
        self.assertEqual(signaling.latest, int((NOW + 5) * 1_000_000))
        for peer in ("p", "q"):
            for cursor in cursors:
                missed = self.signaling.events_since(peer, cursor, NOW + 5)
                self.assertEqual(signaling.events_since(peer, cursor, NOW + 5), missed, (peer, cursor))
                self.assertTrue(signaling.can_replay(peer, cursor, NOW + 5), (peer, cursor))
        self.assertEqual([len(signaling.events_since(peer, cursors[0], NOW + 5)) for peer in ("p", "q")], [2, 3])
        self.assertEqual(self.notes, [])

    def test_horizon_stays(self) -> None:
        """What was too old before the restart is so after it; from the horizon itself a stream may go on."""
        start = self.signaling.latest
        self.answer()
        self.add("q", 1, now=NOW + 60)
        self.assertEqual(len(self.signaling.events_since("p", start, NOW + 130)), 1)
        horizon = self.signaling.horizon
        signaling = self.restored(NOW + 131)
        self.assertEqual(signaling.horizon, horizon)
        self.assertFalse(signaling.can_replay("p", horizon - 1, NOW + 131))
        self.assertTrue(signaling.can_replay("p", horizon, NOW + 131))
        self.assertEqual(
            signaling.events_since("p", horizon, NOW + 131), self.signaling.events_since("p", horizon, NOW + 131)
        )

    def test_number_from_the_future_is_not_covered(self) -> None:
        """It was drawn by another journal than this one."""
        signaling = self.restored(NOW + 5)
        self.assertTrue(signaling.can_replay("p", signaling.latest, NOW + 5))
        self.assertFalse(signaling.can_replay("p", signaling.latest + 1, NOW + 5))

    def test_numbers_go_on_rising(self) -> None:
        """New events come after the old ones, even if the clock has stepped back."""
        self.answer(now=NOW + 100)
        cursor = self.signaling.latest
        signaling = self.restored(NOW)
        signaling.add_candidates(OFFERS, "x", "q", [1], NOW)
        numbers = [event.seq for event in signaling.events_since("p", -1, NOW)]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertEqual((len(numbers), numbers[0]), (2, cursor))
        self.assertEqual([event.seq for event in signaling.events_since("p", cursor, NOW)], numbers[1:])

    def test_sessions_have_no_events(self) -> None:
        """A session is restored like an offer, and has no events."""
        session = Offer(
            id="s",
            namespace="https://a.example",
            topics=("t",),
            sdp=b'"o"',
            created_at=1,
            expires_at=NOW_MS + 9,
            last_seen=1,
            seen=1,
            answer=Answer("", b'"a"', 2, 2),
        )
        entry = Entry(session)
        entry.attach(Candidate(b"1", "", Role.ANSWERER, 3, 3))
        signaling = World(LIMITS)
        signaling.table.restore([entry], NOW)
        self.assertIs(signaling.find("https://a.example", "s", NOW), session)
        self.assertEqual(signaling.events_since("", -1, NOW), [])
        self.assertEqual(signaling.table.memory.held, signaling.recount())
