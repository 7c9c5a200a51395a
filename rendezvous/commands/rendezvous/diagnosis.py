"""What the findings of ``rendezvous doctor`` mean, in words. Nothing here reaches the network."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Any

import attrs

from rendezvous.client.portmap import GatewayReport
from rendezvous.core.attempts.mapping import mapping_of
from rendezvous.core.connect import NatMapping

__all__ = ["Diagnosis", "Family", "RouterFindings", "ServerFindings"]

_SHARED = ip_network("100.64.0.0/10")
"""Addresses between a carrier's NAT and its customers (RFC 6598)."""

_PROTOCOLS = {"pcp": "PCP", "nat-pmp": "NAT-PMP", "upnp": "UPnP"}

_DIRECT = {
    NatMapping.NONE: "Direct connections work with nearly every peer.",
    NatMapping.ENDPOINT_INDEPENDENT: (
        "Direct connections work, except with some peers whose NAT gives every destination another port."
    ),
    NatMapping.SEQUENTIAL: (
        "Direct connections work with peers that have no NAT or one that is not strict, and with most others by"
        " prediction of the port."
    ),
    NatMapping.ENDPOINT_DEPENDENT: (
        "Direct connections work only with peers that have no NAT, or one that is not strict. Others need a relay, or a"
        " port mapping on either side."
    ),
    NatMapping.UNKNOWN: "Whether direct connections work depends on the kind of the NAT.",
    NatMapping.BLOCKED: "There are no direct connections without UDP. Only a relay over TCP or TLS can help.",
}

_KINDS = {
    NatMapping.NONE: "no NAT: the public address is that of an interface",
    NatMapping.ENDPOINT_INDEPENDENT: "a NAT that keeps one port for all destinations (endpoint-independent mapping)",
    NatMapping.SEQUENTIAL: "a NAT that gives each destination the next port (sequential, endpoint-dependent mapping)",
    NatMapping.ENDPOINT_DEPENDENT: "a NAT that gives each destination another port (endpoint-dependent mapping)",
    NatMapping.UNKNOWN: "a NAT of a kind that is not known",
}


@attrs.frozen
class ServerFindings:
    """
    What was found out about the server.

    :ivar clock_difference: seconds that its clock is ahead of that of this host; ``None`` if it is not known.
    :ivar round_trip: of an HTTP request, in seconds.
    :ivar has_relay: whether it offers a TURN relay; ``None`` if it was not asked.
    :ivar offers_connect: whether it helps clients to connect; ``None`` if that is not known.
    """

    url: str
    version: str
    udp_ports: tuple[int, ...]
    clock_difference: float | None = None
    round_trip: float | None = None
    has_relay: bool | None = None
    offers_connect: bool | None = None


@attrs.frozen
class RouterFindings:
    """
    What the next router says to port mapping.

    :ivar report: of the port mapper.
    :ivar mapped: the external address and port that it has given, ``None`` if it has given none.
    :ivar protocol: the one that it was given by: pcp, nat-pmp or upnp.
    """

    report: GatewayReport
    mapped: tuple[str, int] | None = None
    protocol: str | None = None


