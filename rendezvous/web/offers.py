"""The offers dialect: WebRTC signaling by topic. Times on the wire are milliseconds since the epoch."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.web.http import Request

from rendezvous.core.bloom import Bloom
from rendezvous.core.notes import PeerEvents
from rendezvous.core.offers import Answer, Candidate, Offer, OfferSpec
from rendezvous.interfaces import IStore
from rendezvous.limits import CANDIDATES_BODY, MAX_BODY, SESSION_BODY, SignalingLimits
from rendezvous.web._json import read_object
from rendezvous.web.fields import Body, Query, decode_segment
from rendezvous.web.route import Route, caller
from rendezvous.web.waiting import held

__all__ = ["OfferRoutes", "answer_fields", "candidate_fields"]


class OfferRoutes:
    """``protocol/offers``."""

    def __init__(self, store: IStore, clock: IReactorTime) -> None:
        self._store = store
        self._clock = clock
        self._seconds = clock.seconds
        self._limits: SignalingLimits = store.limits

    def routes(self) -> list[Route]:
        """:returns: the routes."""
        # Anybody may call a route, or a client that we know, or whoever the offer belongs to.
        route = partial(Route, tag="offers")
        known = partial(route, credential=True)
        owner = partial(known, errors=(403,))
        return [
            route(
                "GET", "/offers/by-topic/<topic>", self.by_topic, params=("limit", "bloom"), response="OffersInTopic"
            ),
            route("GET", "/peers/<peer>/offers", self.of_peer, response="OffersOfPeer"),
            known(
                "POST",
                "/offers",
                self.publish,
                body=MAX_BODY,
                request="Publication",
                response="Published",
                errors=(409, 429),
            ),
            known("GET", "/offers/mine", self.mine, response="OwnOffers"),
            known("GET", "/offers/answers", self.answers, params=("since", "wait"), response="Answers", errors=(429,)),
            owner("PUT", "/offers/<offer>/heartbeat", self.heartbeat, response="Seen"),
            owner("DELETE", "/offers/<offer>", self.withdraw, response="Deleted"),
            known(
                "POST",
                "/offers/<offer>/answer",
                self.answer,
                body=SESSION_BODY,
                request="AnswerToOffer",
                response="Answered",
                errors=(403, 409),
            ),
            known(
                "POST",
                "/offers/<offer>/ice-candidates",
                self.add_candidates,
                body=CANDIDATES_BODY,
                request="NewCandidates",
                response="CandidatesAdded",
                errors=(403, 429),
            ),
            known(
                "GET",
                "/offers/<offer>/ice-candidates",
                self.candidates,
                params=("since", "wait"),
                response="Candidates",
                errors=(403, 429),
            ),
        ]

    async def by_topic(self, request: Request, topic: str) -> dict[str, Any]:
        """The offers in a topic that can still be answered, most recently seen first."""
        name, query = decode_segment(topic, "topic"), Query(request)
        limit = self._limits.page(query.limit())
        filter = query.text("bloom")
        bloom = None if filter is None else Bloom.parse(filter, self._limits.bloom_size)
        offers, total = await self._store.by_topic(name, limit, bloom, self._seconds())
        return {"topic": name, "offers": list(map(_public, offers)), "total": total, "returned": len(offers)}

    async def of_peer(self, request: Request, peer: str) -> dict[str, Any]:
        """The offers of a peer that can still be answered, and their topics."""
        name = decode_segment(peer, "peerId")
        offers = await self._store.of_peer(name, self._seconds())
        topics = sorted({topic for offer in offers for topic in offer.topics})
        return {"peerId": name, "offers": list(map(_public, offers)), "topics": topics}

    async def publish(self, request: Request) -> dict[str, Any]:
        """Publish offers, all or none; publishing one again refreshes it."""
        now = self._seconds()
        owner = (await caller(request, self._store, now)).hex()
        specs = [self._spec(fields) for fields in Body(read_object(request)).objects("offers")]
        offers = await self._store.publish(owner, specs, now)
        return {
            "offers": [
                {"id": offer.id, "peerId": owner, "topics": list(offer.topics), "expiresAt": offer.expires_at}
                for offer in offers
            ]
        }

    async def mine(self, request: Request) -> dict[str, Any]:
        """The caller's own offers, with what others are not shown."""
        now = self._seconds()
        owner = (await caller(request, self._store, now)).hex()
        return {"peerId": owner, "offers": list(map(_own, await self._store.mine(owner, now)))}

    async def answers(self, request: Request) -> dict[str, Any]:
        """The answers to the caller's offers, the earliest first; with ``wait``, as soon as there is one."""
        owner = (await caller(request, self._store, self._seconds())).hex()
        query = Query(request)
        since = query.integer("since", 0)
        pairs = await held(
            self._store,
            self._clock,
            PeerEvents(owner),
            query.wait(),
            lambda: self._store.answers(owner, self._seconds(), -1 if since is None else since),
            may=lambda: caller(request, self._store, self._seconds()),
        )
        return {"answers": [answer_fields(offer.id, offer.topics, answer) for offer, answer in pairs]}

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
        answer = await self._store.answer(name, answerer, body.text("sdp"), body.optional_text("secret"), now)
        return {"offerId": name, "answererId": answerer, "answeredAt": answer.answered_at}

    async def add_candidates(self, request: Request, offer: str) -> dict[str, Any]:
        """Add ICE candidates of the caller's side."""
        now = self._seconds()
        peer = (await caller(request, self._store, now)).hex()
        values, name = Body(read_object(request)).items("candidates"), decode_segment(offer, "id")
        added = await self._store.add_candidates(name, peer, values, now)
        return {"offerId": name, "candidatesAdded": added}

    async def candidates(self, request: Request, offer: str) -> dict[str, Any]:
        """The other side's candidates, oldest first; with ``wait``, as soon as there is one."""
        peer = (await caller(request, self._store, self._seconds())).hex()
        query, name = Query(request), decode_segment(offer, "id")
        since = query.integer("since", 0)
        found = await held(
            self._store,
            self._clock,
            PeerEvents(peer),
            query.wait(),
            lambda: self._store.candidates(name, peer, self._seconds(), -1 if since is None else since),
            may=lambda: caller(request, self._store, self._seconds()),
        )
        return {"offerId": name, "candidates": list(map(candidate_fields, found))}

    def _spec(self, fields: Body) -> OfferSpec:
        return OfferSpec.check(
            self._limits,
            fields.prefix.rstrip("."),
            sdp=fields.text("sdp"),
            topics=fields.texts("topics"),
            ttl_ms=fields.optional_integer("ttl"),
            secret=fields.optional_text("secret"),
            info=fields.optional_text("info"),
            id=fields.optional_text("id"),
        )


