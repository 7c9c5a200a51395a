"""
The records of signaling: offers, answers, candidates, and what may become one.

Everything is checked here against :class:`~rendezvous.limits.SignalingLimits`; the HTTP layer checks only JSON types.
Whatever is over a limit is :class:`~rendezvous.errors.Malformed` with the code ``too-long``
and the field's name; the status 413 is kept for the body as a whole.

One record serves two dialects, which differ in two fields: an offer has an owner and no namespace, a
session has the Origin as its namespace and no owner.
"""

from __future__ import annotations

import enum
import hashlib
import json
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import attrs

from rendezvous.errors import Malformed
from rendezvous.limits import SignalingLimits

__all__ = [
    "Answer",
    "Candidate",
    "CandidatesAdded",
    "Offer",
    "OfferAnswered",
    "OfferSeen",
    "OfferSpec",
    "Role",
    "candidate_text",
    "candidate_texts",
    "characters",
    "offer_id",
    "sdp_text",
]


class Role(enum.StrEnum):
    """The two sides of an offer, as they are written on the wire."""

    OFFERER = "offerer"
    ANSWERER = "answerer"

    @property
    def other(self) -> Role:
        """The side across."""
        return Role.ANSWERER if self is Role.OFFERER else Role.OFFERER


@attrs.frozen(weakref_slot=False)
class Answer:
    """
    What locks an offer.

    :ivar answerer: the answering peer's id, or ``""`` in a session.
    :ivar sdp: its session description.
    :ivar answered_at: ms since the epoch.
    :ivar seq: its place among the events of the signaling.
    """

    answerer: str
    sdp: str
    answered_at: int
    seq: int


@attrs.frozen(weakref_slot=False)
class Candidate:
    """
    One ICE candidate, or whatever JSON a client calls one.

    :ivar payload: compact JSON text; a parsed object would take several times the memory.
    :ivar peer: the id of the peer that sent it, or ``""`` in a session.
    :ivar role: the side it came from.
    :ivar created_at: ms since the epoch, rising strictly within an offer.
    :ivar seq: its place among the events of the signaling.
    """

    payload: str
    peer: str
    role: Role
    created_at: int
    seq: int


@attrs.define(eq=False, weakref_slot=False, kw_only=True)
class Offer:
    """
    An offer or a session, from its publication to its end. Only the signaling changes it.

    :ivar id: its name within its namespace; the code of a session.
    :ivar namespace: ``""`` for offers, the Origin for sessions.
    :ivar owner: the publishing peer's id, or ``""`` for sessions.
    :ivar sdp: the session description, or the ``offer`` string of a session.
    :ivar secret: what an answer must know, or ``None``.
    :ivar info: free text, or ``None``.
    :ivar created_at: ms since the epoch, as are the following two.
    :ivar expires_at: from this moment on it is gone.
    :ivar last_seen: the owner's last publication or heartbeat.
    """

    id: str
    namespace: str = ""
    owner: str = ""
    topics: tuple[str, ...]
    sdp: str
    secret: str | None = None
    info: str | None = None
    created_at: int
    expires_at: int
    last_seen: int
    answer: Answer | None = None
    # No list until there is something in it: most offers never see a candidate.
    _offerer: list[Candidate] | None = attrs.field(default=None, init=False)
    _answerer: list[Candidate] | None = attrs.field(default=None, init=False)

    def candidates(self, role: Role) -> Sequence[Candidate]:
        """What one side has sent so far, oldest first; not to be changed."""
        return (self._offerer if role is Role.OFFERER else self._answerer) or ()

    def candidates_since(self, role: Role, since: int) -> Sequence[Candidate]:
        """What one side has sent strictly after a ``created_at`` (ms)."""
        sent = self.candidates(role)
        return sent[bisect_right(sent, since, key=_created_at) :]

    def last_candidate_at(self) -> int:
        """The latest ``created_at`` of either side, or -1."""
        return max(sent[-1].created_at if sent else -1 for sent in map(self.candidates, Role))

    def attach(self, candidate: Candidate) -> None:
        """
        Keep a candidate of the side that it names.

        :param candidate: later than every one attached before.
        """
        if candidate.role is Role.OFFERER:
            self._offerer = self._offerer or []
            self._offerer.append(candidate)
        else:
            self._answerer = self._answerer or []
            self._answerer.append(candidate)

    def role_of(self, peer: str) -> Role | None:
        """The side on which a peer stands, or ``None`` for a stranger."""
        if peer == self.owner:
            return Role.OFFERER
        if self.answer is not None and peer == self.answer.answerer:
            return Role.ANSWERER
        return None

    def peer(self, role: Role) -> str:
        """Who stands on a side: a peer id, or ``""`` when nobody does or it is a session."""
        if role is Role.OFFERER:
            return self.owner
        return self.answer.answerer if self.answer is not None else ""


