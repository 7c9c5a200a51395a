"""The part of the store that reads many entries: lists, counts and histories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rendezvous.core.attempts.records import AttemptRecord
    from rendezvous.core.presence.states import PresenceState
    from rendezvous.core.signaling.offers import Offer
    from rendezvous.core.signaling.pages import Page
    from rendezvous.model import ClientDetails, ClientPage, ClientQuery

__all__ = ["IQueries"]


class IQueries(Interface):
    """
    Reads of many entries, which change nothing.

    A read of a large table is done in slices over turns of the reactor. For example, a million clients are counted in
    fifty slices.
    """

    def keep_history() -> None:
        """Record from now on what happens to clients, in memory of a fixed size."""

    async def census(now: float) -> Mapping[PresenceState, int]:
        """:returns: how many clients each state but ``GONE`` has."""

    async def clients(query: ClientQuery, after: int, limit: int, now: float) -> ClientPage:
        """
        Find clients.

        :param after: the position to go on after; 0 at the beginning.
        """

    async def client(client_id: bytes, now: float) -> ClientDetails:
        """
        :returns: one client, and its history.
        :raises NotFound: ``no-such-client``, nothing is known of it.
        """

    async def offers(
        after: tuple[int, int] | None, limit: int, now: float, *, sessions: bool = False
    ) -> Page[Offer, tuple[int, int]]:
        """
        :param after: the position to go on after.
        :param sessions: whether sessions are looked for, and not offers.
        :returns: offers or sessions, in the order in which they end.
        """

    async def attempts(
        client_id: bytes | None = None, before: int | None = None, most: int | None = None
    ) -> list[AttemptRecord]:
        """
        :param client_id: whose attempts; ``None`` for those of all.
        :param before: only those with smaller numbers.
        :param most: how many at most; ``None`` for all.
        :returns: those that go on and those that have ended lately, the latest first.
        """
