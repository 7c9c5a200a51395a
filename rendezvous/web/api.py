"""All routes of the server in one table."""

from __future__ import annotations

from collections.abc import Collection

from rendezvous.clock import ServerClock
from rendezvous.interfaces import IStore
from rendezvous.limits import SourceLimits
from rendezvous.web.about import AboutRoutes, DescriptionRoutes
from rendezvous.web.events import EventRoutes
from rendezvous.web.facts import Facts
from rendezvous.web.offers import OfferRoutes
from rendezvous.web.peers import PeerRoutes
from rendezvous.web.quotas import Quotas
from rendezvous.web.route import Route
from rendezvous.web.sending import Sender
from rendezvous.web.sessions import SessionRoutes

__all__ = ["all_routes"]


def all_routes(
    store: IStore,
    clock: ServerClock,
    without: Collection[str] = (),
    *,
    facts: Facts | None = None,
    quotas: Quotas | None = None,
    sender: Sender | None = None,
) -> list[Route]:
    """
    :param facts: what clients learn about the protocols; the defaults of the server, unless it is given.
    :param quotas: what each source may take; as much as it likes, unless it is given.
    :param sender: sends events; one with its defaults, unless it is given.
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
        *EventRoutes(store, clock, quotas, sender or Sender(clock)).routes(),
        *sessions.routes(),
    ]
    routes = [route for route in every if route.is_served(without)]
    return [*routes, *DescriptionRoutes(routes, store.limits).routes()]
