"""
Sessions: offers that are reached by a code, each visible only within the Origin that made it.

A session has no owner and its sides have no names, so the caller says which side it is on. Everything else is done by
:mod:`rendezvous.core.signaling.signaling`.
"""

from __future__ import annotations

from collections.abc import Callable

from rendezvous.core.signaling.entries import Entry
from rendezvous.core.signaling.events import EventKind
from rendezvous.core.signaling.listings import Listings
from rendezvous.core.signaling.offers import Offer, Role, Session
from rendezvous.core.signaling.pages import Page
from rendezvous.core.signaling.signaling import Signaling
from rendezvous.core.signaling.specs import candidate_json, characters, sdp_json
from rendezvous.core.signaling.table import OfferTable
from rendezvous.core.sources import UNKNOWN, SourceNetwork
from rendezvous.errors import Conflict, Forbidden, Malformed, NotFound

__all__ = ["Sessions"]


class Sessions:
    """
    The verbs of the sessions protocol.

    Every verb raises :class:`~rendezvous.errors.Malformed` without an Origin.

    :param table: where sessions are held, beside the offers.
    :param new_code: makes a code that has never been used, such as a random UUID.
    """

    def __init__(self, table: OfferTable, new_code: Callable[[], str]) -> None:
        self._table = table
        self._signaling = Signaling(table)
        self._listings = Listings(table)
        self._limits = table.limits
        self._new_code = new_code

    def open(
        self,
        origin: str,
        topic: str,
        info: str,
        offer: str,
        code: str | None,
        now: float,
        source: SourceNetwork = UNKNOWN,
    ) -> Offer:
        """
        Open a session.

        :param code: the caller's own, or ``None`` for a new one.
        :param source: who is charged for it.
        :raises Malformed: if a value is out of its limits.
        :raises Conflict: ``code-taken`` by another session of this Origin.
        :raises TooMany: if the source would have more than its share.
        :raises Full: if the signaling has reached its bound.
        """
        namespace = self._namespace(origin)
        characters(topic, "topic", self._limits.topic_chars)
        characters(info, "info", self._limits.session_info_chars, least=0)
        description = sdp_json(offer, "offer", self._limits)
        if code is not None:
            characters(code, "code", self._limits.code_chars)
        table = self._table
        table.expire(now)
        session_code = code if code is not None else self._new_code()
        held = table.catalogue.find(namespace, session_code)
        if held is not None and held.ends_at > now * 1000:
            raise Conflict("This code is taken.", code="code-taken")
        wall_ms = table.wall_ms(now)
        session = Offer(
            id=session_code,
            namespace=namespace,
            topics=(topic,),
            sdp=description,
            info=info,
            created_at=wall_ms,
            expires_at=int(now * 1000) + int(self._limits.session_lifetime * 1000),
            last_seen=table.moment(wall_ms),
            seen=table.place(now),
            source=source,
        )
        self._enter(session, held, now)
        return session

    def _enter(self, session: Offer, ended: Entry | None, now: float) -> None:
        """Take a session in, and end the one that has had its code until now."""
        self._table.reserve(session.source, [session])
        if ended is not None:
            self._table.end(ended, EventKind.EXPIRED, now)
            self._table.notify_end(ended.offer)
        self._table.insert(session, now)

    def answer(
        self, origin: str, code: str, side: Role, answer: str, now: float, source: SourceNetwork = UNKNOWN
    ) -> None:
        """
        Answer a session; the first answer locks it.

        :raises Malformed: if the answer is out of its limits.
        :raises NotFound: if there is no such session.
        :raises Forbidden: ``not-answerer``, to the side that made the offer.
        :raises Conflict: ``already-answered``.
        """
        sdp_json(answer, "answer", self._limits)
        self.find(origin, code, now)
        if side is not Role.ANSWERER:
            raise Forbidden("Only the answerer may send an answer.", code="not-answerer")
        self._signaling.answer(origin, code, "", answer, None, now, source, field="answer")

    def add_candidate(
        self, origin: str, code: str, side: Role, candidate: object, now: float, source: SourceNetwork = UNKNOWN
    ) -> None:
        """
        Add one candidate of a side. The answerer may send its own before its answer.

        :param candidate: parsed JSON of any type.
        :raises Malformed: if it is out of its limits.
        :raises NotFound: if there is no such session.
        :raises TooMany: if the side would have more than its share.
        """
        payload = candidate_json(candidate, "candidate", self._limits)
        self.find(origin, code, now)
        self._signaling.add_candidates_json(origin, code, side, [payload], now, source)

    def find(self, origin: str, code: str, now: float) -> Session:
        """
        The session with a code: what a poll shows to its two sides.

        :raises NotFound: if it is unknown, has expired, or is another Origin's, in the same words.
        """
        namespace = self._namespace(origin)
        try:
            return self._table.find(namespace, code, now).session()
        except NotFound:
            raise NotFound("There is no such session in this origin, or it has expired.") from None

    def in_topic(self, origin: str, topic: str, now: float, after: int | None = None) -> Page[Session, int]:
        """
        A page of the unanswered sessions of a topic, newest first; at most :attr:`SignalingLimits.session_page_max`.

        :param after: the position to go on after.
        :raises Malformed: if the topic is out of its limits.
        """
        return self._listings.sessions(self._namespace(origin), topic, now, after)

    def topics(
        self, origin: str, limit: int, offset: int, now: float, after: str | None = None
    ) -> Page[tuple[str, int], str]:
        """
        A page of topics and the number of unanswered sessions in each, by name.

        :param after: the position to go on after: a name.
        :returns: the page; its total is how many topics there are.
        """
        return self._listings.topics_by_name(self._namespace(origin), limit, offset, now, after)

    def _namespace(self, origin: str) -> str:
        """Check an Origin. It must not be empty: that is the namespace of the offers."""
        if not origin:
            raise Malformed("The Origin header is required.", code="origin-required")
        return characters(origin, "Origin", self._limits.origin_chars)
