"""Counts the clients by state, a slice at a time, for a server that may have a million of them."""

from __future__ import annotations

from collections.abc import Iterator

from rendezvous.core.presence.clients import ClientColumns
from rendezvous.core.presence.record import ADDRESS, USED
from rendezvous.core.presence.states import PresenceState, Timers

__all__ = ["SLICE", "census"]

#: Slots of one slice: less than a millisecond.
SLICE = 10_000


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
        on_time, kept = now - timers.on_time, now - timers.kept
        registered = now - timers.registration_time
        online = pending = new = 0
        for flag, last in zip(flags, seen, strict=True):
            if flag & ADDRESS:
                if last >= on_time:
                    online += 1
                elif last >= kept:
                    pending += 1
            elif flag & USED and last >= registered:
                new += 1
        yield {PresenceState.ONLINE: online, PresenceState.PENDING: pending, PresenceState.NEW: new}
        first += SLICE
