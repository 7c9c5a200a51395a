"""
What a puncher or a path asks its caller to do, in the order in which it is to be done.

Neither sends anything itself. Each of their methods returns actions, and the caller carries them out.
"""

from __future__ import annotations

import attrs

from rendezvous.core.addresses import Address
from rendezvous.core.connect import Via
from rendezvous.core.punching.pairs import Local

__all__ = [
    "Action", "AttemptDue", "Closed", "Connected", "Deliver", "Failed", "Lost", "NextRound", "OpenSockets",
    "PathChanged", "Release", "Send",
]  # fmt: skip


@attrs.frozen
class Send:
    """
    Send a datagram.

    :ivar local: the endpoint to send it from.
    :ivar ttl: the TTL or hop limit of this datagram; ``None`` for that of the system.
    """

    local: Local
    address: Address
    datagram: bytes
    ttl: int | None = None


@attrs.frozen
class NextRound:
    """
    This round has brought no path.

    The caller closes the sockets of the round, opens new ones, and observes them with this number. Then it calls
    :meth:`rendezvous.core.punching.puncher.Puncher.begin` with what the server says.

    :ivar number: of the next round.
    """

    number: int


@attrs.frozen
class OpenSockets:
    """
    Open sockets for birthday probing, and give them to :meth:`rendezvous.core.punching.puncher.Puncher.add_locals`.

    They are given as :class:`~rendezvous.core.punching.pairs.Local` with ``birthday`` set. The caller may open fewer.

    :ivar count: how many.
    """

    count: int


@attrs.frozen
class Connected:
    """
    There is a path: both sides know that this pair works, and they have agreed on it.

    :ivar rtt: the round trip on it, in seconds.
    :ivar path: the earlier path that the other side goes on with, or :data:`~rendezvous.core.punching.probes.NEW_PATH`.
    """

    local: Local
    address: Address
    via: Via
    rtt: float
    path: bytes


@attrs.frozen
class Failed:
    """
    There is no path, and no further round.

    :ivar code: for programs.
    :ivar reason: for people.
    """

    code: str
    reason: str


@attrs.frozen
class Deliver:
    """A payload has come from the peer, for the first time."""

    payload: bytes


@attrs.frozen
class PathChanged:
    """
    The path now sends on another pair.

    :ivar rtt: the round trip on it, in seconds.
    """

    local: Local
    address: Address
    via: Via
    rtt: float


@attrs.frozen
class AttemptDue:
    """
    A new attempt with the peer would help.

    The caller may begin one and let it join the path; the path repeats this with growing pauses.

    :ivar relayed: whether the path works, but through a relay; otherwise nothing is heard from the peer.
    """

    relayed: bool


@attrs.frozen
class Release:
    """These endpoints are used no longer; the caller may close them."""

    locals: tuple[Local, ...]


@attrs.frozen
class Lost:
    """
    The path has ended without a word of the peer: nothing was heard of it for 30 s.

    :ivar forgotten: whether the peer does not know the path any more, so that it is not waited for.
    """

    forgotten: bool = False


@attrs.frozen
class Closed:
    """The path has ended, because one of the two sides has closed it."""


Action = (
    Send | NextRound | OpenSockets | Connected | Failed | Deliver | PathChanged | AttemptDue | Release | Lost | Closed
)
