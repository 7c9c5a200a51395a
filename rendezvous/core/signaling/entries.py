"""What the tables hold of an offer: the frozen record, which is replaced when something changes, and its candidates."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from rendezvous.core.signaling.bloom import hashes
from rendezvous.core.signaling.memory import CANDIDATE_COST
from rendezvous.core.signaling.offers import Candidate, Offer, Role, Session
from rendezvous.core.sources import SourceNetwork

__all__ = ["Entry"]


class Entry:
    """
    An offer or a session from its publication to its end. Only the offer table changes it.

    :ivar offer: how it is now.
    :ivar ends_at: ms of server time; at most its ``expires_at``.
    :ivar candidate_bytes: the payloads of both sides.
    :ivar charges: the bytes that are charged for its answer and its candidates, by source.
    :ivar number: given by the catalogue when it enters the entry; no other entry there has the same.
    """

    __slots__ = (
        "_answerer",
        "_hashes",
        "_offerer",
        "_offerer_bytes",
        "candidate_bytes",
        "charges",
        "ends_at",
        "number",
        "offer",
    )

    def __init__(self, offer: Offer) -> None:
        self.offer = offer
        self.ends_at = offer.expires_at
        self._hashes: tuple[int, ...] = ()
        # No list until there is something in it: most offers never see a candidate.
        self._offerer: list[Candidate] | None = None
        self._answerer: list[Candidate] | None = None
        self._offerer_bytes = 0
        self.candidate_bytes = 0
        self.charges: dict[SourceNetwork, int] | None = None
        self.number = 0

    def owner_hashes(self) -> tuple[int, ...]:
        """The hashes of its owner's id in a Bloom filter, computed when a filter first meets it: 5 us."""
        if not self._hashes:
            self._hashes = hashes(self.offer.owner)
        return self._hashes

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
        self.candidate_bytes += len(candidate.payload)
        if candidate.role is Role.OFFERER:
            self._offerer = self._offerer or []
            self._offerer.append(candidate)
            self._offerer_bytes += len(candidate.payload) + 1
        else:
            self._answerer = self._answerer or []
            self._answerer.append(candidate)

    def charge(self, source: SourceNetwork, amount: int) -> None:
        """Remember what a source is charged for an answer or for candidates."""
        if self.charges is None:
            self.charges = {}
        self.charges[source] = self.charges.get(source, 0) + amount

    @property
    def session_size(self) -> int:
        """The bytes that a listing of sessions shows of it."""
        return self.offer.size + self._offerer_bytes

    def session(self) -> Session:
        """:returns: it as it is now."""
        return Session(self.offer, tuple(self._offerer or ()), tuple(self._answerer or ()))


def candidates_cost(candidates: Sequence[Candidate]) -> int:
    """:returns: the bytes that are charged for candidates."""
    return sum(CANDIDATE_COST + len(each.payload) for each in candidates)


def _created_at(candidate: Candidate) -> int:
    return candidate.created_at
