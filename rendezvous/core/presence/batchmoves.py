"""
Many first pulses and moves decided together, with NumPy.

It decides what :meth:`~rendezvous.core.presence.presence.Presence.pulse` decides of pulses that are on time and come
from another address than before, or are a client's first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from rendezvous.core.presence.history import Happened
from rendezvous.core.presence.movelimit import MoveLimit
from rendezvous.core.presence.record import ADDRESS, CHECK_AT, FLAGS_AT, ID_AT, IPV6, PLACE_AT, STATE, USED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rendezvous.core.presence.history import History
    from rendezvous.core.presence.lookup import Lookup
    from rendezvous.core.presence.presence import Presence

__all__ = ["MoveBatch", "address_checks"]

# In units of two bytes.
_PLACE, _FLAGS, _CHECK = PLACE_AT // 2, FLAGS_AT // 2, CHECK_AT // 2
#: What the check is of: host, port and local port (20 bytes), the client id, and the kind of address.
_CHECKED = 20 + 16 + 2
_WHOLE = f"V{_CHECKED}"


class MoveBatch:
    """
    Takes first pulses and moves.

    :param presence: the live table.
    """

    def __init__(self, presence: Presence) -> None:
        self._presence = presence

    def take(
        self,
        lookup: Lookup,
        slots: NDArray[np.int64],
        places: NDArray[np.uint64],
        which: NDArray[np.intp],
        now: float,
    ) -> NDArray[np.intp]:
        """
        Take those pulses of a batch that are recorded with another address. All else is left as it was.

        :param lookup: the memory of the table.
        :param slots: shape (n,): of all the batch.
        :param places: shape (n, 3): of all the batch.
        :param which: the numbers of those in the batch to look at. They are of different clients, and not steady.
        :returns: the numbers of those that were taken; 1020 is the answer to them.
        """
        timers = self._presence.timers
        records = lookup.records.take(slots[which], 0)
        flags, last = records.view(np.uint16)[:, _FLAGS], records.view(np.float64)[:, 0]
        is_online = (flags & (STATE & ~IPV6)) == USED | ADDRESS
        is_online &= (now <= last + timers.on_time) & (now <= last + timers.kept)
        is_new = ((flags & STATE) == USED) & (now <= last + timers.registration_time)
        is_taken = is_online | is_new
        if not is_taken.any():
            return which[:0]
        # What MoveLimit.take does, for all at once. No slot is there twice.
        full_at = np.frombuffer(self._presence.moves.memory, np.float64)
        full = np.maximum(full_at[slots[which]], now)
        is_taken &= full - now <= MoveLimit.MOST
        full_at[slots[which[is_taken]]] = full[is_taken] + MoveLimit.COST
        taken: NDArray[np.intp] = which[is_taken]
        if len(taken):
            if self._presence.history is not None:
                self._write_down(self._presence.history, records[is_taken], places[taken], is_new[is_taken], now)
            _record(lookup, slots[taken], records[is_taken], places[taken], now)
            new = slots[which[is_taken & is_new]]
            if len(new):
                self._presence.expect_ends(new.tolist(), now)
        return taken

    @staticmethod
    def _write_down(
        history: History, records: NDArray[np.uint64], places: NDArray[np.uint64], is_new: NDArray[np.bool_], now: float
    ) -> None:
        ids, hosts = records.view(np.uint8)[:, ID_AT : ID_AT + 16], places.view(np.uint8)[:, :16]
        ports = places.view(np.uint16)[:, 8]
        for row, new in enumerate(is_new.tolist()):
            kind = Happened.FIRST_PULSE if new else Happened.MOVED
            history.add(kind, ids[row].tobytes(), now, hosts[row].tobytes(), int(ports[row]))


def _record(
    lookup: Lookup, at: NDArray[np.int64], records: NDArray[np.uint64], places: NDArray[np.uint64], now: float
) -> None:
    """
    Write the stores in the order that :mod:`rendezvous.core.presence.record` describes.

    :param at: shape (n,): the slots.
    :param records: shape (n, 8): the records before.
    :param places: shape (n, 3): where the clients are now. The checks are written into them.
    :param now: server time.
    """
    halves = places.view(np.uint16)
    halves[:, _CHECK - _PLACE] = address_checks(places, records)
    # Ports, flags and check are one word, which is stored last.
    lookup.flags[at] = USED
    lookup.records[at, 2] = places[:, 0]
    lookup.records[at, 3] = places[:, 1]
    lookup.seen[at] = now
    lookup.records[at, 4] = places[:, 2]


def address_checks(places: NDArray[np.uint64], records: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """
    Make the checks of addresses that :mod:`rendezvous.core.presence.record` describes.

    :param places: shape (n, 3): hosts, ports and flags.
    :param records: shape (n, 8): of the clients, whose ids are read from there.
    :returns: shape (n,).
    """
    content = np.empty((len(places), _CHECKED), np.uint8)
    content[:, :20] = places.view(np.uint8)[:, :20]
    content[:, 20:36] = records.view(np.uint8)[:, ID_AT : ID_AT + 16]
    kinds = places.view(np.uint16)[:, _FLAGS - _PLACE] & np.uint16(0xFFFF ^ USED)
    content[:, 36:] = kinds.astype("<u2").view(np.uint8).reshape(-1, 2)
    # One list of all the rows: to slice each of them would take longer than its CRC.
    wholes = content.view(_WHOLE).ravel().tolist()
    return np.fromiter(map(crc32, wholes), np.uint32, len(wholes)).astype(np.uint16)
