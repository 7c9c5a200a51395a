"""What one source may take over HTTP, and what is refused to it."""

from __future__ import annotations

import math

from twisted.internet.interfaces import IReactorTime

from rendezvous.core.ratelimit import RateLimit
from rendezvous.core.shares import Shares
from rendezvous.core.sources import SITE_FACTOR, SourceNetwork
from rendezvous.errors import Full, TooMany
from rendezvous.limits import SourceLimits

__all__ = ["MAX_UNFINISHED", "Place", "Quotas"]

#: Bytes of bodies that have not arrived whole, of all connections together.
MAX_UNFINISHED = 64 * 1024 * 1024


class Quotas:
    """
    The limits of each source: rates, and what it may hold at one time.

    :param limits: the limits.
    :param clock: the time that rates are measured on.
    :ivar connections: what each source holds of the open connections.
    """

    def __init__(self, limits: SourceLimits, clock: IReactorTime) -> None:
        self._seconds = clock.seconds
        self._requests, self._registrations, self._publications = RateLimit(0, 1), RateLimit(0, 1), RateLimit(0, 1)
        self._waiting = Shares("requests that wait", code="source-waiting")
        self._unfinished = Shares("request bodies that are being sent", code="source-bodies")
        self._unfinished_total = 0
        self.connections = Shares("connections", code="source-connections")
        self._most_connections: int | None = None
        self.change(limits)

    def change(self, limits: SourceLimits) -> None:
        """Use other limits from now on. What a source holds already stays, and is counted."""
        # A burst is what comes back in so many seconds.
        for rate, limit, seconds in (
            (limits.requests, self._requests, 8),
            (limits.registrations, self._registrations, 100),
            (limits.publications, self._publications, 50),
        ):
            limit.change(rate, max(1.0, rate * seconds))
        self._limits = limits
        self._waiting.change(limits.waiting, SITE_FACTOR * limits.waiting)
        self._share_connections()
        # Four times as much would be all that there is: a single site could keep every body out.
        self._unfinished.change(limits.unfinished, min(SITE_FACTOR * limits.unfinished, MAX_UNFINISHED // 2))

    def share_connections(self, most: int) -> None:
        """
        Keep one source from holding all connections where they are few.

        :param most: how many connections there may be in all; a subscriber has a quarter of them at most, and a site a
            half, even if its limit is higher. Of 128, for example, one address has 32.
        """
        self._most_connections = most
        self._share_connections()

    def _share_connections(self) -> None:
        subscriber, site = self._limits.connections, SITE_FACTOR * self._limits.connections
        if subscriber and self._most_connections is not None:
            subscriber = min(subscriber, max(1, self._most_connections // 4))
            site = min(site, max(1, self._most_connections // 2))
        self.connections.change(subscriber, site)

    def request(self, source: SourceNetwork) -> None:
        """:raises TooMany: ``source-requests``, the source sends more requests than it may."""
        wait = self._requests.take(source, self._seconds())
        if wait:
            raise _too_fast("requests", source, wait)

    def registration(self, source: SourceNetwork) -> None:
        """:raises TooMany: ``source-registrations``, the source registers more clients than it may."""
        wait = self._registrations.take(source, self._seconds())
        if wait:
            raise _too_fast("registrations", source, wait)

    def publications(self, source: SourceNetwork, number: int) -> None:
        """
        :param number: of the offers or sessions that the source wants to make.
        :raises TooMany: ``source-publications``, the source makes more of them than it may.
        """
        wait = self._publications.take(source, self._seconds(), number) if number > 0 else 0.0
        if wait:
            raise _too_fast("publications", source, wait)

    def waiting(self, source: SourceNetwork) -> Place:
        """
        Count a request that waits, for the duration of a ``with`` block.

        :raises TooMany: ``source-waiting``, as many requests and streams of the source wait as may.
        """
        return Place(self._waiting, source)

    def receive(self, source: SourceNetwork, size: int) -> None:
        """
        Count a piece of a body that has not arrived whole.

        :raises TooMany: ``source-bodies``, the source has sent as much of such bodies as it may.
        :raises Full: ``full-bodies``, all sources together have.
        """
        if self._unfinished_total + size > MAX_UNFINISHED:
            raise Full("The server is receiving as many request bodies as it can.", code="full-bodies")
        self._unfinished.check(source, size)
        self._unfinished.add(source, size)
        self._unfinished_total += size

    def received(self, source: SourceNetwork, size: int) -> None:
        """Count a body that has arrived whole, or never will."""
        self._unfinished.remove(source, size)
        self._unfinished_total -= size


class Place:
    """One place among those that a source may hold; it is given back at the end of the ``with`` block."""

    __slots__ = ("_shares", "_source")

    def __init__(self, shares: Shares, source: SourceNetwork) -> None:
        self._shares = shares
        self._source = source

    def __enter__(self) -> None:
        self._shares.check(self._source)
        self._shares.add(self._source)

    def __exit__(self, *error: object) -> None:
        self._shares.remove(self._source)


def _too_fast(what: str, source: SourceNetwork, wait: float) -> TooMany:
    seconds = math.ceil(wait)
    return TooMany(
        f"The network {source.subscriber} has sent too many {what}; try again in {seconds} s.",
        code=f"source-{what}",
        retry_after=seconds,
    )
