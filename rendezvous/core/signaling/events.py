"""
The events of each peer, in order, for as long as a stream that lost its connection may come back for them.

An event is written down when it happens, once for each peer that it concerns, and dropped after a while, whatever
became of its offer. So reading costs what is new, and never a look at all the offers of a peer.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections import OrderedDict

import attrs

from rendezvous.core.attempts.attempt import Invitation
from rendezvous.core.signaling.memory import ANSWER_COST, CANDIDATE_COST, EVENT_COST, Memory, texts_size
from rendezvous.core.signaling.offers import Answer, Candidate, Offer
from rendezvous.core.sources import UNKNOWN, SourceNetwork
from rendezvous.limits import SignalingLimits

__all__ = ["Event", "EventKind", "EventLog", "EventLogged", "answered", "event_cost", "invited", "trickled"]

#: Events that one verb drops at most because they are too old; the next verb goes on.
AT_MOST = 1000


class EventKind(enum.StrEnum):
    """
    What can happen to an offer that a peer takes part in, and to a client.

    ``answer`` goes to the offerer, ``candidate`` to the other side, ``expired`` to both sides, and ``withdrawn`` to the
    answerer, as the owner did it. ``invitation`` goes to the client that another one wants to connect to. It is not
    kept in the log: it is an event for as long as it can be accepted.
    """

    ANSWER = "answer"
    CANDIDATE = "candidate"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    INVITATION = "invitation"


@attrs.frozen(weakref_slot=False)
class Event:
    """
    One thing that happened.

    :ivar seq: its number, rising strictly: microseconds of server time, or more.
    :ivar offer_id: where it happened; empty for an invitation.
    :ivar topics: those of the offer; empty for a candidate.
    :ivar payload: the answer, the candidate or the invitation; ``None`` for an end.
    :ivar source: who is charged for it.
    """

    seq: int
    kind: EventKind
    offer_id: str
    topics: tuple[str, ...]
    payload: Answer | Candidate | Invitation | None = None
    source: SourceNetwork = attrs.field(default=UNKNOWN, eq=False)

    @property
    def size(self) -> int:
        """The bytes of its texts."""
        payload = self.payload
        if isinstance(payload, Candidate):
            return len(payload.payload) + CANDIDATE_COST
        texts = texts_size(self.topics)
        return texts if not isinstance(payload, Answer) else texts + len(payload.sdp) + ANSWER_COST


def event_cost(event: Event) -> int:
    """:returns: the bytes that are charged for an event, its answer or candidate included: it may outlive the offer."""
    return EVENT_COST + event.size


def invited(invitation: Invitation) -> Event:
    """The event of an invitation, for the invited client."""
    return Event(invitation.seq, EventKind.INVITATION, "", (), invitation)


def answered(offer: Offer, answer: Answer, source: SourceNetwork = UNKNOWN) -> Event:
    """The event of an answer, for the offerer."""
    return Event(answer.seq, EventKind.ANSWER, offer.id, offer.topics, answer, source)


def trickled(offer: Offer, candidate: Candidate, seq: int, source: SourceNetwork = UNKNOWN) -> Event:
    """The event of a candidate, for the other side."""
    return Event(seq, EventKind.CANDIDATE, offer.id, (), candidate, source)


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
    :ivar size: their bytes.
    :ivar lost: the number of the latest event dropped because the peer had too many, or -1.
    """

    __slots__ = ("events", "lost", "peer", "size")

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.events: list[Event] = []
        self.size = 0
        self.lost = -1


class EventLog:
    """
    The recent events of all peers.

    :param limits: how long events are kept, and how many and how many bytes, for a peer and for all.
    :param memory: where they are charged.
    """

    def __init__(self, limits: SignalingLimits, memory: Memory) -> None:
        self._limits = limits
        self._linger = int(limits.event_linger * 1_000_000)
        self._memory = memory
        self._logs: dict[str, _PeerLog] = {}
        # Whose each event is, by its number, oldest first: exactly those that are kept.
        self._kept: OrderedDict[int, _PeerLog] = OrderedDict()
        self._horizon = -1
        self._dropped = -1
        self._last = 0

    def __len__(self) -> int:
        """How many events are kept, for all peers together."""
        return len(self._kept)

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
        self._keep(peer, event)
        self.trim(now)

    def restore(self, peer: str, event: Event) -> None:
        """Write down again what was kept in an earlier life; in order."""
        self._keep(peer, event)

    def resume(self, horizon: int, now: float) -> None:
        """
        Go on after a restart. Every number drawn from now on is greater than any that was drawn before it.

        :param horizon: what :attr:`horizon` was.
        """
        self._horizon = max(self._horizon, horizon)
        self.draw(now)
        self.trim(now)

    def _keep(self, peer: str, event: Event) -> None:
        self._last = max(self._last, event.seq)
        log = self._logs.get(peer)
        if log is None:
            log = self._logs[peer] = _PeerLog(peer)
        log.events.append(event)
        log.size += event.size
        self._kept[event.seq] = log
        self._memory.charge(event.source, event_cost(event))
        limits = self._limits
        while len(log.events) > limits.events_per_peer or (
            log.size > limits.event_bytes_per_peer and len(log.events) > 1
        ):
            log.lost = self._drop_first(log)
        if len(self._kept) > limits.events_kept:
            self._drop_oldest()

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
        oldest = next(iter(self._kept), None)
        return self._dropped if oldest is None else min(self._dropped, oldest - 1)

    def forget(self, peer: str) -> None:
        """Drop the events of a peer that has gone for good."""
        log = self._logs.pop(peer, None)
        for event in () if log is None else log.events:
            del self._kept[event.seq]
            self._memory.refund(event.source, event_cost(event))
            self._dropped = max(self._dropped, event.seq)

    def trim(self, now: float, at_most: int = AT_MOST) -> None:
        """
        Drop what is too old. What is dropped late can be read a little longer, and that is all.

        :param at_most: how many events; the next call goes on.
        """
        old = int(now * 1_000_000) - self._linger
        while self._kept and at_most > 0 and next(iter(self._kept)) <= old:
            self._drop_oldest()
            at_most -= 1

    def _drop_oldest(self) -> None:
        log = next(iter(self._kept.values()))
        self._horizon = max(self._horizon, self._drop_first(log))

    def _drop_first(self, log: _PeerLog) -> int:
        """Drop the oldest event of a peer; give its number."""
        event = log.events.pop(0)
        log.size -= event.size
        del self._kept[event.seq]
        self._memory.refund(event.source, event_cost(event))
        self._dropped = max(self._dropped, event.seq)
        if not log.events:
            del self._logs[log.peer]
        return event.seq


def _seq(event: Event) -> int:
    return event.seq