def _created_at(candidate: Candidate) -> int:
    return candidate.created_at


@attrs.frozen
class OfferSeen:
    """
    The note that of an offer only ``last_seen`` has changed.

    :ivar offer: which.
    """

    offer: Offer


@attrs.frozen
class OfferAnswered:
    """
    The note that an offer has got its answer.

    :ivar offer: which.
    """

    offer: Offer
    answer: Answer


@attrs.frozen
class CandidatesAdded:
    """
    The note that one request has added candidates.

    :ivar offer: whose they are.
    :ivar candidates: the new ones, oldest first.
    """

    offer: Offer
    candidates: tuple[Candidate, ...]


def characters(value: str, field: str, most: int, *, least: int = 1) -> str:
    """
    Check the length of a text.

    :param field: what the error calls it.
    :param most: the limit, in characters.
    :returns: the text.
    :raises Malformed: if it is too short or too long, or holds half of a surrogate pair, which no UTF-8 can carry.
    """
    if len(value) < least:
        raise Malformed(f"{field} must not be empty.", code="empty")
    if len(value) > most:
        raise Malformed(f"{field} must be at most {most} characters.", code="too-long")
    _utf8(value, field)
    return value


def sdp_text(value: str, field: str, limits: SignalingLimits) -> str:
    """
    Check a session description: its size only, as the server never looks inside.

    :param field: what the error calls it.
    :raises Malformed: if it is empty, larger than :attr:`~SignalingLimits.sdp_size`, or not Unicode.
    """
    if not value:
        raise Malformed(f"{field} must not be empty.", code="empty")
    # A character is at least one byte: a long text is refused before it is encoded.
    if len(value) > limits.sdp_size or len(_utf8(value, field)) > limits.sdp_size:
        raise Malformed(f"{field} must be at most {limits.sdp_size} bytes.", code="too-long")
    return value


def candidate_texts(values: Sequence[object], limits: SignalingLimits) -> list[str]:
    """
    Turn the candidates of one request into what is kept of them.

    :param values: parsed JSON of any type.
    :returns: their compact JSON.
    :raises Malformed: if there are none or too many, or one is out of its limits.
    """
    if not values:
        raise Malformed("candidates must not be empty.", code="empty")
    if len(values) > limits.candidates_per_request:
        most = limits.candidates_per_request
        raise Malformed(f"candidates must be at most {most} in one request.", code="too-long")
    return [candidate_text(value, f"candidates[{index}]", limits) for index, value in enumerate(values)]


def candidate_text(value: object, field: str, limits: SignalingLimits) -> str:
    """
    Turn one candidate into what is kept of it.

    :param value: parsed JSON of any type.
    :param field: what the error calls it.
    :returns: its compact JSON.
    :raises Malformed: if that is too large, or it was not JSON after all.
    """
    if _is_deeper(value, limits.candidate_depth):
        raise Malformed(f"{field} must be nested at most {limits.candidate_depth} deep.")
    try:
        text = _compact(value)
    except (TypeError, ValueError):
        # Python reads more than JSON: NaN, and numbers beyond a double.
        raise Malformed(f"{field} is not JSON that can be passed on.") from None
    if len(_utf8(text, field)) > limits.candidate_size:
        raise Malformed(f"{field} must be at most {limits.candidate_size} bytes.", code="too-long")
    return text


