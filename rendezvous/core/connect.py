"""
What the server and the clients both say about an attempt to connect, as ``docs/protocol/connect.rst`` defines it.

The server's side of an attempt is in :mod:`rendezvous.core.attempts`, the client's side in
:mod:`rendezvous.core.punching`.
"""

from __future__ import annotations

from enum import StrEnum

import attrs

from rendezvous.core.addresses import Address

__all__ = ["AttemptRole", "AttemptState", "Candidate", "CandidateKind", "NatMapping", "Strategy", "Via"]


class AttemptRole(StrEnum):
    """The two sides of an attempt: the one that has asked for it, and the one that was invited."""

    CONTROLLING = "controlling"
    CONTROLLED = "controlled"


class AttemptState(StrEnum):
    """How far an attempt is, as both sides see it."""

    INVITED = "invited"
    OBSERVING = "observing"
    GO = "go"
    DONE = "done"
    DECLINED = "declined"
    EXPIRED = "expired"
    FAILED = "failed"

    @property
    def over(self) -> bool:
        """:returns: whether the attempt has ended."""
        return self not in (AttemptState.INVITED, AttemptState.OBSERVING, AttemptState.GO)


class CandidateKind(StrEnum):
    """How the address of a candidate is known (RFC 8445, section 5.1.1)."""

    HOST = "host"
    SERVER_REFLEXIVE = "server-reflexive"
    PREDICTED = "predicted"
    PEER_REFLEXIVE = "peer-reflexive"
    MAPPED = "mapped"
    RELAYED = "relayed"


@attrs.frozen
class Candidate:
    """
    An address at which a client may be.

    :ivar address: an IP address as text, and a port from 1 to 65535.
    """

    kind: CandidateKind
    address: Address


class NatMapping(StrEnum):
    """How a NAT maps the socket of a client, as far as the server has observed it (RFC 4787, section 4.1)."""

    NONE = "none"
    ENDPOINT_INDEPENDENT = "endpoint-independent"
    SEQUENTIAL = "sequential"
    ENDPOINT_DEPENDENT = "endpoint-dependent"
    UNKNOWN = "unknown"
    BLOCKED = "blocked"

    @property
    def is_per_destination(self) -> bool:
        """:returns: whether the NAT gives the socket another port for each destination."""
        return self is NatMapping.SEQUENTIAL or self is NatMapping.ENDPOINT_DEPENDENT


class Strategy(StrEnum):
    """How a round of an attempt goes; the server chooses it."""

    DIRECT = "direct"
    BIRTHDAY = "birthday"
    RELAY = "relay"


class Via(StrEnum):
    """How a path goes, in a word for people and programs."""

    LAN = "lan"
    IPV6 = "ipv6"
    MAPPED = "mapped"
    DIRECT = "direct"
    BIRTHDAY = "birthday"
    RELAY = "relay"
