"""Many steady pulses taken together, with NumPy, by the same two steps as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from rendezvous.core.presence.lookup import ALL_BUT_THE_CHECK, Lookup

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Looked", "SteadyBatch"]


@attrs.frozen
class Looked:
    """
    What the first step has found.

    :ivar keys: shape (n, 4): the keys of all pulses.
    :ivar places: shape (n, 3): where all of them came from.
    :ivar slots: shape (n,): their slots, 0 where a key is not here.
    :ivar steady: shape (n,): which of them are steady.
    """

    keys: NDArray[np.uint64]
    places: NDArray[np.uint64]
    slots: NDArray[np.int64]
    steady: NDArray[np.bool_]


class SteadyBatch:
    """
    Takes batches of steady pulses.

    :param lookup: the memory of the live table.
    """

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    def look(
        self,
        keys: NDArray[np.uint64],
        places: NDArray[np.uint64],
        now: float,
        on_time: float,
        elsewhere: Sequence[bytes] = (),
    ) -> Looked:
        """
        Find the pulses that are steady.

        :param keys: shape (n, 4), contiguous: datagrams of 32 bytes, known or not.
        :param places: shape (n, 3): where each came from, as :class:`~rendezvous.core.presence.batch.Places` gives it.
        :param now: server time.
        :param on_time: seconds after its last activity for which a client is ONLINE.
        :param elsewhere: keys of pulses that came at the same time in another form. Those of the same clients are left.
        """
        slots = self._lookup.find(keys)
        records = self._lookup.records.take(slots, 0)
        seen = records.view(np.float64)[:, 0]
        steady = self._are_at(records, places) & (now <= seen + on_time) & (slots != 0)
        # Zero bytes are no key, but they stand where a key was.
        steady &= keys[:, 0] != 0
        left = slots[~steady]
        if elsewhere:
            left = np.concatenate(
                (left, self._lookup.find(np.frombuffer(b"".join(elsewhere), np.uint64).reshape(-1, 4)))
            )
        if left.any():
            steady &= ~np.isin(slots, left)
        return Looked(keys, places, slots, steady)

    def record(self, looked: Looked, now: float) -> NDArray[np.bool_]:
        """
        Write the time of the pulses that are steady.

        :returns: shape (n,): which of them were taken: their clients are still there. The others are left to the main
            process.
        """
        steady = looked.steady
        at = looked.slots[steady]
        self._lookup.seen[at] = np.maximum(self._lookup.seen[at], now)
        keys, records = self._lookup.keys.take(looked.slots, 0), self._lookup.records.take(looked.slots, 0)
        if keys.tobytes() != looked.keys.tobytes():
            steady = steady & (keys == looked.keys).all(1)
        return steady & self._are_at(records, looked.places)

    @staticmethod
    def _are_at(records: NDArray[np.uint64], places: NDArray[np.uint64]) -> NDArray[np.bool_]:
        found = records[:, 2:5] & ALL_BUT_THE_CHECK
        if found.tobytes() == places.tobytes():
            return np.ones(len(places), np.bool_)
        same: NDArray[np.bool_] = (found == places).all(1)
        return same
