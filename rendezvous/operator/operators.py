"""What a server has for operators beside its work: what it remembers for them, and the routes of their port."""

from __future__ import annotations

from twisted.application.service import MultiService

from rendezvous.operator.api import MetricsRoutes
from rendezvous.operator.delay import ReactorDelay
from rendezvous.operator.history import History
from rendezvous.operator.live import LiveRoutes
from rendezvous.operator.logtail import LogTail
from rendezvous.operator.metrics import Metrics, Sources
from rendezvous.operator.overview import Overview
from rendezvous.operator.page import PageRoutes
from rendezvous.operator.parts import Parts
from rendezvous.operator.routes import admin_routes
from rendezvous.web.route import Route

__all__ = ["Operators"]


class Operators(MultiService):
    """
    Remembers the last figures, the last lines of the log and what has happened to clients, from now on.

    :param parts: of the server.
    :param sources: where its numbers are.
    :param delay: how late its reactor is.
    """

    def __init__(self, parts: Parts, sources: Sources, delay: ReactorDelay) -> None:
        super().__init__()
        self._parts, self._sources, self._delay = parts, sources, delay
        parts.store.keep_history()
        self._history = History(sources, parts.clock, parts.clock.to_wall)
        self._tail = LogTail(int(parts.clock.wall() * 1000))
        self._tail.setServiceParent(self)
        self._history.setServiceParent(self)

    def routes(self) -> list[Route]:
        """:returns: the routes of the operators' port."""
        parts, sender = self._parts, self._parts.gate.sender
        overview = Overview(self._sources, self._history, self._delay, parts.clock.wall, parts.state)
        guarded = [
            *MetricsRoutes(Metrics(self._sources), sender).routes(),
            *overview.routes(),
            *LiveRoutes(self._history, self._tail, overview.read, sender, parts.clock).routes(),
        ]
        return admin_routes(parts, guarded, PageRoutes(sender).routes())
