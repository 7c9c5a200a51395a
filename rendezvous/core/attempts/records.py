"""Records of attempts: those that go on, and a ring of those that have ended, each with the reason as a sentence."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from heapq import merge
from operator import attrgetter

import attrs

from rendezvous.core.attempts.attempt import Attempt, Ended
from rendezvous.core.attempts.strategy import REASONS, reason_of
from rendezvous.core.connect import AttemptState, NatMapping, Strategy

__all__ = ["ENDED", "AttemptRecord", "EndedAttempts", "record_of"]

#: Attempts that have ended and that are kept, at some 600 bytes each.
ENDED = 1000

_number = attrgetter("number")


@attrs.frozen
class AttemptRecord:
    """
    An attempt. Times are server time.

    :ivar number: grows from one attempt to the next.
    :ivar result: as of :class:`~rendezvous.core.attempts.attempt.Ended`; ``None`` while it goes on.
    :ivar was_joined: whether the invited client has accepted.
    """

    id: bytes
    number: int
    state: AttemptState
    begun: float
    ended: float | None
    controlling: bytes
    controlled: bytes
    was_joined: bool
    mappings: tuple[NatMapping, NatMapping] | None
    strategy: Strategy | None
    result: str | None

    def why(self, *, has_relay: bool) -> str:
        """
        :param has_relay: whether the server names TURN servers.
        :returns: a sentence: what it waits for, or why it has ended.
        """
        if self.state is AttemptState.FAILED:
            code = self.result if self.result in REASONS else "no-path"
            return reason_of(code or "no-path", has_relay=has_relay)
        if self.state is AttemptState.DONE:
            return "A path was found." if self.result == "unknown" else f"A path was found: {self.result}."
        if self.state is AttemptState.EXPIRED:
            if self.was_joined:
                return "Neither side has said in time whether a path was found."
            return "The invited client has not accepted in time."
        return _SENTENCES[self.state, self.was_joined]


_SENTENCES = {
    (AttemptState.INVITED, False): "The invited client has not accepted yet.",
    (AttemptState.OBSERVING, True): "The server waits for datagrams of both sides, to see their addresses.",
    (AttemptState.GO, True): "Both sides send probes to each other.",
    (AttemptState.DECLINED, False): "The invitation was declined or taken back, or one side has left.",
    (AttemptState.DECLINED, True): "One side has given up or left.",
}


def record_of(attempt: Attempt, ended: Ended | None = None, state: AttemptState | None = None) -> AttemptRecord:
    """
    :param ended: what it ends as, if it ends now.
    :param state: in which it ends.
    :returns: an attempt as it is now.
    """
    has_begun = attempt.state is AttemptState.GO
    return AttemptRecord(
        attempt.id,
        attempt.seq,
        attempt.state if state is None else state,
        attempt.begun,
        None if ended is None else attempt.begun + ended.seconds,
        attempt.controlling.client_id,
        attempt.controlled.client_id,
        attempt.joined is not None,
        None if ended is None else ended.mappings,
        attempt.strategy if has_begun else None,
        None if ended is None else ended.result,
    )


class EndedAttempts:
    """The ring of those that have ended."""

    def __init__(self) -> None:
        self._kept: deque[AttemptRecord] = deque(maxlen=ENDED)

    def add(self, record: AttemptRecord) -> None:
        """Keep one; the oldest makes room."""
        self._kept.append(record)

    def newest_first(self, going_on: Iterable[AttemptRecord]) -> Iterator[AttemptRecord]:
        """
        Walk attempts, the latest first.

        :param going_on: those that go on, the latest first. No more of them are made than are walked.
        """
        kept = sorted(self._kept, key=_number, reverse=True)
        return merge(kept, going_on, key=_number, reverse=True)
