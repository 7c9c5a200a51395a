"""Tests of :mod:`rendezvous.core.presence.grace`: no slot is given out while a worker may still write to it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.presence.grace import FEWEST_TICKS, TICK, Grace

WORKERS = 3
EVENTS = st.lists(
    st.one_of(
        st.just(("tick", 0)),
        st.just(("retire", 0)),
        st.tuples(st.sampled_from(["begin", "end", "replace"]), st.integers(0, WORKERS - 1)),
    ),
    max_size=120,
)


class GraceTests(SynchronousTestCase):
    """Slots wait for the batches that were under way when their clients ended."""

    def setUp(self) -> None:
        """Begin with no slot."""
        self.freed: list[int] = []
        self.grace = Grace(self.freed.append)

    def ticks(self, count: int, *epochs: int) -> None:
        """Tick, with the same epochs each time, and free all that is due."""
        for _ in range(count):
            self.grace.tick(epochs)
            self.grace.free_some(1000)

    def test_slot_waits_for_a_second_even_if_no_worker_is_busy(self) -> None:
        """Stores of other processors are seen by then."""
        self.grace.retire(7)
        self.ticks(FEWEST_TICKS, 0, 2)
        self.assertEqual(self.freed, [])
        self.ticks(1, 0, 2)
        self.assertEqual(self.freed, [7])
        self.assertGreaterEqual(FEWEST_TICKS * TICK, 1.0)

    def test_slot_waits_for_a_worker_that_stays_in_its_batch(self) -> None:
        """However long that takes, and one tick more."""
        self.grace.retire(7)
        self.ticks(1000, 4, 5)
        self.assertEqual(self.freed, [])
        self.ticks(1, 4, 6)
        self.assertEqual(self.freed, [])
        self.ticks(1, 4, 6)
        self.assertEqual(self.freed, [7])

    def test_later_batches_are_not_waited_for(self) -> None:
        """A worker that is in another batch at each tick holds nothing up."""
        self.grace.retire(7)
        for epoch in range(FEWEST_TICKS + 1):
            self.ticks(1, 2 * epoch + 1)
        self.assertEqual(self.freed, [7])

    def test_slots_are_freed_in_their_order_and_a_bounded_number_at_once(self) -> None:
        """Those that ended later wait longer."""
        for slot in range(10):
            self.grace.retire(slot)
            self.grace.tick([0])
        self.assertEqual(len(self.grace), 10)
        self.assertTrue(self.grace.free_some(2))
        self.assertEqual(self.freed, [0, 1])
        while self.grace.free_some(2):
            pass
        self.assertEqual(self.freed, list(range(10 - FEWEST_TICKS)))
        self.grace.free_all()
        self.assertEqual(self.freed, list(range(10)))
        self.assertEqual(len(self.grace), 0)

    def test_everything_is_freed_once_when_no_worker_runs_any_more(self) -> None:
        """Slots that no tick has seen yet, those that wait for a batch, and those that are due."""
        for slot in range(3):
            self.grace.retire(slot)
            for _ in range(FEWEST_TICKS):
                self.grace.tick([1])
        self.grace.retire(3)
        self.grace.free_all()
        self.assertEqual(self.freed, [0, 1, 2, 3])
        self.ticks(2 * FEWEST_TICKS, 0)
        self.assertEqual((self.freed, len(self.grace)), ([0, 1, 2, 3], 0))

    @given(EVENTS)
    def test_no_slot_is_freed_during_a_batch_that_may_use_it(self, events: list[tuple[str, int]]) -> None:
        """Whatever happens in whatever order, also if a worker is replaced by a new process."""
        freed: list[int] = []
        grace = Grace(freed.append)
        epochs, usable, slot = [0] * WORKERS, [set[int]() for _ in range(WORKERS)], 0
        live = set[int]()
        for event, worker in [*events, *[("end", each) for each in range(WORKERS)], *[("tick", 0)] * 10]:
            if event == "retire":
                # A batch that is under way may have found the slot.
                live.discard(slot)
                grace.retire(slot)
                slot += 1
            elif event == "begin" and not epochs[worker] & 1:
                epochs[worker] += 1
                usable[worker] = {slot}
            elif event == "end" and epochs[worker] & 1:
                epochs[worker] += 1
                usable[worker] = set()
            elif event == "replace":
                epochs[worker], usable[worker] = 0, set()
            elif event == "tick":
                grace.tick(epochs)
                before = len(freed)
                grace.free_some(1000)
                for each in freed[before:]:
                    self.assertFalse(any(each in found for found in usable), f"slot {each} was in use")
        self.assertEqual(freed, list(range(slot)))
