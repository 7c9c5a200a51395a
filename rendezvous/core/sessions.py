"""
Sessions: offers that are reached by a code, each visible only within the Origin that made it.

A session has no owner and nobody on it has a name, so the caller says which side it is on. Everything else is the
signaling's.
"""

from __future__ import annotations

from collections.abc import Callable

from rendezvous.core.offers import Offer, Role, candidate_text, characters, sdp_text
from rendezvous.core.signaling import Signaling
from rendezvous.errors import Conflict, Forbidden, Malformed, NotFound

__all__ = ["Sessions"]


class Sessions:
    """
    The verbs of the sessions dialect.

    Every verb raises :class:`~rendezvous.errors.Malformed` without an Origin.

    :param signaling: where sessions are kept, beside the offers.
    :param new_code: makes a code that has never been used, such as a random UUID.
    """

    def __init__(self, signaling: Signaling, new_code: Callable[[], str]) -> None:
        self._signaling = signaling
        self._limits = signaling.limits
        self._new_code = new_code

    def open(self, origin: str, topic: str, info: str, offer: str, code: str | None, now: float) -> Offer:
        """
        Open a session.

        :param code: the caller's own, or ``None`` for a new one.
        :raises Malformed: if a value is out of its limits.
        :raises Conflict: ``code-taken`` by another session of this Origin.
        :raises Full: if the signaling has reached its bound.
        """
        namespace = self._namespace(origin)
        characters(topic, "topic", self._limits.topic_chars)
        characters(info, "info", self._limits.session_info_chars, least=0)
        sdp_text(offer, "offer", self._limits)
        if code is not None:
            characters(code, "code", self._limits.code_chars)
        self._signaling.expire(now)
        self._signaling.reserve(1)
        session_code = code if code is not None else self._new_code()
        if self._signaling.holds(namespace, session_code):
            raise Conflict("This code is taken.", code="code-taken")
        now_ms = int(now * 1000)
        session = Offer(
            id=session_code,
            namespace=namespace,
            topics=(topic,),
            sdp=offer,
            info=info,
            created_at=now_ms,
            expires_at=now_ms + int(self._limits.session_lifetime * 1000),
            last_seen=self._signaling.moment(now),
        )
        self._signaling.insert(session)
        return session

    def answer(self, origin: str, code: str, side: Role, answer: str, now: float) -> None:
        """
        Answer a session; the first answer locks it.

        :raises Malformed: if the answer is out of its limits.
        :raises NotFound: if there is no such session.
        :raises Forbidden: ``not-answerer``, to the side that made the offer.
        :raises Conflict: ``already-answered``.
        """
        sdp_text(answer, "answer", self._limits)
        self.find(origin, code, now)
        if side is not Role.ANSWERER:
            raise Forbidden("Only the answerer may send an answer.", code="not-answerer")
        self._signaling.answer(origin, code, "", answer, None, now, field="answer")

    def add_candidate(self, origin: str, code: str, side: Role, candidate: object, now: float) -> None:
        """
        Add one candidate of a side. The answerer may send its own before its answer.

        :param candidate: parsed JSON of any type.
        :raises Malformed: if it is out of its limits.
        :raises NotFound: if there is no such session.
        :raises TooMany: if the side would have more than its share.
        """
        text = candidate_text(candidate, "candidate", self._limits)
        self.find(origin, code, now)
        self._signaling.add_candidate_texts(origin, code, side, [text], now)

    def find(self, origin: str, code: str, now: float) -> Offer:
        """
        The session with a code: what a poll shows to its two sides.

        :raises NotFound: if it is unknown, has expired, or is another Origin's, in the same words.
        """
        namespace = self._namespace(origin)
        try:
            return self._signaling.find(namespace, code, now)
        except NotFound:
            raise NotFound("There is no such session in this origin, or it has expired.") from None

    def in_topic(self, origin: str, topic: str, now: float) -> list[Offer]:
        """
        The unanswered sessions of a topic, newest first; at most :attr:`SignalingLimits.session_page_max`.

        :raises Malformed: if the topic is out of its limits.
        """
        page, _ = self._signaling.by_topic(self._namespace(origin), topic, self._limits.session_page_max, None, now)
        return page

    def topics(self, origin: str, limit: int, offset: int, now: float) -> tuple[list[tuple[str, int]], int]:
        """
        A page of topics and the number of unanswered sessions in each, by name.

        :returns: the page, and how many topics there are.
        """
        return self._signaling.topics_by_name(self._namespace(origin), limit, offset, now)

    def _namespace(self, origin: str) -> str:
        """Check an Origin. It must not be empty: that is the namespace of the offers."""
        if not origin:
            raise Malformed("The Origin header is required.", code="origin-required")
        return characters(origin, "Origin", self._limits.origin_chars)
