"""The pulses of a batch, decided together over a live table in columns."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rendezvous.core.batch import LEFT, Places, PulseBatch
from rendezvous.core.batchmoves import MayMove
from rendezvous.core.presence import Presence
from rendezvous.core.states import PulseCode
from rendezvous.udp.mmsg import NAME_SIZE, Batch
from rendezvous.wire.demux import mistakable

__all__ = ["ColumnPulses"]


class ColumnPulses:
    """
    Takes pulses; see :class:`rendezvous.udp.together.Pulses`.

    :param batch: where they are.
    :param presence: the live table.
    :param number: of the socket that they come to.
    :param may_move: says of a key at a time whether its client may move, and counts that it does.
    """

    def __init__(self, batch: Batch, presence: Presence, number: int, may_move: Callable[[bytes, float], bool]) -> None:
        self._pulses, self._may_move = PulseBatch(presence), may_move
        self._places = Places(batch.size, number)
        self._is_ipv4 = batch.family == socket.AF_INET
        self._keys = _words(batch.received.buffers, np.uint64, batch.received.room)[:, :4]
        self._ports = _words(batch.names, np.dtype(">u2"), NAME_SIZE)[:, 1]
        self._ipv4 = _words(batch.names, np.uint32, NAME_SIZE)[:, 1]
        self._ipv6 = _words(batch.names, np.uint64, NAME_SIZE)[:, 1:3]

    def __call__(
        self, which: slice | NDArray[np.intp], now: float, elsewhere: Sequence[bytes] = ()
    ) -> NDArray[np.uint16] | None:
        """Decide steady pulses, first pulses and moves, and pulses with unknown keys."""
        ports = self._ports[which]
        places = (
            self._places.ipv4(self._ipv4[which], ports)
            if self._is_ipv4
            else self._places.ipv6(self._ipv6[which], ports)
        )
        may_move: MayMove = partial(_at, self._may_move, now)
        keys = np.ascontiguousarray(self._keys[which])
        codes = self._pulses.take(keys, places, now, may_move, elsewhere)
        if codes is not None:
            # What is no key may be a datagram of another protocol.
            for row in (codes == PulseCode.UNKNOWN).nonzero()[0].tolist():
                if mistakable(keys[row].tobytes()):
                    codes[row] = LEFT
        return codes


def _at(may_move: Callable[[bytes, float], bool], now: float, key: bytes) -> bool:
    return may_move(key, now)


def _words(buffer: bytearray, kind: Any, row: int) -> NDArray[Any]:
    return np.frombuffer(buffer, kind).reshape(len(buffer) // row, -1)
