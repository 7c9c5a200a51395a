"""The steady pulses of a UDP worker's batch, taken together with NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rendezvous.core.identity import KEY_SIZE
from rendezvous.core.presence.lookup import Lookup
from rendezvous.core.presence.states import PulseCode
from rendezvous.core.presence.steadybatch import SteadyBatch
from rendezvous.udp.columns import BatchColumns
from rendezvous.udp.mmsg import LENGTH_OFFSET, MESSAGE_SIZE, Batch, keys_in_hex
from rendezvous.udp.rows import replies, words
from rendezvous.udp.vectorized import FEW

if TYPE_CHECKING:
    from rendezvous.udp.worker import Decide

__all__ = ["InColumns"]


class InColumns:
    """
    Takes pulses; see :class:`rendezvous.udp.worker.Decide`.

    :param batch: where they are.
    :param number: of the socket that they come to.
    :param lookup: the memory of the live table.
    :param one_by_one: takes them where they are few.
    """

    def __init__(self, batch: Batch, number: int, lookup: Lookup, one_by_one: Decide) -> None:
        self._batch, self._one_by_one = batch, one_by_one
        self._columns, self._pulses = BatchColumns(batch, number), SteadyBatch(lookup)
        self._lengths = words(batch.received.messages, np.uint32, MESSAGE_SIZE)[:, LENGTH_OFFSET // 4]
        self._replies = replies(batch, PulseCode.ON_TIME)

    def take(self, count: int, now: float, on_time: float) -> tuple[Any, Sequence[int]]:
        """Take pulses."""
        if count < FEW:
            return self._one_by_one.take(count, now, on_time)
        is_key = self._lengths[:count] == KEY_SIZE
        which: Any = slice(count) if is_key.all() else is_key.nonzero()[0]
        places, elsewhere = self._columns.places(which), list[bytes]()
        if isinstance(which, np.ndarray):
            elsewhere = keys_in_hex(self._batch, (~is_key).nonzero()[0].tolist())
        looked = self._pulses.look(self._columns.keys(which), places, now, on_time, elsewhere)
        taken = self._pulses.record(looked, now)
        if isinstance(which, slice) and taken.all():
            return which, ()
        rows = np.arange(count)[which][taken]
        left = np.ones(count, np.bool_)
        left[rows] = False
        return rows, left.nonzero()[0].tolist()

    def answer(self, taken: Any) -> int:
        """Queue the replies."""
        messages = self._replies[taken]
        if len(messages):
            self._batch.queue(messages.tobytes())
        return len(messages)
