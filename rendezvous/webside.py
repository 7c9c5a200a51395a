"""The HTTP side of a server: the parts that its ports share, from settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from rendezvous.clock import ServerClock, WorkingTime
from rendezvous.core.ice import Turn
from rendezvous.core.tickets import make_tickets
from rendezvous.counters import Counters
from rendezvous.descriptors import connections_within, raise_descriptor_limit
from rendezvous.interfaces import IStore
from rendezvous.registrationtokens import load_registration_tokens
from rendezvous.settings import Settings
from rendezvous.web.api import all_routes
from rendezvous.web.banenforcement import BanEnforcement
from rendezvous.web.bodies import BodyLimits
from rendezvous.web.cors import Cors
from rendezvous.web.facts import Facts
from rendezvous.web.gate import make_gate
from rendezvous.web.root import RootResource
from rendezvous.web.route import Route
from rendezvous.web.router import Router
from rendezvous.web.site import RendezvousSite
from rendezvous.web.sockets.protocols import SocketProtocols

__all__ = ["Server", "WebSide"]


class Server(Protocol):
    """
    The server that answers are about. It is a :class:`rendezvous.service.Rendezvous`.

    :ivar turn: the TURN servers, if there are any; a reload replaces them.
    """

    turn: Turn | None

    def udp_ports(self) -> Sequence[int]:
        """:returns: the UDP ports that are open."""

    def check_running(self) -> None:
        """:raises Unavailable: the server is not running, so its state cannot be used."""


class WebSide:
    """
    The HTTP side of one server.

    :param reactor: runs timers.
    :param random: gives that many random bytes.
    :param working: for how long the reactor has worked; that of this process if left out.
    :ivar gate: what every request passes.
    :ivar sockets: the protocols of WebSockets.
    :ivar sites: those of HTTP ports.
    :raises StartupError: the file of registration tokens cannot be used.
    """

    log = Logger()

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        store: IStore,
        clock: ServerClock,
        counters: Counters,
        random: Callable[[int], bytes],
        working: WorkingTime | None,
        server: Server,
    ) -> None:
        self._settings, self._reactor, self._store, self._clock = settings, reactor, store, clock
        self._server = server
        self._cors = Cors(settings.cors_origin)
        self._tickets = make_tickets(settings.signaling_limits, settings.share, random)
        self.sites: list[RendezvousSite] = []
        self.gate = make_gate(
            settings.source_limits,
            settings.unread_limits,
            settings.trusted_proxy,
            clock,
            counters,
            random,
            store.bans,
            working,
        )
        self.gate.admission.tokens = load_registration_tokens(settings.registration_token_file)
        self.sockets = SocketProtocols(
            reactor,
            self.gate,
            self._cors,
            settings.socket_limits,
            settings.share,
            random,
            settings.peerjs_key,
            lists_peers=settings.peerjs_discovery,
        )
        self._ban_enforcement = BanEnforcement(store.bans, clock, self.gate.held, self.sockets.sockets)

    def routes(self) -> list[Route]:
        """:returns: the table of routes of the protocols that are on."""
        settings, server = self._settings, self._server
        return all_routes(
            self._store,
            self._clock,
            self.gate,
            Facts(settings.timers, settings.signaling_limits, server.udp_ports),
            lambda: server.turn,
            self.sockets,
            self._tickets,
            settings.without,
        )

    def resource(self) -> RootResource:
        """:returns: the whole HTTP side, to be put below any path."""
        routes = self.routes()
        answers = Router(routes, self._server.check_running, self.gate)
        return RootResource(answers, BodyLimits(routes), self._cors, self.gate)

    def site(self) -> RendezvousSite:
        """:returns: the whole HTTP side, for a port of its own."""
        settings, files = self._settings, raise_descriptor_limit()
        # Of each UDP worker: its sockets, what it hands over, and what it says.
        allowed = connections_within(files - settings.udp_workers * (len(settings.udp_port) + 2))
        self.log.info(
            "up to {connections} connections: {files} files may be open",
            connections=allowed,
            files=files,
            event="connections_allowed",
        )
        site = RendezvousSite(self.resource(), self._reactor, allowed, self._clock.wall)
        self.sites.append(site)
        return site

    def change(self, settings: Settings) -> None:
        """Use these settings from now on."""
        self._settings = settings
        self._cors.allow(settings.cors_origin)
        self.gate.change(settings.source_limits, settings.unread_limits, settings.trusted_proxy)
        self.sockets.change(settings.socket_limits, settings.share)
        self._tickets.change(settings.share)

    def enforce_bans(self) -> None:
        """End the requests that wait and the WebSockets of banned networks."""
        self._ban_enforcement.begin()

    def end(self) -> Deferred[None]:
        """
        Close all WebSockets.

        :returns: fires when they are closed.
        """
        self._ban_enforcement.stop()
        return self.sockets.end()
