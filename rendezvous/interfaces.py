"""What a third party may implement: the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from rendezvous.core.identity import Credential
    from rendezvous.core.presence import Client, PulseCode
    from rendezvous.model import PeerAddress, PeerStatus, Swept

__all__ = ["IStore"]


class IStore(Interface):
    """
    Where state lives.

    The verbs are coroutine functions: awaiting one that is answered from memory costs no trip through a Deferred, on
    which most requests would otherwise spend most of their time. Each verb is atomic: it happens wholly or not at all,
    whatever else goes on. It returns when what it did would survive this process, as far as the store promises that at
    all. Every verb may raise :exc:`~rendezvous.errors.Unavailable`; then the same call may work later. ``now`` is in
    seconds since the epoch.
    """

    presence = Attribute(
        "The live table of this process (:class:`~rendezvous.core.presence.Presence`). The datagram shell asks it to"
        " take the common pulse at once; everything else goes through the verbs."
    )

    def open(now: float) -> None:
        """Get ready, with whatever was kept from an earlier run. Blocks: nothing is answered before it is done."""

    async def close(now: float) -> None:
        """Keep what is to be kept, and let go of every resource."""

    async def register(now: float) -> tuple[bytes, bytes]:
        """
        Make a client.

        :returns: its id and its key.
        :raises Full: there is no room.
        """

    async def authenticate(credential: Credential, now: float) -> bytes:
        """
        :returns: the client id that the credential proves.
        :raises Unauthorized: it proves none.
        """

    async def pulse(key: bytes, address: tuple[str, int], now: float) -> PulseCode:
        """:returns: what to answer, once it is recorded."""

    async def verify(client_id: bytes, now: float) -> Client:
        """
        Take a late client back.

        :raises NotFound: it is gone.
        """

    async def logout(client_id: bytes, now: float) -> None:
        """End the client, and its credential."""

    async def address(client_id: bytes, now: float) -> PeerAddress:
        """
        :returns: the address that the client's last accepted pulse came from.
        :raises NotFound: it is unknown, gone, or has never pulsed.
        """

    async def status(client_id: bytes, now: float) -> PeerStatus:
        """:raises NotFound: the client is unknown or gone."""

    async def sweep(now: float) -> Swept:
        """Free what has expired, a bounded piece of it at a time."""
