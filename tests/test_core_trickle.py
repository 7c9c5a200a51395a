"""The signaling: candidates, events and notifications."""

from __future__ import annotations

from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.notes import Key, OfferSide, PeerEvents
from rendezvous.core.signaling.offers import OFFERS, Answer, CandidatesAdded, Role
from rendezvous.errors import Forbidden, Malformed, NotFound, TooMany
from rendezvous.limits import SignalingLimits
from tests.signaling_tables import LIMITS, NOW, NOW_MS, World, count_calls, publish

OFFERER_KEY = OfferSide("", "x", Role.OFFERER)
ANSWERER_KEY = OfferSide("", "x", Role.ANSWERER)


class PairTestCase(SynchronousTestCase):
    """A signaling with an offer ``x`` of ``p``, which keeps its notes and notified."""

    def setUp(self) -> None:
        """Publish the offer."""
        self.notes: list[object] = []
        self.notified: list[Key] = []
        self.signaling = World(LIMITS, note=self.notes.append, notify=self.notified.append)
        self.offer = publish(self.signaling, "p", "x")

    def answer(self, peer: str = "q", now: float = NOW) -> Answer:
        """Answer the offer."""
        return self.signaling.answer(OFFERS, "x", peer, "v=1", None, now)

    def add(self, peer: str, *values: object, now: float = NOW) -> int:
        """Add candidates to the offer."""
        return self.signaling.add_candidates(OFFERS, "x", peer, values, now)

    def payloads(self, peer: str, since: int = -1, now: float = NOW) -> list[str]:
        """What a peer reads of the other side."""
        return [each.payload.decode() for each in self.signaling.candidates(OFFERS, "x", peer, now, since).items]

    def kinds(self, peer: str, seq: int = -1, now: float = NOW) -> list[str]:
        """What happened to a peer."""
        return [str(event.kind) for event in self.signaling.events_since(peer, seq, now)]


class CandidateTests(PairTestCase):
    """Adding and reading candidates."""

    def test_each_side_reads_the_other(self) -> None:
        """Candidates carry their sender and side, and go across."""
        self.answer()
        self.assertEqual(self.add("p", {"a": 1}, "b"), 2)
        self.assertEqual(self.add("q", None), 1)
        self.assertEqual(self.payloads("q"), ['{"a":1}', '"b"'])
        self.assertEqual(self.payloads("p"), ["null"])
        first = self.signaling.sent("x", Role.OFFERER)[0]
        self.assertEqual((first.peer, first.role, first.created_at), ("p", Role.OFFERER, NOW_MS))

    def test_created_at_rises_strictly(self) -> None:
        """Within an offer no two candidates share a moment, whatever their side and however the clock steps."""
        self.answer()
        self.add("p", 1, 2)
        self.add("q", 3)
        self.add("p", 4, now=NOW - 60)
        self.add("q", 5, now=NOW + 1)
        both = [each for role in Role for each in self.signaling.sent("x", role)]
        moments = {each.payload.decode(): each.created_at - NOW_MS for each in both}
        self.assertEqual(moments, {"1": 0, "2": 1, "3": 2, "4": 3, "5": 1000})

    def test_since_neither_skips_nor_repeats(self) -> None:
        """Reading on from the last seen candidate gives exactly the ones after it."""
        self.answer()
        self.add("p", *range(5))
        seen: list[str] = []
        since = 0
        while fresh := self.signaling.candidates(OFFERS, "x", "q", NOW, since).items[:2]:
            seen += [each.payload.decode() for each in fresh]
            since = fresh[-1].created_at
        self.assertEqual(seen, ["0", "1", "2", "3", "4"])

    def test_strangers_are_forbidden(self) -> None:
        """Only the owner and the answerer have a side; before the answer there is no answerer."""
        for peer in ("q", "r", ""):
            self.assertEqual(self.assertRaises(Forbidden, self.add, peer, 1).code, "not-a-side")
            self.assertRaises(Forbidden, self.payloads, peer)
        self.answer()
        self.add("q", 1)
        self.assertRaises(Forbidden, self.add, "r", 1)

    def test_unknown_and_expired_offers_are_not_found(self) -> None:
        """A candidate that comes too late has nowhere to go."""
        self.assertRaises(NotFound, self.signaling.add_candidates, OFFERS, "unknown", "p", [1], NOW)
        self.assertRaises(NotFound, self.add, "p", 1, now=NOW + 300)

    def test_candidates_per_side(self) -> None:
        """256 a side; a request that goes beyond adds none, and the other side has its own share."""
        self.answer()
        for _ in range(5):
            self.add("p", *range(50))
        self.add("p", *range(5))
        self.assertRaises(TooMany, self.add, "p", 1, 2)
        self.assertEqual(len(self.signaling.sent("x", Role.OFFERER)), 255)
        self.add("p", 1)
        self.assertRaises(TooMany, self.add, "p", 1)
        self.assertEqual(self.add("q", 1), 1)

    def test_bad_candidate_adds_none(self) -> None:
        """One candidate over its limit refuses the request."""
        self.assertRaises(Malformed, self.add, "p", 1, "x" * 5000)
        self.assertEqual(self.signaling.sent("x", Role.OFFERER), [])

    def test_one_note_for_a_request(self) -> None:
        """A journal hears of all candidates of a request at once."""
        self.add("p", 1, 2)
        note = self.notes[-1]
        assert isinstance(note, CandidatesAdded)
        self.assertIs(note.offer, self.offer)
        self.assertEqual([each.payload for each in note.candidates], [b"1", b"2"])


