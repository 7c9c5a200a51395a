"""What the operator's API reads and steers: the parts of a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from rendezvous.clock import ServerClock
from rendezvous.counters import Counters
from rendezvous.interfaces import IStore
from rendezvous.operator.gauges import is_ready
from rendezvous.operator.overview import State
from rendezvous.web.gate import Gate
from rendezvous.web.sockets.sockets import Sockets

__all__ = ["Parts", "Reloaded"]


@attrs.frozen
class Reloaded:
    """
    What a reload has done.

    :ivar changed: a text for each setting that has changed.
    :ivar refused: a text for each that only a restart can change.
    :ivar certificates: how many were read again.
    """

    changed: Sequence[str]
    refused: Sequence[str]
    certificates: int


@attrs.frozen
class Parts:
    """
    The parts of one server.

    :ivar gate: that of the public ports.
    :ivar connections: how many HTTP connections are open on the public ports.
    :ivar has_relay: whether there are TURN servers.
    :ivar settings: those in force, without secrets.
    :ivar reload: reads the settings again; raises :exc:`~rendezvous.errors.StartupError`, and nothing has changed then.
    """

    store: IStore
    clock: ServerClock
    gate: Gate
    sockets: Sockets
    counters: Counters
    connections: Callable[[], int] = attrs.field(kw_only=True)
    has_relay: Callable[[], bool] = attrs.field(kw_only=True)
    settings: Callable[[], Mapping[str, str | list[str]]] = attrs.field(kw_only=True)
    reload: Callable[[], Reloaded] = attrs.field(kw_only=True)

    def time(self, moment: float) -> float:
        """:returns: a server time in seconds since the epoch, to the millisecond."""
        return round(self.clock.to_wall(moment), 3)

    def state(self) -> State:
        """:returns: what the overview says beside the figures of metrics."""
        bans = len(self.store.bans.all(self.clock.seconds()))
        return State(self.gate.entrance.is_draining, is_ready(self.store, self.gate), bans, self.connections())
