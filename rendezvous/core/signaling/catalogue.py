"""
Where each offer can be found: by namespace and id, by owner, by topic, and by the moment it ends.

The signaling decides; the catalogue only keeps its indexes in step, so that every look-up costs what it returns. What
becomes empty is dropped at once: made-up namespaces, owners and topics leave nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterator

from sortedcontainers import SortedList

from rendezvous.core.signaling.entries import Entry
from rendezvous.core.signaling.topics import TopicIndex

__all__ = ["Catalogue"]


class _Namespace:
    """What shares a namespace: offers by id, and the topics of those that can still be answered."""

    __slots__ = ("offers", "topics")

    def __init__(self) -> None:
        self.offers: dict[str, Entry] = {}
        self.topics = TopicIndex()


class Catalogue:
    """Every offer and session, in all the orders in which they are asked for."""

    def __init__(self) -> None:
        self._namespaces: dict[str, _Namespace] = {}
        # By id, least recently seen first, as in a topic.
        self._owned: dict[str, dict[str, Entry]] = {}
        # By when they end, then in the order in which they came. A heap would keep what was withdrawn until its time
        # came; here an offer leaves at once.
        self._due: SortedList[tuple[int, int, Entry]] = SortedList()
        self._entered = 0

    def __len__(self) -> int:
        """How many offers and sessions there are, in all namespaces."""
        return len(self._due)

    def count(self, namespace: str) -> int:
        """How many offers and sessions there are in a namespace."""
        held = self._namespaces.get(namespace)
        return 0 if held is None else len(held.offers)

    def __iter__(self) -> Iterator[Entry]:
        """All of them, in no particular order."""
        for namespace in self._namespaces.values():
            yield from namespace.offers.values()

    def add(self, entry: Entry) -> None:
        """Enter an offer that is seen no earlier than any other."""
        offer = entry.offer
        namespace = self._namespaces.get(offer.namespace)
        if namespace is None:
            namespace = self._namespaces[offer.namespace] = _Namespace()
        namespace.offers[offer.id] = entry
        if offer.answer is None:
            namespace.topics.add(entry)
        if offer.owner:
            self._owned.setdefault(offer.owner, {})[offer.id] = entry
        self._entered += 1
        entry.number = self._entered
        self._due.add((entry.ends_at, entry.number, entry))

    def remove(self, entry: Entry) -> None:
        """Take an offer out of everything; it must be as it was entered, or as :meth:`lock` left it."""
        offer = entry.offer
        namespace = self._namespaces[offer.namespace]
        del namespace.offers[offer.id]
        if offer.answer is None:
            namespace.topics.discard(entry)
        if not namespace.offers:
            del self._namespaces[offer.namespace]
        if offer.owner:
            owned = self._owned[offer.owner]
            del owned[offer.id]
            if not owned:
                del self._owned[offer.owner]
        self._due.remove((entry.ends_at, entry.number, entry))

    def lock(self, entry: Entry) -> None:
        """Take an offer out of its topics; to be called before it gets its answer."""
        self._namespaces[entry.offer.namespace].topics.discard(entry)

    def touch(self, entry: Entry) -> None:
        """Move an offer with an owner to the front of every listing: it is the one most recently seen."""
        offer = entry.offer
        owned = self._owned[offer.owner]
        owned[offer.id] = owned.pop(offer.id)
        if offer.answer is None:
            self._namespaces[offer.namespace].topics.touch(entry)

    def reschedule(self, entry: Entry, ends_at: int) -> None:
        """Have an offer end at another moment."""
        self._due.remove((entry.ends_at, entry.number, entry))
        entry.ends_at = ends_at
        self._due.add((ends_at, entry.number, entry))

    def find(self, namespace: str, offer_id: str) -> Entry | None:
        """The offer with an id in a namespace."""
        held = self._namespaces.get(namespace)
        return None if held is None else held.offers.get(offer_id)

    def owned(self, owner: str) -> list[Entry]:
        """The offers of a peer, most recently seen first."""
        return list(reversed(self._owned.get(owner, {}).values()))

    def count_owned(self, owner: str) -> int:
        """How many offers of a peer there are, those that have ended but are not freed yet included."""
        return len(self._owned.get(owner, ()))

    def topics(self, namespace: str) -> TopicIndex:
        """The topics of a namespace; an empty index if nothing is in it."""
        held = self._namespaces.get(namespace)
        return TopicIndex() if held is None else held.topics

    def in_order(self, after: tuple[int, int] | None = None) -> Iterator[Entry]:
        """
        Walk all offers and sessions in the order in which they end.

        :param after: the end and the number of the one to go on after.
        """
        least = None if after is None else (after[0], after[1] + 1)
        return (entry for _, _, entry in self._due.irange(least))

    def due(self, now_ms: int) -> Entry | None:
        """The next offer to end, if its moment has come."""
        if not self._due:
            return None
        ends_at, _, entry = self._due[0]
        return entry if ends_at <= now_ms else None
