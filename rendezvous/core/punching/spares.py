"""
The pairs of addresses that a path does not use at the moment: probed now and then, so that it can change to them.

A pair that works is probed as often as a keep-alive needs. One that has failed is probed with growing pauses, and it is
used again only after it has worked for a time that doubles with each failure.
"""

from __future__ import annotations

from collections.abc import Iterable

from rendezvous.core.punching.pairs import Pair

__all__ = ["MAX_SPARE", "has_failed", "is_better", "probe_due", "proven_at", "spare"]

MAX_SPARE = 4
"""Pairs beside the one in use that are probed."""

SPARE_INTERVAL = 15.0
"""Seconds between two probes of a pair that works, and at most between those of one that has failed."""

FIRST_RETRY = 1.0
"""Seconds between the first two probes of a pair that has failed; each further pause is as long as all before."""

PATIENCE = 4.0
"""Seconds without an answer after which a pair has failed."""

FORGET_AFTER = 600.0
"""Seconds without an answer after which a pair is probed no more."""

LONGEST_PROOF = 60.0
"""Seconds that a pair which has failed has to work again, at most, before it is used."""

ADVANTAGE = 0.005
"""Seconds of round trip by which a pair of the same tier has to be better."""

MEASUREMENTS = 3
"""Round trips of a pair that are measured before it is compared with another one of its tier."""


def spare(pairs: Iterable[Pair], used: Pair) -> list[Pair]:
    """:returns: the best pairs that work, or have worked, beside the one in use; at most :data:`MAX_SPARE`."""
    known = [pair for pair in pairs if pair is not used and pair.rtt is not None and not _is_given_up(pair)]
    return sorted(known, key=lambda pair: pair.rank)[:MAX_SPARE]


def _is_given_up(pair: Pair) -> bool:
    """:returns: whether a pair is probed no more, because the last probe came after a long silence."""
    # It does not depend on the present time: what is due now and what is done now are the same pairs.
    if pair.silent_since is None or pair.probed is None:
        return False
    return pair.probed - pair.silent_since >= FORGET_AFTER


def probe_due(pair: Pair) -> float:
    """:returns: when a pair that is not in use is probed next, in seconds."""
    if pair.probed is None:
        return float("-inf")
    if pair.silent_since is None:
        return pair.probed + SPARE_INTERVAL
    return pair.probed + min(max(pair.probed - pair.silent_since, FIRST_RETRY), SPARE_INTERVAL)


def has_failed(pair: Pair, now: float) -> bool:
    """:returns: whether a pair has left probes unanswered for too long."""
    return pair.silent_since is not None and now - pair.silent_since >= PATIENCE


def proven_at(pair: Pair) -> float | None:
    """:returns: when a pair works for long enough after its failures, in seconds; ``None`` while it does not work."""
    if not pair.valid or pair.silent_since is not None or pair.valid_since is None:
        return None
    return pair.valid_since + (min(2.0**pair.failures, LONGEST_PROOF) if pair.failures else 0.0)


def is_better(pair: Pair, used: Pair) -> bool:
    """:returns: whether a pair is better than the one in use by so much that it is worth a change."""
    if not pair.valid or pair.tier != used.tier:
        return pair.valid and pair.tier < used.tier
    if pair.rtt is None or used.rtt is None or min(pair.measurements, used.measurements) < MEASUREMENTS:
        return False
    return pair.rtt + ADVANTAGE <= used.rtt
