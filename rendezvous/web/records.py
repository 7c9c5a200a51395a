"""
The JSON of offers, answers and candidates, spliced from what is stored.

Records expire by server time, and clients are shown the wall clock. ``ahead`` is how many milliseconds the wall clock
is ahead of server time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rendezvous.core.attempts.attempt import Invitation
from rendezvous.core.signaling.offers import Answer, Candidate, Offer, Role, Session
from rendezvous.web.pages import encode, splice

__all__ = [
    "ahead_of",
    "answer_json",
    "candidate_json",
    "ends_at",
    "invitation_fields",
    "offers_json",
    "own_offer_json",
    "payloads",
    "session_json",
]

#: JSON in parts. Most of its bytes are those of the store, and are not copied.
Parts = tuple[bytes, ...]


def ahead_of(clock: object) -> Callable[[], int]:
    """:returns: a function that gives ``ahead`` for a clock; it gives 0 if the clock has no wall clock beside it."""
    to_wall: Callable[[float], float] | None = getattr(clock, "to_wall", None)
    if to_wall is None:
        return lambda: 0
    return lambda: round(to_wall(0.0) * 1000)


def ends_at(offer: Offer, ahead: int) -> int:
    """:returns: when an offer expires, in ms of the wall clock."""
    return offer.expires_at + ahead


def offers_json(offers: Sequence[Offer], ahead: int) -> list[bytes]:
    """:returns: offers as anybody sees them, with commas between them, in parts."""
    parts: list[bytes] = []
    for offer in offers:
        # A call of ends_at() for each would be a good part of the time of a page of fifty offers.
        times = b',"expiresAt":%d,"lastSeen":%d},' % (offer.expires_at + ahead, offer.last_seen)
        parts += (offer.head, offer.sdp, times)
    if parts:
        parts[-1] = parts[-1][:-1]
    return parts


def own_offer_json(offer: Offer, ahead: int) -> Parts:
    """:returns: an offer as its owner sees it."""
    answer = offer.answer
    rest = {
        "createdAt": offer.created_at,
        "secret": offer.secret,
        "whileConnected": offer.while_connected,
        "answererPeerId": None if answer is None else answer.answerer,
        "answeredAt": None if answer is None else answer.answered_at,
    }
    if offer.info is None:
        rest["info"] = None
    head, sdp, times = offers_json((offer,), ahead)
    return head, sdp, times[:-1] + b"," + encode(rest)[1:]


def answer_json(offer_id: str, topics: tuple[str, ...], answer: Answer) -> bytes:
    """:returns: an answer as its offerer reads it."""
    fields = {
        "offerId": offer_id,
        "answererId": answer.answerer,
        "answeredAt": answer.answered_at,
        "topics": topics,
    }
    return splice(fields, sdp=answer.sdp)


def candidate_json(candidate: Candidate, offer_id: str | None = None) -> bytes:
    """
    :param offer_id: given where it would not be known otherwise.
    :returns: a candidate as the other side reads it.
    """
    fields = {} if offer_id is None else {"offerId": offer_id}
    sent = {"peerId": candidate.peer, "role": candidate.role.value, "createdAt": candidate.created_at}
    return splice({**fields, **sent}, candidate=candidate.payload)


def invitation_fields(invitation: Invitation, ahead: int) -> dict[str, Any]:
    """:returns: an invitation as the invited client reads it."""
    return {
        "attempt": invitation.attempt.hex(),
        "peer": invitation.peer.hex(),
        "expires": int(invitation.expires * 1000) + ahead,
    }


def payloads(candidates: Iterable[Candidate]) -> bytes:
    """:returns: the bare values that were sent, in a list."""
    return b"[%b]" % b",".join(candidate.payload for candidate in candidates)


def session_json(session: Session, ahead: int) -> Parts:
    """:returns: a session as anybody of its Origin sees it."""
    offer = session.offer
    times = b',"createdAt":%d,"expiresAt":%d}' % (offer.created_at, ends_at(offer, ahead))
    candidates = payloads(session.candidates(Role.OFFERER))
    return offer.head, offer.sdp, b',"offerCandidates":', candidates, times
