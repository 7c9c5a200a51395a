"""What a browser's ``RTCPeerConnection``, or another ICE agent, is configured with."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from twisted.web.http import Request

from rendezvous.clock import ServerClock
from rendezvous.core.ice import Turn, stun_urls
from rendezvous.core.slidingwindow import SlidingWindow
from rendezvous.errors import TooMany
from rendezvous.interfaces import IStore
from rendezvous.web.facts import Facts
from rendezvous.web.requestcounts import RequestCounts
from rendezvous.web.route import Route, caller

__all__ = ["IceRoutes", "IceServers"]

#: How often one client may ask within a minute.
ASKED_PER_MINUTE = 6
#: Clients that are remembered.
MAX_CLIENTS = 65_536
#: Seconds for which an answer without TURN servers may be used.
PLAIN_TTL = 3600


class IceServers:
    """
    Makes lists of ICE servers.

    :param clock: the wall clock, which is part of credentials.
    :param facts: which UDP ports there are.
    :param turn: gives the TURN servers, if there are any.
    :param requests: counts the credentials.
    :param has_stun: whether the UDP ports answer STUN.
    """

    def __init__(
        self,
        clock: ServerClock,
        facts: Facts,
        turn: Callable[[], Turn | None],
        requests: RequestCounts,
        *,
        has_stun: bool,
    ) -> None:
        self._clock = clock
        self._facts = facts
        self._turn = turn
        self._requests = requests
        self._has_stun = has_stun

    def of(self, request: Request, client_id: bytes) -> list[dict[str, Any]]:
        """:returns: objects of the type ``RTCIceServer``; the UDP ports of this server are below the request's host."""
        servers: list[dict[str, Any]] = []
        ports, turn = self._facts.udp_ports(), self._turn()
        if ports and self._has_stun:
            servers.append({"urls": stun_urls(_hostname(request), ports)})
        if turn is not None:
            self._requests.turn_credentials += 1
            servers.append(turn.entry(client_id, self._clock.wall()))
        return servers

    @property
    def has_turn(self) -> bool:
        """:returns: whether the lists name TURN servers."""
        return self._turn() is not None

    @property
    def ttl(self) -> int:
        """:returns: seconds for which a list may be used."""
        turn = self._turn()
        return PLAIN_TTL if turn is None else turn.ttl


class IceRoutes:
    """``protocol/connect``, ICE servers."""

    def __init__(self, store: IStore, clock: ServerClock, servers: IceServers) -> None:
        self._store = store
        self._clock = clock
        self._servers = servers
        self._asked: SlidingWindow[bytes] = SlidingWindow(ASKED_PER_MINUTE, 60.0, MAX_CLIENTS)

    def routes(self) -> list[Route]:
        """:returns: the routes."""
        return [Route("GET", "/ice", self.ice, tag="connect", credential=True, response="IceServers")]

    async def ice(self, request: Request) -> dict[str, Any]:
        """STUN and TURN servers, as ``new RTCPeerConnection()`` takes them."""
        now = self._clock.seconds()
        client_id = await caller(request, self._store, now)
        wait = self._asked.take(client_id, now)
        if wait:
            raise TooMany(
                f"A client may ask for ICE servers {ASKED_PER_MINUTE} times a minute.",
                code="ice-rate",
                retry_after=math.ceil(wait),
            )
        ttl = self._servers.ttl
        expires = (int(self._clock.wall()) + ttl) * 1000
        return {"iceServers": self._servers.of(request, client_id), "ttl": ttl, "expires": expires}


def _hostname(request: Request) -> str:
    """:returns: the host of the request without a port; the address that it came to if it names none."""
    host: bytes = request.getRequestHostname() if request.getHeader(b"Host") else b""
    return host.decode("ascii") or getattr(request.getHost(), "host", "localhost")
