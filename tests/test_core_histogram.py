"""Counts of durations by range."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.histogram import DURATIONS, Histogram


class HistogramTests(SynchronousTestCase):
    """Ranges and their counts."""

    def test_nothing_at_first(self) -> None:
        """There is a count for each range, and one for what is longer than all of them."""
        histogram = Histogram()
        self.assertEqual((histogram.counts, histogram.sum), ([0] * (len(DURATIONS) + 1), 0.0))

    def test_upper_end_belongs_to_its_range(self) -> None:
        """What is longer than the last upper end is counted apart; the sum has all."""
        histogram = Histogram((0.25, 1.0))
        for seconds in (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 64.0):
            histogram.observe(seconds)
        self.assertEqual((histogram.counts, histogram.sum), ([2, 2, 3], 69.25))

    def test_ranges_of_durations_ascend(self) -> None:
        """They begin at a millisecond and end at a minute."""
        self.assertEqual(list(DURATIONS), sorted(set(DURATIONS)))
        self.assertEqual((DURATIONS[0], DURATIONS[-1]), (0.001, 60.0))