class EventTests(PairTestCase):
    """What a stream sends to a peer."""

    def test_events_go_to_the_other_side(self) -> None:
        """The offerer hears of the answer and its candidates; the answerer of the offerer's."""
        answer = self.answer()
        self.add("q", 1)
        self.add("p", 2)
        told = self.signaling.events_since("p", -1, NOW)
        self.assertEqual((told[0].kind, told[0].offer_id, told[0].topics), ("answer", "x", ("t",)))
        self.assertIs(told[0].payload, answer)
        self.assertEqual(self.kinds("p"), ["answer", "candidate"])
        self.assertEqual(self.kinds("q"), ["candidate"])
        self.assertEqual(self.kinds("r"), [])

    def test_early_candidates_are_told_to_the_answerer(self) -> None:
        """What the offerer sent before there was an answerer comes to it after its answer."""
        self.add("p", 1, 2)
        before = self.signaling.latest
        answer = self.answer()
        told = self.signaling.events_since("q", before, NOW)
        self.assertEqual([(event.kind, event.seq - answer.seq) for event in told], [("candidate", 1), ("candidate", 2)])

    def test_numbers_rise_strictly(self) -> None:
        """Events of one moment, and of a clock that steps back, still have an order."""
        self.answer()
        self.add("q", 1, 2, 3)
        self.add("q", 4, now=NOW - 10)
        self.add("q", 5, now=NOW + 1)
        numbers = [event.seq for event in self.signaling.events_since("p", -1, NOW)]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertEqual(len(numbers), 6)
        self.assertEqual(numbers[-1], (NOW_MS + 1000) * 1000)

    def test_resuming_neither_loses_nor_repeats(self) -> None:
        """From any event on, exactly the later ones follow."""
        self.answer()
        self.add("q", *range(9))
        told = self.signaling.events_since("p", -1, NOW)
        for index, event in enumerate(told):
            self.assertEqual(self.signaling.events_since("p", event.seq, NOW), told[index + 1 :])

    def test_expiry_is_told_to_both_sides(self) -> None:
        """Each side hears of the end once, and what came before is replayed for a while."""
        self.answer()
        self.assertEqual(self.kinds("p", now=NOW + 120.1), [])
        self.assertEqual(self.kinds("p", now=NOW + 300), ["expired"])
        self.assertEqual(self.kinds("q", now=NOW + 300), ["expired"])

    def test_unanswered_offer_expires_for_its_owner(self) -> None:
        """The owner hears of it, for the time that events linger."""
        self.assertEqual(self.kinds("p", now=NOW + 300), ["expired"])
        self.assertEqual(self.kinds("p", now=NOW + 419.999), ["expired"])
        self.assertEqual(self.kinds("p", now=NOW + 420), [])

    def test_withdrawal_is_told_to_the_answerer(self) -> None:
        """The owner knows; the answerer gets an event; earlier events stay."""
        self.answer()
        self.add("p", 1)
        self.signaling.withdraw("p", "x", NOW)
        self.assertEqual(self.kinds("p"), ["answer"])
        self.assertEqual(self.kinds("q"), ["candidate", "withdrawn"])

    def test_departed_peer_has_no_events(self) -> None:
        """Logging out forgets a peer's events, and its answerers get an event."""
        self.answer()
        self.signaling.end_peer("p", NOW)
        self.assertEqual((self.kinds("p"), self.kinds("q")), ([], ["withdrawn"]))

    def test_cursor_that_can_be_resumed(self) -> None:
        """A cursor is good until an event after it is forgotten; one from the future never is."""
        start = self.signaling.latest
        self.answer()
        self.assertTrue(self.signaling.can_replay("p", start, NOW + 119))
        self.assertFalse(self.signaling.can_replay("p", start, NOW + 120))
        self.assertTrue(self.signaling.can_replay("p", self.signaling.latest, NOW + 200))
        self.assertFalse(self.signaling.can_replay("p", self.signaling.latest + 1, NOW + 200))
        self.assertEqual(self.signaling.horizon, NOW_MS * 1000)

    def test_reading_costs_what_is_new(self) -> None:
        """Hundreds of old events and offers add nothing to a read that finds one new."""
        costs = []
        for _ in range(2):
            cursor = self.signaling.latest
            publish(self.signaling, "p", "y")
            self.signaling.answer(OFFERS, "y", "q", "v=1", None, NOW)
            costs.append(count_calls(partial(self.signaling.events_since, "p", cursor, NOW)))
            self.signaling.withdraw("p", "y", NOW)
            if len(costs) == 1:
                self.answer()
                for _ in range(5):
                    self.add("q", *range(50))
        self.assertLess(costs[1], costs[0] + 12)


