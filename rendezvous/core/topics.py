"""
Which offers can be found under which topic, kept in the orders in which they are listed.

Nothing here knows the time: the caller removes what has ended before it asks. Names are ordered by code point, which is
also the order of their UTF-8 bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

from sortedcontainers import SortedDict, SortedList

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
    """The topics of one namespace and their answerable offers."""

    def __init__(self) -> None:
        self._topics: dict[str, _Topic] = {}
        self._names: SortedList[str] = SortedList()
        # By number of active peers.
        self._activity: SortedDict[int, SortedList[str]] = SortedDict()

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
            names = self._activity[before]
            names.remove(name)
            if not names:
                del self._activity[before]
        if after:
            if after not in self._activity:
                self._activity[after] = SortedList()
            self._activity[after].add(name)

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

        Topics with the same number of peers lie together in the order of their names, so those that match are one run
        at each number, found by bisection. Numbers are few: so many different ones need half the square of that many
        peers.

        :returns: pairs of topic and active peers, and how many topics match in all.
        """
        page: list[tuple[str, int]] = []
        for active in reversed(self._activity):
            names = self._activity[active]
            start, stop = _run(names, prefix)
            if offset < stop - start:
                wanted = names.islice(start + offset, min(stop, start + offset + limit - len(page)))
                page += [(name, active) for name in wanted]
            offset = max(0, offset - (stop - start))
            if len(page) == limit:
                break
        start, stop = _run(self._names, prefix)
        return page, stop - start


def _run(names: SortedList[str], prefix: str) -> tuple[int, int]:
    """Where the names with a prefix begin and end in a list of names."""
    after = _successor(prefix)
    return names.bisect_left(prefix), len(names) if after is None else names.bisect_left(after)


def _successor(prefix: str) -> str | None:
    """The least string that is greater than every string with this prefix, or ``None`` if there is none."""
    stem = prefix.rstrip("\U0010ffff")
    return stem[:-1] + chr(ord(stem[-1]) + 1) if stem else None
