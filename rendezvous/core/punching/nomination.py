"""
The choice of a pair of addresses: the controlling side nominates one, and both sides agree on it.

See RFC 8445, section 8.
"""

from __future__ import annotations

from collections.abc import Iterable

from rendezvous.core.punching.actions import Action
from rendezvous.core.punching.checks import Checks
from rendezvous.core.punching.pairs import Pair, Tier
from rendezvous.core.punching.probes import Probe, ProbeType

__all__ = ["Nomination"]

NOMINATE_AFTER = 0.05
"""Seconds from the first valid pair to the nomination of the best one, while better ones are tried."""

RELAY_AFTER = 0.5
"""Seconds from the start of the round to the nomination of a relayed pair, while direct ones are tried."""

REPEATS = 12
"""Probes that nominate a pair, before another pair is nominated."""

LONGEST_PAUSE = 0.2
"""Seconds between two of them, at most, unless the round trip is longer."""


class Nomination:
    """
    The choice of one round.

    :param start: when the round begins.
    :ivar pair: the one that this side nominates, or that the other side has nominated; ``None`` before.
    """

    def __init__(self, checks: Checks, controlling: bool, start: float) -> None:
        self.pair: Pair | None = None
        self._checks, self._controlling, self._start = checks, controlling, start
        self._first_valid: float | None = None
        self._repeats, self._at = 0, 0.0

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
            return nominated and acknowledged and pair is self.pair
        if nominated and message is not None and message.type is ProbeType.PROBE:
            self.pair = pair
        return pair is self.pair and pair.valid

    def due(self, trying: Iterable[Tier]) -> float | None:
        """
        :param trying: the tiers of the pairs that are being tried.
        :returns: when the controlling side nominates next; ``None`` if nothing is to be nominated.
        """
        if not self._controlling:
            return None
        if self.pair is not None:
            return self._at
        best = self._best()
        if best is None or self._first_valid is None:
            return None
        if min(trying, default=best.tier) >= best.tier:
            return self._first_valid
        return max(self._first_valid + NOMINATE_AFTER, self._start + RELAY_AFTER if best.tier is Tier.RELAYED else 0.0)

    def tick(self, now: float, trying: Iterable[Tier], actions: list[Action]) -> None:
        """
        Nominate the best pair if it is time, and repeat it until it is acknowledged.

        :param actions: to which the probe is added.
        """
        due = self.due(trying)
        if due is None or now < due:
            return
        if self.pair is not None and self._repeats >= REPEATS:
            self.pair.valid, self.pair = False, None
        if self.pair is None:
            self.pair, self._repeats = self._best(), 0
            if self.pair is None:
                return
        actions.append(self._checks.probe(now, self.pair, nominate=True))
        self._at = now + max(1.5 * (self.pair.rtt or 0.0), min(0.05 * 2**self._repeats, LONGEST_PAUSE))
        self._repeats += 1

    def _best(self) -> Pair | None:
        """:returns: the best valid pair."""
        valid = (pair for pair in self._checks.pairs.values() if pair.valid)
        return min(valid, key=lambda pair: pair.rank, default=None)
