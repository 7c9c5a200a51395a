"""Many keys looked up together, with NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rendezvous.core.presence.record import FLAGS_AT, RECORD_SIZE, WORDS

if TYPE_CHECKING:
    from mmap import mmap

    from numpy.typing import NDArray

    from rendezvous.core.presence.keyindex import KeyIndex

__all__ = ["ALL_BUT_THE_CHECK", "Lookup"]

#: Of the three words of a record that say where a client is and its flags: all but the check.
ALL_BUT_THE_CHECK = np.array([0xFFFF] * 11 + [0], np.uint16).view(np.uint64)


class Lookup:
    """
    Arrays over the memory of a live table: its records, and the index of its keys.

    :param index: the index. Once its table is made anew, a new lookup is needed.
    :param memory: the records of :class:`~rendezvous.core.presence.clients.ClientColumns`.
    :ivar records: shape (slots, 8): the records in words.
    :ivar seen: shape (slots,): when the clients were last seen.
    :ivar flags: shape (slots,): the flags of the records.
    :ivar keys: shape (slots, 4): the keys.
    """

    def __init__(self, index: KeyIndex, memory: mmap | memoryview) -> None:
        self.records = np.frombuffer(memory, np.uint64).reshape(-1, WORDS)
        self.seen = np.frombuffer(memory, np.float64).reshape(-1, WORDS)[:, 0]
        self.flags = np.frombuffer(memory, np.uint16).reshape(-1, RECORD_SIZE // 2)[:, FLAGS_AT // 2]
        self._index = index
        self._table = np.frombuffer(index.table, np.uint32)
        self.keys = np.frombuffer(index.keys, np.uint64).reshape(-1, 4)
        self._beginnings = np.frombuffer(index.keys, "<i8").reshape(-1, 4)[:, 0]
        self._mask = np.int64(index.mask)
        self._spread = np.uint64(index.spread)

    def find(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """
        :param keys: shape (n, 4), contiguous.
        :returns: shape (n,): slots, 0 where a key is not here.
        """
        beginnings = keys.view("<i8")[:, 0]
        places = (keys.view("<u8")[:, 0] % self._spread).astype(np.int64)
        slots = self._table.take(places).astype(np.int64)
        odd = (self._beginnings[slots] != beginnings).nonzero()[0]
        if len(odd):
            # A few are at the second place. The rest are too few for arrays.
            odd = odd[slots[odd] != 0]
            second = self._table.take((places[odd] + 1) & self._mask)
            slots[odd] = second
            for each in odd[(self._beginnings[second] != beginnings[odd]) & (second != 0)].tolist():
                slots[each] = self._index.find(keys[each].tobytes())
        found = self.keys.take(slots, 0)
        if found.tobytes() != keys.tobytes():
            slots[(found != keys).any(1)] = 0
        return slots
