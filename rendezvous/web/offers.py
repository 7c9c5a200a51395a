"""The offers protocol: WebRTC signaling by topic. Times on the wire are milliseconds since the epoch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.web.http import Request

from rendezvous.core.notes import PeerEvents, TopicChanges
from rendezvous.core.signaling.bloom import Bloom
from rendezvous.core.signaling.listings import TopicUpdate
from rendezvous.core.signaling.pages import Page
from rendezvous.core.signaling.specs import OfferSpec
from rendezvous.core.signaling.watches import publication_cost
from rendezvous.interfaces import IStore
from rendezvous.limits import CANDIDATES_BODY, MAX_BODY, SESSION_BODY, SignalingLimits
from rendezvous.web._json import read_object
from rendezvous.web.admission import Admission
from rendezvous.web.fields import Body, Query, decode_segment
from rendezvous.web.pages import listing, number_after, separated
from rendezvous.web.quotas import Quotas
from rendezvous.web.records import ahead_of, answer_json, candidate_json, ends_at, offers_json, own_offer_json
from rendezvous.web.route import Route, caller
from rendezvous.web.sources import source_of
from rendezvous.web.waiting import long_poll

__all__ = ["OfferRoutes"]

Item = TypeVar("Item")

_route = partial(Route, tag="offers")
_of_client = partial(_route, credential=True)


class OfferRoutes:
    """``protocol/offers``."""

    def __init__(self, store: IStore, clock: IReactorTime, quotas: Quotas, admission: Admission) -> None:
        self._store = store
        self._clock = clock
        self._quotas = quotas
        self._admission = admission
        self._seconds = clock.seconds
        self._ahead = ahead_of(clock)
        self._limits: SignalingLimits = store.limits

    def routes(self) -> list[Route]:
        """:returns: the routes."""
        return [*self._listings(), *self._own_offers(), *self._exchange()]

    def _listings(self) -> list[Route]:
        """:returns: what everybody may read."""
        by_topic = partial(
            _route, params=("limit", "bloom", "next", "changes-since", "wait"), response="OffersInTopic", errors=(429,)
        )
        of_peer = partial(_route, params=("next",), response="OffersOfPeer")
        return [
            by_topic("GET", "/offers/by-topic/<topic>", self.by_topic),
            of_peer("GET", "/peers/<peer>/offers", self.of_peer),
        ]

    def _own_offers(self) -> list[Route]:
        """:returns: what a peer does with offers of its own."""
        publish = partial(_of_client, body=MAX_BODY, request="Publication", response="Published", errors=(409, 429))
        owner = partial(_of_client, errors=(403,))
        return [
            publish("POST", "/offers", self.publish),
            _of_client("GET", "/offers/mine", self.mine, params=("next",), response="OwnOffers"),
            owner("PUT", "/offers/<offer>/heartbeat", self.heartbeat, response="Seen"),
            owner("DELETE", "/offers/<offer>", self.withdraw, response="Deleted"),
        ]

    def _exchange(self) -> list[Route]:
        """:returns: what the two sides of an offer send to each other."""
        candidates = "/offers/<offer>/ice-candidates"
        polled = partial(_of_client, params=("since", "wait", "next"))
        answer = partial(_of_client, body=SESSION_BODY, request="AnswerToOffer", response="Answered", errors=(403, 409))
        add = partial(_of_client, body=CANDIDATES_BODY, request="NewCandidates", response="CandidatesAdded")
        return [
            polled("GET", "/offers/answers", self.answers, response="Answers", errors=(429,)),
            answer("POST", "/offers/<offer>/answer", self.answer),
            add("POST", candidates, self.add_candidates, errors=(403, 429)),
            polled("GET", candidates, self.candidates, response="Candidates", errors=(403, 429)),
        ]

    async def by_topic(self, request: Request, topic: str) -> list[bytes]:
        """The offers in a topic that can still be answered, most recently seen first; with ``since``, what is new."""
        name, query = decode_segment(topic, "topic"), Query(request)
        limit = query.limit(self._limits.page_default, self._limits.page_max)
        filter = query.text("bloom")
        bloom = None if filter is None else Bloom.parse(filter, self._limits.bloom_size)
        since, wait, after = query.integer("since", 0), query.wait(), number_after(query.text("next"))
        if after is None and (since is not None or wait):
            look = partial(self._store.topic_since, name, since, limit, bloom)
            return _update(name, await self._watched(request, name, wait, look), self._ahead())
        page = await self._store.by_topic(name, limit, bloom, self._seconds(), after)
        fields = {"topic": name, "total": page.total, "returned": len(page.items)}
        return listing(fields, "offers", offers_json(page.items, self._ahead()), page)

    async def _watched(
        self, request: Request, topic: str, wait: float, look: Callable[[float], Awaitable[TopicUpdate]]
    ) -> TopicUpdate:
        """Watch a topic until there is something new, or the time is over."""
        source, key = source_of(request), TopicChanges(topic)
        watch = self._store.watch(topic, self._seconds(), source)
        try:
            return await long_poll(
                self._quotas.waiting(source),
                self._store,
                self._clock,
                key,
                wait,
                lambda: look(self._seconds()),
                lambda update: update.is_new,
            )
        finally:
            watch.close(self._seconds())

    async def of_peer(self, request: Request, peer: str) -> list[bytes]:
        """The offers of a peer that can still be answered, and their topics."""
        # As in every path, a client id may be written with capital letters.
        name = decode_segment(peer, "peerId").lower()
        page = await self._store.of_peer(name, self._seconds(), number_after(Query(request).text("next")))
        fields = {"peerId": name, "topics": sorted({topic for offer in page.items for topic in offer.topics})}
        return listing(fields, "offers", offers_json(page.items, self._ahead()), page)

    async def publish(self, request: Request) -> dict[str, Any]:
        """Publish offers, all or none; publishing one again refreshes it."""
        now = self._seconds()
        owner = (await caller(request, self._store, now)).hex()
        if self._admission.is_draining and not (await self._store.mine(owner, now)).items:
            self._admission.check_draining()
        asked = Body(read_object(request)).objects("offers", self._limits.offers_per_request)
        specs = [self._spec(fields) for fields in asked]
        del asked  # It may hold much that is ignored, and what follows waits for the disk.
        source = source_of(request)
        self._quotas.publications(source, sum(self._cost(spec) for spec in specs))
        offers = await self._store.publish(owner, specs, now, source)
        ahead = self._ahead()
        return {
            "offers": [
                {"id": offer.id, "peerId": owner, "topics": offer.topics, "expiresAt": ends_at(offer, ahead)}
                for offer in offers
            ]
        }

    def _cost(self, spec: OfferSpec) -> int:
        return publication_cost(self._store.watching(spec.topics), len(spec.sdp))

    async def mine(self, request: Request) -> list[bytes]:
        """The caller's own offers, with what others are not shown."""
        now = self._seconds()
        owner = (await caller(request, self._store, now)).hex()
        page = await self._store.mine(owner, now, number_after(Query(request).text("next")))
        ahead = self._ahead()
        offers = [own_offer_json(offer, ahead) for offer in page.items]
        return listing({"peerId": owner}, "offers", separated(offers), page)

    async def answers(self, request: Request) -> list[bytes]:
        """The answers to the caller's offers, the earliest first; with ``wait``, as soon as there is one."""
        owner = (await caller(request, self._store, self._seconds())).hex()
        query = Query(request)
        since = _since(query)
        page = await self._poll(
            request, owner, query.wait(), lambda: self._store.answers(owner, self._seconds(), since)
        )
        answers = separated([(answer_json(offer.id, offer.topics, answer),) for offer, answer in page.items])
        return listing({}, "answers", answers, page)

    async def heartbeat(self, request: Request, offer: str) -> dict[str, Any]:
        """Say that the owner still waits: the offer is listed first again."""
        now = self._seconds()
        owner = (await caller(request, self._store, now)).hex()
        seen = await self._store.heartbeat(owner, decode_segment(offer, "id"), now)
        return {"id": seen.id, "lastSeen": seen.last_seen}

    async def withdraw(self, request: Request, offer: str) -> dict[str, Any]:
        """End an offer."""
        now = self._seconds()
        owner = (await caller(request, self._store, now)).hex()
        await self._store.withdraw(owner, decode_segment(offer, "id"), now)
        return {"deleted": True}

    async def answer(self, request: Request, offer: str) -> dict[str, Any]:
        """Answer an offer; the first answer locks it."""
        now = self._seconds()
        answerer = (await caller(request, self._store, now)).hex()
        body, name = Body(read_object(request)), decode_segment(offer, "id")
        sdp, secret = body.text("sdp"), body.optional_text("secret")
        del body
        answer = await self._store.answer(name, answerer, sdp, secret, now, source_of(request))
        return {"offerId": name, "answererId": answerer, "answeredAt": answer.answered_at}

    async def add_candidates(self, request: Request, offer: str) -> dict[str, Any]:
        """Add ICE candidates of the caller's side."""
        now = self._seconds()
        peer = (await caller(request, self._store, now)).hex()
        values = Body(read_object(request)).items("candidates", self._limits.candidates_per_request)
        name = decode_segment(offer, "id")
        added = await self._store.add_candidates(name, peer, values, now, source_of(request))
        return {"offerId": name, "candidatesAdded": added}

    async def candidates(self, request: Request, offer: str) -> list[bytes]:
        """The other side's candidates, oldest first; with ``wait``, as soon as there is one."""
        peer = (await caller(request, self._store, self._seconds())).hex()
        query, name = Query(request), decode_segment(offer, "id")
        since = _since(query)
        page = await self._poll(
            request, peer, query.wait(), lambda: self._store.candidates(name, peer, self._seconds(), since)
        )
        candidates = separated([(candidate_json(each),) for each in page.items])
        return listing({"offerId": name}, "candidates", candidates, page)

    async def _poll(
        self, request: Request, peer: str, wait: float, look: Callable[[], Awaitable[Page[Item, Any]]]
    ) -> Page[Item, Any]:
        """:returns: the page that a peer asks for; if it is empty, the next one that is not, or that is there then."""
        return await long_poll(
            self._quotas.waiting(source_of(request)),
            self._store,
            self._clock,
            PeerEvents(peer),
            wait,
            look,
            is_news=lambda page: bool(page.items),
            may=lambda: caller(request, self._store, self._seconds()),
        )

    def _spec(self, fields: Body) -> OfferSpec:
        return OfferSpec.check(
            self._limits,
            fields.prefix.rstrip("."),
            sdp=fields.text("sdp"),
            topics=fields.texts("topics", self._limits.topics_per_offer),
            ttl_ms=fields.optional_integer("ttl"),
            secret=fields.optional_text("secret"),
            info=fields.optional_text("info"),
            id=fields.optional_text("id"),
            while_connected=fields.flag("whileConnected"),
        )


def _since(query: Query) -> int:
    """:returns: where to begin: after ``since``, or after ``next`` if that is later."""
    given = query.integer("since", 0), number_after(query.text("next"))
    return max(-1 if number is None else number for number in given)


def _update(topic: str, update: TopicUpdate, ahead: int) -> list[bytes]:
    """:returns: the JSON of what has changed, in parts."""
    fields = {
        "topic": topic,
        "returned": len(update.offers.items),
        "since": str(update.since),
        "reset": update.is_reset,
        "gone": [{"offerId": event.offer_id, "reason": event.gone} for event in update.gone],
    }
    if update.is_reset:
        fields["total"] = update.offers.total
    return listing(fields, "offers", offers_json(update.offers.items, ahead), update.offers)