def answer_fields(offer_id: str, topics: tuple[str, ...], answer: Answer) -> dict[str, Any]:
    """:returns: an answer as its offerer reads it."""
    return {
        "offerId": offer_id,
        "answererId": answer.answerer,
        "sdp": answer.sdp,
        "answeredAt": answer.answered_at,
        "topics": list(topics),
    }


def candidate_fields(candidate: Candidate) -> dict[str, Any]:
    """:returns: a candidate as the other side reads it."""
    return {
        "candidate": json.loads(candidate.payload),
        "peerId": candidate.peer,
        "role": candidate.role.value,
        "createdAt": candidate.created_at,
    }


def _public(offer: Offer) -> dict[str, Any]:
    fields = {
        "id": offer.id,
        "peerId": offer.owner,
        "sdp": offer.sdp,
        "topics": list(offer.topics),
        "expiresAt": offer.expires_at,
        "lastSeen": offer.last_seen,
        "hasSecret": offer.secret is not None,
    }
    if offer.info is not None:
        fields["info"] = offer.info
    return fields


def _own(offer: Offer) -> dict[str, Any]:
    return {
        **_public(offer),
        "createdAt": offer.created_at,
        "secret": offer.secret,
        "info": offer.info,
        "answererPeerId": offer.answer.answerer if offer.answer else None,
        "answeredAt": offer.answer.answered_at if offer.answer else None,
    }
