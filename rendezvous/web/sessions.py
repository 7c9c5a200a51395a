"""The sessions protocol: WebRTC signaling by code, isolated by Origin. Times are milliseconds since the epoch."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.web.http import Request

from rendezvous.core.notes import OfferSide
from rendezvous.core.signaling.offers import Role, Session
from rendezvous.core.signaling.specs import characters
from rendezvous.errors import Malformed
from rendezvous.interfaces import IStore
from rendezvous.limits import SESSION_BODY, SignalingLimits
from rendezvous.web._json import read_object
from rendezvous.web.admission import Admission
from rendezvous.web.fields import Body, Query, decode_segment, header
from rendezvous.web.pages import listing, name_after, next_name, number_after, ranked_after, separated, splice
from rendezvous.web.quotas import Quotas
from rendezvous.web.records import ahead_of, payloads, session_json
from rendezvous.web.route import Route
from rendezvous.web.sources import source_of
from rendezvous.web.waiting import long_poll

__all__ = ["SessionRoutes"]


class SessionRoutes:
    """``protocol/sessions``, and the one route that both signaling protocols share: ``/topics``."""

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
        isolated = partial(Route, tag="sessions", params=("Origin",))
        return [
            Route(
                "GET",
                "/topics",
                self.topics,
                tag="topics",
                params=("topics-limit", "offset", "startsWith", "page", "next", "topics-Origin"),
                response="Topics",
            ),
            isolated("GET", "/<topic>/sessions", self.sessions, params=("Origin", "next"), response="Sessions"),
            isolated(
                "POST",
                "/<topic>/offer",
                self.open,
                params=("Origin", "registration"),
                body=SESSION_BODY,
                request="NewSession",
                response="Opened",
                errors=(401, 409, 429),
            ),
            isolated(
                "POST",
                "/answer",
                self.answer,
                body=SESSION_BODY,
                request="AnswerToSession",
                response="Success",
                errors=(403, 404, 409, 429),
            ),
            isolated("POST", "/poll", self.poll, request="Poll", response="Polled", errors=(404, 429)),
        ]

    async def topics(self, request: Request) -> dict[str, Any]:
        """Topics: with ``page`` those of the Origin's sessions, otherwise those of all offers."""
        query = Query(request)
        page, offset = query.integer("page", 1), query.integer("offset", 0)
        if page is None:
            return await self._offer_topics(request, query, offset or 0)
        return await self._session_topics(request, query, page)

    async def _session_topics(self, request: Request, query: Query, page: int) -> dict[str, Any]:
        limit = query.limit(self._limits.session_page_default, self._limits.session_page_max)
        found = await self._store.session_topics(
            _origin(request), limit, (page - 1) * limit, self._seconds(), name_after(query.text("next"))
        )
        next = None if found.next is None else next_name(found.next)
        return {
            "topics": [{"topic": topic, "count": count} for topic, count in found.items],
            "pagination": _pagination(page, limit, found.total, next),
        }

    async def sessions(self, request: Request, topic: str) -> list[bytes]:
        """The unanswered sessions in a topic, newest first."""
        after = number_after(Query(request).text("next"))
        page = await self._store.sessions(_origin(request), decode_segment(topic, "topic"), self._seconds(), after)
        ahead = self._ahead()
        return listing({}, "sessions", separated([session_json(session, ahead) for session in page.items]), page)

    async def open(self, request: Request, topic: str) -> dict[str, Any]:
        """Open a session."""
        self._admission.admit(request)
        origin, body = _origin(request), Body(read_object(request))
        older = body.optional_text("peerId")
        if older is not None:
            # Checked also beside info, where it means nothing.
            characters(older, "peerId", self._limits.session_info_chars, least=0)
        info = body.text("info") if older is None or "info" in body else older
        offer, wanted, name = body.text("offer"), body.optional_text("code"), decode_segment(topic, "topic")
        del body  # It may hold much that is ignored, and what follows waits for the disk.
        source = source_of(request)
        self._quotas.publications(source, 1)
        code = await self._store.open_session(origin, name, info, offer, wanted, self._seconds(), source)
        return {"code": code}

    async def answer(self, request: Request) -> dict[str, Any]:
        """Send an answer, or one candidate."""
        origin, source, body = _origin(request), source_of(request), Body(read_object(request))
        code, side = body.text("code"), _side(body)
        if ("answer" in body) == ("candidate" in body):
            raise Malformed("The body must hold either answer or candidate, and not both.")
        answer = body.optional_text("answer")
        candidate = None if answer is not None else body.value("candidate")
        del body
        if answer is not None:
            await self._store.answer_session(origin, code, side, answer, self._seconds(), source)
        else:
            await self._store.add_session_candidate(origin, code, side, candidate, self._seconds(), source)
        return {"success": True}

    async def poll(self, request: Request) -> bytes:
        """What the other side has sent; with ``wait``, as soon as there is something after ``since``."""
        origin, body = _origin(request), Body(read_object(request))
        code, side = body.text("code"), _side(body)
        since = body.optional_integer("since", 0)
        session = await long_poll(
            self._quotas.waiting(source_of(request)),
            self._store,
            self._clock,
            OfferSide(origin, code, side),
            body.wait(),
            lambda: self._store.session(origin, code, self._seconds()),
            lambda session: _latest(session, side) > (-1 if since is None else since),
        )
        # All of it fits into one page, since the candidates of a session and its descriptions have bounds of their own.
        other = payloads(session.candidates(side.other))
        latest = {"latest": max(0, _latest(session, side))}
        offer = session.offer
        if side is Role.OFFERER:
            answer = b"null" if offer.answer is None else offer.answer.sdp
            return splice(latest, answer=answer, answerCandidates=other)
        return splice(latest, offer=offer.sdp, offerCandidates=other)

    async def _offer_topics(self, request: Request, query: Query, offset: int) -> dict[str, Any]:
        """The listing of the offers protocol, with the fields that a reader of the sessions protocol looks for."""
        limit = query.limit(self._limits.page_default, self._limits.page_max)
        prefix, now = query.text("startsWith"), self._seconds()
        page = await self._store.topics(limit, offset, prefix or "", now, ranked_after(query.text("next")))
        origin = header(request, b"Origin")
        counts = [0] * len(page.items)
        if origin:
            counts = await self._store.count_sessions(origin, [topic for topic, _ in page.items], now)
        next = None if page.next is None else f"{page.next[0]}.{next_name(page.next[1])}"
        answer: dict[str, Any] = {
            "topics": [
                {"topic": topic, "activePeers": peers, "count": count}
                for (topic, peers), count in zip(page.items, counts, strict=True)
            ],
            "total": page.total,
            "limit": limit,
            "offset": offset,
            "pagination": _pagination(offset // limit + 1, limit, page.total, next),
        }
        if prefix is not None:
            answer["startsWith"] = prefix
        return answer


def _origin(request: Request) -> str:
    return header(request, b"Origin") or ""


def _side(body: Body) -> Role:
    try:
        return Role(body.text("side"))
    except ValueError:
        raise Malformed("side must be offerer or answerer.") from None


def _pagination(page: int, limit: int, total: int, next: str | None) -> dict[str, Any]:
    pagination = {"page": page, "limit": limit, "total": total, "hasMore": next is not None}
    return pagination if next is None else {**pagination, "next": next}


def _latest(session: Session, side: Role) -> int:
    """The number of the latest thing that a side has to read; -1 if there is none."""
    other = session.candidates(side.other)
    latest = other[-1].seq if other else -1
    if side is Role.ANSWERER:
        return max(latest, 0)  # The offer itself, which is there from the start.
    answer = session.offer.answer
    return latest if answer is None else max(latest, answer.seq)
