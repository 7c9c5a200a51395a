"""The store's thread, which the test is: it works when it is told to."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

__all__ = ["Thread"]


class Thread:
    """Runs what it is given when it is told to, or says that it cannot; :ivar:`batches` counts what it was given."""

    def __init__(self) -> None:
        self.batches = 0
        self._given: tuple[Callable[[], None], Deferred[None]] | None = None

    def run(self, call: Callable[[], None]) -> Deferred[None]:
        """Take one call; a second one before the first has ended is a fault."""
        assert self._given is None
        self.batches += 1
        self._given = call, Deferred()
        return self._given[1]

    def work(self) -> None:
        """Do it."""
        call, done = self._take()
        try:
            call()
        except Exception:
            done.errback(Failure())
        else:
            done.callback(None)

    def fail(self) -> None:
        """Do nothing of it, as on a full disk."""
        self._take()[1].errback(Failure(sqlite3.OperationalError("database or disk is full")))

    def work_off(self) -> None:
        """Do all that there is to do."""
        while not self.is_idle:
            self.work()

    @property
    def is_idle(self) -> bool:
        """:returns: whether there is nothing to do."""
        return self._given is None

    def _take(self) -> tuple[Callable[[], None], Deferred[None]]:
        assert self._given is not None
        given, self._given = self._given, None
        return given
