"""
The records of signaling: offers, answers and candidates.

One record serves two protocols, which differ in two fields: an offer has an owner and no namespace, a session has the
Origin as its namespace and no owner. Records are frozen: what a verb has returned never changes, whatever happens
to the offer afterwards. What clients sent is kept as JSON in UTF-8 (:mod:`rendezvous.core.signaling.encoded`).
"""

from __future__ import annotations

import enum

import attrs

from rendezvous.core.signaling.encoded import offer_head, session_head
from rendezvous.core.signaling.memory import NAMESPACE_COST, OFFER_COST, TOPIC_COST, text_size
from rendezvous.core.sources import UNKNOWN, SourceNetwork

__all__ = ["OFFERS", "Answer", "Candidate", "CandidatesAdded", "Offer", "OfferChanged", "Role", "Session"]

#: The namespace of the offers protocol. No Origin is empty, so no session is in it.
OFFERS = ""


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
    :ivar sdp: its session description, as a JSON string.
    :ivar answered_at: ms since the epoch, wall clock, rising strictly over all offers.
    :ivar seq: its place among the events of the signaling.
    """

    answerer: str
    sdp: bytes
    answered_at: int
    seq: int


@attrs.frozen(weakref_slot=False)
class Candidate:
    """
    One ICE candidate, or whatever JSON a client calls one.

    :ivar payload: compact JSON; a parsed object would take several times the memory.
    :ivar peer: the id of the peer that sent it, or ``""`` in a session.
    :ivar role: the side it came from.
    :ivar created_at: ms since the epoch, wall clock, rising strictly within an offer.
    :ivar seq: its place among the events of the signaling.
    """

    payload: bytes
    peer: str
    role: Role
    created_at: int
    seq: int


@attrs.frozen(weakref_slot=False, kw_only=True)
class Offer:
    """
    An offer or a session, as it was at one moment.

    :ivar id: its name within its namespace; the code of a session.
    :ivar namespace: ``""`` for offers, the Origin for sessions.
    :ivar owner: the publishing peer's id, or ``""`` for sessions.
    :ivar sdp: the session description, or the ``offer`` string of a session, as a JSON string.
    :ivar secret: what an answer must know, or ``None``.
    :ivar info: free text, or ``None``.
    :ivar while_connected: whether it ends soon after the last event stream of its owner.
    :ivar created_at: ms since the epoch, wall clock.
    :ivar expires_at: ms of server time; from this moment on it is gone.
    :ivar last_seen: ms since the epoch, wall clock: the owner's last publication or heartbeat.
    :ivar seen: its place in listings, which are in falling order of it: microseconds of server time, or more.
    :ivar source: who is charged for it.
    :ivar head: what a listing shows of it, up to the description (:mod:`rendezvous.core.signaling.encoded`).
    :ivar cost: the bytes that are charged for it, without its answer and its candidates. Like ``head`` it stays as it
        is when only the answer or the times change.
    """

    id: str
    namespace: str = ""
    owner: str = ""
    topics: tuple[str, ...]
    sdp: bytes
    secret: str | None = None
    info: str | None = None
    while_connected: bool = False
    created_at: int
    expires_at: int
    last_seen: int
    seen: int
    answer: Answer | None = None
    source: SourceNetwork = UNKNOWN
    head: bytes = attrs.field(repr=False)
    cost: int = attrs.field(repr=False)

    @head.default
    def _head(self) -> bytes:
        if self.namespace:
            return session_head(self.id, self.info)
        return offer_head(self.id, self.owner, self.topics, has_secret=self.secret is not None, info=self.info)

    @cost.default
    def _cost(self) -> int:
        cost = OFFER_COST + NAMESPACE_COST if self.namespace else OFFER_COST
        cost += len(self.head) + len(self.sdp) + text_size(self.id)
        for topic in self.topics:
            cost += TOPIC_COST + text_size(topic)
        if self.secret is not None:
            cost += text_size(self.secret)
        if self.info is not None:
            cost += text_size(self.info)
        return cost

    @property
    def size(self) -> int:
        """The bytes that a listing shows of it, apart from candidates and some hundred bytes of numbers."""
        return len(self.head) + len(self.sdp)

    def peer(self, role: Role) -> str:
        """The peer on a side: its id, or ``""`` if there is none yet or it is a session."""
        if role is Role.OFFERER:
            return self.owner
        return self.answer.answerer if self.answer is not None else ""

    def role_of(self, peer: str) -> Role | None:
        """The side on which a peer stands, or ``None`` for a stranger."""
        if peer == self.owner:
            return Role.OFFERER
        if self.answer is not None and peer == self.answer.answerer:
            return Role.ANSWERER
        return None


@attrs.frozen
class Session:
    """
    An offer or a session with the candidates of both sides, as they were at one moment.

    :ivar offerer: the offerer's candidates, oldest first.
    :ivar answerer: the answerer's.
    """

    offer: Offer
    offerer: tuple[Candidate, ...] = ()
    answerer: tuple[Candidate, ...] = ()

    def candidates(self, role: Role) -> tuple[Candidate, ...]:
        """:returns: what one side has sent, oldest first."""
        return self.offerer if role is Role.OFFERER else self.answerer


@attrs.frozen
class OfferChanged:
    """
    The note that some fields of an offer have changed.

    :ivar offer: with their new values.
    :ivar fields: their names.
    """

    offer: Offer
    fields: tuple[str, ...]


@attrs.frozen
class CandidatesAdded:
    """
    The note that one request has added candidates.

    :ivar offer: whose they are.
    :ivar candidates: the new ones, oldest first.
    """

    offer: Offer
    candidates: tuple[Candidate, ...]
