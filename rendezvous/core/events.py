"""
What each peer has to be told, in order, for as long as a stream that lost its connection may come back for it.

An event is written down when it happens, once for each peer that it concerns, and forgotten after a while, whatever
became of its offer. So reading costs what is new, and never a look at all the offers of a peer.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections import deque

import attrs

from rendezvous.core.offers import Answer, Candidate, Offer

__all__ = ["Event", "EventKind", "EventLog", "EventLogged", "answered", "trickled"]


class EventKind(enum.StrEnum):
    """
    What can happen to an offer that a peer takes part in.

    ``answer`` goes to the offerer, ``candidate`` to the other side, ``expired`` to both sides, and ``withdrawn`` to the
    answerer, as the owner did it.
    """

    ANSWER = "answer"
    CANDIDATE = "candidate"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


@attrs.frozen(weakref_slot=False)
class Event:
    """
    One thing that happened.

    :ivar seq: its number, rising strictly: microseconds since the epoch, or more when the clock stands.
    :ivar offer_id: where it happened.
    :ivar topics: those of the offer.
    :ivar payload: the answer or the candidate; ``None`` for an end.
    """

    seq: int
    kind: EventKind
    offer_id: str
    topics: tuple[str, ...]
    payload: Answer | Candidate | None = None


def answered(offer: Offer, answer: Answer) -> Event:
    """The event of an answer, for the offerer."""
    return Event(answer.seq, EventKind.ANSWER, offer.id, offer.topics, answer)


def trickled(offer: Offer, candidate: Candidate, seq: int) -> Event:
    """The event of a candidate, for the other side."""
    return Event(seq, EventKind.CANDIDATE, offer.id, offer.topics, candidate)


@attrs.frozen
class EventLogged:
    """
    The note that an event was written down for a peer.

    :ivar peer: whom it is for.
    """

    peer: str
    event: Event


class _PeerLog:
    """
    The events of one peer.

    :ivar events: oldest first, never empty.
    :ivar lost: the number of the latest event dropped because there were too many, or -1.
    """

    __slots__ = ("events", "lost")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.lost = -1


class EventLog:
    """
    The recent events of all peers.

    :param linger: seconds that an event is kept.
    :param per_peer: events kept for one peer; the oldest go first.
    :param kept: events kept for all; the oldest go first.
    """

    def __init__(self, linger: float, per_peer: int, kept: int) -> None:
        self._linger = linger
        self._per_peer = per_peer
        self._kept = kept
        self._logs: dict[str, _PeerLog] = {}
        # When each event may be dropped (microseconds since the epoch), its number, and whose it is.
        self._queue: deque[tuple[int, int, str]] = deque()
        self._horizon = -1
        self._dropped = -1
        self._last = 0

    def __len__(self) -> int:
        """How many events are kept, for all peers together."""
        return sum(len(log.events) for log in self._logs.values())

    @property
    def latest(self) -> int:
        """The number drawn last: the cursor of a stream that begins now."""
        return self._last

    def draw(self, now: float) -> int:
        """A number greater than all before it."""
        self._last = max(self._last + 1, int(now * 1_000_000))
        return self._last

    def add(self, peer: str, event: Event, now: float) -> None:
        """
        Write an event down for a peer.

        :param event: numbered after every one added before.
        """
        self._keep(peer, event, 0.0)
        self.trim(now)

    def restore(self, peer: str, event: Event, pause: float) -> None:
        """
        Write down again what was told in an earlier life; in order.

        :param pause: seconds for which nobody could ask, and which do not count.
        """
        self._keep(peer, event, pause)

    def resume(self, horizon: int, now: float) -> None:
        """
        Go on after a restart. Every number drawn from now on is greater than any that was drawn before it.

        :param horizon: what :attr:`horizon` was.
        """
        self._horizon = max(self._horizon, horizon)
        self.draw(now)
        self.trim(now)

    def _keep(self, peer: str, event: Event, pause: float) -> None:
        self._last = max(self._last, event.seq)
        log = self._logs.get(peer)
        if log is None:
            log = self._logs[peer] = _PeerLog()
        log.events.append(event)
        if len(log.events) > self._per_peer:
            log.lost = log.events.pop(0).seq
        self._queue.append((event.seq + int((self._linger + pause) * 1_000_000), event.seq, peer))

    def since(self, peer: str, seq: int, now: float) -> list[Event]:
        """The events of a peer with greater numbers, in order."""
        self.trim(now)
        log = self._logs.get(peer)
        if log is None or log.events[-1].seq <= seq:
            return []
        return log.events[bisect_right(log.events, seq, key=_seq) :]

    def covers(self, peer: str, seq: int, now: float) -> bool:
        """Whether everything after a number is still here, so that a stream can resume from it without loss."""
        self.trim(now)
        log = self._logs.get(peer)
        return max(self._horizon, -1 if log is None else log.lost) <= seq <= self._last

    @property
    def horizon(self) -> int:
        """The greatest number of an event that was dropped for its age or for the total; -1 if none was."""
        return self._horizon

    @property
    def dropped(self) -> int:
        """No event up to this number is kept any more; unlike :attr:`horizon`, it counts peers that have gone."""
        return self._dropped

    def forget(self, peer: str) -> None:
        """Drop the events of a peer that has gone for good."""
        self._logs.pop(peer, None)

    def trim(self, now: float) -> None:
        """Drop what is too old or too much, at a cost of what is dropped."""
        now_us = int(now * 1_000_000)
        while self._queue and (self._queue[0][0] <= now_us or len(self._queue) > self._kept):
            _, seq, peer = self._queue.popleft()
            self._dropped = max(self._dropped, seq)
            log = self._logs.get(peer)
            # A log that begins later has dropped this event already.
            if log is not None and log.events[0].seq == seq:
                self._horizon = max(self._horizon, seq)
                del log.events[0]
                if not log.events:
                    del self._logs[peer]


def _seq(event: Event) -> int:
    return event.seq
