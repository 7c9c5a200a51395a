"""
Logouts that are remembered, so that a credential which was ended cannot be used again.

A credential that names its client is checked by arithmetic alone, so nothing about it could end by itself. All times
here are on the wall clock: a logout has to be remembered while the server is down, too.
"""

from __future__ import annotations

import math

import attrs

from rendezvous.core.notes import Note, Removed, ignore_changes
from rendezvous.core.presence.deadlines import Deadlines
from rendezvous.core.shares import Shares
from rendezvous.core.sources import SourceNetwork, source_network

__all__ = ["LiveOnly", "Logouts", "Revocation"]


@attrs.frozen
class Revocation:
    """
    One remembered logout.

    :ivar client_id: whose credential ended.
    :ivar until: when it may be forgotten, on the wall clock.
    :ivar network: the subscriber network that it is counted for; empty if no limit counts it.
    """

    client_id: bytes
    until: float
    network: str = ""


@attrs.frozen
class LiveOnly:
    """
    The rule that stands in for logouts which were forgotten early, for want of room.

    :ivar until: up to this moment, on the wall clock, a credential is good only while its client is in the live table.
    """

    until: float


class Logouts:
    """
    The remembered logouts. A logout is never refused.

    Where there is no room for another one, the one that ends first is forgotten. So that no credential becomes good
    again by that, credentials of clients that are not live are refused until the forgotten logout would have ended.

    :param memory: how long a logout is remembered, seconds.
    :param most: how many are remembered.
    :param shares: how many each source may cause before it may register no more clients.
    :param note: called with every :class:`Revocation` and :class:`LiveOnly` that is new, and with what has ended.
    """

    def __init__(self, memory: float, most: int, shares: Shares | None = None, note: Note = ignore_changes) -> None:
        self._memory = memory
        self._most = most
        self._shares = Shares("remembered logouts") if shares is None else shares
        self._note = note
        self._revoked: dict[bytes, Revocation] = {}
        self._endings: Deadlines[bytes] = Deadlines()
        self._live_only_until = -math.inf

    def change(self, most: int, shares: tuple[int, int]) -> None:
        """Use other bounds from now on. What is remembered already stays, and is counted."""
        self._most = most
        self._shares.change(*shares)

    def __len__(self) -> int:
        """Count the logouts that are remembered, those included whose time is over."""
        return len(self._revoked)

    def __contains__(self, client_id: object) -> bool:
        return client_id in self._revoked

    def clear(self) -> None:
        """Forget everything, without noting it."""
        self._shares.clear()
        self._revoked.clear()
        self._endings = Deadlines()
        self._live_only_until = -math.inf

    def add(self, client_id: bytes, source: SourceNetwork, wall: float) -> None:
        """Remember a logout; one that is remembered already stays as it is."""
        if self.has_revoked(client_id, wall):
            return
        if len(self) >= self._most:
            self._forget_first()
        revocation = Revocation(client_id, wall + self._memory, source.subscriber)
        self.restore(revocation)
        self._note(revocation)

    def has_revoked(self, client_id: bytes, wall: float) -> bool:
        """:returns: whether a logout of this client is remembered."""
        revocation = self._revoked.get(client_id)
        return revocation is not None and wall <= revocation.until

    def live_only(self, wall: float) -> bool:
        """:returns: whether a credential is good only while its client is live."""
        return wall <= self._live_only_until

    def check(self, source: SourceNetwork) -> None:
        """
        See that a source may register a client, which could log out in its turn.

        :raises TooMany: it has caused its share of the logouts that are remembered.
        """
        self._shares.check(source)

    def is_due(self, wall: float) -> bool:
        """:returns: whether :meth:`forget` would do something."""
        return self._endings.is_due(wall)

    def forget(self, wall: float, at_most: int) -> None:
        """
        Free the logouts whose time is over.

        :param at_most: how many to look at.
        """
        for client_id in self._endings.take(wall, self._end_of, at_most):
            self._remove(client_id)

    def restore(self, revocation: Revocation) -> None:
        """Put in a logout that is already noted elsewhere."""
        if revocation.client_id in self._revoked:
            self._shares.remove(source_network(self._revoked[revocation.client_id].network))
        self._revoked[revocation.client_id] = revocation
        self._endings.put(revocation.client_id, revocation.until)
        self._shares.add(source_network(revocation.network))

    def restore_live_only(self, until: float) -> None:
        """Put in the rule of :class:`LiveOnly`, already noted elsewhere."""
        self._live_only_until = max(self._live_only_until, until)

    def _end_of(self, client_id: bytes) -> float | None:
        revocation = self._revoked.get(client_id)
        return None if revocation is None else revocation.until

    def _remove(self, client_id: bytes) -> None:
        revocation = self._revoked.pop(client_id)
        self._shares.remove(source_network(revocation.network))
        self._note(Removed(revocation))

    def _forget_first(self) -> None:
        first = self._endings.pop_first(self._end_of)
        if first is not None:
            self.restore_live_only(self._revoked[first].until)
            self._remove(first)
            self._note(LiveOnly(self._live_only_until))
