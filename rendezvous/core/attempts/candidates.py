"""
Which candidates of a client its peer gets: what one client must never make another send to.

A public address is passed on only if the server has observed it, or one of its own TURN servers has it. For example, a
client that names the address of somebody else as its own causes not one packet there.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import ip_address

from rendezvous.core.addresses import (
    Address,
    is_link_local,
    is_loopback,
    is_private,
    is_shared,
    is_unicast,
    packed,
    shown,
)
from rendezvous.core.attempts.attempt import Facilities, Side
from rendezvous.core.attempts.mapping import mapping, predicted
from rendezvous.core.connect import Candidate, CandidateKind, NatMapping
from rendezvous.errors import Malformed

__all__ = ["GIVEN_KINDS", "candidate", "passed_on"]

#: The kinds that clients name; the others are found by the server.
GIVEN_KINDS = (CandidateKind.HOST, CandidateKind.MAPPED, CandidateKind.RELAYED)

#: Candidates of each kind that are passed on; private and public host candidates count apart.
MOST_OF_A_KIND = 4
#: The lowest port of a host candidate: no system service of a host may be sent probes.
LEAST_HOST_PORT = 1024

# Cached, because each change of an attempt looks at all of its addresses.
_packed = lru_cache(4096)(packed)


def candidate(kind: str, host: str, port: int, prefix: str = "") -> Candidate:
    """
    Read a candidate that a client names.

    :param prefix: what errors put before a field's name.
    :raises Malformed: it is none.
    """
    if kind not in GIVEN_KINDS:
        raise Malformed(f"{prefix}kind must be one of {', '.join(GIVEN_KINDS)}.")
    try:
        address = _spelled(host)
    except ValueError:
        raise Malformed(f"{prefix}host must be an IPv4 or IPv6 address without a scope.") from None
    if not 1 <= port <= 65535:
        raise Malformed(f"{prefix}port must be an integer from 1 to 65535.")
    return Candidate(CandidateKind(kind), (address, port))


def passed_on(side: Side, peer: Side, round: int, facilities: Facilities) -> tuple[Candidate, ...]:
    """:returns: the candidates of a side that its peer gets in a round, each address once."""
    found: dict[Address, Candidate] = {}
    for each in (
        *_of_host(side, peer),
        *_mapped(side),
        *_observed(side, peer, round),
        *_relayed(side, facilities),
    ):
        found.setdefault(each.address, each)
    return tuple(found.values())


def _of_host(side: Side, peer: Side) -> Iterator[Candidate]:
    own, other = _networks(side), _networks(peer)
    public = private = 0
    for each in side.given.candidates:
        if each.kind is not CandidateKind.HOST or each.address[1] < LEAST_HOST_PORT:
            continue
        octets = _packed(each.address[0])
        if is_private(octets) or is_shared(octets):
            if own & other and private < MOST_OF_A_KIND:
                private += 1
                yield each
        elif _network(octets) in own and _is_public_ipv6(octets) and public < MOST_OF_A_KIND:
            public += 1
            yield each


def _mapped(side: Side) -> list[Candidate]:
    """:returns: those whose address check was answered."""
    given = side.given.candidates
    return [each for each in given if each.kind is CandidateKind.MAPPED and each.address in side.vouched][
        :MOST_OF_A_KIND
    ]


def _observed(side: Side, peer: Side, round: int) -> Iterator[Candidate]:
    """Give where the server has seen the sockets, and where a sequential NAT will map them next."""
    for ports in side.seen(round).values():
        for host, port in ports.values():
            # Two clients on the machine of the server, as in a demonstration, are there for each other alone.
            if not is_loopback(_packed(host)) or any(is_loopback(_packed(other)) for other in peer.hosts()):
                yield Candidate(CandidateKind.SERVER_REFLEXIVE, (host, port))
    if mapping(side, round) is NatMapping.SEQUENTIAL:
        seen = side.seen(round)
        for address in predicted(seen.get(4) or seen[6]):
            yield Candidate(CandidateKind.PREDICTED, address)


def _relayed(side: Side, facilities: Facilities) -> list[Candidate]:
    given, hosts = side.given.candidates, facilities.relay_hosts
    return [each for each in given if each.kind is CandidateKind.RELAYED and each.address[0] in hosts][:MOST_OF_A_KIND]


def _networks(side: Side) -> set[bytes]:
    """:returns: the networks that a side was observed in: IPv4 addresses, and the /64 of IPv6."""
    return {_network(_packed(host)) for host in side.hosts()}


def _is_public_ipv6(address: bytes) -> bool:
    is_near = is_loopback(address) or is_link_local(address)
    return len(address) == 16 and is_unicast(address) and not is_near


def _network(address: bytes) -> bytes:
    return address if len(address) == 4 else address[:8]


def _spelled(host: str) -> str:
    """
    :returns: an address as it is shown: IPv4 where it is IPv4.
    :raises ValueError: it is none, or has a scope.
    """
    if "%" in host:
        raise ValueError
    return shown(str(ip_address(host)))
