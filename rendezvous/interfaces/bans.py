"""The part of the store that ends clients and keeps networks and clients out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from rendezvous.core.bans import Ban

__all__ = ["IBanStore"]


class IBanStore(Interface):
    """Bans. What is decided holds at once, also while nothing can be saved."""

    bans = Attribute("All bans (:class:`~rendezvous.core.bans.Bans`); always the same object.")

    async def kick(client_id: bytes, now: float) -> None:
        """
        End a client, its offers and its credential, as a logout does.

        :raises NotFound: ``no-such-client``.
        """

    async def ban(target: str, seconds: float | None, reason: str, now: float) -> Ban:
        """
        Ban a network, or a client by its id. A client that is there is ended as by :meth:`kick`.

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
