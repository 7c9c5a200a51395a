"""The parts of a server that operators read and steer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from rendezvous.certificates import Certificate
from rendezvous.clock import ServerClock
from rendezvous.core.bans import MAX_BANS
from rendezvous.core.presence.states import PresenceState
from rendezvous.counters import Counters
from rendezvous.errors import Unavailable
from rendezvous.interfaces import IQueries, IStore
from rendezvous.model import Fill, StoreFigures
from rendezvous.operator.delay import ReactorDelay
from rendezvous.udp.shared import Served
from rendezvous.web.gate import Gate
from rendezvous.web.route import Route
from rendezvous.web.site import RendezvousSite
from rendezvous.web.sockets.sockets import Sockets

__all__ = ["STATES", "Parts", "Reloaded"]

#: The names of the states of clients.
STATES = {"online": PresenceState.ONLINE, "late": PresenceState.PENDING, "registered": PresenceState.NEW}


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


@attrs.frozen(kw_only=True)
class Parts:
    """
    The parts of one server. What is counted is read from them when it is asked for.

    :ivar gate: that of the public ports.
    :ivar sites: those of the public ports.
    :ivar certificates: those of all ports.
    :ivar routes: the table of routes of the public ports.
    :ivar served: counts the datagrams that were answered.
    :ivar delay: measures how late timers of the reactor are.
    :ivar has_relay: whether there are TURN servers.
    :ivar settings: those in force, without secrets.
    :ivar reload: reads the settings again; raises :exc:`~rendezvous.errors.StartupError`, and nothing has changed then.
    """

    store: IStore
    queries: IQueries
    clock: ServerClock
    gate: Gate
    sockets: Sockets
    counters: Counters
    sites: Sequence[RendezvousSite]
    certificates: Sequence[Certificate]
    routes: Sequence[Route]
    served: Served
    delay: ReactorDelay
    has_relay: Callable[[], bool]
    settings: Callable[[], Mapping[str, str | list[str]]]
    reload: Callable[[], Reloaded]

    def time(self, moment: float) -> float:
        """:returns: a server time in seconds since the epoch, to the millisecond."""
        return round(self.clock.to_wall(moment), 3)

    @property
    def is_ready(self) -> bool:
        """:returns: whether load balancers should send requests, as ``/ready`` says it."""
        try:
            self.gate.admission.check_draining()
            self.store.check_ready()
        except Unavailable:
            return False
        return True

    @property
    def connections(self) -> int:
        """:returns: how many HTTP connections are open on the public ports."""
        return sum(len(site.connections) for site in self.sites)

    def tables(self, figures: StoreFigures) -> Mapping[str, Fill]:
        """
        :param figures: of the store.
        :returns: how full each table is, by its name: those of the store and those beside it.
        """
        # Every site has the same limit, which is that of the process.
        connections = max((site.connections.most for site in self.sites), default=0)
        return {
            **figures.tables,
            "bans": Fill(len(self.store.bans), MAX_BANS),
            "connections": Fill(self.connections, connections),
            "sockets": Fill(len(self.sockets), self.sockets.limits.most),
        }
