"""Deadlines in buckets of one second: putting one off costs nothing until its bucket comes due."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

__all__ = ["Deadlines"]

T = TypeVar("T")


class Deadlines(Generic[T]):
    """
    Items that want to be looked at once a moment has passed.

    An item is put in the bucket of its deadline as known then. Whoever moves the deadline tells nobody: when the bucket
    comes due, ``take`` asks again, and an item that is not due goes to its new bucket. So a sign of life costs one
    timestamp, and a sweep costs what expires plus one look at each item per lifetime.

    :param patience: how long an item is left alone at most, in seconds. Without it, a deadline that comes nearer is
        noticed only when it would have come due before.
    """

    def __init__(self, patience: float = math.inf) -> None:
        self._patience = patience
        self._buckets: dict[int, list[T]] = {}
        self._order: list[int] = []

    def put(self, item: T, deadline: float) -> None:
        """Look at the item once ``deadline`` has passed."""
        second = math.floor(deadline) + 1
        bucket = self._buckets.get(second)
        if bucket is None:
            bucket = self._buckets[second] = []
            heapq.heappush(self._order, second)
        bucket.append(item)

    def is_due(self, now: float) -> bool:
        """:returns: whether :meth:`take` would look at an item."""
        return bool(self._order) and self._order[0] <= now

    def pop_first(self, deadline_of: Callable[[T], float | None]) -> T | None:
        """
        Take out the item that comes due first, to the second, although it is not due.

        :param deadline_of: as for :meth:`take`.
        :returns: ``None`` if there is none.
        """
        while self._order:
            bucket = self._buckets[self._order[0]]
            while bucket:
                item = bucket.pop()
                if deadline_of(item) is not None:
                    return item
            del self._buckets[heapq.heappop(self._order)]
        return None

    def take(self, now: float, deadline_of: Callable[[T], float | None], at_most: int) -> Iterator[T]:
        """
        Yield what has expired, and put back what has not.

        :param deadline_of: the item's deadline now, or ``None`` if it has ended meanwhile.
        :param at_most: how many items to look at; the rest wait for the next call.
        """
        while at_most > 0 and self._order and self._order[0] <= now:
            bucket = self._buckets[self._order[0]]
            while bucket and at_most > 0:
                at_most -= 1
                item = bucket.pop()
                deadline = deadline_of(item)
                if deadline is None:
                    continue
                if deadline < now:
                    yield item
                else:
                    self.put(item, min(deadline, now + self._patience))
            if not bucket:
                del self._buckets[heapq.heappop(self._order)]
