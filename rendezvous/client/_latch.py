"""A one-time event that any number of callers can wait for."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

__all__ = ["Latch"]


class Latch:
    """
    A one-time event. Each caller that waits, before it or after it, gets a cancellable Deferred of its own.

    :ivar is_set: whether it has happened.
    """

    def __init__(self) -> None:
        self.is_set = False
        self._error: Callable[[], Exception] | None = None
        self._waiting: list[Deferred[None]] = []

    def wait(self) -> Deferred[None]:
        """
        Wait for it.

        :returns: fires, or fails, when it happens; at once when it has.
        """
        waiter: Deferred[None] = Deferred(self._forget)
        self._waiting.append(waiter)
        if self.is_set:
            self._fire_all()
        return waiter

    def set(self, error: Callable[[], Exception] | None = None) -> None:
        """
        Fire the Deferreds of all callers that wait or will wait. Only the first call counts.

        :param error: makes the error that they fail with; ``None`` if they do not fail.
        """
        if self.is_set:
            return
        self.is_set, self._error = True, error
        self._fire_all()

    def _fire_all(self) -> None:
        # A callback may cancel another waiter, so the list is read anew each time.
        while self._waiting:
            waiter = self._waiting.pop(0)
            if self._error is None:
                waiter.callback(None)
            else:
                waiter.errback(self._error())

    def _forget(self, waiter: Deferred[None]) -> None:
        self._waiting.remove(waiter)
