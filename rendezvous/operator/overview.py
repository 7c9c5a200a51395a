"""The overview: the state of the server at this moment, in one answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from twisted.web.http import Request

from rendezvous._version import __version__
from rendezvous.model import Saving
from rendezvous.operator.parts import Parts
from rendezvous.operator.sampler import Sampler
from rendezvous.web.route import Route

__all__ = ["Overview"]


class Overview:
    """
    The route ``/overview``, which the stream of updates also reads.

    :param parts: of the server.
    :param sampler: has counted the clients by state.
    """

    def __init__(self, parts: Parts, sampler: Sampler) -> None:
        self._parts, self._sampler = parts, sampler
        self._started = parts.clock.wall()

    def routes(self) -> list[Route]:
        """:returns: the route."""
        return [Route("GET", "/overview", self.overview, tag="operators", response="Overview")]

    async def overview(self, request: Request) -> dict[str, Any]:
        """What the server is and does now."""
        return await self.read()

    async def read(self) -> dict[str, Any]:
        """:returns: the answer. Clients by state are those of the last count, which is some seconds old."""
        parts, figures = self._parts, self._parts.store.figures()
        saving = figures.saving
        return {
            "version": __version__,
            "started": self._started,
            "time": parts.clock.wall(),
            "draining": parts.gate.admission.is_draining,
            "ready": parts.is_ready,
            "bans": len(parts.store.bans.all(parts.clock.seconds())),
            "connections": parts.connections,
            "clients": self._sampler.clients(),
            "offers": figures.offers,
            "sessions": figures.sessions,
            "event_streams": figures.event_streams,
            "sockets": len(parts.sockets),
            "tracker_entries": figures.tables["tracker_peers"].entries,
            "tables": {name: attrs.asdict(fill) for name, fill in parts.tables(figures).items()},
            "signaling_memory": attrs.asdict(figures.signaling_memory),
            "saving": None if saving is None else _saving(saving),
            "reactor_delay": parts.delay.longest,
        }


def _saving(saving: Saving) -> Mapping[str, Any]:
    names = ("is_failing", "backlog", "waiting", "failed", "size")
    restored = saving.restored
    return {
        **{name: getattr(saving, name) for name in names},
        "restored": None if restored is None else attrs.asdict(restored),
    }
