"""One token bucket: how often another side can make this one do something."""

from __future__ import annotations

__all__ = ["TokenBucket"]


class TokenBucket:
    """
    A token bucket that is full at first. For example, ``TokenBucket(2.0, 8.0)`` allows something 8 times at once, and
    then twice a second.

    :param rate: tokens a second that it gains.
    :param burst: tokens that it holds.
    """

    __slots__ = ("_burst", "_left", "_rate", "_since")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._left, self._since = burst, 0.0

    def take(self, now: float) -> bool:
        """
        Take a token.

        :param now: in seconds of any clock.
        :returns: whether there was one.
        """
        self._gain(now)
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

    def spend(self, now: float, cost: float) -> float:
        """
        Take tokens, also more than there are, for what has been done already.

        :param now: in seconds of any clock.
        :returns: seconds until the bucket has made up for what is missing; 0 if nothing is.
        """
        self._gain(now)
        self._left -= cost
        return max(0.0, -self._left / self._rate)

    def _gain(self, now: float) -> None:
        self._left = min(self._left + max(now - self._since, 0.0) * self._rate, self._burst)
        self._since = now
