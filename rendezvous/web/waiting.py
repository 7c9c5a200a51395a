"""Requests that are held until there is something new."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from rendezvous.interfaces import IStore

__all__ = ["held", "notified_within", "stop_waiting"]

T = TypeVar("T")


async def held(
    store: IStore,
    clock: IReactorTime,
    key: Hashable,
    wait: float,
    look: Callable[[], Awaitable[T]],
    is_news: Callable[[T], bool] = bool,
    may: Callable[[], Awaitable[object]] | None = None,
) -> T:
    """
    Look until there is something new, or the time is over.

    It ends with :exc:`~twisted.internet.defer.CancelledError` when the client leaves, since Klein cancels it then.

    :param key: what to wait for (:meth:`~rendezvous.interfaces.ISignalingStore.wait`).
    :param wait: seconds; 0 looks once.
    :param look: called at first and after every ring.
    :param may: called before each look but the first; it raises when the caller may not look any more.
    :returns: what was seen last.
    """
    until = clock.seconds() + wait
    while True:
        left = until - clock.seconds()
        notification = store.wait(key) if left > 0 else None
        try:
            seen = await look()
            if notification is None or is_news(seen):
                return seen
            await notified_within(notification, left, clock)
        finally:
            if notification is not None:
                stop_waiting(notification)
        if may is not None:
            await may()


def stop_waiting(notification: Deferred[None]) -> None:
    """Wait no longer; whoever waits for the notification itself is not told."""
    notification.addErrback(lambda failure: failure.trap(CancelledError))
    notification.cancel()


async def notified_within(notification: Deferred[None], seconds: float, clock: IReactorTime) -> bool:
    """:returns: whether the notification rang before the time was over."""
    try:
        await notification.addTimeout(seconds, clock)
    except TimeoutError:
        return False
    return True
