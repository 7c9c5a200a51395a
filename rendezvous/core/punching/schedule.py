"""When probes are sent on which pair: openers first where they are needed, then growing pauses, never two at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import attrs

from rendezvous.core.addresses import Address
from rendezvous.core.punching.pairs import Pair

__all__ = ["OPENER_TTL", "PACE", "Schedule"]

OPENER_TTL = 2
"""The TTL of an opener: it passes a NAT at home, and reaches no other one if there is a router between the two."""

OPENERS = 3
"""Openers on each pair."""

PAUSES = (0.033, 0.033, 0.067, 0.133, 0.267, 0.533, 1.067, 2.0)
"""Seconds between the probes with the usual TTL on one pair. After the last one, the pair is given up."""

PACE = 0.005
"""Seconds between any two probes."""


@attrs.define(eq=False)
class _Try:
    """
    What is still to be sent on a pair.

    :ivar at: when the next probe is due.
    :ivar openers: how many are still to be sent.
    :ivar gap: seconds from one opener to the next one, and from the last one to the first probe with the usual TTL.
    :ivar sent: probes with the usual TTL so far.
    """

    pair: Pair
    at: float
    openers: int
    gap: float
    sent: int = 0


class Schedule:
    """The probes of one round."""

    def __init__(self) -> None:
        self._tries: dict[tuple[str, tuple[str, int]], _Try] = {}
        self._free_at = float("-inf")

    def add(self, pair: Pair, start: float, openers_for: float | None = None) -> None:
        """
        Have probes sent on a pair.

        :param start: when the first one is due.
        :param openers_for: seconds until the first probe with the usual TTL, if openers come first.
        """
        openers, gap = (0, 0.0) if openers_for is None else (OPENERS, openers_for / OPENERS)
        self._tries[pair.local.name, pair.address] = _Try(pair, start, openers, gap)

    def hasten(self, pair: Pair, now: float) -> None:
        """
        The peer was heard on a pair that is not valid yet: openers are needed no more, and probes soon.

        :param now: a probe has just been sent on the pair.
        """
        found = self._tries.get((pair.local.name, pair.address))
        if found is None:
            self.add(pair, now + PAUSES[0])
        else:
            found.openers, found.sent, found.at = 0, 0, min(found.at, now + PAUSES[0])

    def retain(self, pairs: Mapping[tuple[str, Address], Pair]) -> None:
        """Have no more probes sent on pairs that had to make room for others."""
        self._tries = {key: each for key, each in self._tries.items() if pairs.get(key) is each.pair}

    def remove(self, pair: Pair) -> None:
        """Have no more probes sent on a pair."""
        self._tries.pop((pair.local.name, pair.address), None)

    def forget(self, names: Collection[str]) -> None:
        """Have no more probes sent from some endpoints."""
        self._tries = {key: each for key, each in self._tries.items() if key[0] not in names}

    def pairs(self) -> list[Pair]:
        """:returns: the pairs on which probes are still to be sent."""
        return [each.pair for each in self._tries.values()]

    def due(self) -> float | None:
        """:returns: when the next probe is due, in seconds; ``None`` if there is none."""
        first = min((each.at for each in self._tries.values()), default=None)
        return None if first is None else max(first, self._free_at)

    def next(self, now: float) -> tuple[Pair, int | None] | None:
        """
        Take the probe that is due; among those that are due at one time, that on the best pair.

        :returns: the pair and the TTL, or ``None`` if none is due.
        """
        if now < self._free_at:
            return None
        ready = [each for each in self._tries.values() if each.at <= now]
        if not ready:
            return None
        chosen = min(ready, key=lambda each: (each.at, each.pair.tier))
        self._free_at = now + PACE
        if chosen.openers:
            chosen.openers -= 1
            chosen.at += chosen.gap
            return chosen.pair, OPENER_TTL
        if chosen.sent < len(PAUSES):
            chosen.at = now + PAUSES[chosen.sent]
            chosen.sent += 1
        else:
            self.remove(chosen.pair)
        return chosen.pair, None
