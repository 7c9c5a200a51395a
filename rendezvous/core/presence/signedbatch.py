"""
Many signed pulses decided together, with NumPy.

It decides what :mod:`rendezvous.core.presence.signedrequests` decides, for signed pulses that
:class:`~rendezvous.core.presence.batch` would take if they were plain. MACs are computed one by one, which is most of
the work; everything else is done for all of them at once. Observations, pulses of unknown clients, and several pulses
of one client are left to the plain way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from rendezvous.core.macs import MAC_SIZE, datagram_key, mac
from rendezvous.core.presence.batch import LEFT, PulseBatch
from rendezvous.core.presence.freshness import TIMES, WINDOW
from rendezvous.core.presence.signedrequests import Refusal
from rendezvous.core.presence.states import PulseCode

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rendezvous.core.presence.presence import Presence

__all__ = ["REFUSALS", "Opened", "SignedBatch"]

#: What stands for a refusal in the place of a code.
REFUSALS = {1: Refusal.WRONG_MAC, 2: Refusal.REPEATED}
_WRONG_MAC, _REPEATED = REFUSALS

_SIZE, _BODY = 80, 64
#: Of the eight-byte words of a signed pulse without its MAC: the bits that are always the same. The rest is the client
#: id, the time, the nonce, and the port, which says nothing in a pulse.
_FIXED = np.frombuffer(b"\xff\xff\xff\xff" + bytes(32) + b"\xff" * 26 + b"\0\xff", np.uint64)
_PULSE = np.frombuffer(b"\x0b\x01".ljust(64, b"\0"), np.uint64)
#: The time, across two words, in bytes.
_TIME_AT = 20


@attrs.frozen
class Opened:
    """
    Signed pulses whose time is right.

    :ivar which: which of the datagrams they are, ascending.
    :ivar datagrams: shape (n, 80).
    :ivar keys: shape (n, 4): the clients' private keys under the secret in use.
    :ivar datagram_keys: what replies are signed with.
    :ivar times: shape (n,): of the pulses, in ms since the epoch.
    :ivar is_authentic: shape (n,): whether the MAC holds.
    """

    which: NDArray[np.intp]
    datagrams: NDArray[np.uint8]
    keys: NDArray[np.uint64]
    datagram_keys: Sequence[bytes]
    times: NDArray[np.int64]
    is_authentic: NDArray[np.bool_]


class SignedBatch:
    """
    Takes batches of signed pulses for a live table.

    :param presence: the live table.
    """

    def __init__(self, presence: Presence) -> None:
        self._presence = presence
        self._pulses = PulseBatch(presence)

    def open(self, datagrams: NDArray[np.uint8], now: float) -> Opened:
        """
        Find the signed pulses, and compute their MACs.

        :param datagrams: shape (n, 80), contiguous.
        :param now: server time.
        """
        is_pulse = ((datagrams.view(np.uint64)[:, :8] & _FIXED) == _PULSE).all(1)
        times = datagrams[:, _TIME_AT : _TIME_AT + 8].copy().view(">i8")[:, 0].astype(np.int64)
        wall = self._presence.signed.milliseconds(now)
        is_pulse &= (times >= wall - WINDOW) & (times <= wall + WINDOW)
        which = is_pulse.nonzero()[0]
        chosen = datagrams if len(which) == len(datagrams) else datagrams[which]
        keys, own, macs = self._hash(chosen.tobytes())
        found = np.frombuffer(macs, np.uint64).reshape(-1, MAC_SIZE // 8)
        return Opened(
            which,
            chosen,
            np.frombuffer(keys, np.uint64).reshape(-1, 4),
            own,
            times[which],
            (found == chosen.view(np.uint64)[:, _BODY // 8 :]).all(1),
        )

    def _hash(self, data: bytes) -> tuple[bytes, list[bytes], bytes]:
        """:returns: private keys, datagram keys, and MACs."""
        key_of, keys, own, macs = self._presence.signed.key_of, list[bytes](), list[bytes](), list[bytes]()
        for start in range(0, len(data), _SIZE):
            key = key_of(data[start + 4 : start + 20])
            mine = datagram_key(key)
            keys.append(key)
            own.append(mine)
            macs.append(mac(mine, data[start : start + _BODY]))
        return b"".join(keys), own, b"".join(macs)

    def take(
        self, opened: Opened, places: NDArray[np.uint64], now: float, elsewhere: Sequence[bytes] = ()
    ) -> NDArray[np.uint16]:
        """
        Take those pulses that are on time, each of which is the only one of its client in the batch.

        :param places: shape (n, 3): where each of what was opened came from, as
            :class:`~rendezvous.core.presence.batch.Places` gives it.
        :param now: server time.
        :param elsewhere: keys of pulses that came at the same time in another form. Those of the same clients are left.
        :returns: shape (n,): 1020 for those that were taken, one of :data:`REFUSALS` for those that are dropped, and
            :data:`~rendezvous.core.presence.batch.LEFT` for those that have changed nothing and are left to the plain
            way.
        """
        codes = np.full(len(opened.which), LEFT, np.uint16)
        if not len(codes):
            return codes
        signed = self._presence.signed
        slots = self._pulses.find(opened.keys, now)
        if not signed.has_old_keys(now):
            codes[~opened.is_authentic] = _WRONG_MAC
            slots[~opened.is_authentic] = 0
        times = np.frombuffer(signed.freshness.memory, np.uint64)
        at = slots * TIMES
        last = np.maximum(times[at], np.uint64(signed.freshness.earliest))
        is_stale = opened.times.astype(np.uint64) <= last
        is_stale &= last <= np.uint64(signed.milliseconds(now) + 2 * WINDOW)
        # Several requests of one client, such as a pulse and its copy, are decided in their order.
        _, first, count = np.unique(slots, return_index=True, return_counts=True)
        is_alone = np.zeros(len(slots), np.bool_)
        is_alone[first[count == 1]] = True
        is_alone &= (slots != 0) & opened.is_authentic
        codes[is_alone & is_stale] = _REPEATED
        chosen = (is_alone & ~is_stale).nonzero()[0]
        taken = self._pulses.take(np.ascontiguousarray(opened.keys[chosen]), places[chosen], now, elsewhere)
        if taken is not None:
            chosen = chosen[taken == PulseCode.ON_TIME]
        times[at[chosen]] = opened.times[chosen]
        codes[chosen] = PulseCode.ON_TIME
        return codes
