"""
Which offers can be found under which topic, kept in the orders in which they are listed.

Nothing here knows the time: the caller passes over what has ended. Names are ordered by code point, which is also the
order of their UTF-8 bytes.

A page is continued after a position: that of an offer is its place
(:attr:`~rendezvous.core.signaling.offers.Offer.seen`), that of a topic its name, or its number of peers and its name.
So an item that keeps its place is neither skipped nor repeated, whatever comes and goes before it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from sortedcontainers import SortedList

from rendezvous.core.signaling.entries import Entry

__all__ = ["TopicIndex"]


class _Topic:
    """
    One name and what is found under it.

    :ivar offers: by id, least recently seen first. Seeing an offer again moves it to the end, and time only goes on, so
        a plain dict is the sorted index. (Entries removed at the end leave holes that a listing steps over in C, at
        about 0.3 ns each, until the next resize: not worth the memory of a linked list.)
    :ivar owners: how many of the offers each peer has.
    """

    __slots__ = ("offers", "owners")

    def __init__(self) -> None:
        self.offers: dict[str, Entry] = {}
        self.owners: dict[str, int] = {}


class TopicIndex:
    """The topics of one namespace and their answerable offers."""

    def __init__(self) -> None:
        self._topics: dict[str, _Topic] = {}
        self._names: SortedList[str] = SortedList()
        # By falling number of active peers, then by name. Sessions have none, and there may be a namespace for each.
        self._ranked: SortedList[tuple[int, str]] | None = None

    def __len__(self) -> int:
        """How many topics have offers."""
        return len(self._topics)

    def add(self, entry: Entry) -> None:
        """
        List an offer under each of its topics.

        :param entry: seen no earlier than any other that is listed.
        """
        offer = entry.offer
        for name in offer.topics:
            topic = self._topics.get(name)
            if topic is None:
                topic = self._topics[name] = _Topic()
                self._names.add(name)
            topic.offers[offer.id] = entry
            held = topic.owners.get(offer.owner, 0)
            topic.owners[offer.owner] = held + 1
            if not held and offer.owner:
                self._rank(name, len(topic.owners) - 1, len(topic.owners))

    def discard(self, entry: Entry) -> None:
        """Take an offer out of all of its topics; topics without offers are forgotten."""
        offer = entry.offer
        for name in offer.topics:
            topic = self._topics[name]
            del topic.offers[offer.id]
            held = topic.owners[offer.owner]
            if held > 1:
                topic.owners[offer.owner] = held - 1
                continue
            del topic.owners[offer.owner]
            if offer.owner:
                self._rank(name, len(topic.owners) + 1, len(topic.owners))
            if not topic.offers:
                del self._topics[name]
                self._names.remove(name)

    def touch(self, entry: Entry) -> None:
        """Move an offer to the front of its topics: it is the one most recently seen."""
        offer = entry.offer
        for name in offer.topics:
            offers = self._topics[name].offers
            del offers[offer.id]
            offers[offer.id] = entry

    def _rank(self, name: str, before: int, after: int) -> None:
        if self._ranked is None:
            self._ranked = SortedList()
        if before:
            self._ranked.remove((-before, name))
        if after:
            self._ranked.add((-after, name))

    def newest(self, name: str, after: int | None = None) -> Iterator[Entry]:
        """
        The offers of a topic, most recently seen first, one by one.

        :param after: only those behind this place. To find it costs a copy of the references, 5 us for a thousand.
        """
        topic = self._topics.get(name)
        if topic is None:
            return iter(())
        if after is None:
            return reversed(topic.offers.values())
        entries = list(topic.offers.values())
        del entries[bisect_left(entries, after, key=_seen) :]
        return reversed(entries)

    def count(self, name: str) -> int:
        """How many offers a topic has."""
        topic = self._topics.get(name)
        return 0 if topic is None else len(topic.offers)

    def active(self, name: str) -> int:
        """How many peers have offers in a topic."""
        topic = self._topics.get(name)
        return 0 if topic is None else len(topic.owners)

    def by_name(self, offset: int = 0, after: str | None = None) -> Iterator[str]:
        """
        The topics in the order of their names, one by one.

        :param offset: how many to skip.
        :param after: only those behind this name; then nothing is skipped.
        """
        names: Iterator[str] = self._names.islice(offset if after is None else self._names.bisect_right(after))
        return names

    def matching(self, prefix: str = "") -> int:
        """How many topics have a prefix."""
        beyond = _successor(prefix)
        start: int = self._names.bisect_left(prefix)
        stop: int = len(self._names) if beyond is None else self._names.bisect_left(beyond)
        return stop - start

    def by_activity(
        self, offset: int = 0, prefix: str = "", after: tuple[int, str] | None = None
    ) -> Iterator[tuple[str, int]]:
        """
        Topics and their active peers, most active first, then by name, one by one.

        Topics with the same number of peers lie together in the order of their names, so those that match are one run
        at each number, found by bisection. Numbers are few: so many different ones need half the square of that many
        peers.

        :param offset: how many to skip.
        :param after: only those behind this number of peers and this name; then nothing is skipped.
        """
        ranked = self._ranked or SortedList()
        at, offset = (0, offset) if after is None else (ranked.bisect_right((-after[0], after[1])), 0)
        beyond = _successor(prefix)
        while at < len(ranked):
            rank = ranked[at][0]
            # The shorter of two tuples comes first, so this is where the next rank begins.
            next_rank = ranked.bisect_left((rank + 1,))
            start = max(at, ranked.bisect_left((rank, prefix))) if prefix else at
            stop = next_rank if beyond is None else max(start, ranked.bisect_left((rank, beyond)))
            start, offset = min(stop, start + offset), max(0, offset - (stop - start))
            for _, name in ranked.islice(start, stop):
                yield name, -rank
            at = next_rank


def _successor(prefix: str) -> str | None:
    """The least string that is greater than every string with this prefix, or ``None`` if there is none."""
    stem = prefix.rstrip("\U0010ffff")
    return stem[:-1] + chr(ord(stem[-1]) + 1) if stem else None


def _seen(entry: Entry) -> int:
    return entry.offer.seen
