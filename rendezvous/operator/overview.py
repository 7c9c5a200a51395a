"""What a server is and does at this moment, in one answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from twisted.web.http import Request

from rendezvous._version import __version__
from rendezvous.model import Saving
from rendezvous.operator.delay import ReactorDelay
from rendezvous.operator.history import History
from rendezvous.operator.metrics import Sources
from rendezvous.web.route import Route

__all__ = ["Overview", "State"]


@attrs.frozen
class State:
    """
    What is not in the sources of metrics.

    :ivar draining: whether new clients are refused.
    :ivar ready: whether load balancers should send requests.
    :ivar bans: how many bans hold.
    :ivar connections: connections to the HTTP ports that are open.
    """

    draining: bool = False
    ready: bool = True
    bans: int = 0
    connections: int = 0


class Overview:
    """
    The route ``/overview``, which the stream of updates also reads.

    :param sources: where the numbers are.
    :param history: has counted the clients by state.
    :param delay: measures the delay of the reactor.
    :param wall: tells seconds since the epoch.
    :param state: gives the rest.
    """

    def __init__(
        self,
        sources: Sources,
        history: History,
        delay: ReactorDelay,
        wall: Callable[[], float],
        state: Callable[[], State] = State,
    ) -> None:
        self._sources, self._history, self._delay = sources, history, delay
        self._wall, self._state = wall, state
        self._started = wall()

    def routes(self) -> list[Route]:
        """:returns: the route."""
        return [Route("GET", "/overview", self.overview, tag="operators", response="Overview")]

    async def overview(self, request: Request) -> dict[str, Any]:
        """What the server is and does now."""
        return await self.read()

    async def read(self) -> dict[str, Any]:
        """:returns: the answer. Clients by state are those of the last count, which is some seconds old."""
        figures = self._sources.store.figures()
        saving, tables = figures.saving, {**figures.tables, **self._sources.gauges.tables()}
        return {
            "version": __version__,
            "started": self._started,
            "time": self._wall(),
            **attrs.asdict(self._state()),
            "clients": self._history.clients(),
            "offers": figures.offers,
            "sessions": figures.sessions,
            "event_streams": figures.event_streams,
            "sockets": len(self._sources.gauges.sockets),
            "tracker_entries": figures.tables["tracker_peers"].entries,
            "tables": {name: attrs.asdict(fill) for name, fill in tables.items()},
            "signaling_memory": attrs.asdict(figures.signaling_memory),
            "saving": None if saving is None else _saving(saving),
            "reactor_delay": self._delay.longest,
        }


def _saving(saving: Saving) -> Mapping[str, Any]:
    names = ("is_failing", "backlog", "waiting", "failed", "size")
    restored = saving.restored
    return {
        **{name: getattr(saving, name) for name in names},
        "restored": None if restored is None else attrs.asdict(restored),
    }
