"""Something that happens once, and that any number of callers wait for."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

__all__ = ["Moment"]


class Moment:
    """
    A one-time event; who waits for it, before it or after it, gets a cancellable Deferred of their own.

    :ivar over: whether it has happened.
    """

    def __init__(self) -> None:
        self.over = False
        self._error: Callable[[], Exception] | None = None
        self._waiting: list[Deferred[None]] = []

    def wait(self) -> Deferred[None]:
        """
        Wait for it.

        :returns: fires, or fails, when it happens; at once when it has.
        """
        waiter: Deferred[None] = Deferred(self._forget)
        self._waiting.append(waiter)
        if self.over:
            self._tell_all()
        return waiter

    def happen(self, error: Callable[[], Exception] | None = None) -> None:
        """
        Tell all who wait, and all who will. Only the first time counts.

        :param error: makes the error that they get; ``None`` when it is good news.
        """
        if self.over:
            return
        self.over, self._error = True, error
        self._tell_all()

    def _tell_all(self) -> None:
        # One who is told may cancel another, so never hold on to the list.
        while self._waiting:
            waiter = self._waiting.pop(0)
            if self._error is None:
                waiter.callback(None)
            else:
                waiter.errback(self._error())

    def _forget(self, waiter: Deferred[None]) -> None:
        self._waiting.remove(waiter)
