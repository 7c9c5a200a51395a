"""
How fast one source may act: token buckets by subscriber and by site, in tables of bounded size.

:mod:`rendezvous.core.sources` says what a subscriber and a site are.
"""

from __future__ import annotations

from rendezvous.core.buckets import Buckets
from rendezvous.core.sources import SITE_FACTOR, UNKNOWN, SourceNetwork, source_network

__all__ = ["MAX_SOURCES", "RateLimit"]

MAX_SOURCES = 65_536
"""Networks remembered at once by each of the two tables: about 20 MB for both when they are full of IPv6 networks."""


class RateLimit:
    """
    Token buckets of sources: each subscriber has one, and each site has a larger one that its subscribers share.

    What is taken is taken from both buckets, or from neither. :data:`~rendezvous.core.sources.UNKNOWN` is not limited.
    For example ``RateLimit(50, 100)`` lets one IPv4 address act 100 times at once and 50 times a second after that, and
    all addresses of its /24 together 400 times at once and 200 times a second after that.

    :param rate: tokens a second that a subscriber gains; 0 turns the limit off.
    :param burst: tokens that a subscriber's bucket holds, at least 1; a new source starts with all of them.
    :param max_sources: networks of each kind remembered at once, at least 2.
    :param site_factor: how many times as much a site has, at least 1.
    :raises ValueError: for a parameter out of range.
    """

    __slots__ = ("_rate", "_site_factor", "_sites", "_subscribers")

    def __init__(
        self, rate: float, burst: float, max_sources: int = MAX_SOURCES, site_factor: float = SITE_FACTOR
    ) -> None:
        if max_sources < 2 or site_factor < 1:
            raise ValueError("the table holds at least 2 sources, and a site's factor is at least 1")
        self._site_factor = site_factor
        self._subscribers: Buckets[str] = Buckets(rate, burst, max_sources)
        self._sites: Buckets[str] = Buckets(rate, burst, max_sources)
        self.change(rate, burst)

    def change(self, rate: float, burst: float) -> None:
        """
        Use another rate and burst from now on. What sources have spent counts against the new limit.

        :raises ValueError: for a parameter out of range; nothing has changed.
        """
        if not 0 <= rate < float("inf") or burst < 1:
            raise ValueError("a rate is 0 or more, and a burst at least 1")
        self._rate = rate
        for buckets, factor in ((self._subscribers, 1.0), (self._sites, self._site_factor)):
            buckets.rate, buckets.burst = rate * factor, burst * factor

    def __len__(self) -> int:
        """Count the entries held, which is never more than twice ``max_sources``."""
        return len(self._subscribers) + len(self._sites)

    @property
    def is_on(self) -> bool:
        """:returns: whether anything is limited at all."""
        return self._rate > 0

    def take(self, source: SourceNetwork, now: float, cost: float = 1.0) -> float:
        """
        Take tokens from the buckets of a source.

        :param now: seconds; a clock that was set back neither gives nor takes tokens.
        :param cost: tokens, more than 0; a cost above the burst waits for a full bucket, and empties it.
        :returns: 0.0 if the tokens were taken; otherwise none were, and it is the seconds until they would be there.
        """
        if not self._rate or source is UNKNOWN:
            return 0.0
        subscribers, sites = self._subscribers, self._sites
        subscriber, site = subscribers.spent(source.subscriber, now), sites.spent(source.site, now)
        # Both amounts are worked out before either is written: a site never pays for what a subscriber is refused.
        by_subscriber = cost if cost < subscribers.burst else subscribers.burst
        by_site = cost if cost < sites.burst else sites.burst
        over, over_site = subscriber + by_subscriber - subscribers.burst, site + by_site - sites.burst
        if over <= 0.0 and over_site <= 0.0:
            subscribers.remember(source.subscriber, subscriber + by_subscriber, now)
            sites.remember(source.site, site + by_site, now)
            return 0.0
        subscribers.remember(source.subscriber, subscriber, now)
        sites.remember(source.site, site, now)
        return max(over / subscribers.rate, over_site / sites.rate)

    def take_some(self, source: SourceNetwork, now: float, count: int) -> int:
        """
        Take one token for each of several requests that came at once, as calls of :meth:`take` in turn would.

        :param count: requests, at least 1.
        :returns: for how many of them, from the first on, there were tokens.
        """
        if not self._rate or source is UNKNOWN:
            return count
        subscribers, sites = self._subscribers, self._sites
        left = min(
            subscribers.burst - subscribers.spent(source.subscriber, now), sites.burst - sites.spent(source.site, now)
        )
        if left >= count and not self.take(source, now, count):
            return count
        for taken in range(count):
            if self.take(source, now):
                return taken
        return count

    def allow(self, host: str, now: float, cost: float = 1.0) -> bool:
        """
        Take tokens from the buckets of an address, as :meth:`take` does.

        :param host: the source address as a socket shows it.
        :returns: whether there were tokens to take.
        """
        return not self.take(source_network(host), now, cost)
