"""The time of the last signed pulse of each client, so that a copy does nothing, whichever UDP port it is sent to."""

from __future__ import annotations

from mmap import mmap

from rendezvous.core.presence.flat import flat_memory

__all__ = ["TIMES", "TIMES_SIZE", "WINDOW", "Freshness"]

#: Milliseconds by which the time of a request may differ from the time of the server.
WINDOW = 15_000

#: Words of eight bytes that a client has, and the bytes that they take. The second word is reserved.
TIMES = 2
TIMES_SIZE = 8 * TIMES


class Freshness:
    """
    The times, by the slots of the live table: integers of eight bytes, in ms since the epoch, 0 before the first pulse.

    :param slots: how many there are.
    :param memory: where the times stand, ``slots * TIMES_SIZE`` bytes; by default private memory. It may be part of a
        mapped file: then a copy of a pulse also does nothing after the server was restarted.
    :ivar memory: the times.
    :ivar earliest: no request with a time up to this one is taken, whatever the client.
    """

    __slots__ = ("_times", "earliest", "memory")

    def __init__(self, slots: int, memory: mmap | memoryview | None = None) -> None:
        self.memory = flat_memory(slots * TIMES_SIZE) if memory is None else memory
        self._times = memoryview(self.memory).cast("Q")
        self.earliest = 0

    def refuse_until(self, wall: float) -> None:
        """
        Take no request that may have been taken before, because some of the times were lost.

        :param wall: the time on the wall clock, in seconds since the epoch. A request that was taken before has a time
            that is up to :data:`WINDOW` later.
        """
        self.earliest = round(wall * 1000) + WINDOW

    def take(self, slot: int, time: int, wall: int) -> bool:
        """
        Take a pulse if its time is later than that of the last one, and remember its time.

        :param slot: of the client.
        :param time: of the pulse, at most :data:`WINDOW` before or after the time of the server.
        :param wall: the time of the server, in ms since the epoch.
        :returns: whether it is taken.
        """
        at = slot * TIMES
        # One that is much later cannot have been taken with the clock as it is: this was set back, or bits are damaged.
        if time <= max(self._times[at], self.earliest) <= wall + 2 * WINDOW:
            return False
        self._times[at] = time
        return True

    def clear(self, slot: int) -> None:
        """Forget the time of a slot, because another client has the slot now."""
        at = slot * TIMES
        # Without the test, each registration would write to a page of memory that may not be in use yet.
        if self._times[at]:
            self._times[at] = 0
