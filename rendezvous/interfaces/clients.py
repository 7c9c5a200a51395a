"""What a store does for clients: their states and addresses, and the tracker's peers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from rendezvous.core.identity import Credential
    from rendezvous.core.presence.states import PulseCode
    from rendezvous.core.replies import Replies, Source
    from rendezvous.core.sources import SourceNetwork
    from rendezvous.model import (
        ObservedAddress,
        PeerStatus,
    )

__all__ = ["ILiveTable", "IPresenceStore", "ITrackerStore"]


class ILiveTable(Interface):
    """
    The clients that this process can take pulses of at once, without a coroutine.

    A store whose truth is elsewhere may have an empty one, or one that holds the clients which have lately pulsed here.
    """

    signed = Attribute("Decides signed requests (:class:`~rendezvous.core.presence.signedrequests.SignedRequests`).")

    def keep_alive(key: bytes, address: tuple[str, int], now: float, local_port: int) -> bool:
        """
        Take the pulse of a client that is ONLINE at the address it is known by, on the port that it is known to use.

        :param key: any datagram, or the key that it spells.
        :returns: whether that is what it was; then 1020 is the answer. Otherwise nothing has changed, and
            :meth:`IPresenceStore.pulse` has to be asked.
        """

    def may_move(key: bytes, now: float) -> bool:
        """
        Count a pulse that :meth:`keep_alive` has left: it costs more than the common one.

        :param key: of a client.
        :returns: whether the client may send one now; if not, the pulse is dropped without an answer.
        """

    def __contains__(key: object) -> bool:
        """:returns: whether a datagram is the key of a client."""

    def __len__() -> int:
        """:returns: how many clients there are."""


class IPresenceStore(Interface):
    """Clients, their states and their addresses."""

    live = Attribute("The live table of this process (:class:`ILiveTable`), the same for as long as the store is.")

    async def register(now: float, source: SourceNetwork = ...) -> tuple[bytes, bytes]:
        """
        Make a client.

        :param source: where the request came from; not counted if it is left out.
        :returns: its id and its key.
        :raises Full: there is no room.
        :raises TooMany: the source holds its share.
        """

    async def authenticate(credential: Credential, now: float) -> bytes:
        """
        :returns: the client id that the credential proves.
        :raises Unauthorized: it proves none.
        :raises Forbidden: ``banned``.
        """

    async def pulse(key: bytes, address: tuple[str, int], now: float, local_port: int = 0) -> PulseCode:
        """
        Take a pulse.

        :param local_port: the UDP port of the server that it came to.
        :returns: what to answer, once it is recorded.
        """

    async def verify(client_id: bytes, now: float) -> None:
        """
        Take a late client back.

        :raises NotFound: it is gone.
        """

    async def logout(client_id: bytes, now: float, source: SourceNetwork = ...) -> None:
        """End the client, its offers and its credential."""

    async def address(client_id: bytes, now: float) -> ObservedAddress:
        """
        :returns: the address that the client's last accepted pulse came from.
        :raises NotFound: it is unknown, gone, or has never pulsed.
        """

    async def status(client_id: bytes, now: float) -> PeerStatus:
        """:raises NotFound: the client is unknown or gone."""


class ITrackerStore(Interface):
    """
    The tracker's peers: the verbs of :class:`~rendezvous.core.tracker.Tracker`, which say what each does and raises.

    Each returns what is to be said, and to which source.
    """

    async def announce(source: Source, now: float) -> Replies:
        """Enter a peer."""

    async def tracker_pulse(
        source: Source,
        now: float,
        *,
        override: bool,
        ip: str | None,
        port: int | None,
        multiaddr: str | None,
        renew_share_id: bool,
    ) -> Replies:
        """Keep a peer alive, and change what is recorded of it: a pulse, in the tracker's words."""

    async def alive(source: Source, now: float) -> Replies:
        """Tell a peer whether it is still known."""

    async def push(source: Source, now: float, share_id: str) -> Replies:
        """Tell two peers about each other."""
