"""How long a connection may take for what it is at."""

from __future__ import annotations

import math
from enum import Enum
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall

__all__ = [
    "BODY_RATE",
    "BODY_TIME",
    "FIRST_BYTE_TIME",
    "HEADER_TIME",
    "IDLE_TIME",
    "REFUSAL_TIME",
    "REST_TIME",
    "UNREAD_TIME",
    "Awaited",
    "Deadlines",
    "Timed",
]

#: Seconds that a new connection has to send its first byte. A TLS handshake is part of that.
FIRST_BYTE_TIME = 10.0

#: Seconds from the first byte of a request to the end of its headers.
HEADER_TIME = 10.0

#: Seconds from the end of the headers to the end of the body, besides those that :data:`BODY_RATE` gives.
BODY_TIME = 10.0

#: Bytes a second at which a body must arrive.
BODY_RATE = 16 * 1024

#: Seconds that a connection may be idle between two requests.
IDLE_TIME = 60.0

#: Seconds that a response may stay unread, while there is more of it than the transport's buffer should hold.
UNREAD_TIME = 60.0

#: Seconds that a refused client has to read why, before the connection is closed on what it still sends.
REFUSAL_TIME = 1.0

#: Seconds for which a connection is not read after ``source-requests``: its answers cost time as well.
REST_TIME = 1.0

#: Seconds that are as good as none: sums of times are not exact.
_INSTANT = 0.001


class Awaited(Enum):
    """What the client has to send next."""

    REQUEST = "request"  # Its first byte.
    HEADERS = "headers"  # The rest of the request line and of the headers.
    BODY = "body"  # The rest of the body.
    NOTHING = "nothing"  # A whole request is being answered.


#: Looked up once, since that takes 70 ns with Python 3.11.
_NOTHING = Awaited.NOTHING


class Timed(Protocol):
    """A connection that has deadlines."""

    def overdue(self) -> None:
        """Do without what the client has to send: it did not arrive in time."""

    def rested(self) -> None:
        """Read again."""

    def abort(self) -> None:
        """Close the connection, however much is unsent."""


class Deadlines:
    """
    The deadlines of one connection, with one timer.

    Up to three of them run at the same time: one for what the client has to send, one for the end of a rest, and one
    after which the connection is closed because the client does not read.

    A deadline begins and ends with each request and is hardly ever reached, but a timer takes time to be started and
    cancelled. So a timer that runs is left alone, unless the new deadline is earlier. When it ends too early, it is
    started again for the rest of the time.

    :param reactor: the clock, and what calls later.
    :param connection: what is called when a deadline is reached. It is not referred to after :meth:`end`.
    :ivar awaited: what the client has to send next.
    """

    __slots__ = ("_abort_at", "_began", "_connection", "_due", "_reactor", "_rest_until", "_timer", "awaited")

    def __init__(self, reactor: Any, connection: Timed) -> None:
        self._reactor = reactor
        self._connection: Timed | None = connection
        self._timer: IDelayedCall | None = None
        self.awaited = Awaited.REQUEST
        self._began = self._due = self._rest_until = self._abort_at = math.inf

    def expect(self, awaited: Awaited, seconds: float) -> None:
        """Begin to wait for something that the client has to send. Nothing else is waited for any more."""
        self.awaited = awaited
        self._began = now = self._reactor.seconds()
        self._due = due = now + seconds
        timer = self._timer
        if timer is None or timer.getTime() > due:
            self._keep(due, now)

    def extend(self, seconds: float) -> bool:
        """
        Go on waiting for what was waited for.

        :param seconds: how long it may take, from when it was first expected.
        :returns: whether there is time left.
        """
        now = self._reactor.seconds()
        due = self._began + seconds
        if due - now <= _INSTANT:
            return False
        self._due = due
        self._keep(due, now)
        return True

    def expect_nothing(self) -> None:
        """Wait for nothing: a whole request has arrived."""
        self.awaited = _NOTHING
        self._due = math.inf

    def rest(self, seconds: float) -> None:
        """Call :meth:`Timed.rested` after a time."""
        now = self._reactor.seconds()
        self._rest_until = now + seconds
        self._keep(self._rest_until, now)

    @property
    def is_closing(self) -> bool:
        """:returns: whether the connection is to be aborted after a time."""
        return self._abort_at < math.inf

    def abort_in(self, seconds: float) -> None:
        """Abort the connection after a time."""
        now = self._reactor.seconds()
        self._abort_at = now + seconds
        self._keep(self._abort_at, now)

    def keep_open(self) -> None:
        """Do not abort the connection after all."""
        self._abort_at = math.inf

    def end(self) -> None:
        """Have no deadline any more: the connection is gone."""
        self._connection = None
        self._due = self._rest_until = self._abort_at = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _keep(self, due: float, now: float) -> None:
        """Have the timer end no later than a deadline."""
        if self._timer is not None:
            if self._timer.getTime() <= due:
                return
            # The reactor would look through all of its timers to let this one end sooner.
            self._timer.cancel()
        if self._connection is not None:
            self._timer = self._reactor.callLater(due - now, self._timer_ended)

    def _timer_ended(self) -> None:
        self._timer = None
        connection, now = self._connection, self._reactor.seconds()
        if connection is None:
            return
        # Each of these calls may set other deadlines, or end all of them.
        if self._abort_at <= now:
            self._abort_at = math.inf
            connection.abort()
        if self._rest_until <= now:
            self._rest_until = math.inf
            connection.rested()
        if self._due <= now:
            self._due = math.inf
            connection.overdue()
        next_due = min(self._due, self._rest_until, self._abort_at)
        if next_due < math.inf:
            self._keep(next_due, now)
