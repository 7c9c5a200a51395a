"""Coroutines that usually end without waiting."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

__all__ = ["eager"]

T = TypeVar("T")


def eager(verb: Coroutine[Any, Any, T]) -> T | Deferred[T]:
    """
    Run a coroutine as far as it goes.

    What a store has in memory it answers at once, and then a Deferred would cost as much as all the rest.

    :returns: its result, if it has not waited for anything; otherwise a Deferred of it, which may be cancelled.
    :raises Exception: whatever it raises before it waits.
    """
    try:
        verb.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    # It waits for a Deferred, and will still be found waiting for that.
    return Deferred.fromCoroutine(verb)
