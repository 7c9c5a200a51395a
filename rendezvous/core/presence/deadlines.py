"""Deadlines in buckets of one second. Postponing a deadline costs nothing until its bucket is due."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

__all__ = ["Deadlines"]

T = TypeVar("T")


class Deadlines(Generic[T]):
    """
    Items with deadlines, which :meth:`take` yields after their deadlines have passed.

    An item is put into the bucket of its deadline at that time. When the deadline moves later, the item stays there.
    When the bucket is due, ``take`` asks for the current deadline, and puts an item that is not due into a new bucket.
    For example, an item whose deadline is put off by 200 s every second is checked once in 200 s.

    A deadline that moves earlier is noticed only at the old deadline.
    """

    def __init__(self) -> None:
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
                    self.put(item, deadline)
            if not bucket:
                del self._buckets[heapq.heappop(self._order)]
