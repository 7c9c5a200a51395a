"""How often another side can make this one do something."""

from __future__ import annotations

__all__ = ["Budget"]


class Budget:
    """
    A token bucket. For example, ``Budget(2.0, 8.0)`` allows something 8 times at once, and then twice a second.

    :param rate: how often in a second.
    :param most: how often at once.
    """

    __slots__ = ("_left", "_most", "_rate", "_since")

    def __init__(self, rate: float, most: float) -> None:
        self._rate, self._most = rate, most
        self._left, self._since = most, 0.0

    def spend(self, now: float) -> bool:
        """:returns: whether it may be done once more now; then it counts."""
        self._left = min(self._left + max(now - self._since, 0.0) * self._rate, self._most)
        self._since = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
