"""Signed pulses of a batch, decided together over a live table in columns, and their replies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rendezvous.core.macs import MAC_SIZE, mac
from rendezvous.core.presence.presence import Presence
from rendezvous.core.presence.signedbatch import REFUSALS, Opened, SignedBatch
from rendezvous.core.presence.states import PulseCode
from rendezvous.udp.columns import BatchColumns
from rendezvous.udp.mmsg import MESSAGE_SIZE, Batch
from rendezvous.udp.rows import words
from rendezvous.udp.shared import Drop, Served
from rendezvous.wire.signed import REPLY, SIGNED_SIZE

__all__ = ["Port", "SignedColumns"]

_BODY = SIGNED_SIZE - MAC_SIZE
#: What the reply to a pulse on time begins with.
_ON_TIME = REPLY + PulseCode.ON_TIME.to_bytes(2, "big")
#: Where a reply has the address that the request came from: the host, the port.
_HOST_AT, _PORT_AT = 44, 60


class Port(Protocol):
    """
    What is needed of a UDP port. It is a :class:`rendezvous.udp.protocol.RendezvousDatagrams`.

    :ivar number: of its socket.
    """

    number: int

    def drop(self, reason: Drop) -> None:
        """Count a datagram that is dropped."""


class SignedColumns:
    """
    Takes signed pulses; see :class:`rendezvous.udp.vectorized.Signed`.

    :param batch: where they are.
    :param presence: the live table.
    :param port: that they come to.
    :param served: counts what is answered.
    """

    def __init__(self, batch: Batch, presence: Presence, port: Port, served: Served) -> None:
        self._batch, self._port, self._served = batch, port, served
        self._pulses = SignedBatch(presence)
        self._columns = BatchColumns(batch, port.number)
        replies = batch.rows(SIGNED_SIZE, SIGNED_SIZE)
        self._out = words(replies.buffers, np.uint8, SIGNED_SIZE)
        self._messages = words(replies.messages, np.uint64, MESSAGE_SIZE)
        self._rows = np.zeros(0, np.intp)

    def open(self, which: NDArray[np.intp], now: float) -> bytes:
        """Compute the MACs of those that are pulses; see :class:`rendezvous.udp.vectorized.Signed`."""
        opened = self._pulses.open(self._columns.datagrams(which, SIGNED_SIZE), now)
        self._opened, self._rows = opened, which[opened.which]
        return opened.keys.tobytes()

    def take(self, now: float, elsewhere: Sequence[bytes]) -> NDArray[np.intp]:
        """Take steady pulses, first pulses and moves; see :class:`rendezvous.udp.vectorized.Signed`."""
        places = self._columns.places(self._rows)
        codes = self._pulses.take(self._opened, places, now, elsewhere)
        for number, refusal in REFUSALS.items():
            for _ in range(np.count_nonzero(codes == number)):
                self._port.drop(Drop(refusal))
        taken = (codes == PulseCode.ON_TIME).nonzero()[0]
        if len(taken):
            self._reply(self._opened, taken, places[taken])
        decided: NDArray[np.intp] = self._rows[codes != 0]
        return decided

    def _reply(self, opened: Opened, taken: NDArray[np.intp], places: NDArray[np.uint64]) -> None:
        replies = np.empty((len(taken), SIGNED_SIZE), np.uint8)
        replies[:] = opened.datagrams[taken]
        replies[:, :4] = np.frombuffer(_ON_TIME, np.uint8)
        replies[:, _HOST_AT:_PORT_AT] = places.view(np.uint8)[:, :16]
        replies[:, _PORT_AT : _PORT_AT + 2] = places.view(np.uint16)[:, 8:9].astype(">u2").view(np.uint8)
        data, keys = replies.tobytes(), opened.datagram_keys
        macs = [
            mac(keys[row], data[start : start + _BODY])
            for start, row in zip(range(0, len(data), SIGNED_SIZE), taken.tolist(), strict=True)
        ]
        replies[:, _BODY:] = np.frombuffer(b"".join(macs), np.uint8).reshape(-1, MAC_SIZE)
        rows = self._rows[taken]
        self._out[rows] = replies
        self._batch.queue(self._messages[rows].tobytes())
        self._served.signed += len(rows)
        self._served.sent += len(data)
