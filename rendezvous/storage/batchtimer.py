"""When a batch of decisions begins to be written."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

__all__ = ["GATHER", "BatchTimer", "Later"]

#: Calls a function after so many seconds.
Later = Callable[[float, Callable[[], None]], object]

#: Seconds until a batch begins at the latest. It begins before, once it has as many decisions as the last one. So a
#: client that is alone does not wait, and when 64 register over and over, all 64 share each commit.
GATHER = 0.005


class BatchTimer:
    """
    Begins a batch in another turn of the reactor, so that what is decided meanwhile shares a commit.

    :param later: calls what begins a batch; ``None`` to begin it at once.
    :param begin: begins a batch, and then calls :meth:`begun`. If nothing can be written now, it does nothing, and the
        caller begins the next batch.
    """

    def __init__(self, later: Later | None, begin: Callable[[], object]) -> None:
        self._later, self._begin = later, begin
        self._batches = 0
        self._last_size = 0
        self._due_in: float | None = None

    def gather(self, waiting: int) -> None:
        """
        Begin a batch in the next turn if as many decisions wait as the last one had, otherwise after :data:`GATHER`.

        :param waiting: how many decisions wait.
        """
        seconds = GATHER if waiting < self._last_size else 0.0
        if self._later is None:
            self._begin()
        elif self._due_in is None or seconds < self._due_in:
            self._due_in = seconds
            self._later(seconds, partial(self._begin_unless_begun, self._batches))

    def begun(self, size: int) -> None:
        """Note that a batch has begun, for whatever reason, and how many decisions it has."""
        self._batches += 1
        self._last_size = size
        self._due_in = None

    def _begin_unless_begun(self, batches: int) -> None:
        # Another batch may have begun before this one was due.
        if batches == self._batches:
            self._begin()
