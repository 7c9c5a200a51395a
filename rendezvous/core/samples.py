"""A ring of samples of some numbers, for curves and rates, in memory of a fixed size."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence

__all__ = ["Samples"]

_NOTHING = float("nan")


class Samples:
    """
    A ring of samples. Each sample has a time and a value of each name, so the ring takes
    ``8 * (1 + len(names)) * capacity`` bytes. For example, 30 numbers every 5 s for an hour take 180 kB.

    :param names: what is sampled.
    :param capacity: how many samples are kept; of more, the latest.
    :ivar names: as given.
    :ivar capacity: as given.
    """

    __slots__ = ("_columns", "_count", "_times", "capacity", "names")

    def __init__(self, names: Sequence[str], capacity: int) -> None:
        self.names, self.capacity = tuple(names), capacity
        self._times = array("d", bytes(8 * capacity))
        self._columns = {name: array("d", bytes(8 * capacity)) for name in names}
        self._count = 0

    def __len__(self) -> int:
        """:returns: how many samples are kept now."""
        return min(self._count, self.capacity)

    def add(self, time: float, values: Mapping[str, float]) -> None:
        """
        Keep a sample.

        :param time: in seconds, not before that of the last sample. If it is, the clock was set back: what was sampled
            until then cannot be put in an order with the rest, and is forgotten.
        :param values: by name. A name that is missing has no value at this time.
        """
        if self._count and time < self._time(len(self) - 1):
            self._count = 0
        place = self._count % self.capacity
        self._times[place] = time
        for name, column in self._columns.items():
            column[place] = values.get(name, _NOTHING)
        self._count += 1

    def times(self, seconds: float) -> list[float]:
        """:returns: when the samples of the last seconds were taken, the oldest first."""
        return [self._time(index) for index in range(self._first(seconds), len(self))]

    def series(self, name: str, seconds: float) -> list[float | None]:
        """
        :returns: the values of the last seconds, the oldest first, as many as there are :meth:`times`; ``None`` where
            there was none.
        :raises KeyError: there is no such name.
        """
        column = self._columns[name]
        found = (column[self._place(index)] for index in range(self._first(seconds), len(self)))
        return [None if value != value else value for value in found]

    def rate(self, name: str, seconds: float) -> float | None:
        """
        :param name: of a count that only grows.
        :param seconds: over which the rate is wanted. If less is kept, it is the rate over what is kept.
        :returns: by how much it has grown per second; ``None`` with fewer than two samples. A count that has begun anew
            has a rate of 0.
        :raises KeyError: there is no such name.
        """
        column, last = self._columns[name], len(self) - 1
        first = self._first(seconds)
        while first < last and column[self._place(first)] != column[self._place(first)]:
            first += 1
        if first >= last:
            return None
        grown = column[self._place(last)] - column[self._place(first)]
        time = self._time(last) - self._time(first)
        return None if grown != grown or time <= 0 else max(0.0, grown / time)

    def _first(self, seconds: float) -> int:
        """:returns: the number of the oldest sample of the last seconds; samples are numbered from the oldest one."""
        count = len(self)
        if not count:
            return 0
        return bisect_left(range(count), self._time(count - 1) - seconds, key=self._time)

    def _time(self, index: int) -> float:
        return self._times[self._place(index)]

    def _place(self, index: int) -> int:
        return (self._count - len(self) + index) % self.capacity