def _is_deeper(value: object, most: int) -> bool:
    """Whether more than so many lists and objects are within each other."""
    level: list[Any] = [value]
    for _ in range(most + 1):
        level = [item for item in level if isinstance(item, (list, dict))]
        if not level:
            return False
        level = [item for held in level for item in (held.values() if isinstance(held, dict) else held)]
    return True


def _compact(value: object) -> str:
    """Exactly what ``JSON.stringify`` prints for strings, lists and objects of them."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _utf8(value: str, field: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise Malformed(f"{field} holds half of a surrogate pair, which is not Unicode text.") from None


def offer_id(sdp: str, topics: Sequence[str]) -> str:
    """
    The id of an offer that names none: SHA-256 of ``{"sdp": ..., "topics": [sorted]}`` as compact JSON.

    Clients compute the same in JavaScript, so the topics are sorted as its ``sort`` does: by UTF-16 code units.

    :param topics: as they were sent, repetitions included.
    :returns: 64 lower-case hex digits.
    """
    ordered = sorted(topics, key=lambda topic: topic.encode("utf-16-be"))
    return hashlib.sha256(_compact({"sdp": sdp, "topics": ordered}).encode()).hexdigest()


@attrs.frozen(kw_only=True)
class OfferSpec:
    """
    An offer as its owner asks for it, within all limits. Made by :meth:`check`.

    :ivar id: the caller's own or the derived one.
    :ivar topics: without repetitions, in the caller's order.
    :ivar ttl_ms: clamped.
    """

    id: str
    sdp: str
    topics: tuple[str, ...]
    ttl_ms: int
    secret: str | None
    info: str | None

    @classmethod
    def check(
        cls,
        limits: SignalingLimits,
        field: str,
        *,
        sdp: str,
        topics: Sequence[str],
        ttl_ms: int | None = None,
        secret: str | None = None,
        info: str | None = None,
        id: str | None = None,
    ) -> OfferSpec:
        """
        Hold a request against the limits.

        :param field: what the error calls the offer, such as ``offers[2]``.
        :param ttl_ms: lifetime; the default for ``None``, clamped otherwise.
        :param secret: an empty one counts as none.
        :raises Malformed: if a value is out of its limits; the message names it, as in ``offers[2].topics[0]``.
        """
        sdp_text(sdp, f"{field}.sdp", limits)
        names = _topics(topics, f"{field}.topics", limits)
        if secret is not None:
            characters(secret, f"{field}.secret", limits.secret_chars, least=0)
        if info is not None:
            characters(info, f"{field}.info", limits.info_chars, least=0)
        wanted = limits.ttl_default_ms if ttl_ms is None else ttl_ms
        return cls(
            id=offer_id(sdp, topics) if id is None else _own_id(id, f"{field}.id", limits),
            sdp=sdp,
            topics=names,
            ttl_ms=max(limits.ttl_min_ms, min(wanted, limits.ttl_max_ms)),
            secret=secret or None,
            info=info,
        )


def _topics(topics: Sequence[str], field: str, limits: SignalingLimits) -> tuple[str, ...]:
    if not topics:
        raise Malformed(f"{field} must not be empty.", code="empty")
    if len(topics) > limits.topics_per_offer:
        raise Malformed(f"{field} must be at most {limits.topics_per_offer}.", code="too-long")
    for index, topic in enumerate(topics):
        characters(topic, f"{field}[{index}]", limits.topic_chars)
    return tuple(dict.fromkeys(topics))


def _own_id(value: str, field: str, limits: SignalingLimits) -> str:
    """
    Check an id of the caller's own, which becomes one segment of a path.

    Dots alone are resolved away by every URL parser, percent-encoded or not; an encoded slash is a separator to some
    proxies; ``by-topic`` would make ``/offers/by-topic/ice-candidates`` mean two things.
    """
    characters(value, field, limits.id_chars)
    if value in {".", "..", "by-topic"}:
        raise Malformed(f"{field} is a reserved word.")
    if any(char in "/\\" or char < " " or char == "\x7f" for char in value):
        raise Malformed(f"{field} must not hold slashes, backslashes or control characters.")
    return value
