"""When the next slice of a long look at the tables may be taken."""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred

from rendezvous.storage.batchtimer import Later

__all__ = ["Slices"]


class Slices:
    """
    Lets one slice be taken in each turn of the reactor, however many look at the tables at the same time.

    They take their slices in turn. So a hundred requests of operators make each other slow, and not the reactor.

    :param later: calls something after a time.
    """

    def __init__(self, later: Later) -> None:
        self._later = later
        self._waiting: deque[Deferred[None]] = deque()

    def next(self) -> Deferred[None]:
        """:returns: fires in another turn of the reactor, when a slice may be taken. It may be cancelled."""
        turn: Deferred[None] = Deferred()
        self._waiting.append(turn)
        if len(self._waiting) == 1:
            self._later(0.0, self._go_on)
        return turn

    def _go_on(self) -> None:
        turn = self._waiting.popleft()
        while turn.called and self._waiting:  # Who waited for it has left.
            turn = self._waiting.popleft()
        if self._waiting:
            self._later(0.0, self._go_on)
        turn.callback(None)
