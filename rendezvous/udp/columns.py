"""Keys and places of a batch as columns, and its pulses, decided together over a live table in columns."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rendezvous.core.presence.batch import LEFT, Places, PulseBatch
from rendezvous.core.presence.presence import Presence
from rendezvous.core.presence.states import PulseCode
from rendezvous.udp.mmsg import NAME_SIZE, Batch
from rendezvous.udp.rows import words
from rendezvous.wire.demux import mistakable

__all__ = ["BatchColumns", "ColumnPulses"]


class BatchColumns:
    """
    Keys and places of the datagrams of a batch.

    :param batch: where they are.
    :param number: of the socket that they come to.
    """

    def __init__(self, batch: Batch, number: int) -> None:
        self._places = Places(batch.size, number)
        self._is_ipv4 = batch.family == socket.AF_INET
        self._words = words(batch.received.buffers, np.uint64, batch.received.room)
        self._keys = self._words[:, :4]
        self._ports = words(batch.names, np.dtype(">u2"), NAME_SIZE)[:, 1]
        self._ipv4 = words(batch.names, np.uint32, NAME_SIZE)[:, 1]
        self._ipv6 = words(batch.names, np.uint64, NAME_SIZE)[:, 1:3]

    def keys(self, which: slice | NDArray[np.intp]) -> NDArray[np.uint64]:
        """:returns: shape (n, 4), contiguous: the first 32 bytes of some rows."""
        return np.ascontiguousarray(self._keys[which])

    def datagrams(self, which: NDArray[np.intp], size: int) -> NDArray[np.uint8]:
        """:returns: shape (n, size), contiguous: some rows, which hold so many bytes, a multiple of 8."""
        return self._words[which, : size // 8].view(np.uint8)

    def places(self, which: slice | NDArray[np.intp]) -> NDArray[np.uint64]:
        """:returns: shape (n, 3): where they came from, good until the next call."""
        ports = self._ports[which]
        if self._is_ipv4:
            return self._places.ipv4(self._ipv4[which], ports)
        return self._places.ipv6(self._ipv6[which], ports)


class ColumnPulses:
    """
    Takes pulses; see :class:`rendezvous.udp.vectorized.Pulses`.

    :param batch: where they are.
    :param presence: the live table.
    :param number: of the socket that they come to.
    """

    def __init__(self, batch: Batch, presence: Presence, number: int) -> None:
        self._pulses = PulseBatch(presence)
        self._columns = BatchColumns(batch, number)

    def __call__(
        self, which: slice | NDArray[np.intp], now: float, elsewhere: Sequence[bytes] = ()
    ) -> NDArray[np.uint16] | None:
        """Decide steady pulses, first pulses and moves, and pulses with unknown keys."""
        places, keys = self._columns.places(which), self._columns.keys(which)
        codes = self._pulses.take(keys, places, now, elsewhere)
        if codes is not None:
            # What is no key may be a datagram of another protocol.
            for row in (codes == PulseCode.UNKNOWN).nonzero()[0].tolist():
                if mistakable(keys[row].tobytes()):
                    codes[row] = LEFT
        return codes
