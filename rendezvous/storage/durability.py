"""The interface of durability for a local store, and an implementation that saves nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from twisted.internet.defer import Deferred

from rendezvous.core.notes import Key
from rendezvous.model import Saving
from rendezvous.storage.tables import Tables

__all__ = ["SETTLED", "Durability", "Volatile"]

#: The position of a decision that has nothing to wait for.
SETTLED = 0

NotifyAll = Callable[[Collection[Key]], None]


class Durability(Protocol):
    """
    The rule by which decisions are kept. Nothing here is called from another thread.

    A decision is a call that reads and changes the tables at once. ``begin`` is called before it, ``end`` after it;
    between them the tables report what they change.
    """

    def open(self, tables: Tables, wall: float, notify: NotifyAll) -> float:
        """
        Fill the tables with what was kept, and let them report here from now on.

        :param wall: the time on the wall clock.
        :param notify: called with the keys of a decision, once it is kept, if ``end`` has taken them.
        :returns: the server time to go on from.
        :raises StartupError: what was kept cannot be used.
        """

    async def close(self, now: float) -> None:
        """Save what has to be saved, and release all resources; ``open`` may follow."""

    def note(self, record: object) -> None:
        """A record is new, has changed, or has ended."""

    def touch(self, record: object) -> None:
        """
        A record has changed, and no one waits until that is kept.

        It is when a tracker peer was last seen, or what datagrams have changed of an attempt.
        """

    @property
    def failing(self) -> bool:
        """Whether nothing can be saved now. Pulses are still accepted; their changes are saved as soon as possible."""

    @property
    def is_behind(self) -> bool:
        """Whether so much is still to be saved that what has ended should not be freed yet."""

    def raise_if_refusing(self) -> None:
        """:raises Unavailable: nothing should be decided now that has to be kept."""

    def begin(self, now: float) -> None:
        """A decision begins."""

    def end(self, keys: Collection[Key]) -> int:
        """
        The decision has been taken.

        :param keys: what to notify once it is kept.
        :returns: what to give to ``saved``; :data:`SETTLED` if the decision changed nothing that has to be kept. Then
            the keys are the caller's to notify.
        """

    def saved(self, position: int) -> Deferred[None] | None:
        """
        Wait until a decision is kept.

        :returns: fires then, or fails with :exc:`~rendezvous.errors.Unavailable`; ``None`` if it is kept already.
            Cancelling it cancels only the wait.
        :raises Unavailable: too many wait.
        """

    def write_behind(self, now: float) -> None:
        """Begin to save the changes that no request waits for. Called every second."""

    def figures(self) -> Saving | None:
        """:returns: how saving goes; ``None`` if nothing is saved."""


class Volatile:
    """Keeps nothing. The tables last as long as the process, and survive ``close`` and ``open``."""

    failing = False
    is_behind = False

    def __init__(self) -> None:
        self._server_time: float | None = None

    def open(self, tables: Tables, wall: float, notify: NotifyAll) -> float:
        """Begin, or go on where ``close`` has left."""
        if self._server_time is None:
            self._server_time = wall
            # A stream that comes back with a number of an earlier process must learn that events are lost.
            tables.offers.restore_events((), int(wall * 1_000_000), wall)
        return self._server_time

    def figures(self) -> Saving | None:
        """:returns: ``None``: nothing is saved."""
        return None

    async def close(self, now: float) -> None:
        """Remember the server time."""
        self._server_time = now

    def note(self, record: object) -> None:
        """Do nothing."""

    def touch(self, record: object) -> None:
        """Do nothing."""

    def raise_if_refusing(self) -> None:
        """Do nothing."""

    def begin(self, now: float) -> None:
        """Do nothing."""

    def end(self, keys: Collection[Key]) -> int:
        """:returns: that there is nothing to wait for."""
        return SETTLED

    def saved(self, position: int) -> Deferred[None] | None:
        """:returns: ``None``."""
        return None

    def write_behind(self, now: float) -> None:
        """Do nothing."""
