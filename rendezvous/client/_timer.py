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

    def __init__(self, reactor: Any, call: Callable[[], None]) -> None:
        self._reactor = reactor
        self._call = call
        self._timer: IDelayedCall | None = None
        self._at: float | None = None

    def set(self, due: float | None) -> None:
        """
        Call at a time, in the place of the one before.

        :param due: in seconds of the reactor; ``None`` for never.
        """
        if due == self._at and self._timer is not None:
            return
        self.cancel()
        if due is not None:
            self._at = due
            self._timer = self._reactor.callLater(max(due - self._reactor.seconds(), 0.0), self._fire)

    def cancel(self) -> None:
        """Call no more, until another time is set."""
        timer, self._timer, self._at = self._timer, None, None
        if timer is not None and timer.active():
            timer.cancel()

    def _fire(self) -> None:
        self._timer = self._at = None
        self._call()
