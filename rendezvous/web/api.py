"""All routes of the server in one table, and the router that is made from it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, cast

from klein import Klein

from twisted.internet.defer import Deferred
from twisted.web.http import Request
from twisted.web.resource import IResource

from rendezvous.clock import ServerClock
from rendezvous.eager import eager
from rendezvous.errors import RendezvousError
from rendezvous.interfaces import IStore
from rendezvous.limits import SourceLimits
from rendezvous.refusals import Refusals
from rendezvous.web._json import write_failure, write_object
from rendezvous.web.about import AboutRoutes, DescriptionRoutes
from rendezvous.web.events import EventRoutes
from rendezvous.web.facts import Facts
from rendezvous.web.offers import OfferRoutes
from rendezvous.web.peers import PeerRoutes
from rendezvous.web.quotas import Quotas
from rendezvous.web.route import Route
from rendezvous.web.sessions import SessionRoutes
from rendezvous.web.sources import source_of

__all__ = ["all_routes", "router"]


def all_routes(
    store: IStore,
    clock: ServerClock,
    without: Collection[str] = (),
    *,
    facts: Facts | None = None,
    quotas: Quotas | None = None,
) -> list[Route]:
    """
    :param facts: what clients learn about the protocols; the defaults of the server, unless it is given.
    :param quotas: what each source may take; as much as it likes, unless it is given.
    :param without: the protocols that are off.
    :returns: every route of the others, and the one that describes them.
    """
    facts = facts or Facts()
    quotas = quotas or Quotas(SourceLimits.none(), clock)
    sessions = SessionRoutes(store, clock, quotas)
    every = [
        *AboutRoutes(store, clock, facts, None if "sessions" in without else sessions.topics).routes(),
        *PeerRoutes(store, clock, facts, quotas).routes(),
        *OfferRoutes(store, clock, quotas).routes(),
        *EventRoutes(store, clock, quotas).routes(),
        *sessions.routes(),
    ]
    routes = [route for route in every if route.is_served(without)]
    return [*routes, *DescriptionRoutes(routes, store.limits).routes()]


def router(routes: Sequence[Route], check_running: Callable[[], None], refusals: Refusals) -> IResource:
    """
    :param check_running: raises if the store cannot be used, because the server has not been started or has stopped.
    :param refusals: counts what the routes refuse because of a limit.
    :returns: the resource that finds the route of a request and writes its answer as JSON.
    """
    app = Klein()
    # The router would otherwise redirect to a tidier path; a path of ours is right as it is, or nothing is there.
    app.url_map.merge_slashes = False
    for number, route in enumerate(routes):
        app.route(route.path, methods=[route.method], endpoint=f"{number}", strict_slashes=True)(
            _render(route, check_running, refusals)
        )
    # Klein's types ask for keywords of a function that Klein itself calls by position.
    app.handle_errors(Exception)(cast(Any, write_failure))
    resource: IResource = app.resource()
    return resource


def _render(
    route: Route, check_running: Callable[[], None], refusals: Refusals
) -> Callable[..., bytes | Deferred[bytes]]:
    async def written(request: Request, parts: dict[str, str]) -> bytes:
        if route.needs_store:
            check_running()
        try:
            body = await route.answer(request, **parts)
        except RendezvousError as error:
            refusals.note(error, source_of(request))
            raise
        return b"" if body is None else write_object(request, body)

    def render(request: Request, **parts: str) -> bytes | Deferred[bytes]:
        return eager(written(request, parts))

    return render
