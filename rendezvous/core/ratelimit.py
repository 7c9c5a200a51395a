"""
How many answers one source may cause: a token bucket per source address, in a table of bounded size.

A source is an IPv4 address, or the /64 that an IPv6 address lies in, since a /64 is what one subscriber commands.
"""

from __future__ import annotations

from rendezvous.core.addresses import packed, shown

__all__ = ["MAX_SOURCES", "RateLimit"]

MAX_SOURCES = 65_536
"""Sources remembered at once: about 15 MB when full of IPv6 networks."""


def _source(host: str) -> str | bytes:
    """Name the source behind an address: text for IPv4, the first 8 bytes for IPv6."""
    if ":" not in host:
        return host
    address = packed(host)
    return shown(host) if len(address) == 4 else address[:8]


class RateLimit:
    """
    Token buckets, one a source, remembered for as long as the table has room.

    The table is two dictionaries. Each use writes to the younger; when that holds half of the bound, the older is
    forgotten and the younger takes its place. So every step is O(1), a source that keeps sending is kept, refused or
    not, and one that is forgotten starts with a full bucket: a flood from forged addresses cannot lock anyone out.

    :param rate: tokens a second that a source gains; 0 turns the limit off.
    :param burst: tokens that a bucket holds, at least 1; a new source starts with all of them.
    :param max_sources: sources remembered at once, at least 2.
    :raises ValueError: for a parameter out of range.
    """

    __slots__ = ("_burst", "_half", "_older", "_rate", "_younger")

    def __init__(self, rate: float, burst: int, max_sources: int = MAX_SOURCES) -> None:
        if not 0 <= rate < float("inf") or burst < 1 or max_sources < 2:
            raise ValueError("a rate is 0 or more, a burst at least 1, and the table holds at least 2 sources")
        self._rate = rate
        self._burst = burst
        self._half = max_sources // 2
        # source -> (tokens spent and not yet regained, when that was so)
        self._younger: dict[str | bytes, tuple[float, float]] = {}
        self._older: dict[str | bytes, tuple[float, float]] = {}

    def __len__(self) -> int:
        """Count the entries held, which is never more than ``max_sources``."""
        return len(self._younger) + len(self._older)

    def allow(self, host: str, now: float) -> bool:
        """
        Take one token from the bucket of an address.

        :param host: the source address as a socket shows it.
        :param now: seconds since the epoch; a clock that was set back gains nobody anything, nor costs it.
        :returns: whether there was a token to take.
        :raises ValueError: for an IPv6 address that is none.
        """
        if not self._rate:
            return True
        source = _source(host)
        spent, since = self._younger.get(source) or self._older.get(source, (0.0, now))
        spent = max(0.0, spent - max(0.0, now - since) * self._rate)
        allowed = spent + 1 <= self._burst
        self._remember(source, spent + 1 if allowed else spent, now)
        return allowed

    def _remember(self, source: str | bytes, spent: float, now: float) -> None:
        """Write an entry to the younger dictionary, making room when that is full."""
        if source not in self._younger and len(self._younger) >= self._half:
            self._older = self._younger
            self._younger = {}
        self._younger[source] = (spent, now)
