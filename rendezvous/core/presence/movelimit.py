"""How often a client may pulse for the first time, late, or from a new address; its other pulses are not limited."""

from __future__ import annotations

from rendezvous.core.presence.flat import flat_memory

__all__ = ["MOVES_AT_ONCE", "MOVES_A_SECOND", "MoveLimit"]

#: Tokens that a bucket gains a second, and tokens that a full one holds. Each of these pulses takes one.
MOVES_A_SECOND, MOVES_AT_ONCE = 1.0, 10


class MoveLimit:
    """
    A token bucket for each client, by its slot in the live table.

    Example: a client has sent 3 of these pulses at once. Its bucket lacks 3 of 10 tokens, so it is full in 3 seconds.

    :param slots: how many there are.
    :ivar memory: the moments from which on the buckets are full, in server time: 8 bytes each. A bucket that was never
        used takes no memory.
    """

    __slots__ = ("_full_at", "memory")

    #: Seconds in which a bucket regains one token.
    COST = 1 / MOVES_A_SECOND
    #: Seconds that a bucket which holds one token takes to be full. One that takes longer is empty.
    MOST = (MOVES_AT_ONCE - 1) / MOVES_A_SECOND

    def __init__(self, slots: int) -> None:
        self.memory = flat_memory(8 * slots)
        self._full_at = memoryview(self.memory).cast("d")

    def take(self, slot: int, now: float) -> bool:
        """
        Take a token from the bucket of a slot.

        :param now: server time.
        :returns: whether there was one.
        """
        full_at = max(self._full_at[slot], now)
        if full_at - now > self.MOST:
            return False
        self._full_at[slot] = full_at + self.COST
        return True

    def clear(self, slot: int) -> None:
        """Fill the bucket of a slot, because another client has the slot now."""
        # Without the test, each registration would write to a page of memory that may not be in use yet.
        if self._full_at[slot]:
            self._full_at[slot] = 0.0
