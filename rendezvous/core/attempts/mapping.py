"""What kind of NAT a client is behind, from where the UDP ports of the server have seen its socket (RFC 4787)."""

from __future__ import annotations

from collections.abc import Collection

from rendezvous.core.addresses import Address
from rendezvous.core.attempts.attempt import Side
from rendezvous.core.connect import CandidateKind, NatMapping

__all__ = ["Observed", "mapping", "mapping_of", "predicted"]

#: The source of one socket as UDP ports of the server have seen it, by the index of the port; the latest comes last.
Observed = dict[int, Address]

#: How far apart two ports may be that a NAT has given one after the other.
SEQUENCE = 8


def mapping(side: Side, round: int) -> NatMapping:
    """:returns: the mapping of a side's NAT: that of IPv4, unless it was observed with IPv6 alone."""
    seen = side.seen(round)
    family = 4 if seen.get(4) else 6
    interfaces = {each.address[0] for each in side.given.candidates if each.kind is CandidateKind.HOST}
    return mapping_of(seen.get(family, {}), interfaces)


def mapping_of(observed: Observed, interfaces: Collection[str]) -> NatMapping:
    """
    Classify the mapping of one socket.

    :param observed: what the first two UDP ports of the server have seen, of one family of addresses.
    :param interfaces: the addresses that the client says its interfaces have.
    """
    sources = set(observed.values())
    if not sources:
        return NatMapping.BLOCKED
    if len(sources) == 1:
        [(host, _)] = sources
        if host in interfaces:
            return NatMapping.NONE
        return NatMapping.ENDPOINT_INDEPENDENT if len(observed) > 1 else NatMapping.UNKNOWN
    (host, port), (other_host, other_port) = sources
    if host == other_host and abs(port - other_port) <= SEQUENCE:
        return NatMapping.SEQUENTIAL
    return NatMapping.ENDPOINT_DEPENDENT


def predicted(observed: Observed) -> list[Address]:
    """:returns: the addresses that a NAT with sequential mapping is about to use: the 8 ports after the latest."""
    host, port = list(observed.values())[-1]
    return [(host, each) for each in range(port + 1, min(port + SEQUENCE, 65535) + 1)]
