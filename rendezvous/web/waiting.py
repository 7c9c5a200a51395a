"""Long polling: requests that are held until there is something new."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from rendezvous.core.notes import Key
from rendezvous.interfaces import IStore

__all__ = ["fires_within", "long_poll"]

T = TypeVar("T")


async def long_poll(
    place: AbstractContextManager[None],
    store: IStore,
    clock: IReactorTime,
    key: Key,
    wait: float,
    look: Callable[[], Awaitable[T]],
    is_news: Callable[[T], bool] = bool,
    may: Callable[[], Awaitable[object]] | None = None,
) -> T:
    """
    Look until there is something new, or the time is over.

    It ends with :exc:`~twisted.internet.defer.CancelledError` when the client leaves, since the router cancels it then.

    :param place: one of the places that a source has for requests that wait; taken only if this one does.
    :param key: what to wait for (:meth:`~rendezvous.interfaces.ISignalingStore.subscribe`).
    :param wait: seconds; 0 looks once.
    :param look: called at first and after each notification.
    :param may: called before each look but the first; it raises when the caller may not look any more.
    :returns: what was seen last.
    :raises TooMany: as many requests wait for this key, or from this source, as may.
    :raises Unavailable: as many requests wait in all as may, or the server stops.
    """
    if wait <= 0:
        return await look()
    until = clock.seconds() + wait
    with place, store.subscribe(key) as subscription:
        while True:
            seen = await look()
            left = until - clock.seconds()
            if is_news(seen) or left <= 0:
                return seen
            await fires_within(subscription.changed(), left, clock)
            if may is not None:
                await may()


async def fires_within(deferred: Deferred[None], seconds: float, clock: IReactorTime) -> bool:
    """:returns: whether a Deferred has fired before the time was over; otherwise it is cancelled."""
    try:
        await deferred.addTimeout(seconds, clock)
    except TimeoutError:
        return False
    return True
