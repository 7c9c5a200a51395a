"""What the server says of itself."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.web.http import Request

from rendezvous._version import __version__
from rendezvous.web.route import Route

__all__ = ["AboutRoutes"]


class AboutRoutes:
    """``protocol/offers``, first two rows."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock

    def routes(self) -> list[Route]:
        """:returns: the routes."""
        return [Route("GET", "/", self.about), Route("GET", "/health", self.health)]

    async def about(self, request: Request) -> dict[str, Any]:
        """Name and version."""
        return {
            "version": __version__,
            "name": "rendezvous",
            "description": "Peers that cannot see each other find each other here.",
        }

    async def health(self, request: Request) -> dict[str, Any]:
        """Whether the server is well; for load balancers."""
        return {"status": "ok", "timestamp": int(self._clock.seconds() * 1000), "version": __version__}
