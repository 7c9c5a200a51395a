"""When clients may end at the earliest, by block of slots: a pulse writes nothing here, and a sweep looks at little."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable

from rendezvous.core.presence.clients import ClientColumns
from rendezvous.core.presence.record import WORDS

__all__ = ["BLOCK", "Endings", "gone_in"]

#: Slots in a block, as a power of two.
_BITS = 10

#: Slots in a block.
BLOCK = 1 << _BITS


class Endings:
    """
    A lower bound for the first ending in each block of slots.

    Whatever puts an ending off, such as a pulse, leaves the bound as it is. Once it has passed, the sweep looks at
    the block and sets the bound anew. So a block is looked at about once in the time that a silent client is kept.

    :param slots: how many there are.
    """

    __slots__ = ("_first", "_soonest")

    def __init__(self, slots: int) -> None:
        self._first = array("d", [math.inf]) * ((slots >> _BITS) + 1)
        self._soonest = math.inf

    def put(self, slot: int, ending: float) -> None:
        """Note that a slot may end at a moment, which may be earlier than what was known of it."""
        block = slot >> _BITS
        if ending < self._first[block]:
            self._first[block] = ending
            self._soonest = min(self._soonest, ending)

    def put_all(self, slots: Iterable[int], ending: float) -> None:
        """Do :meth:`put` for many slots that may end at the same moment, once for each of their blocks."""
        for block in {slot >> _BITS for slot in slots}:
            self.put(block << _BITS, ending)

    def set(self, block: int, ending: float) -> None:
        """Set what looking at all of a block has shown."""
        self._first[block] = ending
        self._soonest = min(self._soonest, ending)

    def expect_all(self, last: int) -> None:
        """Have every block looked at, up to that of the last slot."""
        for block in range((last >> _BITS) + 1):
            self.set(block, -math.inf)

    def is_due(self, now: float) -> bool:
        """:returns: whether a block is to be looked at."""
        if self._soonest < now:
            self._soonest = min(self._first)
        return self._soonest < now

    def due(self, now: float) -> list[int]:
        """:returns: the numbers of the blocks that are to be looked at."""
        if not self.is_due(now):
            return []
        return [block for block, ending in enumerate(self._first) if ending < now]


def gone_in(
    block: int, columns: ClientColumns, deadline: Callable[[int], float], shortest: float, now: float, at_most: int
) -> tuple[list[int], float]:
    """
    Look at all slots of a block.

    :param deadline: gives when the client of a slot ends; infinity if it has none.
    :param shortest: the shortest time between when a client is last seen and its end.
    :param at_most: how many slots to find.
    :returns: slots whose clients are gone, and when the next of the others may end.
    """
    start = max(1, block * BLOCK)
    end = min((block + 1) * BLOCK, columns.top + 1)
    gone, first = list[int](), math.inf
    for slot, seen in enumerate(columns.seen[start * WORDS : end * WORDS : WORDS].tolist(), start):
        if seen + shortest >= first:
            continue
        ending = deadline(slot)
        if ending >= now:
            first = min(first, ending)
        elif len(gone) == at_most:
            return gone, -math.inf
        else:
            gone.append(slot)
    return gone, first
