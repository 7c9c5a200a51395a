"""Records that pass between the layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from rendezvous.core.histogram import Histogram
from rendezvous.core.presence.client import Client
from rendezvous.core.presence.history import ClientEvent
from rendezvous.core.presence.states import PresenceState
from rendezvous.core.signaling.events import Event
from rendezvous.core.signaling.watches import TopicEvent

__all__ = [
    "ClientDetails",
    "ClientPage",
    "ClientQuery",
    "Events",
    "Fill",
    "ObservedAddress",
    "PeerStatus",
    "Restored",
    "Saving",
    "StoreFigures",
    "Swept",
]


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
class Fill:
    """
    How full a table is.

    :ivar entries: what it holds, entries whose time is over but that are not freed yet included.
    :ivar limit: how much it may hold.
    """

    entries: int
    limit: int


@attrs.frozen
class Restored:
    """
    What a store had when it was opened.

    :ivar pause: seconds for which no server had used it. They count towards no timeout.
    :ivar clients: registered clients.
    :ivar offers: offers and sessions.
    :ivar tracker_peers: peers of the tracker.
    """

    pause: float
    clients: int
    offers: int
    tracker_peers: int


@attrs.frozen
class Saving:
    """
    How a store saves what it holds.

    :ivar is_failing: whether nothing can be saved at present.
    :ivar backlog: bytes that are still to be saved.
    :ivar waiting: requests that wait until their decision is saved.
    :ivar commits: how long each commit took.
    :ivar failed: how many commits have failed.
    :ivar size: bytes of its files.
    :ivar restored: what was in its files at the start; ``None`` if they were made then.
    """

    is_failing: bool
    backlog: int
    waiting: int
    commits: Histogram
    failed: int
    size: int
    restored: Restored | None = None


@attrs.frozen
class StoreFigures:
    """
    What a store holds, for metrics.

    :ivar tables: by name, how full each table is: ``attempts``, ``clients``, ``logouts``, ``offers`` (with sessions),
        ``tracker_peers``, and ``waiting`` for requests and event streams that wait.
    :ivar offers: offers, sessions not included.
    :ivar sessions: sessions.
    :ivar event_streams: peers that have event streams open.
    :ivar signaling_memory: bytes of offers, sessions and events.
    :ivar saving: how what it holds is saved; ``None`` if it is not.
    """

    tables: Mapping[str, Fill]
    offers: int
    sessions: int
    event_streams: int
    signaling_memory: Fill
    saving: Saving | None = None


@attrs.frozen
class ClientQuery:
    """
    Which clients an operator looks for.

    :ivar prefix: the first hex digits of the id.
    :ivar state: the state; ``None`` for any.
    :ivar is_in: whether an address is in the network that is looked for; ``None`` for any.
    """

    prefix: str = ""
    state: PresenceState | None = None
    is_in: Callable[[str], bool] | None = None


@attrs.frozen
class ClientPage:
    """
    A part of the clients.

    :ivar clients: with their states.
    :ivar next: the slot to go on after; ``None`` at the end. There may be more also if there are no clients here.
    """

    clients: Sequence[tuple[Client, PresenceState]]
    next: int | None


@attrs.frozen
class ClientDetails:
    """
    One client.

    :ivar client: ``None`` if it is gone.
    :ivar offers: how many it has.
    :ivar has_stream: whether it has an event stream open.
    :ivar events: what has happened to it, the oldest first.
    """

    client: Client | None
    state: PresenceState
    offers: int
    has_stream: bool
    events: Sequence[ClientEvent]


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
