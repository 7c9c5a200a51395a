"""This host and the server, as attempts need them: addresses, ports, the time, and options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from itertools import count
from typing import Any, Protocol

import attrs

from twisted.internet.defer import Deferred, FirstError, TimeoutError, gatherResults, maybeDeferred
from twisted.python.failure import Failure

from rendezvous.client._signing import Signer
from rendezvous.client._socket import RESOLVE_TIME
from rendezvous.client.api import RendezvousClient
from rendezvous.client.errors import ServerUnreachable
from rendezvous.client.portmap import PortMapping
from rendezvous.client.records import Identity
from rendezvous.client.relay import Relay
from rendezvous.core.addresses import Address
from rendezvous.core.punching.probes import RandomSource
from rendezvous.resolving import is_ipv6, resolve

__all__ = ["ASK_TIMES", "Host", "Mapper", "Options", "RelayUse"]

ASK_TIMES = (2.0, 3.0)
"""
Seconds after which a request that has got no answer is repeated over another connection. After these, one more has the
usual time. A connection that loses several packets in a row waits twice as long after each.
"""

OBSERVING_PORTS = 2
"""UDP ports of the server that observe."""


class RelayUse(Enum):
    """When a path may go through a relay."""

    NEVER = "never"
    FALLBACK = "fallback"
    ALWAYS = "always"


@attrs.frozen
class Options:
    """
    What the application has chosen.

    :ivar relay: when a path may go through a relay.
    :ivar birthday: whether many ports may be opened.
    :ivar port_mapping: whether the next router is asked for port mappings.
    :ivar trust_root: the authorities for TLS to a relay; ``None`` for those of the system.
    """

    relay: RelayUse = RelayUse.FALLBACK
    birthday: bool = False
    port_mapping: bool = True
    trust_root: Any = None


class Mapper(Protocol):
    """The part of :class:`~rendezvous.client.portmap.PortMapper` that attempts need."""

    def map(
        self, local_port: int, *, ipv6: bool = False, on_change: Callable[[PortMapping | None], None] = ...
    ) -> Deferred[PortMapping | None]:
        """Ask for a mapping."""
        ...

    def release(self, local_port: int, *, ipv6: bool = False) -> Deferred[None]:
        """Remove a mapping."""
        ...

    def network_changed(self) -> None:
        """Look for the router anew."""
        ...

    def stop(self) -> Deferred[None]:
        """Remove all mappings."""
        ...


@attrs.define
class Host:
    """
    What all attempts of one client have in common.

    :ivar client: of the server.
    :ivar identity: of this client.
    :ivar reactor: provides ``IReactorTime``, ``IReactorUDP``, ``IReactorTCP`` and ``IReactorPluggableNameResolver``.
    :ivar random: randomness.
    :ivar options: of the application.
    :ivar mapper: asks the next router for mappings.
    :ivar find_addresses: finds the addresses of the interfaces.
    :ivar make_relay: makes a :class:`~rendezvous.client.relay.Relay`.
    :ivar signer: signs observations.
    """

    client: RendezvousClient
    identity: Identity
    reactor: Any
    random: RandomSource
    options: Options
    mapper: Mapper
    find_addresses: Callable[[], list[str]]
    make_relay: Callable[..., Relay]
    signer: Signer = attrs.field(init=False)
    _servers: dict[bool, str] = attrs.field(factory=dict, init=False)
    _ports: tuple[int, ...] = attrs.field(default=(), init=False)
    _names: count[int] = attrs.field(factory=count, init=False)

    def __attrs_post_init__(self) -> None:
        self.signer = Signer(self.identity, self.client.time, self.random.randbytes)

    def now(self) -> float:
        """:returns: the time of the reactor, in seconds."""
        return float(self.reactor.seconds())

    def name(self, kind: str) -> str:
        """:returns: a name for an endpoint that no other has."""
        return f"{kind}-{next(self._names)}"

    def targets(self, ipv6: bool) -> Sequence[Address]:
        """:returns: the ports of the server that observe, in one family; none before :meth:`prepare`."""
        host = self._servers.get(ipv6)
        return [] if host is None else [(host, port) for port in self._ports[:OBSERVING_PORTS]]

    def network_changed(self) -> None:
        """Look the server and the router up again, and open new connections: this host is in another network."""
        self._servers.clear()
        self.client.close()
        self.mapper.network_changed()

    async def prepare(self) -> None:
        """
        Learn what observations need: the addresses and ports of the server, and its time.

        :raises ClientError: when the server cannot be reached.
        """
        resolving = None if self._servers else self._resolve()
        facts = None if self._ports else self._find_ports()
        health = None if self.client.time.known else Deferred.fromCoroutine(self._learn_time())
        works: list[Deferred[Any]] = [work for work in (resolving, facts, health) if work is not None]
        try:
            await gatherResults(works, consumeErrors=True)
        except FirstError as error:
            error.subFailure.raiseException()

    async def _learn_time(self) -> None:
        for patience in ASK_TIMES:
            try:
                await self.client.health().addTimeout(patience, self.reactor)
                return
            except (ServerUnreachable, TimeoutError):
                continue
        await self.client.health()

    def _resolve(self) -> Deferred[None]:
        name = self.client.host
        work = maybeDeferred(lambda: resolve(self.reactor.nameResolver, name))
        work.addTimeout(RESOLVE_TIME, self.reactor)

        def found(addresses: list[str]) -> None:
            for address in addresses:
                self._servers.setdefault(is_ipv6(address), address)
            if not self._servers:
                raise ServerUnreachable(f"{name} has no address")

        def late(failure: Failure) -> None:
            failure.trap(TimeoutError)
            raise ServerUnreachable(f"the address of {name} was not found within {RESOLVE_TIME:g} s")

        return work.addCallbacks(found, late)

    def _find_ports(self) -> Deferred[None]:
        async def find() -> None:
            facts = self.identity.facts or await self.client.facts()
            self._ports = () if facts is None else facts.udp_ports

        return Deferred.fromCoroutine(find())
