"""The sessions dialect: WebRTC signaling by code, isolated by Origin. Times are milliseconds since the epoch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.web.http import Request

from rendezvous.core.notes import OfferSide
from rendezvous.core.offers import Candidate, Offer, Role
from rendezvous.errors import Malformed
from rendezvous.interfaces import IStore
from rendezvous.limits import SESSION_BODY, SignalingLimits
from rendezvous.web._json import read_object
from rendezvous.web.fields import Body, Query, decode_segment, header
from rendezvous.web.route import Route
from rendezvous.web.waiting import held

__all__ = ["SessionRoutes"]


class SessionRoutes:
    """``protocol/sessions``, and the one route that both signaling dialects share: ``/topics``."""

    def __init__(self, store: IStore, clock: IReactorTime) -> None:
        self._store = store
        self._clock = clock
        self._seconds = clock.seconds
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
                params=("topics-limit", "offset", "startsWith", "page", "topics-Origin"),
                response="Topics",
            ),
            isolated("GET", "/<topic>/sessions", self.sessions, response="Sessions"),
            isolated(
                "POST",
                "/<topic>/offer",
                self.open,
                body=SESSION_BODY,
                request="NewSession",
                response="Opened",
                errors=(409,),
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
        limit = self._limits.session_page(query.limit())
        rows, total = await self._store.session_topics(_origin(request), limit, (page - 1) * limit, self._seconds())
        return {
            "topics": [{"topic": topic, "count": count} for topic, count in rows],
            "pagination": _pagination(page, limit, total),
        }

    async def sessions(self, request: Request, topic: str) -> dict[str, Any]:
        """The unanswered sessions in a topic, newest first."""
        found = await self._store.sessions(_origin(request), decode_segment(topic, "topic"), self._seconds())
        return {"sessions": list(map(_session, found))}

    async def open(self, request: Request, topic: str) -> dict[str, Any]:
        """Open a session."""
        origin, body = _origin(request), Body(read_object(request))
        info = body.text("info" if "info" in body else "peerId") if "peerId" in body else body.text("info")
        code = await self._store.open_session(
            origin,
            decode_segment(topic, "topic"),
            info,
            body.text("offer"),
            body.optional_text("code"),
            self._seconds(),
        )
        return {"code": code}

    async def answer(self, request: Request) -> dict[str, Any]:
        """Send an answer, or one candidate."""
        origin, body = _origin(request), Body(read_object(request))
        code, side = body.text("code"), _side(body)
        if ("answer" in body) == ("candidate" in body):
            raise Malformed("The body must hold either answer or candidate, and not both.")
        if "answer" in body:
            await self._store.answer_session(origin, code, side, body.text("answer"), self._seconds())
        else:
            await self._store.add_session_candidate(origin, code, side, body.value("candidate"), self._seconds())
        return {"success": True}

    async def poll(self, request: Request) -> dict[str, Any]:
        """What the other side has sent; with ``wait``, as soon as there is something after ``since``."""
        origin, body = _origin(request), Body(read_object(request))
        code, side = body.text("code"), _side(body)
        since = body.optional_integer("since", 0)
        session = await held(
            self._store,
            self._clock,
            OfferSide(origin, code, side),
            body.wait(),
            lambda: self._store.session(origin, code, self._seconds()),
            lambda session: _latest(session, side) > (-1 if since is None else since),
        )
        other = session.candidates(side.other)
        latest = {"latest": max(0, _latest(session, side))}
        if side is Role.OFFERER:
            answer = None if session.answer is None else session.answer.sdp
            return {"answer": answer, "answerCandidates": _payloads(other), **latest}
        return {"offer": session.sdp, "offerCandidates": _payloads(other), **latest}

    async def _offer_topics(self, request: Request, query: Query, offset: int) -> dict[str, Any]:
        """The listing of the offers dialect, with the fields that a reader of the sessions dialect looks for."""
        limit = self._limits.page(query.limit())
        prefix, now = query.text("startsWith"), self._seconds()
        rows, total = await self._store.topics(limit, offset, prefix or "", now)
        origin = header(request, b"Origin")
        counts = [0] * len(rows)
        if origin:
            counts = await self._store.count_sessions(origin, [topic for topic, _ in rows], now)
        answer: dict[str, Any] = {
            "topics": [
                {"topic": topic, "activePeers": peers, "count": count}
                for (topic, peers), count in zip(rows, counts, strict=True)
            ],
            "total": total,
            "limit": limit,
            "offset": offset,
            "pagination": _pagination(offset // limit + 1, limit, total, seen=offset + len(rows)),
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


def _pagination(page: int, limit: int, total: int, seen: int | None = None) -> dict[str, Any]:
    seen = page * limit if seen is None else seen
    return {"page": page, "limit": limit, "total": total, "hasMore": seen < total}


def _session(session: Offer) -> dict[str, Any]:
    # Three generations of clients: the name of the peer is info to some and peerId to others.
    return {
        "code": session.id,
        "info": session.info,
        "peerId": session.info,
        "offer": session.sdp,
        "offerCandidates": _payloads(session.candidates(Role.OFFERER)),
        "createdAt": session.created_at,
        "expiresAt": session.expires_at,
    }


def _payloads(candidates: Sequence[Candidate]) -> list[Any]:
    return [json.loads(candidate.payload) for candidate in candidates]


def _latest(session: Offer, side: Role) -> int:
    """The number of the latest thing that a side has to read; -1 if there is none."""
    other = session.candidates(side.other)
    latest = other[-1].seq if other else -1
    if side is Role.ANSWERER:
        return max(latest, 0)  # The offer itself, which is there from the start.
    return latest if session.answer is None else max(latest, session.answer.seq)
