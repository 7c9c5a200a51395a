"""
Which candidates of a client its peer gets.

A client must not be able to make another one send to a third host. So a public address is passed on only if the server
has observed it, or if one of its own TURN servers has it. For example, if a client names the address of another host as
its own, no packet goes there.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from ipaddress import ip_address

from rendezvous.core.addresses import Address, shown
from rendezvous.core.attempts.attempt import Facilities, Side
from rendezvous.core.attempts.mapping import mapping, predicted
from rendezvous.core.attempts.places import Reach, place_of
from rendezvous.core.connect import Candidate, CandidateKind, NatMapping
from rendezvous.errors import Malformed

__all__ = ["GIVEN_KINDS", "candidate", "passed_on"]

#: The kinds that clients name; the others are found by the server.
GIVEN_KINDS = (CandidateKind.HOST, CandidateKind.MAPPED, CandidateKind.RELAYED)

#: Candidates of each kind that are passed on; private and public host candidates count apart.
MOST_OF_A_KIND = 4
#: The lowest port of a host or relayed candidate: no system service of a host may be sent probes.
LEAST_PORT = 1024


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
        host, port = each.address
        if each.kind is not CandidateKind.HOST or port < LEAST_PORT:
            continue
        place = place_of(host)
        if place.reach is Reach.SITE:
            if own & other and private < MOST_OF_A_KIND:
                private += 1
                yield each
        elif place.is_ipv6 and place.reach is Reach.WORLD and place.network in own and public < MOST_OF_A_KIND:
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
    reaches = {place_of(host).reach for host in peer.hosts()}
    seen = side.seen(round)
    for ports in seen.values():
        for address in ports.values():
            if _may_reach(address[0], reaches):
                yield Candidate(CandidateKind.SERVER_REFLEXIVE, address)
    if mapping(side, round) is NatMapping.SEQUENTIAL:
        for address in predicted(seen.get(4) or seen[6]):
            if _may_reach(address[0], reaches):
                yield Candidate(CandidateKind.PREDICTED, address)


def _may_reach(host: str, reaches: Set[Reach]) -> bool:
    """
    Tell whether an address that was observed names the same host for the peer as for the server.

    :param reaches: of the addresses at which the peer was observed.
    """
    match place_of(host).reach:
        case Reach.WORLD:
            return True
        case Reach.SITE:
            # A peer elsewhere would send to a host of its own network that happens to have this address.
            return not reaches.isdisjoint((Reach.SITE, Reach.MACHINE))
        case Reach.MACHINE:
            # Two clients on the machine of the server, as in a demonstration, are there for each other alone.
            return Reach.MACHINE in reaches
        case Reach.NOWHERE:
            return False


def _relayed(side: Side, facilities: Facilities) -> list[Candidate]:
    hosts = facilities.relay_hosts
    return [
        each
        for each in side.given.candidates
        if each.kind is CandidateKind.RELAYED and each.address[0] in hosts and each.address[1] >= LEAST_PORT
    ][:MOST_OF_A_KIND]


def _networks(side: Side) -> set[bytes]:
    """:returns: the networks that a side was observed in."""
    return {place_of(host).network for host in side.hosts()}


def _spelled(host: str) -> str:
    """
    :returns: an address as it is shown: IPv4 where it is IPv4.
    :raises ValueError: it is none, or has a scope.
    """
    if "%" in host:
        raise ValueError
    return shown(str(ip_address(host)))
