"""Deadlines in buckets: what comes due, and what it costs in looks."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.presence.deadlines import Deadlines

NOW = 1_700_000_000.0
JUST = 2.0**-10

MANY = 10**9


class Watched:
    """
    Items with deadlines that may move, and a count of the looks at them.

    :ivar at: the deadlines, by item; one that is missing has ended.
    :ivar looks: how often a deadline was asked for.
    """

    def __init__(self) -> None:
        self.deadlines: Deadlines[str] = Deadlines()
        self.at: dict[str, float] = {}
        self.looks = 0

    def put(self, item: str, deadline: float) -> None:
        """Add an item."""
        self.at[item] = deadline
        self.deadlines.put(item, deadline)

    def deadline_of(self, item: str) -> float | None:
        """Count, and answer."""
        self.looks += 1
        return self.at.get(item)

    def take(self, now: float, at_most: int = MANY) -> list[str]:
        """:returns: what has expired; it ends with that."""
        return sorted(self._ending(self.deadlines.take(now, self.deadline_of, at_most)))

    def _ending(self, expired: Iterator[str]) -> Iterator[str]:
        for item in expired:
            del self.at[item]
            yield item


class DeadlinesTests(SynchronousTestCase):
    """What expires and what does not."""

    def setUp(self) -> None:
        """Begin with nothing."""
        self.watched = Watched()

    def test_nothing_expires_at_its_deadline(self) -> None:
        """A deadline must have passed, and is noticed within a second."""
        self.watched.put("a", NOW)
        self.assertEqual(self.watched.take(NOW), [])
        self.assertEqual(self.watched.take(NOW + 1), ["a"])

    def test_fraction_is_noticed_in_the_next_second(self) -> None:
        """Buckets are whole seconds, and never early."""
        self.watched.put("a", NOW + 0.5)
        self.assertEqual([self.watched.take(NOW + 0.5 + n * JUST) for n in (0, 1, 100)], [[], [], []])
        self.assertEqual(self.watched.take(NOW + 1), ["a"])

    def test_each_expires_once(self) -> None:
        """What was taken is forgotten."""
        self.watched.put("a", NOW)
        self.watched.put("b", NOW + 10)
        self.assertEqual([self.watched.take(NOW + n) for n in (1, 2, 11, 12)], [["a"], [], ["b"], []])

    def test_all_that_is_overdue_comes_at_once(self) -> None:
        """After a pause of any length nothing is left over."""
        for n in range(100):
            self.watched.put(str(n), NOW + 37 * n % 100)
        self.assertEqual(len(self.watched.take(NOW + 1e6)), 100)

    def test_moved_deadline_is_noticed_when_its_bucket_comes_due(self) -> None:
        """Putting a deadline off changes no order, and costs one look."""
        self.watched.put("a", NOW)
        self.watched.at["a"] = NOW + 100
        self.assertEqual(self.watched.take(NOW + 99), [])
        self.assertEqual(self.watched.take(NOW + 101), ["a"])
        self.assertEqual(self.watched.looks, 2)

    def test_item_that_has_ended_is_dropped(self) -> None:
        """It is looked at once more, and then no longer."""
        self.watched.put("a", NOW)
        del self.watched.at["a"]
        self.assertEqual([self.watched.take(NOW + n) for n in (1, 2)], [[], []])
        self.assertEqual(self.watched.looks, 1)

    def test_item_put_twice_expires_once(self) -> None:
        """The second entry finds it ended."""
        self.watched.put("a", NOW)
        self.watched.put("a", NOW + 5)
        self.watched.at["a"] = NOW
        self.assertEqual([self.watched.take(NOW + n) for n in (1, 6)], [["a"], []])

    def test_clock_that_goes_back_makes_nothing_due(self) -> None:
        """And nothing is lost by it."""
        self.watched.put("a", NOW)
        self.assertEqual(self.watched.take(NOW - 1e9), [])
        self.assertEqual(self.watched.take(NOW + 1), ["a"])

    def test_deadlines_before_the_epoch_are_deadlines(self) -> None:
        """Seconds are rounded down, not towards zero."""
        self.watched.put("a", -0.5)
        self.assertEqual(self.watched.take(-0.5), [])
        self.assertEqual(self.watched.take(0.0), ["a"])


class DeadlinesCostTests(SynchronousTestCase):
    """What a pass costs, counted in looks."""

    def test_nothing_due_costs_nothing(self) -> None:
        """However many wait."""
        watched = Watched()
        for n in range(1000):
            watched.put(str(n), NOW + 100)
        for second in range(100):
            watched.take(NOW + second)
        self.assertEqual(watched.looks, 0)

    def test_pass_looks_at_what_expires_and_no_more(self) -> None:
        """The cost is what is due, not what is there."""
        watched = Watched()
        for n in range(1000):
            watched.put(f"late {n}", NOW + 1000 + n)
        for n in range(7):
            watched.put(f"due {n}", NOW)
        self.assertEqual(len(watched.take(NOW + 1)), 7)
        self.assertEqual(watched.looks, 7)

    def test_pass_is_bounded(self) -> None:
        """At most as many looks as allowed, whether what is looked at has expired, moved or ended."""
        watched = Watched()
        for n in range(30):
            watched.put(str(n), NOW)
        for n in range(10):
            watched.at[str(n)] = NOW + 100
            del watched.at[str(n + 10)]
        looks = []
        for _ in range(6):
            before = watched.looks
            watched.take(NOW + 1, 7)
            looks.append(watched.looks - before)
        self.assertEqual(looks, [7, 7, 7, 7, 2, 0])
        self.assertEqual(set(watched.at), {str(n) for n in range(10)})

    def test_bound_of_zero_does_nothing(self) -> None:
        """And one takes one, two take two."""
        watched = Watched()
        for item in "abcd":
            watched.put(item, NOW)
        self.assertEqual([len(watched.take(NOW + 1, n)) for n in (0, 1, 2, 3)], [0, 1, 2, 1])

    def test_interrupted_pass_loses_nothing(self) -> None:
        """A caller that stops in the middle leaves the rest for the next pass."""
        watched = Watched()
        for item in "abc":
            watched.put(item, NOW)
        first = next(watched.deadlines.take(NOW + 1, watched.deadline_of, MANY))
        del watched.at[first]
        self.assertEqual([first, *watched.take(NOW + 1)][1:], sorted({"a", "b", "c"} - {first}))

    def test_due_is_what_a_pass_would_look_at(self) -> None:
        """From the end of the second of the first deadline on, until it has been looked at."""
        watched = Watched()
        self.assertFalse(watched.deadlines.is_due(NOW + 100))
        watched.put("a", NOW)
        self.assertEqual(
            [watched.deadlines.is_due(NOW + since) for since in (0.0, 1 - JUST, 1.0)], [False, False, True]
        )
        watched.take(NOW + 1)
        self.assertFalse(watched.deadlines.is_due(NOW + 1))

    def test_first_is_taken_out_before_it_is_due(self) -> None:
        """The one with the earliest deadline that has not ended; in the end there is none."""
        watched = Watched()
        for item, late in (("c", 3.0), ("a", 1.0), ("b", 2.0), ("ended", 0.0)):
            watched.put(item, NOW + late)
        del watched.at["ended"]
        first = [watched.deadlines.pop_first(watched.at.get) for _ in range(4)]
        self.assertEqual(first, ["a", "b", "c", None])
        self.assertEqual(watched.take(NOW + 10), [])

    @given(
        st.lists(st.tuples(st.integers(0, 40), st.integers(0, 80)), max_size=30),
        st.lists(st.tuples(st.integers(0, 20), st.integers(1, 10)), max_size=30),
    )
    def test_bounded_passes_agree_with_a_list(
        self, items: list[tuple[int, int]], passes: list[tuple[int, int]]
    ) -> None:
        """Whatever is put off, each item ends after its own deadline, and all have once the passes catch up."""
        watched = Watched()
        for n, (first, moved) in enumerate(items):
            watched.put(str(n), NOW + first / 4)
            watched.at[str(n)] = NOW + (first + moved) / 4
        due, now = dict(watched.at), NOW
        for pause, at_most in passes:
            now += pause / 4
            before = watched.looks
            self.assertTrue(all(due[item] < now for item in watched.take(now, at_most)))
            self.assertLessEqual(watched.looks - before, at_most)
        watched.take(now)
        self.assertEqual([item for item in watched.at if due[item] <= now - 1], [])
