"""Counts the clients by state, a slice at a time, for a server that may have a million of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import compress

from rendezvous.core.presence.clients import ClientColumns
from rendezvous.core.presence.record import ADDRESS, USED
from rendezvous.core.presence.states import PresenceState, Timers

__all__ = ["SLICE", "census"]

#: Slots of one slice: a millisecond.
SLICE = 20_000

#: For each value of the flags, whether a client has pulsed, and whether there is one that has not.
_PULSED = bytes(flags & ADDRESS != 0 for flags in range(256))
_NEW = bytes(flags & (ADDRESS | USED) == USED for flags in range(256))


def census(columns: ClientColumns, timers: Timers, now: float) -> Iterator[dict[PresenceState, int]]:
    """
    Count the clients by state.

    A client that comes, goes or pulses between two slices may be counted in its old or its new state, or in neither.

    :param now: server time, to which the states are.
    :returns: how many clients each slice of the slots has by state; those that are gone are left out. Each call of
        ``next`` counts one slice.
    """
    first = 1
    while first <= columns.top:
        flags, seen = columns.slice(first, SLICE)
        times = _chosen(seen, flags.translate(_PULSED))
        online = _since(times, now - timers.on_time)
        # Mostly all of them are online.
        pending = 0 if online == len(times) else _since(times, now - timers.kept) - online
        new = _since(_chosen(seen, flags.translate(_NEW)), now - timers.registration_time)
        yield {PresenceState.ONLINE: online, PresenceState.PENDING: pending, PresenceState.NEW: new}
        first += SLICE


def _chosen(seen: list[float], mask: bytes) -> list[float]:
    """:returns: those times whose byte of the mask is 1."""
    chosen = mask.count(1)
    if chosen in (0, len(seen)):
        return seen if chosen else []
    return list(compress(seen, mask))


def _since(times: list[float], begin: float) -> int:
    """:returns: how many times are not before this one. The list is quicker than ``sum`` with a generator."""
    return len([1 for time in times if time >= begin])
