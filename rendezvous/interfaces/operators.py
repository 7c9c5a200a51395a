"""What a store does for operators: they kick and ban, and see what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from rendezvous.core.attempts.history import AttemptRecord
    from rendezvous.core.bans import Ban
    from rendezvous.core.signaling.offers import Offer
    from rendezvous.core.signaling.pages import Page
    from rendezvous.model import (
        ClientDetails,
        ClientPage,
        ClientQuery,
    )

__all__ = ["IBanStore"]


class IBanStore(Interface):
    """What an operator decides about clients and networks. It holds at once, also while nothing can be kept."""

    bans = Attribute("Who is shut out (:class:`~rendezvous.core.bans.Bans`), the same for as long as the store is.")

    async def kick(client_id: bytes, now: float) -> None:
        """
        End a client, its offers and its credential, as a logout does.

        :raises NotFound: ``no-such-client``.
        """

    async def ban(target: str, seconds: float | None, reason: str, now: float) -> Ban:
        """
        Shut out a network, or a client by its id. A client that is there is ended as by :meth:`kick`.

        :param seconds: for how long; ``None`` for good.
        :returns: the ban.
        :raises Malformed: the target is neither, or something is out of its limits.
        :raises Full: ``full-bans``.
        """

    async def lift(target: str, now: float) -> Ban:
        """
        End a ban.

        :returns: the ban.
        :raises NotFound: ``no-such-ban``.
        """

    # What an operator sees

    def keep_history() -> None:
        """Write down from now on what happens to clients, in memory of a fixed size."""

    async def clients(query: ClientQuery, after: int, limit: int, now: float) -> ClientPage:
        """
        A part of the clients, looked for in slices over turns of the reactor.

        :param after: the position to go on after; 0 at the beginning.
        """

    async def client(client_id: bytes, now: float) -> ClientDetails:
        """
        One client, and what has happened to it.

        :raises NotFound: ``no-such-client``, nothing is known of it.
        """

    async def offers(
        after: tuple[int, int] | None, limit: int, now: float, *, sessions: bool = False
    ) -> Page[Offer, tuple[int, int]]:
        """A part of the offers, or of the sessions."""

    async def attempt_records(
        client_id: bytes | None = None, before: int | None = None, most: int | None = None
    ) -> list[AttemptRecord]:
        """
        The attempts of a client or of all: those that go on and those that have ended lately, the latest first.

        :param before: only those with smaller numbers.
        :param most: how many at most; ``None`` for all.
        """
