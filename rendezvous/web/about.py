"""What the server says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.web.http import Request

from rendezvous._version import __version__
from rendezvous.limits import SignalingLimits
from rendezvous.web.openapi import describe
from rendezvous.web.route import Route

__all__ = ["AboutRoutes", "DescriptionRoutes"]


class AboutRoutes:
    """``protocol/offers``, first two rows."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock

    def routes(self) -> list[Route]:
        """:returns: the routes."""
        return [
            Route("GET", "/", self.about, tag="about", response="About", needs_store=False),
            Route("GET", "/health", self.health, tag="about", response="Health", needs_store=False),
        ]

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


class DescriptionRoutes:
    """
    The description of all routes, its own included.

    :param others: the other routes.
    :param limits: what requests are held to.
    """

    def __init__(self, others: Sequence[Route], limits: SignalingLimits) -> None:
        self._document = describe([*others, *self.routes()], limits)

    def routes(self) -> list[Route]:
        """:returns: the routes."""
        return [Route("GET", "/openapi.json", self.description, tag="about", response="Description", needs_store=False)]

    async def description(self, request: Request) -> dict[str, Any]:
        """This description, in OpenAPI 3.1."""
        return self._document
