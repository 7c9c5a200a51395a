"""A histogram of durations."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

__all__ = ["DURATIONS", "Histogram"]

DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""The upper ends of the ranges in which durations are counted, in seconds."""


class Histogram:
    """
    Counts durations by range.

    For example ``Histogram((0.01, 0.1))`` counts what took up to 0.01 s, up to 0.1 s, and longer.

    :param bounds: the upper ends of the ranges in seconds, ascending; each belongs to its range.
    :ivar counts: how many durations each range has; the last range has no upper end.
    :ivar sum: all times together, in seconds.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = DURATIONS) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one time."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds
