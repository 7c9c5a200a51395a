"""From a client's key to the number of its slot, without an object for each client."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from mmap import mmap

from rendezvous.core.identity import KEY_SIZE
from rendezvous.core.presence.flat import Flat, flat_memory

__all__ = ["BEGINNING", "KeyIndex"]

_NO_KEY = bytes(KEY_SIZE)

#: The first eight bytes of a key.
BEGINNING = struct.Struct(f"<Q{KEY_SIZE - 8}x")
_beginning = BEGINNING.unpack


class KeyIndex:
    """
    An open-addressing hash table with linear probing over keys that are uniformly random already.

    The first eight bytes of a key, an unsigned little-endian number, modulo :attr:`spread` are the place in the table
    where a search begins. ``spread`` is secret: it is an odd number between seven eighths of the table's length and the
    length, chosen by ``salt``. Clients know their keys, and an attacker can keep only those of many registrations that
    suit it. Without knowing ``spread`` it cannot keep keys that stand side by side, which would make searches long. For
    example, keys whose low bits lie in one range are spread over the whole table. A modulo costs the plain way no more
    than a mask would, and NumPy computes the same.

    The table holds numbers of slots, 0 for none; the keys stand in a second block, by slot. So an entry costs 32 bytes,
    and 12 to 24 in the table, which is between a sixth and a third full at the expected number. At a quarter,
    one search in forty looks at more than two places; at a half it would be one in ten. Nothing is moved and
    the table keeps its size, unless :meth:`expect` is called or it becomes half full, so no other call takes long. A
    removal closes the gap that it leaves (Knuth, The Art of Computer Programming, volume 3, 6.4, algorithm R), so the
    table does not fill up with marks of what was removed.

    The memory is private to this process, or shared with its UDP workers: keys never reach a file.

    Another process may call :meth:`find` while this one changes the index; :mod:`rendezvous.core.presence.steady` says
    why it never finds a wrong slot. For that, :meth:`add` writes the key before the table refers to it. :meth:`remove`
    copies an entry of the table to its new place before it overwrites the old one.

    :param capacity: the highest number of a slot; the lowest is 1.
    :param expected: how many keys the table is made for; by default as many as there are slots.
    :param salt: a random number of 64 bits that is kept secret.
    :param flat: reserves the memory.
    :ivar keys: the keys, 32 bytes a slot; zero where there is none.
    :ivar table: numbers of slots.
    :ivar mask: the length of the table, less one.
    :ivar spread: see above.
    """

    __slots__ = ("_count", "_flat", "_salt", "keys", "mask", "spread", "table")

    def __init__(self, capacity: int, expected: int = 0, *, salt: int = 0, flat: Flat = flat_memory) -> None:
        # The table has numbers of four bytes.
        if not 0 < capacity < 1 << 31:
            raise ValueError("a table of clients has between one and 2**31 - 1 slots")
        self._flat = flat
        self.keys = flat((capacity + 1) * KEY_SIZE)
        self._count = 0
        self._salt = salt
        self._make_table(expected or capacity)

    def _make_table(self, expected: int) -> None:
        length = 1 << (3 * expected).bit_length()
        self.table = memoryview(self._flat(length * 4)).cast("I")
        self.mask = length - 1
        # An odd number has no divisor in common with the powers of two by which an attacker may pick keys.
        self.spread = length - 1 - 2 * (self._salt % max(1, length // 16))

    @classmethod
    def attached(cls, keys: mmap, table: mmap, spread: int) -> KeyIndex:
        """
        Use the memory of an index that another process changes.

        :returns: an index for which only :meth:`find` may be called.
        """
        index = cls.__new__(cls)
        index.keys, index.table, index.spread = keys, memoryview(table).cast("I"), spread
        index.mask = len(index.table) - 1
        return index

    def expect(self, expected: int) -> None:
        """
        Have room for more keys: a table that is too small for them is made anew, which takes 0.4 s for a million keys.

        :attr:`table`, :attr:`mask` and :attr:`spread` are others afterwards.
        """
        if 3 * expected <= len(self.table):
            return
        old = self.table
        self._make_table(expected)
        for slot in filter(None, old):
            self._enter(self._home(slot), slot)

    def __len__(self) -> int:
        """Count the keys."""
        return self._count

    def find(self, key: bytes) -> int:
        """
        :param key: any datagram.
        :returns: the slot of this key, 0 if it is not here.
        """
        if len(key) != KEY_SIZE:
            return 0
        table, keys, mask = self.table, self.keys, self.mask
        place: int = BEGINNING.unpack(key)[0] % self.spread
        while slot := table[place]:
            start = slot << 5
            if keys[start : start + KEY_SIZE] == key:
                return slot
            place = (place + 1) & mask
        return 0

    def add(self, key: bytes, slot: int) -> None:
        """Enter a key that is not here yet, under a slot that has none."""
        if 2 * self._count >= len(self.table):
            # More have been kept than are expected now.
            self.expect(len(self.table))
        self.keys[slot << 5 : (slot + 1) << 5] = key
        self._enter(self._home(slot), slot)
        self._count += 1

    def add_all(self, entries: Iterable[tuple[bytes, int]]) -> None:
        """Do :meth:`add` for many keys, with their slots, in half the time."""
        room = 0
        for key, slot in entries:
            if not room:
                if 2 * self._count >= len(self.table):
                    self.expect(len(self.table))
                table, keys, mask, spread = self.table, self.keys, self.mask, self.spread
                room = len(table) // 2 - self._count
            room -= 1
            keys[slot << 5 : (slot + 1) << 5] = key
            place: int = _beginning(key)[0] % spread
            while table[place]:
                place = (place + 1) & mask
            table[place] = slot
            self._count += 1

    def make_room(self, more: int) -> None:
        """
        Make room for more keys, and count them. The caller enters them itself.

        :param more: how many.
        """
        self._count += more
        while 2 * (self._count - 1) >= len(self.table):
            self.expect(len(self.table))

    def _enter(self, place: int, slot: int) -> None:
        table, mask = self.table, self.mask
        while table[place]:
            place = (place + 1) & mask
        table[place] = slot

    def remove(self, slot: int) -> None:
        """Take out the key of a slot; one that has none is left as it is."""
        table, mask = self.table, self.mask
        gap = self._home(slot)
        while table[gap] != slot:
            if not table[gap]:
                return
            gap = (gap + 1) & mask
        place = (gap + 1) & mask
        while other := table[place]:
            # What lies behind the gap moves into it, unless that would put it before the place where its search begins.
            if (place - self._home(other)) & mask >= (place - gap) & mask:
                table[gap] = other
                gap = place
            place = (place + 1) & mask
        table[gap] = 0
        self.keys[slot << 5 : (slot + 1) << 5] = _NO_KEY
        self._count -= 1

    def has(self, slot: int) -> bool:
        """:returns: whether a slot has a key."""
        return self.key(slot) != _NO_KEY

    def slots(self) -> Iterator[int]:
        """:returns: the slots that have a key, in no order. The index must not change meanwhile."""
        return (slot for slot in self.table if slot)

    def key(self, slot: int) -> bytes:
        """:returns: the key of a slot; 32 zero bytes if it has none."""
        return self.keys[slot << 5 : (slot + 1) << 5]

    def _home(self, slot: int) -> int:
        place: int = BEGINNING.unpack_from(self.keys, slot << 5)[0] % self.spread
        return place
