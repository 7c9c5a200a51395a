"""
Which offers can be found under which topic, kept in the orders in which they are listed.

Nothing here knows the time: the board takes out what has ended before it asks. Names are ordered by code point, which
is also the order of their UTF-8 bytes.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import islice

from sortedcontainers import SortedList

from rendezvous.core.offers import Offer

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
        self.offers: dict[str, Offer] = {}
        self.owners: dict[str, int] = {}


class TopicIndex:
    """The topics of one realm and their answerable offers."""

    def __init__(self) -> None:
        self._topics: dict[str, _Topic] = {}
        self._names: SortedList[str] = SortedList()
        self._activity: SortedList[tuple[int, str]] = SortedList()

    def __len__(self) -> int:
        """How many topics have offers."""
        return len(self._topics)

    def add(self, offer: Offer) -> None:
        """
        List an offer under each of its topics.

        :param offer: seen no earlier than any other that is listed.
        """
        for name in offer.topics:
            topic = self._topics.get(name)
            if topic is None:
                topic = self._topics[name] = _Topic()
                self._names.add(name)
            topic.offers[offer.id] = offer
            held = topic.owners.get(offer.owner, 0)
            topic.owners[offer.owner] = held + 1
            if not held:
                self._rank(name, len(topic.owners) - 1, len(topic.owners))

    def discard(self, offer: Offer) -> None:
        """Take an offer out of all of its topics; topics without offers are forgotten."""
        for name in offer.topics:
            topic = self._topics[name]
            del topic.offers[offer.id]
            held = topic.owners[offer.owner]
            if held > 1:
                topic.owners[offer.owner] = held - 1
                continue
            del topic.owners[offer.owner]
            self._rank(name, len(topic.owners) + 1, len(topic.owners))
            if not topic.offers:
                del self._topics[name]
                self._names.remove(name)

    def touch(self, offer: Offer) -> None:
        """Move an offer to the front of its topics: it is the one most recently seen."""
        for name in offer.topics:
            offers = self._topics[name].offers
            del offers[offer.id]
            offers[offer.id] = offer

    def _rank(self, name: str, before: int, after: int) -> None:
        if before:
            self._activity.remove((-before, name))
        if after:
            self._activity.add((-after, name))

    def newest(self, name: str) -> Iterator[Offer]:
        """The offers of a topic, most recently seen first, one by one."""
        topic = self._topics.get(name)
        return iter(()) if topic is None else reversed(topic.offers.values())

    def count(self, name: str) -> int:
        """How many offers a topic has."""
        topic = self._topics.get(name)
        return 0 if topic is None else len(topic.offers)

    def active(self, name: str) -> int:
        """How many peers have offers in a topic."""
        topic = self._topics.get(name)
        return 0 if topic is None else len(topic.owners)

    def by_name(self, limit: int, offset: int) -> list[str]:
        """A page of topics in the order of their names."""
        return list(self._names.islice(offset, offset + limit))

    def by_activity(self, limit: int, offset: int, prefix: str = "") -> tuple[list[tuple[str, int]], int]:
        """
        A page of topics, most active first, then by name.

        Without a prefix this is a slice of a sorted index. With one there are two ways: walk the topics in order of
        activity and keep those that match, which is quick when many do; or collect the matches, which lie together in
        the order of names, and select the most active, which is quick when there are few. Two bisections tell the
        number of matches before either begins. The walk is tried first and given up after as many steps as there are
        matches, so the whole never costs more than twice the cheaper way. Where matches are spread evenly,
        that is at most about the square root of page times topics.

        :returns: pairs of topic and active peers, and how many topics match in all.
        """
        if not prefix:
            return [(name, -rank) for rank, name in self._activity.islice(offset, offset + limit)], len(self)
        start, stop = self._range(prefix)
        matches = stop - start
        end = min(offset + limit, matches)
        if offset >= matches:
            return [], matches
        walked = islice(self._activity, matches)
        ranked = list(islice((entry for entry in walked if entry[1].startswith(prefix)), end))
        if len(ranked) < end:
            entries = ((-self.active(name), name) for name in self._names.islice(start, stop))
            ranked = heapq.nsmallest(end, entries)
        return [(name, -rank) for rank, name in ranked[offset:]], matches

    def _range(self, prefix: str) -> tuple[int, int]:
        """Where the names with a prefix begin and end in the order of names."""
        start = self._names.bisect_left(prefix)
        after = _successor(prefix)
        return start, len(self._names) if after is None else self._names.bisect_left(after)


def _successor(prefix: str) -> str | None:
    """The least string that is greater than every string with this prefix, or ``None`` if there is none."""
    stem = prefix.rstrip("\U0010ffff")
    return stem[:-1] + chr(ord(stem[-1]) + 1) if stem else None
