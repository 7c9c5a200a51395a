"""
Pairs of addresses: what a side may send from, what it may send to, and which pair is the better one.

A pair is a local endpoint and an address of the peer (RFC 8445, section 6.1.2). Local endpoints are names that the
caller chooses, for example ``"ipv4"``, ``"ipv6"`` and ``"relay"``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum

import attrs

from rendezvous.core.addresses import Address, is_link_local, is_loopback, is_private, is_shared, is_unicast, packed
from rendezvous.core.connect import Candidate, CandidateKind, Via

__all__ = ["MAX_CANDIDATES", "Local", "Pair", "Tier", "choose", "is_inside"]

MAX_CANDIDATES = 32
"""Candidates of the peer that are tried in one round."""


class Tier(IntEnum):
    """The order in which pairs are preferred; a smaller one is better, whatever the round trips are."""

    LAN = 0
    IPV6 = 1
    MAPPED = 2
    DIRECT = 3
    RELAYED = 4


#: How many candidates of a kind there may be, so that one kind does not take the places of all others.
SLOTS = {
    CandidateKind.HOST: 8,
    CandidateKind.SERVER_REFLEXIVE: 6,
    CandidateKind.PREDICTED: 8,
    CandidateKind.MAPPED: 4,
    CandidateKind.RELAYED: 4,
    CandidateKind.PEER_REFLEXIVE: 8,
}


@attrs.frozen
class Local:
    """
    A local endpoint: a UDP socket of one address family, or a relay.

    :ivar name: by which the caller knows it.
    :ivar ipv6: whether it sends to IPv6 addresses; a socket sends to one family only.
    :ivar relayed: whether it is a relay (RFC 8656) and no socket.
    :ivar mapped: the public address of a port mapping that leads to this socket, if there is one.
    :ivar birthday: whether it is one of the many sockets of birthday probing.
    """

    name: str
    ipv6: bool = False
    relayed: bool = False
    mapped: Address | None = None
    birthday: bool = False


@attrs.define(eq=False)
class Pair:
    """
    A local endpoint with an address of the peer, and what is known of both.

    :ivar kind: of the address of the peer.
    :ivar to_mapping: whether probes on it go through a port mapping of either side.
    :ivar birthday: whether one of the two sockets is one of birthday probing.
    :ivar relayed: whether the other side sends through a relay.
    :ivar valid: whether a probe was acknowledged on it, and it has not failed since.
    :ivar rtt: seconds, smoothed; ``None`` before the first acknowledgement.
    :ivar heard: when a valid datagram last came on it; ``None`` if none did.
    :ivar probed: when a probe was last sent on it; ``None`` if none was.
    :ivar silent_since: when the first probe was sent that has not been answered; ``None`` if all are.
    :ivar measurements: round trips that were measured.
    :ivar valid_since: when it became valid.
    :ivar failures: how often a path had to leave it because nothing was heard on it.
    """

    local: Local
    address: Address
    kind: CandidateKind
    to_mapping: bool = False
    birthday: bool = False
    relayed: bool = False
    valid: bool = False
    rtt: float | None = None
    heard: float | None = None
    probed: float | None = None
    silent_since: float | None = None
    valid_since: float | None = None
    measurements: int = 0
    failures: int = 0

    @property
    def ipv6(self) -> bool:
        """:returns: whether the address of the peer is an IPv6 address."""
        return ":" in self.address[0]

    @property
    def tier(self) -> Tier:
        """:returns: how much the pair is preferred."""
        if self.local.relayed or self.relayed or self.kind is CandidateKind.RELAYED:
            return Tier.RELAYED
        if is_inside(self.address[0]):
            return Tier.LAN
        if self.ipv6:
            return Tier.IPV6
        return Tier.MAPPED if self.to_mapping or self.kind is CandidateKind.MAPPED else Tier.DIRECT

    @property
    def via(self) -> Via:
        """:returns: how a path on this pair goes."""
        tier = self.tier
        if tier is Tier.DIRECT:
            return Via.BIRTHDAY if self.local.birthday or self.birthday else Via.DIRECT
        return _VIA[tier]

    @property
    def rank(self) -> tuple[Tier, float]:
        """:returns: what pairs are sorted by, best first."""
        return self.tier, self.rtt or 0.0

    def measured(self, rtt: float) -> None:
        """
        Enter a round trip, smoothed as TCP does it (RFC 6298, section 2).

        :param rtt: seconds.
        """
        self.rtt = rtt if self.rtt is None else self.rtt + (rtt - self.rtt) / 8
        self.measurements += 1


_VIA = {Tier.LAN: Via.LAN, Tier.IPV6: Via.IPV6, Tier.MAPPED: Via.MAPPED, Tier.RELAYED: Via.RELAY}


def choose(candidates: Iterable[Candidate]) -> Sequence[Candidate]:
    """
    Choose which candidates are tried.

    These are left out: addresses that do not belong to one host, such as multicast; port 0; host candidates with a
    loopback or link-local address; duplicates; more than :data:`SLOTS` of a kind, or :data:`MAX_CANDIDATES` in all.

    :returns: at most :data:`MAX_CANDIDATES`, in the order that they were given in.
    """
    chosen: dict[Address, Candidate] = {}
    taken = dict.fromkeys(CandidateKind, 0)
    for candidate in candidates:
        is_new = candidate.address not in chosen and _is_usable(candidate)
        if is_new and taken[candidate.kind] < SLOTS[candidate.kind] and len(chosen) < MAX_CANDIDATES:
            taken[candidate.kind] += 1
            chosen[candidate.address] = candidate
    return list(chosen.values())


def _is_usable(candidate: Candidate) -> bool:
    """:returns: whether a datagram may go to a candidate."""
    host, port = candidate.address
    try:
        octets = packed(host)
    except ValueError:
        return False
    # Loopback and link-local addresses name another host at each reader. The server may have observed them.
    is_near = candidate.kind is CandidateKind.HOST and (is_loopback(octets) or is_link_local(octets))
    return 0 < port < 65536 and is_unicast(octets) and not is_near


def is_inside(host: str) -> bool:
    """
    Tell whether an address has a meaning inside one network only (RFC 1918, RFC 6598, RFC 4193, loopback, link-local).

    :param host: an IP address.
    """
    octets = packed(host)
    return is_private(octets) or is_shared(octets) or is_loopback(octets) or is_link_local(octets)