class NotificationTests(PairTestCase):
    """Which waiters are notified, and when."""

    def test_answer_notifies_the_offerer(self) -> None:
        """The offerer's side and its stream; the answerer has nothing new."""
        del self.notified[:]
        self.answer()
        self.assertEqual(self.notified, [OFFERER_KEY, PeerEvents("p")])

    def test_answer_to_an_offer_with_candidates_notifies_both(self) -> None:
        """The answerer has the early candidates to read."""
        self.add("p", 1)
        del self.notified[:]
        self.answer()
        self.assertEqual(self.notified, [OFFERER_KEY, PeerEvents("p"), ANSWERER_KEY, PeerEvents("q")])

    def test_candidates_notify_the_other_side(self) -> None:
        """A candidate that arrives while the other side waits wakes that side only."""
        self.add("p", 1)
        self.assertEqual(self.notified, [ANSWERER_KEY])
        self.answer()
        del self.notified[:]
        self.add("p", 1)
        self.assertEqual(self.notified, [ANSWERER_KEY, PeerEvents("q")])
        del self.notified[:]
        self.add("q", 1)
        self.assertEqual(self.notified, [OFFERER_KEY, PeerEvents("p")])

    def test_end_notifies_both_sides(self) -> None:
        """No waiter is left at an offer that has ended."""
        self.answer()
        del self.notified[:]
        self.signaling.expire(NOW + 300)
        self.assertEqual(self.notified, [OFFERER_KEY, PeerEvents("p"), ANSWERER_KEY, PeerEvents("q")])

    def test_refused_requests_notify_no_waiter(self) -> None:
        """A request that has changed nothing notifies no waiter."""
        self.assertRaises(Forbidden, self.add, "r", 1)
        self.assertRaises(NotFound, self.signaling.withdraw, "p", "unknown", NOW)
        self.assertEqual(self.notified, [])

    def test_change_is_there_when_the_notification_comes(self) -> None:
        """A waiter that reads at once, inside the notification, sees the change."""
        seen: list[list[str]] = []
        self.signaling.table.notify = lambda key: seen.append(self.kinds("p"))
        self.answer()
        self.assertEqual(seen, [["answer"], ["answer"]])


class LimitsTests(SynchronousTestCase):
    """Limits that are options."""

    def test_linger_is_an_option(self) -> None:
        """Events stay as long as the limits say."""
        signaling = World(SignalingLimits(event_linger=5))
        publish(signaling, "p", "x", ttl_ms=60_000)
        self.assertEqual(len(signaling.events_since("p", -1, NOW + 60)), 1)
        self.assertEqual(len(signaling.events_since("p", -1, NOW + 65)), 0)
