"""Tests of the events of a peer: which events are kept, and what a reader learns of those that are not."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.shares import Shares
from rendezvous.core.signaling.events import AT_MOST, Event, EventKind, EventLog, event_cost
from rendezvous.core.signaling.memory import ANSWER_COST, CANDIDATE_COST, EVENT_COST, Memory
from rendezvous.core.signaling.offers import Answer, Candidate, Role
from rendezvous.limits import SignalingLimits
from tests.signaling_tables import NOW, NOW_MS


def event_log(**limits: int) -> EventLog:
    """An empty log with these limits, without any of memory."""
    return EventLog(SignalingLimits(**limits), Memory(1 << 40, Shares("memory")))


def large(seq: int, size: int) -> Event:
    """:returns: an event with a candidate, which takes that many bytes in all."""
    return Event(
        seq, EventKind.CANDIDATE, "x", (), Candidate(b"c" * (size - CANDIDATE_COST), "p", Role.OFFERER, NOW_MS, seq)
    )


class EventLogTests(SynchronousTestCase):
    """The bounds of the log."""

    def log_of(self, log: EventLog, *peers: str) -> list[int]:
        """Add an event for each peer in turn; their numbers."""
        numbers = []
        for peer in peers:
            event = Event(log.draw(NOW), EventKind.EXPIRED, "x", ())
            log.add(peer, event, NOW)
            numbers.append(event.seq)
        return numbers

    def test_events_per_peer(self) -> None:
        """At the bound nothing is lost; beyond it the peer's oldest goes, and only that peer's cursor is too old."""
        log = event_log(events_per_peer=2)
        numbers = self.log_of(log, "p", "q", "p")
        self.assertTrue(log.covers("p", -1, NOW))
        more = self.log_of(log, "p")
        self.assertEqual([event.seq for event in log.since("p", -1, NOW)], [numbers[2], more[0]])
        self.assertFalse(log.covers("p", numbers[0] - 1, NOW))
        self.assertTrue(log.covers("p", numbers[0], NOW))
        self.assertTrue(log.covers("q", -1, NOW))

    def test_events_kept_for_all(self) -> None:
        """At the bound nothing is lost; beyond it the oldest of all goes, and the window begins after it."""
        log = event_log(events_kept=3)
        numbers = self.log_of(log, "p", "q", "q")
        self.assertTrue(log.covers("p", -1, NOW))
        self.log_of(log, "q")
        self.assertEqual((len(log), log.since("p", -1, NOW), log.horizon), (3, [], numbers[0]))
        self.assertFalse(log.covers("p", -1, NOW))
        self.assertTrue(log.covers("p", numbers[0], NOW))

    def test_old_events_are_dropped_in_slices(self) -> None:
        """A call drops so many of them, and the next one goes on."""
        log = event_log()
        self.log_of(log, *"pqpqp")
        log.trim(NOW + 121, 2)
        self.assertEqual(len(log), 3)
        log.trim(NOW + 121, 0)
        self.assertEqual(len(log), 3)
        log.trim(NOW + 121)
        self.assertEqual(len(log), 0)

    def test_forgotten_events_leave_nothing(self) -> None:
        """After the linger time, or when a peer is gone, the log is empty."""
        log = event_log(events_per_peer=2)
        self.log_of(log, "p", "p", "p", "q")
        log.forget("q")
        self.assertEqual(len(log), 2)
        log.trim(NOW + 121)
        self.assertEqual(len(log), 0)

    def test_bytes_per_peer(self) -> None:
        """At the bound nothing is lost; beyond it the oldest go."""
        log = event_log(event_bytes_per_peer=1000)
        for seq in (1, 2, 3):
            log.add("p", large(seq, 500), 0.0)
            self.assertEqual(log.covers("p", 0, 0.0), seq < 3)
        self.assertEqual([event.seq for event in log.since("p", 0, 0.0)], [2, 3])

    def test_event_larger_than_the_bound_is_kept_alone(self) -> None:
        """A peer can always read what has just happened; everything before goes."""
        log = event_log(event_bytes_per_peer=1000)
        for seq, size in ((1, 1001), (2, 1001), (3, 300)):
            log.add("p", large(seq, size), 0.0)
            self.assertEqual([event.seq for event in log.since("p", 0, 0.0)], [seq])
            self.assertEqual(len(log), 1)

    def test_old_events_are_not_read(self) -> None:
        """An event can be read for less than two minutes, also when the sweep is late."""
        for passed, read in ((119.9, 1), (120.0, 0)):
            log = event_log()
            [number] = self.log_of(log, "p")
            self.assertEqual(len(log.since("p", -1, NOW + passed)), read)
            self.assertEqual(log.covers("p", number - 1, NOW + passed), bool(read))

    def test_cursor_before_old_events_is_too_old(self) -> None:
        """A stream learns that it missed events, also when nothing has removed them yet."""
        log = event_log()
        [number] = self.log_of(log, "p")
        self.assertFalse(log.covers("p", number - 1, NOW + 120))
        self.assertTrue(log.covers("p", number, NOW + 120))

    def test_new_events_remove_old_ones(self) -> None:
        """Each new event removes as many old ones as one pass may, so that old ones do not pile up between sweeps."""
        log = event_log(events_per_peer=9999)
        self.log_of(log, *"p" * (AT_MOST + 1))
        log.add("q", Event(log.draw(NOW + 200), EventKind.EXPIRED, "x", ()), NOW + 200)
        self.assertEqual(len(log), 2)
        log.add("q", Event(log.draw(NOW + 200), EventKind.EXPIRED, "x", ()), NOW + 200)
        self.assertEqual(len(log), 2)

    def test_cursor_of_the_future_is_not_covered(self) -> None:
        """A number that was never drawn here is of another server; the latest one is not."""
        log = event_log()
        self.assertEqual((log.covers("p", 0, 0.0), log.covers("p", 1, 0.0)), (True, False))
        self.log_of(log, "p")
        self.assertEqual([log.covers("p", log.latest + ahead, NOW) for ahead in (0, 1)], [True, False])

    def test_numbers_up_to_which_all_is_gone(self) -> None:
        """The oldest event that is kept comes right after them, whatever has removed the others."""
        log = event_log(events_per_peer=2)
        self.assertEqual(log.dropped, -1)
        first, second, third, *_ = self.log_of(log, *"pqpq")
        self.assertEqual(log.dropped, -1)
        log.forget("p")
        self.assertEqual((log.dropped, second), (first, first + 1))
        self.log_of(log, "q")
        self.assertEqual(log.dropped, third)
        log.forget("q")
        self.assertEqual((log.dropped, len(log)), (log.latest, 0))

    def test_numbers_of_dropped_events_count_too(self) -> None:
        """So that a journal removes the rows of events that were dropped for their age."""
        log = event_log()
        self.log_of(log, *"pq")
        log.trim(NOW + 121)
        self.assertEqual(log.dropped, log.latest)

    def test_event_is_charged_for_what_it_carries(self) -> None:
        """An answer or a candidate may outlive its offer in an event, so its bytes are counted there once more."""
        end = Event(1, EventKind.EXPIRED, "x", ())
        answer = Event(1, EventKind.ANSWER, "x", (), Answer("p", b"v=0", NOW_MS, 1))
        candidate = Event(1, EventKind.CANDIDATE, "x", (), Candidate(b"c" * 50, "p", Role.OFFERER, NOW_MS, 1))
        self.assertEqual(event_cost(end), EVENT_COST)
        self.assertEqual(event_cost(answer), EVENT_COST + ANSWER_COST + 3)
        self.assertEqual(event_cost(candidate), EVENT_COST + CANDIDATE_COST + 50)
