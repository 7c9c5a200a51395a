"""The rows of a batch as tables of words, with NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rendezvous.core.presence.states import PulseCode
from rendezvous.udp.mmsg import MESSAGE_SIZE, Batch
from rendezvous.wire import pulse

__all__ = ["replies", "words"]


def words(buffer: bytearray, kind: Any, row: int) -> NDArray[Any]:
    """:returns: a buffer as a table of words, with rows of so many bytes."""
    return np.frombuffer(buffer, kind).reshape(len(buffer) // row, -1)


def replies(batch: Batch, code: PulseCode) -> NDArray[np.uint64]:
    """:returns: messages that send a reply to the source of each row."""
    reply = pulse.encode_reply(code)
    rows = batch.rows(len(reply), len(reply))
    rows.buffers[:] = reply * batch.size
    return words(rows.messages, np.uint64, MESSAGE_SIZE)
