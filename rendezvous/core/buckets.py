"""Token buckets in a table of bounded size."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Buckets"]

K = TypeVar("K", bound=Hashable)


class Buckets(Generic[K]):
    """
    Token buckets by any key, remembered for as long as the table has room.

    The table is two dictionaries. Each use writes to the younger; when that holds half of the bound, the older is
    forgotten and the younger takes its place. So every step is O(1), a key that is used again is kept, refused or
    not, and one that is forgotten starts with a full bucket: a flood of made-up keys cannot lock anyone out.

    :param rate: tokens a second that a bucket gains, more than 0.
    :param burst: tokens that a bucket holds; a new one is full.
    :param max_keys: keys remembered at once, at least 2.
    """

    __slots__ = ("_half", "_older", "_younger", "burst", "rate")

    def __init__(self, rate: float, burst: float, max_keys: int) -> None:
        self.rate = rate
        self.burst = burst
        self._half = max_keys // 2
        # key -> (tokens spent and not yet regained, when that was so)
        self._younger: dict[K, tuple[float, float]] = {}
        self._older: dict[K, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._younger) + len(self._older)

    def spent(self, key: K, now: float) -> float:
        """:returns: the tokens that are missing from the bucket of a key at a moment in seconds, at least 0."""
        entry = self._younger.get(key) or self._older.get(key)
        if entry is None:
            return 0.0
        spent, since = entry
        if now > since:
            spent -= (now - since) * self.rate
        return spent if spent > 0.0 else 0.0

    def remember(self, key: K, spent: float, now: float) -> None:
        """
        Set the state of the bucket of a key. If the younger dictionary is full, the older one is forgotten.

        :param spent: the tokens that are missing.
        :param now: seconds; the moment of this state.
        """
        if key not in self._younger and len(self._younger) >= self._half:
            self._older = self._younger
            self._younger = {}
        self._younger[key] = (spent, now)
