"""
Many pulses decided together, with NumPy.

It decides what :meth:`~rendezvous.core.presence.presence.Presence.keep_alive` decides, for many datagrams in a few
calls: which of them are pulses of clients that are ONLINE at the address that they are known by. With
:class:`~rendezvous.core.presence.batchmoves.MoveBatch` it decides first pulses and moves as well. It also says which
keys are unknown. A client that has verified since its last pulse is left to the plain way.

For a few datagrams the plain way is faster. NumPy is optional (the extra ``fast``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rendezvous.core.presence.batchmoves import MoveBatch
from rendezvous.core.presence.lookup import ALL_BUT_THE_CHECK, Lookup
from rendezvous.core.presence.record import STEADY_IPV4, STEADY_IPV6
from rendezvous.core.presence.states import PulseCode

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rendezvous.core.presence.presence import Presence

__all__ = ["LEFT", "Places", "PulseBatch"]

#: Stands for the answer to a pulse that is left to the plain way.
LEFT = 0

#: What the third quarter of an address is, and the first two are zero, if it is IPv4 (RFC 4291, section 2.5.5.2).
_MAPPED = np.frombuffer(b"\0\0\xff\xff", np.uint32)[0]


class Places:
    """
    Where datagrams came from, in the form that records have: host, port, the server's port, flags.

    :param most: how many datagrams a batch has at most.
    :param local_port: the UDP socket of the server that they came to.
    """

    def __init__(self, most: int, local_port: int) -> None:
        self._words = np.zeros((most, 3), np.uint64)
        self._quarters = self._words.view(np.uint32)
        self._halves = self._words.view(np.uint16)
        self._halves[:, 9] = local_port & 0xFFFF
        # Which of several sockets on one port it is.
        self._number = local_port >> 16 << 8

    def ipv4(self, addresses: NDArray[np.uint32], ports: NDArray[np.uint16]) -> NDArray[np.uint64]:
        """
        :param addresses: shape (n,), in network order.
        :param ports: shape (n,), in the byte order of the machine.
        :returns: shape (n, 3), good until the next call.
        """
        count = len(addresses)
        self._quarters[:count, 0:2] = 0
        self._quarters[:count, 2] = _MAPPED
        self._quarters[:count, 3] = addresses
        self._halves[:count, 8] = ports
        self._halves[:count, 10] = STEADY_IPV4 | self._number
        return self._words[:count]

    def ipv6(self, hosts: NDArray[np.uint64], ports: NDArray[np.uint16]) -> NDArray[np.uint64]:
        """
        :param hosts: shape (n, 2), in network order; IPv4-mapped ones count as IPv4.
        :param ports: shape (n,), in the byte order of the machine.
        :returns: shape (n, 3), good until the next call.
        """
        count = len(hosts)
        self._words[:count, 0:2] = hosts
        self._halves[:count, 8] = ports
        is_ipv4 = (self._words[:count, 0] == 0) & (self._quarters[:count, 2] == _MAPPED)
        self._halves[:count, 10] = np.where(is_ipv4, STEADY_IPV4, STEADY_IPV6) | self._number
        return self._words[:count]


class PulseBatch:
    """
    Takes batches of pulses for a live table.

    :param presence: the live table.
    """

    def __init__(self, presence: Presence) -> None:
        self._presence = presence
        self._table: object = None
        self._moves = MoveBatch(presence)

    def take(
        self,
        keys: NDArray[np.uint64],
        places: NDArray[np.uint64],
        now: float,
        elsewhere: Sequence[bytes] = (),
    ) -> NDArray[np.uint16] | None:
        """
        Take those pulses for which a new time is all that changes, and those that are on time from a new address.

        A client that has several pulses in the batch, of which one is neither, has all of them left, so that the plain
        way can take them in their order.

        :param keys: shape (n, 4), contiguous: datagrams of 32 bytes, known or not.
        :param places: shape (n, 3): where each came from, as :class:`Places` gives it.
        :param now: server time.
        :param elsewhere: keys of pulses that came at the same time in another form. Those of the same clients are left.
        :returns: shape (n,): 1020 for those that were taken, 1060 for keys that no client has, and :data:`LEFT` for
            those that have changed nothing and are left to :meth:`~rendezvous.core.presence.presence.Presence.pulse`.
            ``None`` stands for 1020 everywhere.
        """
        if not len(keys):
            return None
        slots = self.find(keys, now)
        records = self._lookup.records.take(slots, 0)
        found = records[:, 2:5] & ALL_BUT_THE_CHECK
        seen = records.view(np.float64)[:, 0]
        oldest = now - self._presence.timers.on_time
        if not elsewhere and found.tobytes() == places.tobytes() and seen.min() > oldest and slots.all():
            self._lookup.seen[slots] = now
            return None
        steady: NDArray[np.bool_] = (found == places).all(1)
        # As keep_alive says it, to the last bit.
        steady &= (now <= seen + self._presence.timers.on_time) & (slots != 0)
        alone = self._alone(slots, elsewhere, now)
        if alone is None:
            left = ~steady & (slots != 0)
        else:
            steady &= alone
            left = ~steady & (slots != 0) & alone
        self._lookup.seen[slots[steady]] = now
        if left.any():
            steady[self._moves.take(self._lookup, slots, places, left.nonzero()[0], now)] = True
        codes = np.where(steady, np.uint16(PulseCode.ON_TIME), np.uint16(LEFT))
        codes[slots == 0] = PulseCode.UNKNOWN
        return codes

    def find(self, keys: NDArray[np.uint64], now: float) -> NDArray[np.int64]:
        """
        :param keys: shape (n, 4), contiguous.
        :param now: server time.
        :returns: shape (n,): the slots of the clients, 0 where no client has the key.
        """
        if self._presence.index.table is not self._table:
            self._look()
        slots = self._lookup.find(keys)
        for old in self._presence.old_indexes(now):
            missing = (slots == 0).nonzero()[0]
            if len(missing):
                slots[missing] = Lookup(old, self._presence.columns.memory).find(keys[missing])
        return slots

    def _alone(self, slots: NDArray[np.int64], elsewhere: Sequence[bytes], now: float) -> NDArray[np.bool_] | None:
        """:returns: which pulses are the only ones of their clients, or ``None`` if that is so for all."""
        ordered = np.sort(slots)
        repeated = ordered[1:][(ordered[1:] == ordered[:-1]) & (ordered[1:] != 0)]
        if elsewhere:
            others = self.find(np.frombuffer(b"".join(elsewhere), np.uint64).reshape(-1, 4), now)
            repeated = np.concatenate((repeated, others[others != 0]))
        return ~np.isin(slots, repeated) if len(repeated) else None

    def _look(self) -> None:
        """Look at the memory that the table has now: a reload may move it, and so does a new opening."""
        index = self._presence.index
        self._table, self._lookup = index.table, Lookup(index, self._presence.columns.memory)
