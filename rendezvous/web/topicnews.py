"""What has changed in a topic since its reader looked last: ``GET /offers/by-topic/<topic>`` with ``since``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from rendezvous.core.signaling.bloom import Bloom
from rendezvous.core.signaling.offers import Offer
from rendezvous.core.signaling.pages import Page
from rendezvous.core.signaling.watches import TopicEvent
from rendezvous.interfaces import IStore
from rendezvous.web.pages import listing
from rendezvous.web.records import offers_json

__all__ = ["TopicReader", "TopicSeen", "topic_json"]


@attrs.frozen
class TopicSeen:
    """
    What a reader is shown. It is true if there is anything new.

    :ivar offers: those that have appeared; after a reset the first page of the listing.
    :ivar gone: what has gone.
    :ivar since: the number after which the next request goes on.
    :ivar is_reset: whether ``offers`` is the listing, because not all changes are known.
    """

    offers: Page[Offer, int]
    gone: Sequence[TopicEvent]
    since: int
    is_reset: bool
    is_new: bool

    def __bool__(self) -> bool:
        return self.is_new


@attrs.frozen
class TopicReader:
    """
    One request for the changes of a topic, which is watched meanwhile.

    :ivar limit: the most offers and changes.
    :ivar bloom: owners whose offers are left out.
    :ivar since: the number after which changes are asked for; ``None`` for the listing.
    """

    store: IStore
    seconds: Callable[[], float]
    topic: str
    limit: int
    bloom: Bloom | None
    since: int | None

    async def look(self) -> TopicSeen:
        """:returns: what there is now."""
        if self.since is None:
            seen = await self._listed()
            return attrs.evolve(seen, is_new=bool(seen.offers.items))
        news = await self.store.events_since("", self.since, self.seconds(), {self.topic: -1}, self.limit)
        if news.missed:
            return await self._listed()
        found = [event.offer for event in news.changes if event.offer is not None]
        offers = tuple(offer for offer in found if not self._is_hidden(offer))
        gone = [event for event in news.changes if event.gone is not None]
        return TopicSeen(Page(offers), gone, news.cursor, False, bool(offers or gone or news.more))

    async def _listed(self) -> TopicSeen:
        # The number first: what changes in between is shown twice, and not missed.
        cursor = (await self.store.events_since("", None, self.seconds())).cursor
        page = await self.store.by_topic(self.topic, self.limit, self.bloom, self.seconds())
        return TopicSeen(page, (), cursor, True, True)

    def _is_hidden(self, offer: Offer) -> bool:
        return self.bloom is not None and offer.owner in self.bloom


def topic_json(topic: str, seen: TopicSeen, ahead: int) -> list[bytes]:
    """
    :param ahead: milliseconds that the wall clock is ahead of server time.
    :returns: the JSON of the answer, in parts.
    """
    fields = {
        "topic": topic,
        "returned": len(seen.offers.items),
        "since": str(seen.since),
        "reset": seen.is_reset,
        "gone": [{"offerId": event.offer_id, "reason": event.gone} for event in seen.gone],
    }
    if seen.is_reset:
        fields["total"] = seen.offers.total
    return listing(fields, "offers", offers_json(seen.offers.items, ahead), seen.offers)
