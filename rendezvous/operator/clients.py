"""The routes for clients: list, one with its history, kick."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

from twisted.web.http import Request

from rendezvous.core.addresses import packed
from rendezvous.core.identity import parse_client_id
from rendezvous.core.presence.client import Client
from rendezvous.core.presence.history import ClientEvent, Happened
from rendezvous.core.presence.states import PresenceState
from rendezvous.core.sources import source_network
from rendezvous.errors import Malformed
from rendezvous.model import ClientQuery
from rendezvous.operator.audit import operator_of, record, to_the_end
from rendezvous.operator.bans import ban_json
from rendezvous.operator.parts import STATES, Parts
from rendezvous.web.fields import Query
from rendezvous.web.pages import number_after
from rendezvous.web.route import Route

__all__ = ["PAGE", "PAGE_MAX", "ClientRoutes"]

#: How many items an answer has, where nothing is said, and at most.
PAGE, PAGE_MAX = 100, 1000

_NAMES = {state: name for name, state in STATES.items()} | {PresenceState.GONE: "gone"}

_TEXTS = {
    Happened.REGISTERED: "The client has registered.",
    Happened.FIRST_PULSE: "The first pulse came from {address}.",
    Happened.MOVED: "A pulse came from another address: {address}.",
    Happened.VERIFIED: "The client has verified.",
    Happened.EXPIRED: "The client was silent for too long, and was logged out.",
    Happened.LOGGED_OUT: "The client has logged out.",
    Happened.KICKED: "An operator has ended the client.",
    Happened.BANNED: "An operator has banned the client.",
}


class ClientRoutes:
    """The routes for clients."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> list[Route]:
        """:returns: the routes."""
        params = ("prefix", "network", "state", "limit", "after")
        one = "/clients/<client_id>"
        return [
            Route("GET", "/clients", self.clients, tag="clients", params=params, response="Clients"),
            Route("GET", one, self.one, tag="clients", response="Client"),
            Route("POST", f"{one}/kick", self.kick, tag="clients", response="Kicked"),
        ]

    async def clients(self, request: Request) -> dict[str, Any]:
        """Clients by the beginning of their ids, by network and by state; some of them, and where to go on."""
        query, parts = Query(request), self._parts
        wanted = ClientQuery(_prefix(query), _state(query), _network(query))
        after = number_after(query.text("after")) or 0
        page = await parts.queries.clients(wanted, after, query.limit(PAGE, PAGE_MAX), parts.clock.seconds())
        return {
            "clients": [self._shown(client, state) for client, state in page.clients],
            "next": None if page.next is None else str(page.next),
        }

    async def one(self, request: Request, client_id: str) -> dict[str, Any]:
        """One client, and what has happened to it lately, also if it is gone."""
        parts, peer = self._parts, parse_client_id(client_id)
        now = parts.clock.seconds()
        found = await parts.queries.client(peer, now)
        ban = parts.store.bans.of_client(peer, now)
        shown = (
            {"client_id": peer.hex(), "state": "gone", "network": None, "host": None, "port": None, "last_seen": None}
            if found.client is None
            else self._shown(found.client, found.state)
        )
        return {
            "client": {
                **shown,
                "offers": found.offers,
                "attempts": sum(each.ended is None for each in await parts.queries.attempts(peer)),
                "event_stream": found.has_stream,
                "sockets": sum(socket.conversation.peer == peer.hex() for socket in parts.sockets),
                "ban": None if ban is None else ban_json(ban),
                "events": self._events(found.events, found.client, found.state),
            }
        }

    async def kick(self, request: Request, client_id: str) -> dict[str, Any]:
        """End a client now: its offers, streams, sockets and attempts end, and its credential is no longer good."""
        parts, peer, operator = self._parts, parse_client_id(client_id), operator_of(request)

        async def change() -> None:
            await parts.store.kick(peer, parts.clock.seconds())
            record(operator, f"client {peer.hex()} was kicked")

        await to_the_end(change())
        return {"client_id": peer.hex(), "kicked": True}

    def _shown(self, client: Client, state: PresenceState) -> dict[str, Any]:
        return {
            "client_id": client.client_id.hex(),
            "state": _NAMES[state],
            "network": client.network or None,
            "host": client.host,
            "port": client.port if client.host is not None else None,
            "last_seen": self._parts.time(client.last_seen),
        }

    def _events(self, events: Any, client: Client | None, state: PresenceState) -> list[dict[str, Any]]:
        found = [self._event(each) for each in events]
        if client is not None:
            if state is PresenceState.PENDING:
                late = client.last_seen + self._parts.store.live.timers.on_time
                found.append(self._made(late, "late", "No pulse came in time."))
            networks = {client.network, source_network(client.host or "").subscriber} - {""}
            for network in networks:
                for each in self._parts.counters.limited.worst(network):
                    text = f"A limit of the network {network} was reached {each.times} times: {each.reason}."
                    found.append(self._made(each.last, "limited", text))
        return sorted(found, key=lambda each: float(each["time"]))

    def _event(self, event: ClientEvent) -> dict[str, Any]:
        address = ""
        if event.address is not None:
            host, port = event.address
            address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return self._made(event.time, event.kind.value, _TEXTS[event.kind].format(address=address))

    def _made(self, moment: float, event: str, text: str) -> dict[str, Any]:
        return {"time": self._parts.time(moment), "event": event, "text": text}


def _prefix(query: Query) -> str:
    prefix = (query.text("prefix") or "").lower()
    if re.fullmatch(r"[0-9a-f]{0,32}", prefix) is None:
        raise Malformed("prefix must be up to 32 hex digits, the beginning of client ids.")
    return prefix


def _state(query: Query) -> PresenceState | None:
    name = query.text("state")
    if name is None:
        return None
    if name not in STATES:
        raise Malformed(f"state must be one of {', '.join(STATES)}.")
    return STATES[name]


def _network(query: Query) -> Callable[[str], bool] | None:
    text = query.text("network")
    if text is None:
        return None
    try:
        network = ip_network(text.strip(), strict=False)
    except ValueError:
        raise Malformed("network must be an address or a network such as 198.51.100.0/24.") from None

    size, free = len(network.network_address.packed), network.max_prefixlen - network.prefixlen
    bits = int.from_bytes(network.network_address.packed) >> free

    def is_in(given: str) -> bool:
        # The network that registered a client may be an IPv6 /64.
        plain, _, length = given.partition("/")
        address = packed(plain)
        if len(address) != size or int.from_bytes(address) >> free != bits:
            return False
        return not length or network.prefixlen <= int(length)

    return is_in
