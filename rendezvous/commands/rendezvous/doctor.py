"""``rendezvous doctor``: finds out what kind of NAT this host is behind, and what that means for connecting."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

import attrs

from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults

from rendezvous.client import ClientError, NotOffered
from rendezvous.client.network.interfaces import interface_addresses, source_address
from rendezvous.client.portmap import GatewayReport
from rendezvous.commands.rendezvous.context import Context, port_mapper
from rendezvous.commands.rendezvous.diagnosis import Diagnosis, Family, RouterFindings, ServerFindings
from rendezvous.commands.rendezvous.errors import CommandError
from rendezvous.commands.rendezvous.stun import observe
from rendezvous.resolving import is_ipv6, resolve

__all__ = ["MAPPING_TIME", "Instruments", "Mapper", "examine", "show_diagnosis"]

#: UDP ports of the server that are asked: as many as an attempt uses.
_PORTS = 2

#: Seconds for the router. An attempt to connect takes 250 ms; a slower mapping still helps a later one.
MAPPING_TIME = 2.0
UPNP_TIME = 8.0


class Mapper(Protocol):
    """The part of the port mapper that is used."""

    def map(self, local_port: int, *, ipv6: bool = False, on_change: Callable[[Any], None] = ...) -> Deferred[Any]: ...  # noqa: D102
    def report(self, *, ipv6: bool = False) -> GatewayReport: ...  # noqa: D102
    def stop(self) -> Deferred[None]: ...  # noqa: D102


@attrs.frozen
class Instruments:
    """
    What looks at this host and its network.

    :ivar resolve: finds the IP addresses of a host name.
    :ivar mapper: asks the next router for port mappings.
    :ivar interfaces: finds the addresses of this host.
    :ivar source: finds the address that this host sends from to a destination.
    :ivar random: gives so many random bytes.
    """

    resolve: Callable[[str], Deferred[list[str]]]
    mapper: Mapper
    interfaces: Callable[[], list[str]] = interface_addresses
    source: Callable[[str], str | None] = source_address
    random: Callable[[int], bytes] = os.urandom


async def show_diagnosis(context: Context) -> int:
    """
    Examine the network, and print the diagnosis.

    :returns: the exit status, 0 if the server could be asked.
    """
    reactor = context.reactor
    mapper = port_mapper(reactor, upnp=context.options.upnp)
    return await examine(context, Instruments(lambda host: resolve(reactor.nameResolver, host), mapper))


async def examine(context: Context, instruments: Instruments) -> int:
    """
    Examine the network with the given instruments, and print the diagnosis.

    :returns: the exit status.
    :raises ClientError: the server cannot be asked.
    """
    context.output.progress("Asking the server")
    health, facts = await context.client.health(), await context.client.facts()
    server = ServerFindings(
        context.options.server,
        health.version,
        facts.udp_ports if facts is not None else (),
        context.client.time.ahead,
        context.client.round_trip,
        *await _ask_for_relay(context),
    )
    context.output.progress("Asking for the addresses of this host")
    try:
        hosts = await instruments.resolve(context.client.host)
        examined = [_examine(context, instruments, hosts, server.udp_ports, ipv6=ipv6) for ipv6 in (False, True)]
        families = await gatherResults([Deferred.fromCoroutine(each) for each in examined], consumeErrors=True)
    except FirstError as error:
        error.subFailure.raiseException()
    finally:
        await instruments.mapper.stop()
    diagnosis = Diagnosis(server, tuple(families))
    context.output.result(diagnosis.text(), diagnosis.fields())
    return 0


async def _ask_for_relay(context: Context) -> tuple[bool | None, bool | None]:
    """:returns: whether the server offers a relay, and whether it helps clients to connect; ``None`` if unknown."""
    try:
        identity = await context.account.sign_in()
        return any(server.is_turn for server in (await context.client.ice(identity)).servers), True
    except NotOffered:
        return None, False
    except (ClientError, CommandError):
        return None, None


async def _examine(
    context: Context, instruments: Instruments, hosts: list[str], ports: tuple[int, ...], *, ipv6: bool
) -> Family:
    """:returns: what is found out about one family."""
    name = "IPv6" if ipv6 else "IPv4"
    interfaces = tuple(instruments.interfaces())
    of_family = [host for host in hosts if is_ipv6(host) == ipv6]
    if not of_family or not ports:
        return Family(name, next((host for host in interfaces if is_ipv6(host) == ipv6), None), server=False)
    local = instruments.source(of_family[0])
    if local is None:
        return Family(name, None, server=True)
    asked = [(of_family[0], port) for port in ports[:_PORTS]]
    mapping: list[Deferred[RouterFindings]] = []

    def begun(local_port: int) -> None:
        mapping.append(Deferred.fromCoroutine(_map(context, instruments.mapper, local_port, ipv6=ipv6)))

    try:
        observed = await observe(context.reactor, asked, instruments.random, begun)
        if observed is None:
            return Family(name, None, server=True)
        seen, hosts = observed.seen, [*interfaces, local]
        return Family(
            name, local, True, observed.local_port, seen, observed.passes, hosts, len(asked), await mapping[0]
        )
    finally:
        for each in mapping:
            each.addErrback(lambda failure: failure.trap(CancelledError)).cancel()


async def _map(context: Context, mapper: Mapper, local_port: int, *, ipv6: bool) -> RouterFindings:
    """:returns: what the next router says, within :data:`MAPPING_TIME` or, if UPnP may be used, :data:`UPNP_TIME`."""
    limit = UPNP_TIME if context.options.upnp and not ipv6 else MAPPING_TIME
    changed: Deferred[Any] = Deferred()

    def change(mapping: Any) -> None:
        if mapping is not None and not changed.called:
            changed.callback(mapping)

    mapping = await mapper.map(local_port, ipv6=ipv6, on_change=change)
    if mapping is None and mapper.report(ipv6=ipv6).gateway is not None:
        late = context.reactor.callLater(limit, change, False)
        try:
            mapping = await changed or None
        finally:
            if late.active():
                late.cancel()
    report = mapper.report(ipv6=ipv6)
    if mapping is None:
        return RouterFindings(report)
    return RouterFindings(report, (mapping.host, mapping.port), mapping.protocol)
