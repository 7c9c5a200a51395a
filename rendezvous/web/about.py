"""What the server says of itself."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from twisted.web.http import Request

from rendezvous._version import __version__
from rendezvous.clock import ServerClock
from rendezvous.interfaces import IStore
from rendezvous.limits import SignalingLimits
from rendezvous.web.admission import Admission
from rendezvous.web.facts import Facts
from rendezvous.web.fields import Query
from rendezvous.web.openapi import describe
from rendezvous.web.route import Route

#: What answers for the topics of the sessions protocol.
Topics = Callable[[Request], Coroutine[Any, Any, dict[str, Any]]]

__all__ = ["AboutRoutes", "DescriptionRoutes"]


class AboutRoutes:
    """
    ``protocol/http``, the server itself.

    :param facts: what clients learn about the protocols.
    :param topics: what answers ``GET /topics``, if the sessions protocol is on.
    :param admission: says whether the server is draining.
    """

    def __init__(
        self, store: IStore, clock: ServerClock, facts: Facts, topics: Topics | None, admission: Admission
    ) -> None:
        self._store = store
        self._clock = clock
        self._facts = facts
        self._topics = topics
        self._admission = admission

    def routes(self) -> list[Route]:
        """:returns: the routes."""
        return [
            Route(
                "GET",
                "/",
                self.about,
                tag="about",
                params=("page", "topics-limit", "next", "topics-Origin"),
                response="Root",
                needs_store=False,
            ),
            Route("GET", "/health", self.health, tag="about", response="Health", needs_store=False),
            Route("GET", "/ready", self.ready, tag="about", response="Ready"),
        ]

    async def about(self, request: Request) -> dict[str, Any] | bytes:
        """Name, version, and the facts that a client needs; with ``page`` and an Origin, what ``/topics`` answers."""
        query = Query(request)
        # Checked also where they mean nothing, as every parameter that the description lists is.
        page, _ = query.integer("page", 1), query.limit(1, 1)
        if self._topics is not None and page is not None and request.getHeader(b"Origin"):
            # The oldest clients of the sessions protocol list topics here.
            return await self._topics(request)
        description = "A rendezvous and signaling server for peers behind NATs."
        return self._facts.added_to({"version": __version__, "name": "rendezvous", "description": description})

    async def health(self, request: Request) -> dict[str, Any]:
        """Liveness: the process runs and answers. It says nothing about the store; see ``/ready``."""
        return {"status": "ok", "timestamp": int(self._clock.wall() * 1000), "version": __version__}

    async def ready(self, request: Request) -> dict[str, Any]:
        """Readiness: 200 while clients can come and changes can be saved, and 503 otherwise."""
        self._admission.check_draining()
        self._store.check_ready()
        return {"status": "ready", "timestamp": int(self._clock.wall() * 1000), "version": __version__}


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
        # It changes only with the server, and it is the one answer that does not depend on anything else.
        request.setHeader(b"Cache-Control", b"max-age=300")
        return self._document
