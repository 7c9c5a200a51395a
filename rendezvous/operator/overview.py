"""What an operator sees first: how much there is of everything."""

from __future__ import annotations

from typing import Any

from twisted.web.http import Request

from rendezvous._version import __version__
from rendezvous.core.presence.states import PresenceState
from rendezvous.errors import Unavailable
from rendezvous.model import Fill
from rendezvous.operator.parts import Parts
from rendezvous.web.route import Route

__all__ = ["STATES", "Overview"]

#: What the states of clients are called.
STATES = {"online": PresenceState.ONLINE, "late": PresenceState.PENDING, "registered": PresenceState.NEW}


class Overview:
    """Reads the numbers, and answers with them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> list[Route]:
        """:returns: the route."""
        return [Route("GET", "/overview", self.overview, tag="state", response="Overview", credential=True)]

    async def overview(self, request: Request) -> dict[str, Any]:
        """How much there is of everything, and whether the server is well."""
        return await self.read()

    async def read(self) -> dict[str, Any]:
        """:returns: the JSON of ``GET /overview``."""
        parts = self._parts
        census = await parts.store.census(parts.clock.seconds())
        figures, saving = parts.store.figures(), None
        if figures.saving is not None:
            saving = {
                "is_failing": figures.saving.is_failing,
                "backlog": figures.saving.backlog,
                "waiting": figures.saving.waiting,
                "failed": figures.saving.failed,
                "size": figures.saving.size,
            }
        return {
            "version": __version__,
            "started": round(parts.started, 3),
            "time": round(parts.clock.wall(), 3),
            "ready": self._is_ready(),
            "draining": parts.gate.entrance.is_draining,
            "clients": {name: census.get(state, 0) for name, state in STATES.items()},
            "offers": figures.offers,
            "sessions": figures.sessions,
            "event_streams": figures.event_streams,
            "sockets": len(parts.sockets),
            "tracker_entries": figures.tables["tracker_peers"].entries,
            "bans": len(parts.store.bans.all(parts.clock.seconds())),
            "tables": {name: _fill(fill) for name, fill in figures.tables.items()},
            "signaling_memory": _fill(figures.signaling_memory),
            "saving": saving,
            "connections": parts.connections(),
            "reactor_delay": round(parts.delay.greatest, 6),
        }

    def _is_ready(self) -> bool:
        parts = self._parts
        try:
            parts.gate.entrance.check_draining()
            parts.store.check_ready()
        except Unavailable:
            return False
        return True


def _fill(fill: Fill) -> dict[str, int]:
    return {"entries": fill.entries, "limit": fill.limit}
