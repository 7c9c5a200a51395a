"""The routes of the offers protocol: WebRTC signaling by topic. ``docs/protocol/offers.rst`` has the rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import attrs

from twisted.internet.defer import Deferred

from rendezvous.client._http import MAX_PAGE, Exchanges, Request, segment
from rendezvous.client._replies import Fields
from rendezvous.client.errors import NotFound
from rendezvous.client.offer_records import (
    Answer,
    NewOffer,
    Offer,
    OfferCandidate,
    OwnOffer,
    Page,
    Published,
    Topic,
    next_page,
    read_answer,
    read_candidate,
    read_offer,
    read_own_offer,
    read_published,
    read_topics,
)
from rendezvous.client.records import Identity

__all__ = ["Offers"]

T = TypeVar("T")


class Offers:
    """
    The offers of one server. Every method returns a cancellable Deferred.

    They fail with :exc:`~rendezvous.client.NotFound` if there is no such offer, and with
    :exc:`~rendezvous.client.RequestRefused` if the offer does not allow it: ``code`` is then for example
    ``already-answered``.

    :param exchanges: with the server.
    """

    def __init__(self, exchanges: Exchanges) -> None:
        self._exchanges = exchanges

    def publish(self, identity: Identity, offers: Iterable[NewOffer]) -> Deferred[tuple[Published, ...]]:
        """
        Publish offers, all or none. Publishing one again refreshes it.

        :param identity: the owner.
        :param offers: one to 10.
        :returns: fires with what was published, in the same order.
        """
        body = {"offers": [offer.members() for offer in offers]}
        request = Request("POST", "/offers", identity, body, longest=MAX_PAGE)
        return self._exchanges.ask(request, lambda fields: tuple(map(read_published, fields.objects("offers"))))

    def topics(
        self,
        *,
        limit: int | None = None,
        offset: int | None = None,
        starts_with: str | None = None,
        next: str | None = None,
    ) -> Deferred[Page[Topic]]:
        """
        List topics, the most active ones first.

        :param limit: the length of the page.
        :param offset: how many topics to skip.
        :param starts_with: the beginning of their names.
        :param next: where to go on.
        """
        query = {"limit": limit, "offset": offset, "startsWith": starts_with, "next": next}
        return self._exchanges.ask(Request("GET", "/topics", query=query, longest=MAX_PAGE), read_topics)

    def find(
        self, topic: str, *, limit: int | None = None, bloom: str | None = None, next: str | None = None
    ) -> Deferred[Page[Offer]]:
        """
        List the offers in a topic that can be answered, most recently seen first.

        :param topic: which.
        :param limit: the length of the page.
        :param bloom: a Bloom filter of peers to leave out, in base64.
        :param next: where to go on.
        """
        query = {"limit": limit, "bloom": bloom, "next": next}
        return self._page(Request("GET", f"/offers/by-topic/{segment(topic)}", query=query), "offers", read_offer)

    def of_peer(self, peer_id: str, *, next: str | None = None) -> Deferred[Page[Offer]]:
        """
        List the offers of a peer that can be answered.

        :param peer_id: which.
        :param next: where to go on.
        """
        request = Request("GET", f"/peers/{segment(peer_id)}/offers", query={"next": next})
        return self._page(request, "offers", read_offer)

    def mine(self, identity: Identity, *, next: str | None = None) -> Deferred[Page[OwnOffer]]:
        """
        List one's own offers, answered ones included.

        :param identity: the owner.
        :param next: where to go on.
        """
        return self._page(Request("GET", "/offers/mine", identity, query={"next": next}), "offers", read_own_offer)

    def heartbeat(self, identity: Identity, offer_id: str) -> Deferred[int]:
        """
        Say that the owner of an offer still waits: the offer is listed first again.

        :param identity: the owner.
        :param offer_id: which.
        :returns: fires with the time, in milliseconds since the epoch.
        """
        return self._exchanges.ask(
            Request("PUT", f"{_path(offer_id)}/heartbeat", identity, missing=NotFound),
            lambda fields: fields.integer("lastSeen"),
        )

    def withdraw(self, identity: Identity, offer_id: str) -> Deferred[None]:
        """
        End an offer.

        :param identity: the owner.
        :param offer_id: which.
        """
        return self._exchanges.ask(Request("DELETE", _path(offer_id), identity, missing=NotFound), lambda _: None)

    def answer(self, identity: Identity, offer_id: str, sdp: str, *, secret: str | None = None) -> Deferred[int]:
        """
        Answer an offer. The first answer locks it.

        :param identity: who answers.
        :param offer_id: which.
        :param sdp: the session description.
        :param secret: that of the offer, if it has one.
        :returns: fires with the time of the answer, in milliseconds since the epoch.
        """
        body = {"sdp": sdp, "secret": secret}
        return self._exchanges.ask(
            Request("POST", f"{_path(offer_id)}/answer", identity, body, missing=NotFound),
            lambda fields: fields.integer("answeredAt"),
        )

    def answers(
        self, identity: Identity, *, since: int | None = None, wait: float = 0.0, next: str | None = None
    ) -> Deferred[Page[Answer]]:
        """
        Read the answers to one's own offers, the earliest first.

        :param identity: the owner.
        :param since: the ``answered_at`` of the last answer that is known already.
        :param wait: seconds to wait for an answer, 30 at most.
        :param next: where to go on.
        """
        query = {"since": since, "wait": f"{wait:g}" if wait else None, "next": next}
        return self._page(Request("GET", "/offers/answers", identity, query=query, wait=wait), "answers", read_answer)

    def add_candidates(self, identity: Identity, offer_id: str, candidates: Iterable[object]) -> Deferred[int]:
        """
        Send ICE candidates to the other side.

        :param identity: the owner or the answerer.
        :param offer_id: of which offer.
        :param candidates: one to 50 JSON values.
        :returns: fires with the number of candidates that were added.
        """
        request = Request(
            "POST", f"{_path(offer_id)}/ice-candidates", identity, {"candidates": list(candidates)}, missing=NotFound
        )
        return self._exchanges.ask(request, lambda fields: fields.integer("candidatesAdded"))

    def candidates(
        self,
        identity: Identity,
        offer_id: str,
        *,
        since: int | None = None,
        wait: float = 0.0,
        next: str | None = None,
    ) -> Deferred[Page[OfferCandidate]]:
        """
        Read the ICE candidates of the other side, the oldest first.

        :param identity: the owner or the answerer.
        :param offer_id: of which offer.
        :param since: the ``created_at`` of the last candidate that is known already.
        :param wait: seconds to wait for a candidate, 30 at most.
        :param next: where to go on.
        """
        query = {"since": since, "wait": f"{wait:g}" if wait else None, "next": next}
        path = f"{_path(offer_id)}/ice-candidates"
        request = Request("GET", path, identity, query=query, wait=wait, missing=NotFound)
        return self._page(request, "candidates", read_candidate)

    def _page(self, request: Request, name: str, read: Callable[[Fields], T]) -> Deferred[Page[T]]:
        return self._exchanges.ask(
            attrs.evolve(request, longest=MAX_PAGE),
            lambda fields: Page(tuple(read(one) for one in fields.objects(name)), next_page(fields)),
        )


def _path(offer_id: str) -> str:
    return f"/offers/{segment(offer_id)}"
