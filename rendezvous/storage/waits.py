"""Those who wait for commits: requests, and datagrams that are answered later."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from twisted.internet.defer import Deferred

from rendezvous.errors import Unavailable

__all__ = ["MAX_WAITING", "REFUSALS_PER_TURN", "Waits", "unsaved"]

#: Requests and datagrams that may wait for commits. Each costs 2 or 3 KB, and full collections of garbage look at all.
MAX_WAITING = 4000

#: Waits that are refused in one turn of the reactor when a batch could not be written, at some 0.15 ms each.
REFUSALS_PER_TURN = 64


def unsaved(message: str = "The server cannot save anything now; it keeps trying.") -> Unavailable:
    """:returns: the error of all that cannot be saved."""
    return Unavailable(message, code="unsaved")


class Waits:
    """
    The waits for commits, each up to a position.

    :param turn: fires in another turn of the reactor.
    """

    def __init__(self, turn: Callable[[], Deferred[None]]) -> None:
        self._turn = turn
        self._positions: dict[Deferred[None], int] = {}

    def __len__(self) -> int:
        """How many wait."""
        return len(self._positions)

    @property
    def is_full(self) -> bool:
        """:returns: whether as many wait as may."""
        return len(self._positions) >= MAX_WAITING

    def add(self, position: int) -> Deferred[None]:
        """
        Wait.

        :returns: fires when all up to the position is on the disk; fails with :exc:`~rendezvous.errors.Unavailable` if
            it could not be written. Cancelling it cancels only the wait.
        :raises Unavailable: too many wait.
        """
        if self.is_full:
            raise unsaved()
        done: Deferred[None] = Deferred(self._cancelled)
        self._positions[done] = position
        return done

    def end(self, saved: int) -> None:
        """End all waits up to a position: it is on the disk."""
        for done in [done for done, position in self._positions.items() if position <= saved]:
            # One of those before may have cancelled it.
            if self._positions.pop(done, None) is not None:
                done.callback(None)

    def refuse(self) -> Deferred[None] | None:
        """
        Refuse all that wait, some in each turn of the reactor.

        :returns: fires when all are refused; ``None`` if they are.
        """
        for done in list(islice(self._positions, REFUSALS_PER_TURN)):
            # One of those before may have cancelled it.
            if self._positions.pop(done, None) is not None:
                done.errback(unsaved("The server could not save this; it keeps trying."))
        return self._turn().addBoth(lambda _: self.refuse()) if self._positions else None

    def _cancelled(self, done: Deferred[None]) -> None:
        self._positions.pop(done, None)
