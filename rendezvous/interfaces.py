"""What a third party may implement: the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from rendezvous.core.identity import Credential
    from rendezvous.core.presence import Client, PulseCode
    from rendezvous.model import PeerAddress, PeerStatus, Swept

__all__ = ["IStore"]


class IStore(Interface):
    """
    Where state lives.

    Each verb is atomic: it happens wholly or not at all, whatever else goes on. Its Deferred fires when what it did would
    survive this process, as far as the store promises that at all. Every verb may fail with
    :exc:`~rendezvous.errors.Unavailable`; then the same call may work later. ``now`` is in seconds since the epoch.
    """

    presence = Attribute(
        "The live table of this process (:class:`~rendezvous.core.presence.Presence`). The datagram shell asks it to take the"
        " common pulse at once; everything else goes through the verbs."
    )

    def open(now: float) -> None:
        """Get ready, with whatever was kept from an earlier run. Blocks: nothing is answered before it is done."""

    def close(now: float) -> Deferred[None]:
        """Keep what is to be kept, and let go of every resource."""

    def register(now: float) -> Deferred[tuple[bytes, bytes]]:
        """
        Make a client.

        :returns: its id and its key.
        :raises Full: there is no room.
        """

    def authenticate(credential: Credential, now: float) -> Deferred[bytes]:
        """
        :returns: the client id that the credential proves.
        :raises Unauthorized: it proves none.
        """

    def pulse(key: bytes, address: tuple[str, int], now: float) -> Deferred[PulseCode]:
        """:returns: what to answer, once it is recorded."""

    def verify(client_id: bytes, now: float) -> Deferred[Client]:
        """
        Take a late client back.

        :raises NotFound: it is gone.
        """

    def logout(client_id: bytes, now: float) -> Deferred[None]:
        """End the client, and its credential."""

    def address(client_id: bytes, now: float) -> Deferred[PeerAddress]:
        """
        :returns: the address that the client's last accepted pulse came from.
        :raises NotFound: it is unknown, gone, or has never pulsed.
        """

    def status(client_id: bytes, now: float) -> Deferred[PeerStatus]:
        """:raises NotFound: the client is unknown or gone."""

    def sweep(now: float) -> Deferred[Swept]:
        """Free what has expired, a bounded piece of it at a time."""
