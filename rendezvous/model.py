"""Records that pass between the layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from rendezvous.core.signaling.events import Event
from rendezvous.core.signaling.watches import TopicEvent

__all__ = ["Events", "ObservedAddress", "PeerStatus", "Swept"]


@attrs.frozen
class ObservedAddress:
    """
    Where a peer's pulses come from.

    :ivar host: a textual IPv4 or IPv6 address, never an IPv4 one mapped into IPv6.
    """

    host: str
    port: int


@attrs.frozen
class PeerStatus:
    """
    :ivar online: whether the peer has pulsed in time; otherwise it is PENDING.
    :ivar last_online: seconds since its last pulse, ``None`` if there was none.
    """

    online: bool
    last_online: float | None


@attrs.frozen
class Swept:
    """
    What one sweep removed.

    :ivar clients: clients that were silent for too long.
    :ivar offers: offers and sessions whose time was over.
    :ivar tracker_peers: peers of the tracker that were silent for too long.
    :ivar more: whether more is due, so that the next slice should follow soon.
    """

    clients: int = 0
    offers: int = 0
    tracker_peers: int = 0
    more: bool = False


@attrs.frozen
class Events:
    """
    A piece of a peer's stream.

    :ivar events: in order.
    :ivar complete: whether no event of the peer between the asked number and the first of these is lost.
    :ivar cursor: the number to go on from.
    :ivar changes: of topics that are watched, in order.
    :ivar missed: topics of which some changes are lost, each with the number to go on from.
    :ivar more: whether there is more to read at once.
    """

    events: Sequence[Event]
    complete: bool
    cursor: int
    changes: Sequence[TopicEvent] = ()
    missed: Mapping[str, int] = attrs.field(factory=dict)
    more: bool = False
