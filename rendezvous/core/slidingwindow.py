"""A rate limit by key with a sliding window: exact, and in a table of bounded size."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["SlidingWindow"]

K = TypeVar("K", bound=Hashable)


class SlidingWindow(Generic[K]):
    """
    A rate limit by key. It keeps the moments at which each key has acted. For example, ``SlidingWindow(6, 60.0, 1000)``
    lets each key act six times within any 60 seconds, and remembers 1000 keys.

    As in :class:`~rendezvous.core.buckets.Buckets` the table is two dictionaries, and the older one is forgotten when
    the younger one is half of the bound. So every step is O(1). A flood of keys makes the table forget other keys; it
    never locks one out.

    :param most: how often a key may act within the window; 0 for no limit.
    :param seconds: the length of the window.
    :param max_keys: keys that are remembered at once, at least 2.
    :ivar most: the same; may be changed.
    """

    __slots__ = ("_half", "_older", "_seconds", "_younger", "most")

    def __init__(self, most: int, seconds: float, max_keys: int) -> None:
        self.most = most
        self._seconds = seconds
        self._half = max_keys // 2
        self._younger: dict[K, tuple[float, ...]] = {}
        self._older: dict[K, tuple[float, ...]] = {}

    def __len__(self) -> int:
        return len(self._younger) + len(self._older)

    def take(self, key: K, now: float) -> float:
        """
        Count that a key acts now, if it may.

        :returns: the seconds until it may; 0 if it has been counted.
        """
        if not self.most:
            return 0.0
        times = self._within(key, now)
        if len(times) >= self.most:
            return times[-self.most] + self._seconds - now
        if key not in self._younger and len(self._younger) >= self._half:
            self._older, self._younger = self._younger, {}
        self._younger[key] = (*times, now)
        return 0.0

    def _within(self, key: K, now: float) -> tuple[float, ...]:
        times = self._younger.get(key) or self._older.get(key) or ()
        return tuple(each for each in times if each + self._seconds > now)
