"""The service that samples numbers, keeps the last lines of the log, and has the routes of the operators' port."""

from __future__ import annotations

from twisted.application.service import MultiService

from rendezvous.operator.live import LiveRoutes
from rendezvous.operator.logtail import LogTail
from rendezvous.operator.metrics import Metrics, MetricsRoutes
from rendezvous.operator.overview import Overview
from rendezvous.operator.page import PageRoutes
from rendezvous.operator.parts import Parts
from rendezvous.operator.routes import admin_routes
from rendezvous.operator.sampler import Sampler
from rendezvous.web.route import Route

__all__ = ["OperatorService"]


class OperatorService(MultiService):
    """
    Keeps the last samples of all numbers, the last lines of the log and the history of clients, from now on.

    :param parts: of the server.
    """

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self._parts = parts
        parts.queries.keep_history()
        self._sampler = Sampler(parts)
        self._tail = LogTail(int(parts.clock.wall() * 1000))
        self._tail.setServiceParent(self)
        self._sampler.setServiceParent(self)

    def routes(self) -> list[Route]:
        """:returns: the routes of the operators' port."""
        parts, sender = self._parts, self._parts.gate.sender
        overview = Overview(parts, self._sampler)
        guarded = [
            *MetricsRoutes(Metrics(parts), sender).routes(),
            *overview.routes(),
            *LiveRoutes(self._sampler, self._tail, overview.read, sender, parts.clock).routes(),
        ]
        return admin_routes(parts, guarded, PageRoutes(sender).routes())
