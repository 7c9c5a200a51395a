"""What a third party may implement: the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute

from rendezvous.interfaces.attempts import IAttemptStore
from rendezvous.interfaces.bans import IBanStore
from rendezvous.interfaces.clients import ILiveTable, IPresenceStore, ITrackerStore
from rendezvous.interfaces.queries import IQueries
from rendezvous.interfaces.signaling import ISignalingStore, ISubscription

if TYPE_CHECKING:
    from rendezvous.limits import Bounds
    from rendezvous.model import StoreFigures, Swept

__all__ = [
    "IAttemptStore", "IBanStore", "ILiveTable", "IPresenceStore", "IQueries", "ISignalingStore", "IStore",
    "ISubscription", "ITrackerStore",
]  # fmt: skip


class IStore(IPresenceStore, IBanStore, ISignalingStore, ITrackerStore, IAttemptStore):
    """
    Where state lives.

    The verbs are coroutine functions: awaiting one that is answered from memory costs no trip through a Deferred, on
    which most requests would otherwise spend most of their time. Each verb is atomic: it happens wholly or not at all,
    whatever else goes on. It returns when what it did would survive this process, as far as the store promises that at
    all. What it returns does not change afterwards. Every verb may raise :exc:`~rendezvous.errors.Unavailable`; then
    the same call may work later.

    ``now`` is server time in seconds (:class:`~rendezvous.clock.ServerClock`). It never goes back.
    """

    queries = Attribute("Reads of many entries (:class:`IQueries`).")

    def open(wall: float) -> float:
        """
        Get ready, with whatever was kept from an earlier run. Blocks: nothing is answered before it is done.

        :param wall: seconds since the epoch, on the wall clock.
        :returns: the server time to go on from.
        """

    def check_ready() -> None:
        """
        See whether a change would be kept now.

        :raises Unavailable: no: the server is not running, or the disk cannot be written. :attr:`code` says which.
        """

    async def close(now: float) -> None:
        """Save what has to be saved, and release all resources. The store may be opened again."""

    def change(bounds: Bounds) -> None:
        """Use these bounds from now on. What is there already stays, also above a new bound."""

    def figures() -> StoreFigures:
        """:returns: what it holds now."""

    async def sweep(now: float) -> Swept:
        """Free a slice of what has expired. The result says whether there is more."""
