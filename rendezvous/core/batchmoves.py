"""
Many first pulses and moves decided together, with NumPy.

It decides what :meth:`~rendezvous.core.presence.Presence.pulse` decides of pulses that are on time and come from
another address than before, or are a client's first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from rendezvous.core.record import ADDRESS, IPV6, USED, WORDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rendezvous.core.presence import Presence

__all__ = ["MayMove", "MoveBatch", "never"]

MayMove = Callable[[bytes], bool]

# By halves of a record: two bytes.
_PLACE, _FLAGS, _CHECK, _ID = 8, 18, 19, 20
#: The flags themselves: the high byte says which of several sockets it is.
_STATE = 0xFF
#: What the check is of: host, port and local port (20 bytes), the client id, and the kind of address.
_CHECKED = 20 + 16 + 2


def never(key: bytes) -> bool:
    """Let no client move."""
    return False


class MoveBatch:
    """
    Takes first pulses and moves.

    :param presence: the live table.
    """

    def __init__(self, presence: Presence) -> None:
        self._presence = presence

    def take(
        self,
        keys: NDArray[np.uint64],
        slots: NDArray[np.int64],
        places: NDArray[np.uint64],
        which: NDArray[np.intp],
        now: float,
        may_move: MayMove,
    ) -> NDArray[np.intp]:
        """
        Take those pulses of a batch that are recorded with another address. All else is left as it was.

        :param keys: shape (n, 4): of all the batch.
        :param slots: shape (n,): of all the batch.
        :param places: shape (n, 3): of all the batch.
        :param which: the numbers of those in the batch to look at. They are of different clients, and not steady.
        :param may_move: says of a key whether its client may move now, and counts that it does.
        :returns: the numbers of those that were taken; 1020 is the answer to them.
        """
        columns, timers = self._presence.columns, self._presence.timers
        halves = np.frombuffer(columns.memory, np.uint16).reshape(-1, WORDS * 4)
        seen = np.frombuffer(columns.memory, np.float64).reshape(-1, WORDS)[:, 0]
        at = slots[which]
        flags, last = halves[at, _FLAGS], seen[at]
        is_online = (flags & (_STATE & ~IPV6)) == USED | ADDRESS
        is_online &= (now <= last + timers.on_time) & (now <= last + timers.kept)
        is_new = ((flags & _STATE) == USED) & (now <= last + timers.registration_time)
        is_candidate = is_online | is_new
        candidates: NDArray[np.intp] = which[is_candidate]
        is_new = is_new[is_candidate]
        if not len(candidates):
            return candidates
        allowed = np.fromiter((may_move(keys[row].tobytes()) for row in candidates.tolist()), np.bool_, len(candidates))
        taken: NDArray[np.intp] = candidates[allowed]
        if len(taken):
            self._record(halves, seen, slots[taken], places[taken].view(np.uint16), now)
            for slot in slots[candidates[allowed & is_new]].tolist():
                self._presence.expect_end(slot, now)
        return taken

    @staticmethod
    def _record(
        halves: NDArray[Any], seen: NDArray[Any], at: NDArray[np.int64], places: NDArray[np.uint16], now: float
    ) -> None:
        """Write in the order that :class:`~rendezvous.core.clients.ClientColumns` promises."""
        halves[at, _FLAGS] = USED
        halves[at, _PLACE : _PLACE + 10] = places[:, :10]
        content = np.empty((len(at), _CHECKED), np.uint8)
        content[:, :20] = np.ascontiguousarray(places[:, :10]).view(np.uint8)
        content[:, 20:36] = halves[at, _ID : _ID + 8].view(np.uint8)
        kinds = places[:, 10] & np.uint16(0xFFFF ^ USED)
        content[:, 36:] = kinds.astype("<u2").view(np.uint8).reshape(-1, 2)
        whole = content.tobytes()
        halves[at, _CHECK] = [
            crc32(whole[start : start + _CHECKED]) & 0xFFFF for start in range(0, len(whole), _CHECKED)
        ]
        seen[at] = now
        halves[at, _FLAGS] = places[:, 10]
