"""
The signaling: what peers may do with offers, answers and candidates.

All offers and sessions count against ``max_offers`` and against the memory for signaling; the offers of a peer and the
candidates of a side have bounds of their own. A request that is refused has changed nothing. How long things are held
and who is notified of a change is in :mod:`rendezvous.core.signaling.table`; what is listed is in
:mod:`rendezvous.core.signaling.listings`.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

import attrs

from rendezvous.core.signaling.entries import Entry
from rendezvous.core.signaling.events import EventKind, answered, event_cost, trickled
from rendezvous.core.signaling.memory import ANSWER_COST, CANDIDATE_COST, EVENT_COST, texts_size
from rendezvous.core.signaling.offers import OFFERS, Answer, Candidate, CandidatesAdded, Offer, Role
from rendezvous.core.signaling.pages import FRAME, Page, cut
from rendezvous.core.signaling.specs import OfferSpec, candidates_json, sdp_json
from rendezvous.core.signaling.table import OfferTable
from rendezvous.core.sources import UNKNOWN, SourceNetwork
from rendezvous.errors import Conflict, Forbidden, Malformed, TooMany

__all__ = ["Signaling"]


class Signaling:
    """
    The verbs of peers.

    Two protocols use them. The offers protocol calls these verbs with the namespace :data:`OFFERS`. The sessions
    protocol goes through :class:`rendezvous.core.signaling.sessions.Sessions`, which gives the Origin as the namespace.
    Everything is found by (namespace, id), so nothing in one namespace is visible in another.

    A verb that makes something takes the ``source`` that is charged for it.

    :param table: where everything is held.
    """

    def __init__(self, table: OfferTable) -> None:
        self._table = table
        self._limits = table.limits

    # Publication

    def publish(
        self, owner: str, specs: Sequence[OfferSpec], now: float, source: SourceNetwork = UNKNOWN
    ) -> list[Offer]:
        """
        Publish offers, all or none.

        An id that the owner has published before and that is not answered yet is refreshed: its lifetime begins again,
        and topics, secret and info are those of this request. If the description differs too, it is another offer under
        the same name: the old one is withdrawn, its candidates with it. Neither counts against the bounds.

        :returns: the offers in the order of the request.
        :raises Malformed: if there are none or too many, or two have the same id.
        :raises Conflict: ``id-taken`` by another peer, or ``already-answered``.
        :raises TooMany: if the owner or the source would have more than its share.
        :raises Full: if the signaling would have more than its bound.
        """
        self._table.expire(now)
        held, ended = self._held(owner, specs, now)
        fresh = len(specs) - len(held)
        if fresh and self._table.catalogue.count_owned(owner) + fresh > self._limits.offers_per_peer:
            # Offers that have ended and are not freed count only until it matters.
            owned = self._table.catalogue.owned(owner)
            ended |= {id(entry): entry for entry in owned if entry.ends_at <= now * 1000}
            if sum(entry.ends_at > now * 1000 for entry in owned) + fresh > self._limits.offers_per_peer:
                raise TooMany(f"A peer may have at most {self._limits.offers_per_peer} offers at a time.")
        offers = [self._made(owner, spec, held.get(spec.id), source, now) for spec in specs]
        self._table.reserve(source, offers, [entry.offer for entry in held.values()])
        for entry in ended.values():
            self._table.end(entry, EventKind.EXPIRED, now)
        for offer in offers:
            self._put(held.get(offer.id), offer, now)
        for entry in ended.values():
            self._table.notify_end(entry.offer)
        return offers

    def _held(self, owner: str, specs: Sequence[OfferSpec], now: float) -> tuple[dict[str, Entry], dict[int, Entry]]:
        """
        Check that every offer of a request may be published.

        :returns: by id, those that are there already; and those that have ended and still have the id of one of them.
        """
        if not specs:
            raise Malformed("offers must not be empty.", code="empty")
        if len(specs) > self._limits.offers_per_request:
            most = self._limits.offers_per_request
            raise Malformed(f"offers must be at most {most} in one request.", code="too-long")
        ids = [spec.id for spec in specs]
        held: dict[str, Entry] = {}
        ended: dict[int, Entry] = {}
        for index, offer_id in enumerate(ids):
            if ids.index(offer_id) < index:
                raise Malformed(f"offers[{index}] is the same as offers[{ids.index(offer_id)}].", code="duplicate")
            entry = self._table.catalogue.find(OFFERS, offer_id)
            if entry is None:
                continue
            if entry.ends_at <= now * 1000:
                ended[id(entry)] = entry
                continue
            if entry.offer.owner != owner:
                raise Conflict(f"offers[{index}].id is taken by another peer.", code="id-taken")
            if entry.offer.answer is not None:
                raise Conflict(f"offers[{index}] has already been answered.", code="already-answered")
            held[offer_id] = entry
        return held, ended

    def _made(self, owner: str, spec: OfferSpec, held: Entry | None, source: SourceNetwork, now: float) -> Offer:
        table = self._table
        wall_ms = table.wall_ms(now)
        same = held.offer if held is not None and held.offer.sdp == spec.sdp else None
        return Offer(
            id=spec.id,
            owner=owner,
            topics=spec.topics,
            sdp=spec.sdp if same is None else same.sdp,
            secret=spec.secret,
            info=spec.info,
            while_connected=spec.while_connected,
            created_at=wall_ms if same is None else same.created_at,
            expires_at=int(now * 1000) + spec.ttl_ms,
            last_seen=table.moment(wall_ms),
            seen=table.place(now),
            source=source,
        )

    def _put(self, held: Entry | None, offer: Offer, now: float) -> None:
        if held is not None and held.offer.sdp is offer.sdp:
            changed = ("topics", "secret", "info", "while_connected", "expires_at", "last_seen", "seen", "source")
            self._table.replace(held, offer, changed, now)
            return
        self._table.insert(offer, now, held)

    # The owner's side

    def heartbeat(self, owner: str, offer_id: str, now: float) -> Offer:
        """
        Say that the owner still waits: the offer is listed first again. Its lifetime stays as it was.

        :raises NotFound: if there is no such offer.
        :raises Forbidden: if it is another peer's.
        """
        entry = self._own(owner, offer_id, now)
        table = self._table
        seen = attrs.evolve(entry.offer, last_seen=table.moment(table.wall_ms(now)), seen=table.place(now))
        table.touch(entry, seen)
        return seen

    def withdraw(self, owner: str, offer_id: str, now: float) -> None:
        """
        End an offer. Its answerer, if any, gets an event.

        :raises NotFound: if there is no such offer.
        :raises Forbidden: if it is another peer's.
        """
        entry = self._own(owner, offer_id, now)
        self._table.end(entry, EventKind.WITHDRAWN, now)
        self._table.notify_end(entry.offer)

    def end_peer(self, owner: str, now: float) -> int:
        """
        End all offers of a peer that leaves, and its events.

        What it has answered stays: those offers are their owners', who may still want the candidates.

        :returns: how many offers ended.
        """
        ended = [entry for entry in self._table.catalogue.owned(owner) if entry.ends_at <= now * 1000]
        live = self._table.owned(owner, now)
        for entry in ended:
            self._table.end(entry, EventKind.EXPIRED, now)
        for entry in live:
            self._table.end(entry, EventKind.WITHDRAWN, now)
        self._table.events.forget(owner)
        for entry in (*ended, *live):
            self._table.notify_end(entry.offer)
        return len(live)

    # Answer and candidates

    def answer(
        self,
        namespace: str,
        offer_id: str,
        answerer: str,
        sdp: str,
        secret: str | None,
        now: float,
        source: SourceNetwork = UNKNOWN,
        field: str = "sdp",
    ) -> Answer:
        """
        Answer an offer; the first answer locks it.

        :param answerer: the answering peer, or ``""`` in a session.
        :param secret: needed if the offer has one, ignored otherwise.
        :param field: what an error calls the description.
        :raises Malformed: if the description is out of its limits.
        :raises NotFound: if there is no such offer.
        :raises Conflict: ``own-offer``, or ``already-answered`` (shown only to callers who know the secret).
        :raises Forbidden: ``wrong-secret``.
        :raises TooMany: if the source would have more than its share.
        :raises Full: if the signaling would have more than its bound.
        """
        description = sdp_json(sdp, field, self._limits)
        table = self._table
        entry = table.find(namespace, offer_id, now)
        offer = entry.offer
        if offer.owner and offer.owner == answerer:
            raise Conflict("A peer cannot answer its own offer.", code="own-offer")
        if offer.secret is not None and not _same(offer.secret, secret or ""):
            raise Forbidden("The secret of this offer is missing or wrong.", code="wrong-secret")
        if offer.answer is not None:
            raise Conflict("This offer has already been answered.", code="already-answered")
        early = entry.candidates(Role.OFFERER) if answerer else ()
        table.memory.check(source, _answer_cost(offer, description, early))
        answer = Answer(answerer, description, table.answer_moment(now), table.events.draw(now))
        locked = table.lock(entry, answer, source, now)
        table.log_event(offer.owner, answered(locked, answer, source), now)
        for candidate in early:
            # There was no answerer when these came, so their events are new.
            table.log_event(answerer, trickled(locked, candidate, table.events.draw(now), source), now)
        table.notify_side(locked, Role.OFFERER)
        if early:
            table.notify_side(locked, Role.ANSWERER)
        return answer

    def add_candidates(
        self,
        namespace: str,
        offer_id: str,
        by: str | Role,
        values: Sequence[object],
        now: float,
        source: SourceNetwork = UNKNOWN,
    ) -> int:
        """
        Add candidates of one side, all or none.

        :param values: parsed JSON of any type.
        :returns: how many were added.
        :raises Malformed: if one is out of its limits.

        Otherwise as :meth:`add_candidates_json`.
        """
        return self.add_candidates_json(namespace, offer_id, by, candidates_json(values, self._limits), now, source)

    def add_candidates_json(
        self,
        namespace: str,
        offer_id: str,
        by: str | Role,
        payloads: Sequence[bytes],
        now: float,
        source: SourceNetwork = UNKNOWN,
    ) -> int:
        """
        Add candidates of one side that have been checked, all or none.

        :param by: the peer; or the side itself in a session, whose sides have no names.
        :param payloads: compact JSON, from :func:`~rendezvous.core.signaling.specs.candidate_json`.
        :returns: how many were added.
        :raises NotFound: if there is no such offer.
        :raises Forbidden: to a stranger; a peer that has not answered yet is one.
        :raises TooMany: if the side, the offer or the source would have more than its share.
        :raises Full: if the signaling would have more than its bound.
        """
        entry, role = self._side(namespace, offer_id, by, now)
        offer, limits, table = entry.offer, self._limits, self._table
        if len(entry.candidates(role)) + len(payloads) > limits.candidates_per_side:
            raise TooMany(f"A side may have at most {limits.candidates_per_side} candidates.")
        if entry.candidate_bytes + sum(map(len, payloads)) > limits.candidate_bytes_per_offer:
            raise TooMany(
                f"The candidates of an offer may have at most {limits.candidate_bytes_per_offer} bytes together."
            )
        sender, receiver = offer.peer(role), offer.peer(role.other)
        one = CANDIDATE_COST + (EVENT_COST + CANDIDATE_COST if receiver else 0)
        table.memory.check(source, sum(one + (2 if receiver else 1) * len(payload) for payload in payloads))
        at = max(table.wall_ms(now), entry.last_candidate_at() + 1)
        added = tuple(
            Candidate(payload, sender, role, at + index, table.events.draw(now))
            for index, payload in enumerate(payloads)
        )
        table.attach(entry, added, source)
        for candidate in added:
            table.log_event(receiver, trickled(offer, candidate, candidate.seq, source), now)
        table.note(CandidatesAdded(offer, added))
        table.notify_side(offer, role.other)
        return len(added)

    def candidates(
        self, namespace: str, offer_id: str, by: str | Role, now: float, since: int = -1
    ) -> Page[Candidate, int]:
        """
        A page of the other side's candidates, oldest first.

        :param by: the reader: the peer, or the side itself in a session.
        :param since: only those with a ``created_at`` (ms) strictly greater; the position to go on after, too.
        :raises NotFound: if there is no such offer.
        :raises Forbidden: to a stranger.
        """
        entry, role = self._side(namespace, offer_id, by, now)
        sent = entry.candidates_since(role.other, since)
        found = ((each.created_at, len(each.payload) + FRAME, each) for each in sent)
        return cut(found, len(sent), self._limits.page_bytes, len(sent))

    # Common ground

    def _own(self, owner: str, offer_id: str, now: float) -> Entry:
        entry = self._table.find(OFFERS, offer_id, now)
        if entry.offer.owner != owner:
            raise Forbidden("This offer is another peer's.", code="not-owner")
        return entry

    def _side(self, namespace: str, offer_id: str, by: str | Role, now: float) -> tuple[Entry, Role]:
        entry = self._table.find(namespace, offer_id, now)
        role = by if isinstance(by, Role) else entry.offer.role_of(by)
        if role is None:
            raise Forbidden("Only the two sides of an offer exchange candidates.", code="not-a-side")
        return entry, role


def _answer_cost(offer: Offer, sdp: bytes, early: Sequence[Candidate]) -> int:
    """The bytes that an answer is charged, the events that it causes included."""
    size = ANSWER_COST + len(sdp)
    if offer.owner:
        size += EVENT_COST + ANSWER_COST + len(sdp) + texts_size(offer.topics)
    return size + sum(event_cost(trickled(offer, candidate, 0)) for candidate in early)


def _same(secret: str, given: str) -> bool:
    """Compare in constant time; half of a surrogate pair is merely wrong."""
    return hmac.compare_digest(secret.encode(), given.encode("utf-8", "surrogatepass"))
