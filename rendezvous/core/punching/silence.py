"""
How a side notices that the pair of addresses in use no longer works.

A side that has sent something and has heard nothing asks on the pair in use, then on all others. See
``docs/protocol/connect.rst``.
"""

from __future__ import annotations

from enum import IntEnum

from rendezvous.core.punching.pairs import Pair

__all__ = ["Silence", "Step"]

LEAST_WAIT = 0.2
"""Seconds without an answer, at least, until the pair in use is probed."""

LEAST_SECOND_WAIT = 0.1
"""Seconds more, at least, until all other pairs are probed."""

LONGEST_PAUSE = 2.0
"""Seconds between two probes of pairs that stay silent, at most."""


class Step(IntEnum):
    """What is to be probed."""

    NOTHING = 0
    PAIR = 1
    ALL = 2


class Silence:
    """
    The watch over the pair in use.

    :ivar since: when the first datagram was sent on it that may be unanswered; ``None`` if there is none.
    :ivar step: how far the search has got.
    """

    def __init__(self) -> None:
        self.since: float | None = None
        self.step = Step.NOTHING
        self._at = 0.0
        self._pause = 0.0

    def sent(self, now: float, pair: Pair) -> None:
        """Take note that something was sent on the pair in use."""
        if self.since is None:
            self.since = now
            self._at = now + max(3 * (pair.rtt or 0.0), LEAST_WAIT)

    def heard(self) -> None:
        """Take note that something has come on the pair in use, or that another one is in use now."""
        self.since, self.step = None, Step.NOTHING

    def due(self) -> float | None:
        """:returns: when the next step is due."""
        return None if self.since is None else self._at

    def next(self, now: float, pair: Pair) -> Step:
        """:returns: what is to be probed now; the next step is due later."""
        if self.since is None or now < self._at:
            return Step.NOTHING
        if self.step is Step.NOTHING:
            self.step, self._pause = Step.PAIR, max(2 * (pair.rtt or 0.0), LEAST_SECOND_WAIT)
        else:
            if self.step is Step.ALL:
                self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self.step = Step.ALL
        self._at = now + self._pause
        return self.step
