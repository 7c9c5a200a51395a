"""
The records of attempts: two clients that try to open a direct path (``protocol/connect`` in the docs).

:mod:`rendezvous.core.attempts.attempts` decides about them.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from rendezvous.core.addresses import Address
from rendezvous.core.connect import AttemptRole, AttemptState, Candidate, NatMapping, Strategy, Via
from rendezvous.core.sources import SourceNetwork

__all__ = [
    "AddressCheck",
    "Attempt",
    "AttemptView",
    "Check",
    "Ended",
    "Facilities",
    "Given",
    "Go",
    "Invitation",
    "Invite",
    "Outcome",
    "Side",
]


@attrs.frozen
class Given:
    """
    What a client says when it begins or accepts an attempt.

    :ivar rtt: seconds of a round trip to the server.
    :ivar birthday: whether it agrees to open many ports.
    """

    candidates: tuple[Candidate, ...] = ()
    rtt: float = 0.0
    birthday: bool = False


@attrs.frozen
class Outcome:
    """
    What a side says at the end.

    :ivar via: the kind of path, if there is one.
    :ivar code: why there is none.
    """

    ok: bool
    via: Via | None = None
    code: str | None = None


@attrs.frozen
class Ended:
    """
    What an attempt that has ended is counted as.

    :ivar mappings: of both NATs, in the order of their names; ``None`` if only one side has taken part.
    :ivar strategy: of the last round; ``None`` if none has begun.
    :ivar result: the kind of path, or ``unknown`` if the client has not said it; a code of
        :data:`~rendezvous.core.attempts.strategy.REASONS`; or the state in which it has ended.
    :ivar ok: whether there is a path.
    :ivar seconds: from the request to the end; attempts that differ in nothing else are equal, so they can be counted.
    """

    mappings: tuple[NatMapping, NatMapping] | None
    strategy: Strategy | None
    result: str
    ok: bool
    seconds: float = attrs.field(eq=False)

    def __str__(self) -> str:
        """:returns: both mappings and what came of it, for the log."""
        who = "not accepted" if self.mappings is None else " and ".join(self.mappings)
        return f"{who}: {self.result}"


@attrs.frozen
class Facilities:
    """
    What the server has for clients that connect.

    :ivar udp_ports: how many UDP ports observe, at most two.
    :ivar has_relay: whether it names TURN servers.
    :ivar relay_hosts: the addresses of the TURN servers, as far as they are known.
    """

    udp_ports: int = 2
    has_relay: bool = False
    relay_hosts: frozenset[str] = frozenset()


@attrs.define(eq=False)
class Check:
    """
    A mapped candidate that the server checks, because a client could name the address of another host.

    :ivar nonce: 4 bytes.
    :ivar begun: when the first datagram was due, in server time.
    :ivar sent: how many have been sent.
    """

    nonce: bytes
    begun: float
    sent: int = 0


@attrs.define(eq=False)
class Side:
    """
    One of the two clients of an attempt.

    :ivar given: what the client has said.
    :ivar observed: by round, and by the family of addresses (4 or 6), what the UDP ports have seen.
    :ivar latest: by the index of a UDP port, the time of the last observation that was taken, in ms of the client.
    :ivar checks: the mapped candidates that are being checked.
    :ivar vouched: those that have been answered.
    :ivar version: grows with each change that this side can see.
    :ivar shown: a hash of what this side sees.
    :ivar changes: how often this side has changed what the other one may see.
    :ivar informed: when the client has first shown that it knows the attempt; ``None`` until then.
    """

    client_id: bytes
    role: AttemptRole
    given: Given = Given()
    observed: dict[int, dict[int, dict[int, Address]]] = attrs.field(factory=dict)
    latest: dict[int, int] = attrs.field(factory=dict)
    checks: dict[Address, Check] = attrs.field(factory=dict)
    vouched: set[Address] = attrs.field(factory=set)
    version: int = 1
    shown: int = 0
    changes: int = 0
    informed: float | None = None

    def see(self, round: int, port: int, address: Address) -> bool:
        """
        Note where a UDP port has seen the socket.

        :returns: whether that is anything new. If the ports see different addresses, it matters which one came last.
        """
        seen = self.observed.setdefault(round, {}).setdefault(6 if ":" in address[0] else 4, {})
        if seen.get(port) == address and (len(set(seen.values())) == 1 or next(reversed(seen)) == port):
            return False
        seen.pop(port, None)
        seen[port] = address
        return True

    def seen(self, round: int) -> dict[int, dict[int, Address]]:
        """:returns: what was observed in a round: by family and by UDP port."""
        return self.observed.get(round, {})

    def hosts(self) -> set[str]:
        """:returns: every address that was observed, whatever its port."""
        return {host for seen in self.observed.values() for ports in seen.values() for host, _ in ports.values()}

    def is_whole(self, round: int, ports: int) -> bool:
        """
        :param ports: how many UDP ports there are to observe.
        :returns: whether all of them have seen a socket of each family of addresses that one of them has seen.
        """
        return all(len(each) >= ports for each in self.seen(round).values())


@attrs.define(eq=False)
class Attempt:
    """
    Two clients that try to open a direct path. Times are in seconds of server time.

    :ivar id: 8 bytes.
    :ivar seq: its place among the events of the invited client.
    :ivar source: who is charged for it.
    :ivar begun: when it was asked for.
    :ivar joined: when both sides took part; ``None`` before that.
    :ivar ended: when it ended; ``None`` while it goes on.
    :ivar invites: how many invitations have been sent.
    :ivar round: from 1 on.
    :ivar next_round: when both sides had been observed in the round after this one, if they have.
    :ivar starts: when both sides should send their first probe in this round.
    :ivar code: why it has failed.
    :ivar due: when something has to be done about it.
    """

    id: bytes
    seq: int
    source: SourceNetwork
    begun: float
    controlling: Side
    controlled: Side
    state: AttemptState = AttemptState.INVITED
    joined: float | None = None
    ended: float | None = None
    invites: int = 0
    round: int = 1
    next_round: float | None = None
    starts: float = 0.0
    strategy: Strategy = Strategy.DIRECT
    code: str | None = None
    due: float = 0.0

    def __iter__(self) -> Iterator[Side]:
        """Walk both sides."""
        return iter((self.controlling, self.controlled))

    @property
    def goes_on(self) -> bool:
        """:returns: whether it has not ended."""
        return not self.state.over

    def side_of(self, client_id: bytes) -> Side | None:
        """:returns: the side of a client, or ``None`` for a stranger."""
        return next((side for side in self if side.client_id == client_id), None)

    def peer_of(self, side: Side) -> Side:
        """:returns: the side across."""
        return self.controlled if side is self.controlling else self.controlling


@attrs.frozen
class Invitation:
    """
    An attempt as the invited client learns of it.

    :ivar attempt: 8 bytes.
    :ivar peer: the id of the client that has asked.
    :ivar seq: its place among the events of the invited client.
    :ivar expires: until when it can be accepted, in seconds of server time.
    """

    attempt: bytes
    peer: bytes
    seq: int
    expires: float


@attrs.frozen
class Go:
    """
    What a side needs to send probes.

    :ivar key: the pair key.
    :ivar starts: when this side should send its first probe, in seconds of server time; the time that an answer takes
        to arrive is subtracted.
    :ivar mapping: that of this side.
    :ivar peer_mapping: that of the other.
    :ivar candidates: those of the other.
    """

    key: bytes = attrs.field(repr=False)
    starts: float
    strategy: Strategy
    mapping: NatMapping
    peer_mapping: NatMapping
    candidates: tuple[Candidate, ...]


@attrs.frozen
class AttemptView:
    """
    An attempt as one side sees it.

    :ivar expires: when it ends at the latest, in seconds of server time.
    :ivar takes_part: whether this side does; it does not before it has accepted.
    :ivar go: with the state ``go`` or ``done``.
    :ivar code: with the state ``failed``.
    """

    attempt: bytes
    state: AttemptState
    role: AttemptRole
    version: int
    expires: float
    round: int
    peer: bytes
    takes_part: bool
    go: Go | None = None
    code: str | None = None


@attrs.frozen
class Invite:
    """
    An invitation that is to be sent.

    :ivar client_id: whom it is for.
    """

    client_id: bytes
    attempt: bytes


@attrs.frozen
class AddressCheck:
    """
    An address check that is to be sent.

    :ivar client_id: who has named the address.
    """

    client_id: bytes
    attempt: bytes
    nonce: bytes
    address: Address
