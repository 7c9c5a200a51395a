"""Who waits for what: requests that are held until there is something new."""

from __future__ import annotations

from collections.abc import Hashable

from twisted.internet.defer import Deferred

from rendezvous.errors import TooMany, Unavailable

__all__ = ["Notifier"]

#: Requests that may wait for the same thing. Two sides with a few open pages each need no more.
WAITING_PER_KEY = 16


class Notifier:
    """
    Waiters by key: a notification of the key wakes them, and they read again.

    A notification carries no data, so nothing is queued for anybody, and a slow waiter has missed nothing.
    """

    def __init__(self) -> None:
        self._waiting: dict[Hashable, dict[Deferred[None], None]] = {}
        self._closed = False

    def __len__(self) -> int:
        """How many requests wait."""
        return sum(map(len, self._waiting.values()))

    def wait(self, key: Hashable) -> Deferred[None]:
        """
        :returns: fires when the key is rung next. Cancel it to wait no longer.
        :raises TooMany: as many wait for this key as may.
        :raises Unavailable: there will be no news any more.
        """
        if self._closed:
            raise Unavailable("The server is stopping.")
        waiting = self._waiting.setdefault(key, {})
        if len(waiting) >= WAITING_PER_KEY:
            raise TooMany(f"At most {WAITING_PER_KEY} requests may wait for the same thing at a time.")
        notification: Deferred[None] = Deferred(lambda notification: self._leave(key, notification))
        waiting[notification] = None
        return notification

    def notify(self, key: Hashable) -> None:
        """Wake whoever waits for the key."""
        for notification in self._waiting.pop(key, {}):
            # Whoever was woken before may have sent this one away.
            if not notification.called:
                notification.callback(None)

    def close(self) -> None:
        """Wake everybody, and let nobody wait again."""
        self._closed = True
        for key in list(self._waiting):
            self.notify(key)

    def _leave(self, key: Hashable, notification: Deferred[None]) -> None:
        waiting = self._waiting.get(key)
        if waiting is not None and notification in waiting:
            del waiting[notification]
            if not waiting:
                del self._waiting[key]
