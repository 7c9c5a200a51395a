"""What a round of an attempt begins with, and how long it lasts."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from rendezvous.core.connect import Candidate, CandidateKind, NatMapping, Strategy
from rendezvous.core.punching.pairs import Local, Pair

__all__ = ["LISTEN_TIME", "LONGEST_ROUND", "MAX_ROUNDS", "Round"]

MAX_ROUNDS = 3

OPENERS_FOR, OPENERS_FOR_LATER = 0.15, 0.5
"""Seconds from the first opener to the first probe with the usual TTL, in the first round and in later ones."""

LONGEST_ROUND = 4.0
"""Seconds that a round lasts at most if the peer is being heard at its end."""

LISTEN_TIME = 0.5
"""Seconds that a side with a mapped socket waits for the first probe."""


ROUND_TIMES = {Strategy.DIRECT: 1.5, Strategy.BIRTHDAY: 12.0, Strategy.RELAY: 6.0}
"""Seconds that a round lasts without a path."""


@attrs.frozen
class Round:
    """
    What a round begins with.

    :ivar number: from 1 on.
    :ivar hold: seconds to wait before the first probe.
    :ivar candidates: of the peer, from the server.
    :ivar locals: the endpoints of this round, and relays; a relay may be there in each round.
    :ivar mapping: what the server has observed of the NAT of this side.
    :ivar peer_mapping: the same of the peer.
    """

    number: int
    hold: float
    candidates: Sequence[Candidate]
    locals: Sequence[Local]
    strategy: Strategy = Strategy.DIRECT
    mapping: NatMapping = NatMapping.UNKNOWN
    peer_mapping: NatMapping = NatMapping.UNKNOWN

    @property
    def time(self) -> float:
        """:returns: the seconds that it lasts if nothing is heard of the peer."""
        return ROUND_TIMES[self.strategy]

    def openers_for(self, pair: Pair) -> float | None:
        """:returns: how many seconds of openers go before the probes on a pair; ``None`` if it needs none."""
        # Until this side can be expected to have sent a probe, the NAT of the peer must not see one of ours.
        behind_nat = pair.kind in (CandidateKind.SERVER_REFLEXIVE, CandidateKind.PREDICTED)
        if not behind_nat or pair.ipv6 or pair.local.relayed:
            return None
        return OPENERS_FOR if self.number == 1 else OPENERS_FOR_LATER

    def fits(self, local: Local, candidate: Candidate, hosts: set[str]) -> bool:
        """
        :param hosts: those to which a relay sends already; one probe lets all ports of a host through a relay.
        :returns: whether probes go from an endpoint to a candidate.
        """
        host, kind = candidate.address[0], candidate.kind
        if local.birthday or (":" in host) != local.ipv6:
            return False
        if local.relayed:
            new = kind is CandidateKind.RELAYED or (kind is not CandidateKind.HOST and host not in hosts)
            hosts.add(host)
            return new
        if self.strategy is Strategy.DIRECT:
            return True
        if self.strategy is Strategy.BIRTHDAY and kind is CandidateKind.HOST:
            return True
        return kind in (CandidateKind.RELAYED, CandidateKind.MAPPED)
