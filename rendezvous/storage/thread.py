"""The thread in which a store reads and writes its files."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

__all__ = ["StoreThread"]


class StoreThread:
    """
    Calls what blocks, in threads of its own, which exist from the first call. It can be stopped and started again.

    :param reactor: hears what has become of a call.
    """

    _pool: ThreadPool

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def start(self) -> None:
        """Take calls."""
        # One for the journal, and one that flushes the clients, so that no commit waits for that.
        self._pool = ThreadPool(0, 2, "store")
        # A process that ends without stopping its services must not wait for this thread.
        self._pool.threadFactory = partial(threading.Thread, daemon=True)  # type: ignore[assignment]
        self._pool.start()

    def stop(self) -> None:
        """Wait for the calls that have begun, and take no more."""
        self._pool.stop()

    def call(self, call: Callable[[], None]) -> Deferred[None]:
        """:returns: fires when the call has returned, or with what it has raised."""
        return deferToThreadPool(self._reactor, self._pool, call)