@attrs.frozen
class Family:
    """
    What was found out about IPv4 or IPv6.

    :ivar name: IPv4 or IPv6.
    :ivar local: the address that this host sends from, ``None`` if it has none of this family.
    :ivar server: whether the server has an address of this family.
    :ivar local_port: of the socket.
    :ivar seen: where the ports of the server have seen the socket, by index.
    :ivar passes: whether any datagram came back.
    :ivar interfaces: all addresses of this host.
    :ivar asked: how many ports were asked.
    """

    name: str
    local: str | None
    server: bool
    local_port: int = 0
    seen: dict[int, tuple[str, int]] = attrs.field(factory=dict)
    passes: bool = False
    interfaces: Sequence[str] = ()
    asked: int = 0
    port_mapping: RouterFindings | None = None

    @property
    def mapping(self) -> NatMapping | None:
        """:returns: the kind of NAT, ``None`` if it was not asked or UDP passes and STUN is not answered."""
        if self.local is None or not self.server or (self.passes and not self.seen):
            return None
        return mapping_of(self.seen, self.interfaces)

    @property
    def is_inside(self) -> bool:
        """:returns: whether the server is reached without the Internet, and so sees no NAT towards it."""
        return bool(self.seen) and not any(ip_address(host).is_global for host, _ in self.seen.values())

    @property
    def is_double_nat(self) -> bool:
        """:returns: whether the next router is behind another NAT."""
        if self.port_mapping is None or self.mapping in (None, NatMapping.NONE, NatMapping.BLOCKED):
            return False
        external = self.port_mapping.report.external_address
        public = {host for host, _ in self.seen.values()}
        return self.port_mapping.report.is_double_nat or (external is not None and external not in public)

    @property
    def mapping_helps(self) -> bool:
        """:returns: whether peers can reach this host at the address that the router has mapped."""
        mapped = None if self.port_mapping is None else self.port_mapping.mapped
        return mapped is not None and not self.is_double_nat and mapped[0] in {host for host, _ in self.seen.values()}

    def lines(self) -> list[str]:
        """:returns: the findings for people."""
        if self.local is None:
            return [f"{self.name}: this host has no address."]
        if not self.server:
            return [f"{self.name}: this host has the address {self.local}; the server has none, so nothing was asked."]
        if self.mapping is None:
            return [f"{self.name}: UDP passes. The server does not answer STUN, so the kind of NAT is not known."]
        if self.mapping is NatMapping.BLOCKED:
            return [f"{self.name}: no datagram came back from the server. UDP seems to be blocked."]
        where = " and ".join(sorted({_spelled(address) for address in self.seen.values()}))
        lines = [f"{self.name}: {self.local} port {self.local_port} is seen as {where}: {_KINDS[self.mapping]}."]
        if self.is_inside:
            lines.append("This is no address of the Internet: the server cannot see a NAT on the way to the Internet.")
        if self.asked > 1 and len(self.seen) == 1:
            lines.append("One of the UDP ports of the server did not answer. It may be blocked by a firewall.")
        elif self.asked == 1:
            lines.append("The server has one UDP port. The kind of NAT cannot be known without a second one.")
        elif self.mapping is NatMapping.ENDPOINT_INDEPENDENT:
            lines.append("Both ports belong to one address: a NAT that changes the port by address looks the same.")
        return lines + self._lines_of_router()

    def _lines_of_router(self) -> list[str]:
        found = self.port_mapping
        if found is None:
            return []
        if self.mapping is NatMapping.NONE:
            return ["The router opens its firewall for a port on request."] if found.mapped is not None else []
        report, lines = found.report, []
        if report.gateway is None:
            return ["Port mapping: no router was found."]
        if found.mapped is not None:
            mapped = f"{_spelled(found.mapped)} ({_PROTOCOLS.get(found.protocol or '', found.protocol)})"
            lines.append(f"Port mapping: the router {report.gateway} has mapped {mapped}.")
        elif not report.protocols:
            lines.append(f"Port mapping: the router {report.gateway} answers neither PCP nor NAT-PMP.")
        else:
            why = "; ".join(f"{name}: {reason}" for name, reason in sorted(report.refusals.items())) or "no mapping"
            lines.append(f"Port mapping: the router {report.gateway} has refused ({why}).")
        if self.is_double_nat:
            external = report.external_address
            shared = external is not None and external.count(".") == 3 and ip_address(external) in _SHARED
            carrier = " of the provider (carrier-grade NAT)" if shared else ""
            known = "" if external is None else f", its outer address is {external}"
            lines.append(
                f"Double NAT: the router is behind another NAT{carrier}{known}. Its port mappings do not help."
            )
        return lines

    def fields(self) -> dict[str, Any]:
        """:returns: the findings for programs."""
        found = self.port_mapping
        return {
            "local": self.local,
            "server": self.server,
            "udp": self.passes,
            "mapping": None if self.mapping is None else self.mapping.value,
            "public": [_spelled(self.seen[index]) for index in sorted(self.seen)],
            "ports_asked": self.asked,
            "port_mapping": None
            if found is None
            else {
                "gateway": found.report.gateway,
                "protocols": sorted(found.report.protocols),
                "mapped": None if found.mapped is None else _spelled(found.mapped),
                "mapped_by": found.protocol,
                "external_address": found.report.external_address,
                "refusals": found.report.refusals,
            },
            "double_nat": self.is_double_nat,
        }


@attrs.frozen
class Diagnosis:
    """
    All findings.

    :ivar families: IPv4 and IPv6.
    """

    server: ServerFindings
    families: tuple[Family, ...]

    def advice(self) -> list[str]:
        """:returns: what the findings mean for connecting."""
        lines = []
        known = [family for family in self.families if family.mapping not in (None, NatMapping.BLOCKED)]
        mappings = [family.mapping for family in self.families if family.mapping is not None]
        outside = {family.mapping for family in known if family.mapping and not family.is_inside}
        if outside:
            lines.append(_DIRECT[min(outside, key=list(_DIRECT).index)])
        elif known:
            lines.append("Direct connections work with peers in the network of the server. Of others nothing is known.")
        if not known and mappings:
            lines.append(_DIRECT[NatMapping.BLOCKED])
        if any(family.mapping_helps for family in self.families):
            lines.append("The port mapping makes direct connections work with nearly every peer.")
        if self.server.offers_connect is False:
            lines.append("The server does not help clients to connect: its operator has turned the protocol off.")
        match self.server.has_relay:
            case True:
                lines.append("The server offers a relay for the peers that cannot be reached directly.")
            case False:
                lines.append("The server offers no relay: peers that cannot be reached directly cannot be reached.")
        if abs(self.server.clock_difference or 0) > 60:
            lines.append("The clock of this host is wrong. The client library corrects for it.")
        return lines

    def text(self) -> str:
        """:returns: everything for people."""
        server = self.server
        ports = " and ".join(map(str, server.udp_ports)) or "none that it names"
        noun = "UDP port" if len(server.udp_ports) == 1 else "UDP ports"
        lines = [f"Server: {server.url}, version {server.version}, {noun} {ports}."]
        if server.round_trip is not None:
            lines.append(f"Round trip over HTTP: {server.round_trip * 1000:.0f} ms.")
        if server.clock_difference is not None:
            lines.append(f"The clock of the server is {server.clock_difference:+.1f} s from that of this host.")
        for family in self.families:
            lines += family.lines()
        return "\n".join([*lines, "", *self.advice()])

    def fields(self) -> dict[str, Any]:
        """:returns: everything for programs."""
        server = self.server
        return {
            "server": {
                "url": server.url,
                "version": server.version,
                "udp_ports": list(server.udp_ports),
                "clock_difference_ms": _milliseconds(server.clock_difference),
                "round_trip_ms": _milliseconds(server.round_trip),
                "relay": server.has_relay,
                "connect": server.offers_connect,
            },
            **{family.name.lower(): family.fields() for family in self.families},
            "advice": self.advice(),
        }


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def _spelled(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
