"""Requests and streams that wait for changes, by the key of what they wait for."""

from __future__ import annotations

from collections.abc import Hashable
from types import TracebackType

from twisted.internet.defer import Deferred, succeed

from rendezvous.errors import Full, TooMany, Unavailable

__all__ = ["Notifier", "Subscription"]

#: Requests and streams that may wait for one key. Two sides with a few open pages each need no more.
WAITING_PER_KEY = 16


class Subscription:
    """
    A place among those that wait for one key, from :meth:`Notifier.subscribe` to :meth:`close`.

    It counts against both limits as long as it is open, whether or not it waits at the moment. As a context manager it
    closes itself. When the server stops it ends, and stays so if the server is started again.
    """

    __slots__ = ("_changed", "_has_ended", "_key", "_missed", "_notifier")

    def __init__(self, notifier: Notifier, key: Hashable) -> None:
        self._notifier = notifier
        self._key = key
        self._changed: Deferred[None] | None = None
        self._missed = self._has_ended = False

    def changed(self) -> Deferred[None]:
        """
        Wait for the next notification.

        :returns: fires at the next notification; it has fired if there was one since this was last called. Cancel it
            to wait no longer.
        :raises Unavailable: there will be no more notifications, because the server is stopping or was stopped.
        """
        if self._has_ended:
            raise Unavailable("The server is stopping.")
        if self._missed:
            self._missed = False
            return succeed(None)
        self._changed = Deferred(self._cancelled)
        return self._changed

    def notify(self) -> None:
        """Wake the waiter, or remember the notification for when it waits next."""
        changed, self._changed = self._changed, None
        if changed is None:
            self._missed = True
        else:
            changed.callback(None)

    def end(self) -> None:
        """Wake the waiter, which cannot wait again."""
        self._has_ended = True
        self.notify()

    def close(self) -> None:
        """Give the place back."""
        self._notifier.leave(self._key, self)

    def _cancelled(self, changed: Deferred[None]) -> None:
        self._changed = None

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class Notifier:
    """
    Subscriptions by key: a notification of the key wakes them, and they read again.

    A notification carries no data, so nothing is queued for a slow waiter.

    :param max_waiting: the most subscriptions at one time.
    :ivar refused: how many subscriptions were refused because of either limit, since the start.
    """

    def __init__(self, max_waiting: int) -> None:
        self.max_waiting = max_waiting
        self._by_key: dict[Hashable, dict[Subscription, None]] = {}
        self._count = 0
        self._closed = False
        self.refused = 0

    def __len__(self) -> int:
        """:returns: the number of open subscriptions."""
        return self._count

    def subscribe(self, key: Hashable) -> Subscription:
        """
        Open a subscription. Open it before you look: then no change in between is missed.

        :raises TooMany: the key has as many subscriptions as it may have.
        :raises Full: ``too-many-waiting``, the server has as many as it may have.
        :raises Unavailable: the server is stopping.
        """
        if self._closed:
            raise Unavailable("The server is stopping.")
        if len(self._by_key.get(key, ())) >= WAITING_PER_KEY:
            self.refused += 1
            raise TooMany(f"At most {WAITING_PER_KEY} requests may wait for the same thing at a time.")
        if self._count >= self.max_waiting:
            self.refused += 1
            raise Full("The server holds as many waiting requests as it can.", code="too-many-waiting")
        subscription = Subscription(self, key)
        self._by_key.setdefault(key, {})[subscription] = None
        self._count += 1
        return subscription

    def notify(self, key: Hashable) -> None:
        """Wake all that wait for the key."""
        for subscription in list(self._by_key.get(key, ())):
            subscription.notify()

    def open(self) -> None:
        """Let requests wait, again or for the first time."""
        self._closed = False

    def close(self) -> None:
        """End all subscriptions, and take no more."""
        self._closed = True
        by_key, self._by_key, self._count = self._by_key, {}, 0
        for subscriptions in by_key.values():
            for subscription in list(subscriptions):
                subscription.end()

    def leave(self, key: Hashable, subscription: Subscription) -> None:
        """Forget a subscription; a second time does nothing."""
        subscriptions = self._by_key.get(key)
        if subscriptions is None or subscription not in subscriptions:
            return
        del subscriptions[subscription]
        self._count -= 1
        if not subscriptions:
            del self._by_key[key]
