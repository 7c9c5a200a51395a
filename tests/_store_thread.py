"""The store's thread, which the test is: it works when it is told to."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

__all__ = ["Thread"]


class Thread:
    """Runs what it is given when it is told to, or says that it cannot; :ivar:`batches` counts what it was given."""

    def __init__(self) -> None:
        self.batches = 0
        self._given: list[tuple[Callable[[], None], Deferred[None], bool]] = []

    def run(self, call: Callable[[], None]) -> Deferred[None]:
        """Take a call: a batch of the journal, or a flush of the clients; a second of its kind is a fault."""
        is_flush = isinstance(call, partial) and getattr(call.func, "__name__", "") == "flush"
        assert all(is_flush != was_flush for _, _, was_flush in self._given)
        self.batches += not is_flush
        done: Deferred[None] = Deferred()
        self._given.append((call, done, is_flush))
        return done

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
        return not self._given

    def _take(self) -> tuple[Callable[[], None], Deferred[None]]:
        call, done, _ = self._given.pop(0)
        return call, done
