"""All routes of the server in one table."""

from __future__ import annotations

from collections.abc import Callable, Collection

from rendezvous.clock import ServerClock
from rendezvous.core.ice import Turn
from rendezvous.core.protocols import Protocol
from rendezvous.core.tickets import Tickets
from rendezvous.interfaces import IStore
from rendezvous.web.about import AboutRoutes, DescriptionRoutes
from rendezvous.web.attempts import AttemptRoutes
from rendezvous.web.events.routes import EventRoutes
from rendezvous.web.facts import Facts
from rendezvous.web.gate import Gate
from rendezvous.web.ice import IceRoutes, IceServers
from rendezvous.web.offers import OfferRoutes
from rendezvous.web.peers import PeerRoutes
from rendezvous.web.route import Route
from rendezvous.web.sessions import SessionRoutes
from rendezvous.web.sockets.protocols import SocketProtocols
from rendezvous.web.static_files import StaticRoutes

__all__ = ["all_routes"]


def all_routes(
    store: IStore,
    clock: ServerClock,
    gate: Gate,
    facts: Facts,
    turn: Callable[[], Turn | None],
    sockets: SocketProtocols,
    tickets: Tickets,
    without: Collection[str] = (),
) -> list[Route]:
    """
    :param gate: what each source may take, and what sends events.
    :param facts: what clients learn about the protocols.
    :param turn: gives the TURN servers, if there are any.
    :param sockets: the protocols of WebSockets.
    :param tickets: those for event streams that were not used yet.
    :param without: the protocols that are off.
    :returns: every route of the others, and the one that describes them.
    """
    quotas, admission = gate.quotas, gate.admission
    sessions = SessionRoutes(store, clock, quotas, admission)
    servers = IceServers(clock, facts, turn, gate.requests, has_stun="stun" not in without)
    every = [
        *AboutRoutes(store, clock, facts, None if "sessions" in without else sessions.topics, admission).routes(),
        *PeerRoutes(store, clock, facts, quotas, admission).routes(),
        *OfferRoutes(store, clock, quotas, admission).routes(),
        *EventRoutes(store, clock, gate, tickets, sockets.sockets).routes(),
        *sessions.routes(),
        *AttemptRoutes(store, clock, quotas, servers).routes(),
        *IceRoutes(store, clock, servers).routes(),
        *sockets.routes(),
        *StaticRoutes(gate.sender).routes(),
    ]
    # The demo page finds its peers by offers.
    off = {*without, Protocol.DEMO} if Protocol.OFFERS in without else without
    routes = [route for route in every if route.is_served(off)]
    return [*routes, *DescriptionRoutes(routes, store.limits).routes()]
