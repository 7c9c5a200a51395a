"""
The selection of a pair of addresses in a round: the controlling side nominates the best one, and both sides agree.

See RFC 8445, section 8.
"""

from __future__ import annotations

from collections.abc import Iterable

from rendezvous.core.punching.actions import Action
from rendezvous.core.punching.checks import Checks
from rendezvous.core.punching.nomination import Nomination
from rendezvous.core.punching.pairs import Pair, Tier
from rendezvous.core.punching.probes import Probe, ProbeType

__all__ = ["Selection"]

NOMINATE_AFTER = 0.05
"""Seconds from the first valid pair to the nomination of the best one, while better ones are tried."""

RELAY_AFTER = 0.5
"""Seconds from the start of the round to the nomination of a relayed pair, while direct ones are tried."""


class Selection:
    """
    The selection of one round.

    :param start: when the round begins.
    """

    def __init__(self, checks: Checks, controlling: bool, start: float) -> None:
        self._checks, self._controlling, self._start = checks, controlling, start
        self._first_valid: float | None = None
        # What the controlling side nominates, and what the controlled side was last asked to use.
        self._nomination: Nomination | None = None
        self._proposed: Pair | None = None

    def heard(self, now: float, pair: Pair, message: Probe | None, acknowledged: bool) -> bool:
        """
        Take note of what was heard on a pair.

        :param message: a probe; ``None`` for data.
        :param acknowledged: whether it was the acknowledgement of a probe on this pair.
        :returns: whether both sides have agreed on this pair by it.
        """
        if pair.valid and self._first_valid is None:
            self._first_valid = now
        nominated = message is not None and message.nominate
        if self._controlling:
            return nominated and acknowledged and self._nomination is not None and pair is self._nomination.pair
        if nominated and message is not None and message.type is ProbeType.PROBE:
            self._proposed = pair
        return pair is self._proposed and pair.valid

    def due(self, trying: Iterable[Tier]) -> float | None:
        """
        :param trying: the tiers of the pairs that are being tried.
        :returns: when the controlling side nominates next; ``None`` if nothing is to be nominated.
        """
        if not self._controlling:
            return None
        if self._nomination is not None:
            return self._nomination.at
        best = self._best()
        if best is None:
            return None
        # The pair of a relay may be valid since an earlier round. It is not probed again, so nothing is heard on it.
        first = self._start if self._first_valid is None else self._first_valid
        if min(trying, default=best.tier) >= best.tier:
            return first
        return max(first + NOMINATE_AFTER, self._start + RELAY_AFTER if best.tier is Tier.RELAYED else 0.0)

    def tick(self, now: float, trying: Iterable[Tier], actions: list[Action]) -> None:
        """
        Nominate the best pair if it is time, and another one after it if it has failed.

        :param actions: to which the probe is added.
        """
        due = self.due(trying)
        if due is None or now < due:
            return
        if self._nomination is not None and self._nomination.tick(now, actions):
            return
        if self._nomination is not None:
            self._nomination.pair.valid, self._nomination = False, None
        best = self._best()
        if best is not None:
            self._nomination = Nomination(now, self._checks, best)
            self._nomination.tick(now, actions)

    def _best(self) -> Pair | None:
        """:returns: the best valid pair."""
        valid = (pair for pair in self._checks.pairs.values() if pair.valid)
        return min(valid, key=lambda pair: pair.rank, default=None)
