"""
What anybody may read of signaling, and what an owner reads of its own: listings, in pages.

A page is bounded in items, in bytes, and in how much is looked at for it. Whatever has ended is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from rendezvous.core.signaling.bloom import Bloom
from rendezvous.core.signaling.encoded import string
from rendezvous.core.signaling.entries import Entry
from rendezvous.core.signaling.offers import OFFERS, Answer, Offer, Session
from rendezvous.core.signaling.pages import FRAME, Page, cut
from rendezvous.core.signaling.specs import characters
from rendezvous.core.signaling.table import OfferTable
from rendezvous.core.signaling.watches import TopicEvent, TopicNews

__all__ = ["Listings", "TopicUpdate"]


@attrs.frozen
class TopicUpdate:
    """
    What has changed in a topic.

    :ivar offers: those that have appeared; after a reset the first page of the listing.
    :ivar gone: those that have gone.
    :ivar since: the number after which the next update begins.
    :ivar is_reset: whether ``offers`` is the listing, because not all changes are known.
    :ivar is_new: whether this answers a reader who waits.
    """

    offers: Page[Offer, int]
    gone: Sequence[TopicEvent]
    since: int
    is_reset: bool
    is_new: bool


class Listings:
    """
    The reading verbs.

    :param table: what is read.
    """

    def __init__(self, table: OfferTable) -> None:
        self._table = table
        self._limits = table.limits

    # Offers of a peer

    def mine(self, owner: str, now: float, after: int | None = None) -> Page[Offer, int]:
        """
        All offers of a peer, answered ones included, most recently seen first.

        :param after: the position to go on after.
        """
        return self._page([(entry.offer, _own_size(entry.offer)) for entry in self._table.owned(owner, now)], after)

    def of_peer(self, owner: str, now: float, after: int | None = None) -> Page[Offer, int]:
        """
        The offers of a peer that can still be answered, most recently seen first.

        :param after: the position to go on after.
        """
        offers = [entry.offer for entry in self._table.owned(owner, now)]
        return self._page([(offer, offer.size + FRAME) for offer in offers if offer.answer is None], after)

    def _page(self, offers: list[tuple[Offer, int]], after: int | None) -> Page[Offer, int]:
        found = ((offer.seen, size, offer) for offer, size in offers if after is None or offer.seen < after)
        return cut(found, len(offers), self._limits.page_bytes, len(offers))

    def answers(self, owner: str, now: float, since: int = -1) -> Page[tuple[Offer, Answer], int]:
        """
        The offers of a peer that have an answer, and the answers, the earliest first.

        :param since: only those with an ``answered_at`` (ms) strictly greater; the position to go on after, too.
        """
        offers = [entry.offer for entry in self._table.owned(owner, now)]
        pairs = [(offer, offer.answer) for offer in offers if offer.answer is not None]
        pairs.sort(key=lambda pair: pair[1].answered_at)
        found = (
            (answer.answered_at, len(offer.head) + len(answer.sdp) + FRAME, (offer, answer))
            for offer, answer in pairs
            if answer.answered_at > since
        )
        return cut(found, len(pairs), self._limits.page_bytes, len(pairs))

    # Topics

    def by_topic(
        self, namespace: str, topic: str, limit: int, bloom: Bloom | None, now: float, after: int | None = None
    ) -> Page[Offer, int]:
        """
        A page of the answerable offers in a topic, most recently seen first.

        :param bloom: peers to leave out. At most :attr:`SignalingLimits.bloom_scan` offers are looked at for it.
        :param after: the position to go on after.
        :returns: the page; its total is how many there are in all, the left-out included.
        :raises Malformed: if the topic is out of its limits.
        """

        def found() -> Iterator[tuple[int, int, Offer | None]]:
            for entry in self._newest(namespace, topic, after):
                offer = entry.offer
                hidden = entry.ends_at <= now_ms or (bloom is not None and bloom.holds(entry.owner_hashes()))
                # Not its property: a page may have hundreds of them.
                yield offer.seen, len(offer.head) + len(offer.sdp) + FRAME, None if hidden else offer

        now_ms = self._begin(topic, now)
        scan = limit + 1 + self._limits.ended_scan if bloom is None else self._limits.bloom_scan
        return cut(found(), limit, self._limits.page_bytes, scan, self._total(namespace, topic))

    def topic_since(self, topic: str, since: int | None, limit: int, bloom: Bloom | None, now: float) -> TopicUpdate:
        """
        What has changed in a topic of the offers that is watched.

        :param since: the number after which changes are asked for; ``None`` for the listing, which is new if it has an
            offer.
        :param limit: the most offers and changes.
        :param bloom: peers whose offers are left out.
        """
        self._table.expire(now)
        news = TopicNews() if since is None else self._table.changes({topic: since}, now, limit)
        latest = self._table.events.latest
        if since is None or news.missed:
            page = self.by_topic(OFFERS, topic, limit, bloom, now)
            return TopicUpdate(page, (), latest, True, since is not None or bool(page.items))
        appeared = [event.offer for event in news.events if event.offer is not None]
        offers = tuple(offer for offer in appeared if bloom is None or offer.owner not in bloom)
        gone = [event for event in news.events if event.gone is not None]
        is_new = bool(offers or gone or news.until is not None)
        return TopicUpdate(Page(offers), gone, latest if news.until is None else news.until, False, is_new)

    def sessions(self, namespace: str, topic: str, now: float, after: int | None = None) -> Page[Session, int]:
        """
        A page of the unanswered sessions of a topic, newest first.

        :param after: the position to go on after.
        :raises Malformed: if the topic is out of its limits.
        """

        def found() -> Iterator[tuple[int, int, Session | None]]:
            for entry in self._newest(namespace, topic, after):
                live = entry.ends_at > now_ms
                yield entry.offer.seen, entry.session_size + FRAME, entry.session() if live else None

        now_ms = self._begin(topic, now)
        limit = self._limits.session_page_max
        scan = limit + 1 + self._limits.ended_scan
        return cut(found(), limit, self._limits.page_bytes, scan, self._total(namespace, topic))

    def _begin(self, topic: str, now: float) -> int:
        characters(topic, "topic", self._limits.topic_chars)
        self._table.expire(now)
        return int(now * 1000)

    def _newest(self, namespace: str, topic: str, after: int | None) -> Iterator[Entry]:
        return self._table.catalogue.topics(namespace).newest(topic, after)

    def _total(self, namespace: str, topic: str) -> int:
        return self._table.catalogue.topics(namespace).count(topic)

    def topics(
        self,
        namespace: str,
        limit: int,
        offset: int,
        prefix: str,
        now: float,
        after: tuple[int, str] | None = None,
    ) -> Page[tuple[str, int], tuple[int, str]]:
        """
        A page of topics and the number of peers with answerable offers in each, most active first, then by name.

        :param after: the position to go on after: a number of peers and a name.
        :returns: the page; its total is how many topics have the prefix.
        """
        self._table.expire(now)
        index = self._table.catalogue.topics(namespace)
        rows = index.by_activity(offset, prefix, after)
        found = (((active, name), len(string(name)) + FRAME, (name, active)) for name, active in rows)
        return cut(found, limit, self._limits.page_bytes, limit + 1, index.matching(prefix))

    def topics_by_name(
        self, namespace: str, limit: int, offset: int, now: float, after: str | None = None
    ) -> Page[tuple[str, int], str]:
        """
        A page of topics and the number of answerable offers in each, by name.

        :param after: the position to go on after: a name.
        :returns: the page; its total is how many topics there are.
        """
        self._table.expire(now)
        index = self._table.catalogue.topics(namespace)
        names = index.by_name(offset, after)
        found = ((name, len(string(name)) + FRAME, (name, index.count(name))) for name in names)
        return cut(found, limit, self._limits.page_bytes, limit + 1, len(index))

    def count(self, namespace: str, topic: str, now: float) -> int:
        """How many answerable offers a topic has."""
        self._table.expire(now)
        return self._total(namespace, topic)


def _own_size(offer: Offer) -> int:
    """The bytes that the owner is shown: the secret, and the info once more, with all that JSON may escape."""
    return offer.size + 2 * FRAME + 6 * (len(offer.secret or "") + len(offer.info or ""))
