"""Calls of the application's callbacks, whose errors must not end what the library does."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

__all__ = ["call_back"]

_log = Logger()


def call_back(callback: Callable[..., object] | None, *arguments: object) -> None:
    """
    Call a callback of the application. An exception that it raises is logged.

    :param callback: ``None`` if the application has given none.
    """
    if callback is None:
        return
    try:
        callback(*arguments)
    except Exception:
        _log.failure("Error in the application's {callback!r}", callback=callback)
