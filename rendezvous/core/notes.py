"""
What the tables report while they decide.

*Notes* are for durability: a new or changed record is noted as itself, one that has ended as :class:`Removed`. *Keys*
are for requests that wait: a key names what has changed, and the waiter reads it again.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import attrs

__all__ = [
    "AttemptSide",
    "Key",
    "Note",
    "Notify",
    "OfferSide",
    "PeerEvents",
    "Removed",
    "TopicChanges",
    "ignore_changes",
    "ignore_key",
    "same_clock",
]


@attrs.frozen
class Removed:
    """:ivar record: what has ended."""

    record: object


@attrs.frozen
class PeerEvents:
    """
    The events of one peer. ``str()`` gives a name for a publish-and-subscribe channel; equal keys have equal names.

    :ivar peer: the peer's id.
    """

    peer: str

    def __str__(self) -> str:
        return f"peer:{quote(self.peer, safe='')}"


@attrs.frozen
class OfferSide:
    """
    One side of an offer or session: its answer and the candidates for it. ``str()`` is as in :class:`PeerEvents`.

    :ivar namespace: empty for offers; a session's Origin.
    :ivar offer_id: the offer's id or the session's code.
    :ivar role: ``"offerer"`` or ``"answerer"``.
    """

    namespace: str
    offer_id: str
    role: str

    def __str__(self) -> str:
        return f"offer:{quote(self.namespace, safe='')}:{quote(self.offer_id, safe='')}:{self.role}"


@attrs.frozen
class AttemptSide:
    """
    One side of an attempt to connect. ``str()`` is as in :class:`PeerEvents`.

    :ivar attempt: its id, in hex.
    :ivar role: ``"controlling"`` or ``"controlled"``.
    """

    attempt: str
    role: str

    def __str__(self) -> str:
        return f"attempt:{self.attempt}:{self.role}"


@attrs.frozen
class TopicChanges:
    """
    The changes of a topic of the offers that is watched. ``str()`` is as in :class:`PeerEvents`.

    :ivar topic: its name.
    """

    topic: str

    def __str__(self) -> str:
        return f"topic:{quote(self.topic, safe='')}"


Key = PeerEvents | OfferSide | AttemptSide | TopicChanges
Note = Callable[[object], None]
Notify = Callable[[Key], None]


def ignore_changes(record: object) -> None:
    """For a table whose changes are kept nowhere else."""


def ignore_key(key: Key) -> None:
    """For a table without requests that wait for its changes."""


def same_clock(moment: float) -> float:
    """Convert server time to the wall clock where both are one, as in most tests."""
    return moment
