"""A timer whose time can be changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall

__all__ = ["Timer"]


class Timer:
    """
    Calls a function once at a time, for example when a state machine of ``core`` is due.

    :param reactor: provides ``IReactorTime``.
    :param call: the function.
    """

    def __init__(self, reactor: Any, call: Callable[[], object]) -> None:
        self._reactor = reactor
        self._call = call
        self._delayed: IDelayedCall | None = None
        self._at: float | None = None

    @property
    def is_set(self) -> bool:
        """:returns: whether there is a time at which it calls."""
        return self._delayed is not None

    def set(self, due: float | None) -> None:
        """
        Call at a time, in the place of the one before.

        :param due: in seconds of the reactor; ``None`` for never.
        """
        if due == self._at and self._delayed is not None:
            return
        self.cancel()
        if due is not None:
            self._at = due
            self._delayed = self._reactor.callLater(max(due - self._reactor.seconds(), 0.0), self._fire)

    def set_after(self, delay: float) -> None:
        """
        Call after a delay, in the place of the time before.

        :param delay: in seconds.
        """
        self.set(self._reactor.seconds() + delay)

    def cancel(self) -> None:
        """Call no more, until another time is set."""
        delayed, self._delayed, self._at = self._delayed, None, None
        if delayed is not None and delayed.active():
            delayed.cancel()

    def _fire(self) -> None:
        self._delayed = self._at = None
        self._call()
