"""What the tracker answers, and to whom."""

from __future__ import annotations

from attrs import frozen

__all__ = [
    "Announced",
    "Expired",
    "PeerInfo",
    "Pulsed",
    "PushNotice",
    "Pushed",
    "Replies",
    "Reply",
    "Source",
    "StillAlive",
]

Source = tuple[str, int, int]
"""
Where a datagram came from: host and port as the socket shows them, and the number of the server's socket that it came
to, which is the local port while no two sockets have the same one.
"""


@frozen
class Announced:
    """The caller is in the table, under this name."""

    share_id: str


@frozen
class Pulsed:
    """
    The caller's pulse was taken.

    :ivar refused: an override was asked for and not allowed, so that the pulse has only kept the peer alive.
    :ivar overridden: an override was asked for and made.
    :ivar share_id: the new name, if one was asked for.
    """

    refused: bool = False
    overridden: bool = False
    share_id: str | None = None


@frozen
class StillAlive:
    """The caller is in the table."""


@frozen
class Expired:
    """The caller is not in the table, or no longer."""


@frozen
class PeerInfo:
    """
    What one peer learns about another.

    :ivar ip: the recorded host.
    :ivar port: the recorded port.
    :ivar share_id: the name.
    :ivar multiaddr: text that the peer wants passed on, if any.
    """

    ip: str
    port: int
    share_id: str
    multiaddr: str | None = None


@frozen
class Pushed:
    """
    The answer to a push.

    :ivar peer: the target.
    """

    peer: PeerInfo


@frozen
class PushNotice:
    """
    The notice to the target of a push.

    :ivar peer: the caller.
    """

    peer: PeerInfo


Reply = Announced | Pulsed | StillAlive | Expired | Pushed | PushNotice
Replies = tuple[tuple[Reply, Source], ...]
"""Messages, each with the source that it is for; the first is the answer to the caller."""
