"""
Offers that end with their owner: which peers have event streams open, and when such an offer ends.

An offer that was published with ``whileConnected`` ends some seconds after the last event stream of its owner has
closed, and at the latest at its ``expires_at``. The first stream must be open within some seconds of the publication.
A restart closes every stream, so each owner then has that time again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from rendezvous.core.signaling.catalogue import Catalogue
from rendezvous.core.signaling.offers import Offer
from rendezvous.limits import SignalingLimits

__all__ = ["Streams"]


class Streams:
    """
    The open event streams of each peer, and the ends of the offers that depend on them.

    :param catalogue: where the offers are. A peer has few of them, so each change costs little.
    :param limits: the times.
    """

    def __init__(self, catalogue: Catalogue, limits: SignalingLimits) -> None:
        self._catalogue = catalogue
        self._limits = limits
        self._open: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many peers have a stream."""
        return len(self._open)

    def has(self, peer: str) -> bool:
        """:returns: whether a peer has a stream."""
        return peer in self._open

    def end_of(self, offer: Offer, now: float) -> int:
        """:returns: when an offer that is published now ends, in ms of server time, as things are."""
        if offer.while_connected and offer.owner not in self._open:
            return min(offer.expires_at, int((now + self._limits.connect_time) * 1000))
        return offer.expires_at

    def opened(self, peer: str, now: float) -> Callable[[float], None]:
        """
        Count a stream that a peer has opened: its offers last until their ``expires_at``.

        :returns: to be called once, with the time, when the stream has closed. After the last one the offers soon end.
            A server that was stopped and started again may have another :class:`Streams`. It is not concerned then.
        """
        self._open[peer] += 1
        if self._open[peer] == 1:
            self._limit(peer, now, None)
        return partial(self._closed, peer)

    def _closed(self, peer: str, now: float) -> None:
        self._open[peer] -= 1
        if not self._open[peer]:
            del self._open[peer]
            self._limit(peer, now, int((now + self._limits.disconnect_time) * 1000))

    def _limit(self, peer: str, now: float, until: int | None) -> None:
        for entry in self._catalogue.owned(peer):
            offer = entry.offer
            # What has ended stays so, also if it is not freed yet.
            if offer.while_connected and entry.ends_at > now * 1000:
                self._catalogue.reschedule(entry, offer.expires_at if until is None else min(offer.expires_at, until))
