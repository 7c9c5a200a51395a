"""The rendezvous protocol over HTTP: register, verify, logout, look up."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.web.http import Request

from rendezvous.clock import ServerClock
from rendezvous.core.identity import parse_client_id
from rendezvous.interfaces import IStore
from rendezvous.web.admission import Admission
from rendezvous.web.facts import Facts
from rendezvous.web.quotas import Quotas
from rendezvous.web.route import Route, caller
from rendezvous.web.sources import source_of

__all__ = ["PeerRoutes"]


class PeerRoutes:
    """``protocol/http``. Timestamps are seconds since the epoch."""

    def __init__(self, store: IStore, clock: ServerClock, facts: Facts, quotas: Quotas, admission: Admission) -> None:
        self._store = store
        self._clock = clock
        self._facts = facts
        self._quotas = quotas
        self._admission = admission
        self._seconds = clock.seconds

    def routes(self) -> list[Route]:
        """:returns: the routes."""
        known = partial(Route, tag="rendezvous", credential=True)
        return [
            Route(
                "POST",
                "/register",
                self.register,
                tag="identity",
                params=("registration",),
                response="Identity",
                errors=(401,),
            ),
            known("POST", "/verify", self.verify, response="Verified", errors=(404,)),
            Route("POST", "/logout", self.logout, tag="identity", credential=True, response="LoggedOut"),
            known("GET", "/peer/<client_id>/udp", self.address, response="Address"),
            known("GET", "/peer/<client_id>/udp/address", self.address, response="Address"),
            known("GET", "/peer/<client_id>/udp/status", self.status, response="Status"),
        ]

    async def register(self, request: Request) -> bytes:
        """Make a client. The answer has the words of both protocols that read it, and the facts that a client needs."""
        now, source = self._seconds(), source_of(request)
        self._admission.admit(request)
        self._quotas.registration(source)
        client_id, key = await self._store.register(now, source)
        name, secret = client_id.hex(), key.hex()
        fields = {
            "client_id": name,
            "private_id": secret,
            "peerId": name,
            "secret": secret,
            "timestamp": self._clock.wall(),
            "ok": True,
        }
        return self._facts.added_to(fields)

    async def verify(self, request: Request) -> dict[str, Any]:
        """Take the caller back after silence."""
        now = self._seconds()
        client_id = await caller(request, self._store, now)
        await self._store.verify(client_id, now)
        return {"client_id": client_id.hex(), "timestamp": self._clock.wall(), "ok": True}

    async def logout(self, request: Request) -> dict[str, Any]:
        """End the caller."""
        now = self._seconds()
        client_id = await caller(request, self._store, now)
        await self._store.logout(client_id, now, source_of(request))
        return {"client_id": client_id.hex(), "ok": True}

    async def address(self, request: Request, client_id: str) -> dict[str, Any]:
        """Where a peer's pulses come from."""
        now = self._seconds()
        await caller(request, self._store, now)
        peer = parse_client_id(client_id)
        address = await self._store.address(peer, now)
        return {
            "client_id": peer.hex(),
            "host": address.host,
            "port": address.port,
            "timestamp": self._clock.wall(),
            "ok": True,
        }

    async def status(self, request: Request, client_id: str) -> dict[str, Any]:
        """Whether a peer is there, and since when it was last."""
        now = self._seconds()
        await caller(request, self._store, now)
        peer = parse_client_id(client_id)
        status = await self._store.status(peer, now)
        return {
            "client_id": peer.hex(),
            "status": "ONLINE" if status.online else "PENDING",
            "last_online": status.last_online,
            "timestamp": self._clock.wall(),
            "ok": True,
        }
