"""The nomination of one pair of addresses, which the other side acknowledges (RFC 8445, section 8.1.1)."""

from __future__ import annotations

from rendezvous.core.punching.actions import Action
from rendezvous.core.punching.checks import Checks
from rendezvous.core.punching.pairs import Pair

__all__ = ["Nomination"]

REPEATS = 12
"""Probes that nominate a pair, before it counts as failed."""

LONGEST_PAUSE = 0.2
"""Seconds between two of them, at most, unless the round trip is longer."""


class Nomination:
    """
    A pair that this side nominates, until the other side has acknowledged it.

    :param checks: of the attempt that the pair belongs to.
    :ivar at: when :meth:`tick` is due, in seconds.
    """

    def __init__(self, now: float, checks: Checks, pair: Pair) -> None:
        self.pair = pair
        self.at = now
        self._checks = checks
        self._repeats = 0

    def tick(self, now: float, actions: list[Action]) -> bool:
        """
        Nominate the pair, if it is time.

        :param actions: to which the probe is added.
        :returns: ``False`` when the pair has failed: no probe was acknowledged.
        """
        if now < self.at:
            return True
        if self._repeats == REPEATS:
            return False
        actions.append(self._checks.probe(now, self.pair, nominate=True))
        self.at = now + max(1.5 * (self.pair.rtt or 0.0), min(0.05 * 2**self._repeats, LONGEST_PAUSE))
        self._repeats += 1
        return True
