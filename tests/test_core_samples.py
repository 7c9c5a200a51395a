"""The ring of samples: what it keeps, and the rates that follow from it."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.samples import Samples


def filled(values: list[float], capacity: int = 10, interval: float = 5.0) -> Samples:
    """:returns: samples of one count, the first of them at 1000 s."""
    samples = Samples(["count"], capacity)
    for number, value in enumerate(values):
        samples.add(1000.0 + interval * number, {"count": value})
    return samples


class KeptTests(SynchronousTestCase):
    """What is kept."""

    def test_nothing_at_first(self) -> None:
        """Neither values nor a rate."""
        samples = filled([])
        self.assertEqual((len(samples), samples.times(900), samples.series("count", 900)), (0, [], []))
        self.assertIsNone(samples.rate("count", 60))

    def test_the_latest_are_kept(self) -> None:
        """With one sample more than there is room for, the oldest one goes."""
        for extra in range(25):
            samples = filled([float(number) for number in range(10 + extra)])
            self.assertEqual(len(samples), 10)
            self.assertEqual(samples.series("count", 1e9), [float(extra + number) for number in range(10)])
            self.assertEqual(samples.times(1e9), [1000.0 + 5 * (extra + number) for number in range(10)])

    def test_memory_does_not_grow(self) -> None:
        """All of it is taken at the start: 30 numbers for an hour take less than 200 kB."""
        names = [f"n{number}" for number in range(30)]
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        samples = Samples(names, 721)
        taken, _ = tracemalloc.get_traced_memory()
        for number in range(2000):
            samples.add(1e9 + number, dict.fromkeys(names, 1e9 + number))
        after, _ = tracemalloc.get_traced_memory()
        self.assertLess(taken, 200_000)
        # Each sample more would take 248 bytes.
        self.assertLess(after - taken, 20_000)

    def test_window_ends_at_the_last_sample(self) -> None:
        """A sample that is exactly as old as the window belongs to it."""
        samples = filled([1.0, 2.0, 3.0, 4.0])
        self.assertEqual(samples.series("count", 10), [2.0, 3.0, 4.0])
        self.assertEqual(samples.series("count", 9.9), [3.0, 4.0])
        self.assertEqual(samples.series("count", 0), [4.0])

    def test_value_that_is_missing(self) -> None:
        """It is told from 0."""
        samples = Samples(["a", "b"], 4)
        samples.add(1.0, {"a": 0.0})
        samples.add(2.0, {"a": 1.0, "b": 5.0})
        self.assertEqual(samples.series("b", 60), [None, 5.0])
        self.assertEqual(samples.series("a", 60), [0.0, 1.0])

    def test_clock_that_is_set_back(self) -> None:
        """What was sampled before is forgotten; the rest is in order."""
        samples = filled([1.0, 2.0, 3.0])
        samples.add(500.0, {"count": 4.0})
        samples.add(505.0, {"count": 6.0})
        self.assertEqual(samples.times(1e9), [500.0, 505.0])
        self.assertEqual(samples.rate("count", 60), 0.4)

    def test_unknown_name(self) -> None:
        """It is an error of the program."""
        self.assertRaises(KeyError, filled([1.0]).series, "other", 60)


class RateTests(SynchronousTestCase):
    """Rates."""

    def test_rate_over_the_window(self) -> None:
        """What was before the window has no part in it."""
        samples = filled([0.0, 1000.0, 1010.0, 1020.0])
        self.assertEqual(samples.rate("count", 10), 2.0)
        self.assertEqual(samples.rate("count", 15), 68.0)

    def test_rate_over_what_there_is(self) -> None:
        """A server that runs for 10 s has the rate of these."""
        self.assertEqual(filled([0.0, 10.0, 20.0]).rate("count", 3600), 2.0)

    def test_one_sample_is_no_rate(self) -> None:
        """Nor are two of which one has no value."""
        self.assertIsNone(filled([5.0]).rate("count", 60))
        samples = Samples(["count"], 4)
        samples.add(1.0, {"count": 5.0})
        samples.add(2.0, {})
        self.assertIsNone(samples.rate("count", 60))

    def test_value_that_is_missing_at_first(self) -> None:
        """The rate is over the samples that have one."""
        samples = Samples(["count"], 4)
        samples.add(0.0, {})
        samples.add(10.0, {"count": 1.0})
        samples.add(20.0, {"count": 2.0})
        self.assertEqual(samples.rate("count", 60), 0.1)

    def test_two_samples_at_one_time(self) -> None:
        """Both are kept, and there is no division by zero."""
        samples = Samples(["count"], 4)
        samples.add(1.0, {"count": 1.0})
        samples.add(1.0, {"count": 9.0})
        self.assertEqual(samples.times(60), [1.0, 1.0])
        self.assertIsNone(samples.rate("count", 60))

    def test_samples_less_than_a_second_apart(self) -> None:
        """The rate is per second."""
        self.assertEqual(filled([0.0, 2.0], interval=0.5).rate("count", 60), 4.0)

    def test_count_that_has_begun_anew(self) -> None:
        """Its rate is 0."""
        self.assertEqual(filled([100.0, 2.0]).rate("count", 60), 0.0)

    @given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e9)), max_size=40), st.floats(0, 1e7))
    def test_anything(self, given_: list[tuple[float, float]], window: float) -> None:
        """Whatever is sampled: as many values as times, in order, and no rate below 0."""
        samples = Samples(["count"], 7)
        for time, value in given_:
            samples.add(time, {"count": value})
        times = samples.times(window)
        self.assertEqual(len(times), len(samples.series("count", window)))
        self.assertEqual(times, sorted(times))
        self.assertGreaterEqual(samples.rate("count", window) or 0.0, 0.0)
