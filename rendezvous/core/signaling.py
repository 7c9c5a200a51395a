"""
The signaling: what peers may do with offers, answers and candidates.

All offers and sessions count against ``max_offers``; the offers of a peer and the candidates of a side have bounds of
their own. A request that is refused has changed nothing. How long things are held and who is told of a change is in
:mod:`rendezvous.core.table`.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from rendezvous.core.bloom import Bloom
from rendezvous.core.events import EventKind, answered, trickled
from rendezvous.core.offers import (
    Answer,
    Candidate,
    CandidatesAdded,
    Offer,
    OfferAnswered,
    OfferSeen,
    OfferSpec,
    Role,
    candidate_texts,
    characters,
    sdp_text,
)
from rendezvous.core.table import OfferTable
from rendezvous.errors import Conflict, Forbidden, Malformed, TooMany

__all__ = ["OFFERS", "Signaling"]

#: The namespace of the offers dialect. No Origin is empty, so no session is in it.
OFFERS = ""


class Signaling(OfferTable):
    """
    The whole signaling state of a process, with the verbs of peers.

    Two protocols use it. The offers protocol calls these verbs with the namespace :data:`OFFERS`. The sessions protocol
    goes through :class:`rendezvous.core.sessions.Sessions`, which gives the Origin as the namespace. Everything is
    found by (namespace, id), so nothing in one namespace is visible in another.
    """

    # Publication

    def publish(self, owner: str, specs: Sequence[OfferSpec], now: float) -> list[Offer]:
        """
        Publish offers, all or none.

        An id that the owner has published before and that is not answered yet is refreshed: its lifetime begins again,
        and topics, secret and info are those of this request. If the description differs too, it is another offer under
        the same name: the old one is withdrawn, its candidates with it. Neither counts against the bounds.

        :returns: the offers in the order of the request.
        :raises Malformed: if there are none or too many, or two have the same id.
        :raises Conflict: ``id-taken`` by another peer, or ``already-answered``.
        :raises TooMany: if the owner would have more than its share.
        :raises Full: if the signaling would have more than its bound.
        """
        self.expire(now)
        fresh = self._count_fresh(owner, specs)
        if fresh and len(self._catalogue.owned(owner)) + fresh > self.limits.offers_per_peer:
            raise TooMany(f"A peer may have at most {self.limits.offers_per_peer} offers at a time.")
        self.reserve(fresh)
        return [self._put(owner, spec, now) for spec in specs]

    def _count_fresh(self, owner: str, specs: Sequence[OfferSpec]) -> int:
        """Check that every offer of a request may be published; say how many of them are new."""
        if not specs:
            raise Malformed("offers must not be empty.", code="empty")
        if len(specs) > self.limits.offers_per_request:
            raise Malformed(f"offers must be at most {self.limits.offers_per_request} in one request.", code="too-long")
        ids = [spec.id for spec in specs]
        fresh = 0
        for index, offer_id in enumerate(ids):
            if ids.index(offer_id) < index:
                raise Malformed(f"offers[{index}] is the same as offers[{ids.index(offer_id)}].", code="duplicate")
            held = self._catalogue.find(OFFERS, offer_id)
            if held is None:
                fresh += 1
            elif held.owner != owner:
                raise Conflict(f"offers[{index}].id is taken by another peer.", code="id-taken")
            elif held.answer is not None:
                raise Conflict(f"offers[{index}] has already been answered.", code="already-answered")
        return fresh

    def _put(self, owner: str, spec: OfferSpec, now: float) -> Offer:
        now_ms = int(now * 1000)
        held = self._catalogue.find(OFFERS, spec.id)
        if held is not None and held.sdp == spec.sdp:
            return self._refresh(held, spec, now)
        if held is not None:
            self._drop(held)
        offer = Offer(
            id=spec.id,
            owner=owner,
            topics=spec.topics,
            sdp=spec.sdp,
            secret=spec.secret,
            info=spec.info,
            created_at=now_ms,
            expires_at=now_ms + spec.ttl_ms,
            last_seen=self.moment(now),
        )
        self.insert(offer)
        return offer

    def _refresh(self, offer: Offer, spec: OfferSpec, now: float) -> Offer:
        self._catalogue.remove(offer)
        offer.topics, offer.secret, offer.info = spec.topics, spec.secret, spec.info
        offer.expires_at = int(now * 1000) + spec.ttl_ms
        offer.last_seen = self.moment(now)
        self._catalogue.add(offer)
        self._note(offer)
        return offer

    # The owner's view

    def mine(self, owner: str, now: float) -> list[Offer]:
        """All offers of a peer, answered ones included, most recently seen first."""
        self.expire(now)
        return self._catalogue.owned(owner)

    def answers(self, owner: str, now: float, since: int = -1) -> list[tuple[Offer, Answer]]:
        """
        The offers of a peer that have an answer, and the answers, the earliest first.

        :param since: only those with an ``answered_at`` (ms) strictly greater.
        """
        locked = [(offer, offer.answer) for offer in self.mine(owner, now) if offer.answer is not None]
        return sorted((pair for pair in locked if pair[1].answered_at > since), key=lambda pair: pair[1].seq)

    def heartbeat(self, owner: str, offer_id: str, now: float) -> Offer:
        """
        Say that the owner still waits: the offer is listed first again. Its lifetime stays as it was.

        :raises NotFound: if there is no such offer.
        :raises Forbidden: if it is another peer's.
        """
        offer = self._own(owner, offer_id, now)
        offer.last_seen = self.moment(now)
        self._catalogue.touch(offer)
        self._note(OfferSeen(offer))
        return offer

    def withdraw(self, owner: str, offer_id: str, now: float) -> None:
        """
        End an offer. Its answerer, if any, is told.

        :raises NotFound: if there is no such offer.
        :raises Forbidden: if it is another peer's.
        """
        offer = self._own(owner, offer_id, now)
        self._end(offer, EventKind.WITHDRAWN, now)
        self._notify_both(offer)

    def end_peer(self, owner: str, now: float) -> int:
        """
        End all offers of a peer that leaves, and its events.

        What it has answered stays: those offers are their owners', who may still want the candidates.

        :returns: how many offers ended.
        """
        self.expire(now)
        offers = self._catalogue.owned(owner)
        for offer in offers:
            self._end(offer, EventKind.WITHDRAWN, now)
        self._events.forget(owner)
        for offer in offers:
            self._notify_both(offer)
        return len(offers)

    # Discovery

    def of_peer(self, owner: str, now: float) -> list[Offer]:
        """The offers of a peer that can still be answered, most recently seen first: what anybody may see."""
        return [offer for offer in self.mine(owner, now) if offer.answer is None]

    def by_topic(
        self, namespace: str, topic: str, limit: int, bloom: Bloom | None, now: float
    ) -> tuple[list[Offer], int]:
        """
        A page of the answerable offers in a topic, most recently seen first.

        :param bloom: peers to leave out. At most :attr:`SignalingLimits.bloom_scan` offers are looked at for it.
        :returns: the page, and how many there are in all, the left-out included.
        :raises Malformed: if the topic is out of its limits.
        """
        characters(topic, "topic", self.limits.topic_chars)
        self.expire(now)
        index = self._catalogue.topics(namespace)
        page: list[Offer] = []
        for looked_at, offer in enumerate(index.newest(topic)):
            if len(page) >= limit or (bloom is not None and looked_at >= self.limits.bloom_scan):
                break
            if bloom is None or offer.owner not in bloom:
                page.append(offer)
        return page, index.count(topic)

    def topics(
        self, namespace: str, limit: int, offset: int, prefix: str, now: float
    ) -> tuple[list[tuple[str, int]], int]:
        """
        A page of topics and the number of peers with answerable offers in each, most active first, then by name.

        :returns: the page, and how many topics have the prefix.
        """
        self.expire(now)
        return self._catalogue.topics(namespace).by_activity(limit, offset, prefix)

    def topics_by_name(self, namespace: str, limit: int, offset: int, now: float) -> tuple[list[tuple[str, int]], int]:
        """
        A page of topics and the number of answerable offers in each, by name.

        :returns: the page, and how many topics there are.
        """
        self.expire(now)
        index = self._catalogue.topics(namespace)
        return [(name, index.count(name)) for name in index.by_name(limit, offset)], len(index)

    def count(self, namespace: str, topic: str, now: float) -> int:
        """How many answerable offers a topic has."""
        self.expire(now)
        return self._catalogue.topics(namespace).count(topic)

    # Answer and candidates

    def answer(
        self, namespace: str, offer_id: str, answerer: str, sdp: str, secret: str | None, now: float, field: str = "sdp"
    ) -> Answer:
        """
        Answer an offer; the first answer locks it.

        :param answerer: the answering peer, or ``""`` in a session.
        :param secret: needed if the offer has one, ignored otherwise.
        :param field: what an error calls the description.
        :raises Malformed: if the description is out of its limits.
        :raises NotFound: if there is no such offer.
        :raises Conflict: ``own-offer``, or ``already-answered`` (told only to those who know the secret).
        :raises Forbidden: ``wrong-secret``.
        """
        sdp_text(sdp, field, self.limits)
        offer = self.find(namespace, offer_id, now)
        if offer.owner and offer.owner == answerer:
            raise Conflict("A peer cannot answer its own offer.", code="own-offer")
        if offer.secret is not None and not _same(offer.secret, secret or ""):
            raise Forbidden("The secret of this offer is missing or wrong.", code="wrong-secret")
        if offer.answer is not None:
            raise Conflict("This offer has already been answered.", code="already-answered")
        # Rising strictly on the whole signaling, so that a reader can ask for what came after the last it has seen.
        self._latest_answer_ms = max(self._latest_answer_ms + 1, int(now * 1000))
        answer = Answer(answerer, sdp, self._latest_answer_ms, self._events.draw(now))
        self._catalogue.lock(offer)
        offer.answer = answer
        early = [candidate for candidate in offer.candidates(Role.OFFERER) if answerer]
        self._log_event(offer.owner, answered(offer, answer), now)
        for candidate in early:
            # The answerer was nobody yet when these came, so their events are new.
            self._log_event(answerer, trickled(offer, candidate, self._events.draw(now)), now)
        self._note(OfferAnswered(offer, answer))
        self._notify_side(offer, Role.OFFERER)
        if early:
            self._notify_side(offer, Role.ANSWERER)
        return answer

    def add_candidates(
        self, namespace: str, offer_id: str, by: str | Role, values: Sequence[object], now: float
    ) -> int:
        """
        Add candidates of one side, all or none.

        :param values: parsed JSON of any type.
        :returns: how many were added.
        :raises Malformed: if one is out of its limits.

        Otherwise as :meth:`add_candidate_texts`.
        """
        return self.add_candidate_texts(namespace, offer_id, by, candidate_texts(values, self.limits), now)

    def add_candidate_texts(
        self, namespace: str, offer_id: str, by: str | Role, texts: Sequence[str], now: float
    ) -> int:
        """
        Add candidates of one side that have been checked, all or none.

        :param by: the peer; or the side itself in a session, where nobody has a name.
        :param texts: compact JSON, from :func:`~rendezvous.core.offers.candidate_text`.
        :returns: how many were added.
        :raises NotFound: if there is no such offer.
        :raises Forbidden: to a stranger; whoever has not answered yet is one.
        :raises TooMany: if the side would have more than its share.
        """
        offer, role = self._side(namespace, offer_id, by, now)
        if len(offer.candidates(role)) + len(texts) > self.limits.candidates_per_side:
            raise TooMany(f"A side may have at most {self.limits.candidates_per_side} candidates.")
        sender, receiver = offer.peer(role), offer.peer(role.other)
        at = max(int(now * 1000), offer.last_candidate_at() + 1)
        added = tuple(
            Candidate(text, sender, role, at + index, self._events.draw(now)) for index, text in enumerate(texts)
        )
        for candidate in added:
            offer.attach(candidate)
            self._log_event(receiver, trickled(offer, candidate, candidate.seq), now)
        self._note(CandidatesAdded(offer, added))
        self._notify_side(offer, role.other)
        return len(added)

    def candidates(
        self, namespace: str, offer_id: str, by: str | Role, now: float, since: int = -1
    ) -> Sequence[Candidate]:
        """
        The other side's candidates, oldest first.

        :param by: the reader: the peer, or the side itself in a session.
        :param since: only those with a ``created_at`` (ms) strictly greater.
        :raises NotFound: if there is no such offer.
        :raises Forbidden: to a stranger.
        """
        offer, role = self._side(namespace, offer_id, by, now)
        return offer.candidates_since(role.other, since)

    # Common ground

    def _own(self, owner: str, offer_id: str, now: float) -> Offer:
        offer = self.find(OFFERS, offer_id, now)
        if offer.owner != owner:
            raise Forbidden("This offer is another peer's.", code="not-owner")
        return offer

    def _side(self, namespace: str, offer_id: str, by: str | Role, now: float) -> tuple[Offer, Role]:
        offer = self.find(namespace, offer_id, now)
        role = by if isinstance(by, Role) else offer.role_of(by)
        if role is None:
            raise Forbidden("Only the two sides of an offer exchange candidates.", code="not-a-side")
        return offer, role


def _same(secret: str, given: str) -> bool:
    """Compare in constant time; half of a surrogate pair is merely wrong."""
    return hmac.compare_digest(secret.encode(), given.encode("utf-8", "surrogatepass"))
