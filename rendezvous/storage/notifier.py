"""Requests and streams that wait for changes, by the key of what they wait for."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from itertools import islice
from types import TracebackType

from twisted.internet.defer import Deferred, succeed

from rendezvous.errors import Full, TooMany, Unavailable
from rendezvous.storage.batchtimer import Later

__all__ = ["AT_ONCE", "WAITING_PER_KEY", "Notifier", "Subscription"]

#: Requests and streams that may wait for one key. Two sides with a few open pages each need no more.
WAITING_PER_KEY = 16

#: Subscriptions of one key that are woken in one turn of the reactor: some 1 ms. Only a topic that many watch has more.
AT_ONCE = 100


class Subscription:
    """
    A place among those that wait for one key or for several, from :meth:`Notifier.subscribe` to :meth:`close`.

    It counts towards both limits as long as it is open, whether or not it waits at the moment. As a context manager it
    closes itself. When the server stops it ends, and stays so if the server is started again.
    """

    __slots__ = ("_changed", "_has_ended", "_keys", "_missed", "_notifier")

    def __init__(self, notifier: Notifier, key: Hashable) -> None:
        self._notifier = notifier
        self._keys = [key]
        self._changed: Deferred[None] | None = None
        self._missed = self._has_ended = False

    def add(self, key: Hashable) -> None:
        """Wait for another key too, unless the server is stopping. The place counts once, however many keys it has."""
        if not self._has_ended and key not in self._keys:
            self._keys.append(key)
            self._notifier.enter(key, self)

    def remove(self, key: Hashable) -> None:
        """Wait no longer for a key that was added."""
        if key in self._keys:
            self._keys.remove(key)
            self._notifier.leave(key, self)

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
        self._notifier.end(self, self._keys)

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
    :param later: calls something in a later turn of the reactor; without it, all are woken at once.
    :ivar refused: how many subscriptions were refused because of either limit, since the start.
    """

    def __init__(self, max_waiting: int, later: Later | None = None) -> None:
        self.max_waiting = max_waiting
        self._later = later
        # Those that are woken in the next turns, in the order of their notifications.
        self._next: dict[Subscription, None] = {}
        self._by_key: dict[Hashable, dict[Subscription, None]] = {}
        self._open: dict[Subscription, None] = {}
        self._closed = False
        self.refused = 0

    def __len__(self) -> int:
        """:returns: the number of open subscriptions."""
        return len(self._open)

    def subscribe(self, key: Hashable, most: int | None = WAITING_PER_KEY) -> Subscription:
        """
        Open a subscription. Open it before you look: then no change in between is missed.

        :param most: how many there may be for this key; ``None`` for any number.
        :raises TooMany: the key has as many subscriptions as it may have.
        :raises Full: ``too-many-waiting``, the server has as many as it may have.
        :raises Unavailable: the server is stopping.
        """
        if self._closed:
            raise Unavailable("The server is stopping.")
        if most is not None and len(self._by_key.get(key, ())) >= most:
            self.refused += 1
            raise TooMany(f"At most {most} event streams and waiting requests may be open at a time: close one.")
        if len(self._open) >= self.max_waiting:
            self.refused += 1
            raise Full("The server has as many event streams and waiting requests as it can.", code="too-many-waiting")
        subscription = Subscription(self, key)
        self._open[subscription] = None
        self.enter(key, subscription)
        return subscription

    def notify(self, key: Hashable) -> None:
        """Wake all that wait for the key; very many of them some at a time, in the next turns of the reactor."""
        subscriptions = self._by_key.get(key, ())
        if self._later is not None and len(subscriptions) > AT_ONCE:
            if not self._next:
                self._later(0.0, self._wake)
            self._next.update(dict.fromkeys(subscriptions))
            return
        for subscription in list(subscriptions):
            subscription.notify()

    def _wake(self) -> None:
        woken = list(islice(self._next, AT_ONCE))
        for subscription in woken:
            del self._next[subscription]
        if self._next and self._later is not None:
            self._later(0.0, self._wake)
        for subscription in woken:
            subscription.notify()

    def open(self) -> None:
        """Let requests wait, again or for the first time."""
        self._closed = False

    def close(self) -> None:
        """End all subscriptions, and take no more."""
        self._closed = True
        subscriptions, self._open, self._by_key = self._open, {}, {}
        self._next.clear()
        for subscription in subscriptions:
            subscription.end()

    def enter(self, key: Hashable, subscription: Subscription) -> None:
        """Wake a subscription when there is a notification of a key."""
        self._by_key.setdefault(key, {})[subscription] = None

    def leave(self, key: Hashable, subscription: Subscription) -> None:
        """Do not wake it then any more; a second time does nothing."""
        subscriptions = self._by_key.get(key, {})
        if subscription in subscriptions:
            del subscriptions[subscription]
            if not subscriptions:
                del self._by_key[key]

    def end(self, subscription: Subscription, keys: Iterable[Hashable]) -> None:
        """Forget a subscription with its keys; a second time does nothing."""
        if subscription in self._open:
            del self._open[subscription]
            self._next.pop(subscription, None)
            for key in keys:
                self.leave(key, subscription)
