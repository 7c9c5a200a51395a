"""
What has changed in the topics that are watched: offers that have appeared there, and offers that have gone.

Changes are written down only for topics that a stream or a request watches, and for some time after the last one has
closed, so that it can come back without a gap. So a publication in any other topic costs one look-up. A change is its
number, the id of the offer and why it has gone. The offer itself is looked up when the change is read: a reader is
shown how it is then, and an offer that has gone takes no memory here.

Sessions are never watched: only what is in the namespace of the offers is written down.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from heapq import merge
from itertools import groupby
from operator import attrgetter

import attrs

from rendezvous.core.shares import Shares
from rendezvous.core.signaling.events import AT_MOST, EventLog
from rendezvous.core.signaling.memory import CHANGE_COST, Memory, text_size
from rendezvous.core.signaling.offers import OFFERS, Offer
from rendezvous.core.sources import SourceNetwork
from rendezvous.errors import Full, TooMany
from rendezvous.limits import SignalingLimits

__all__ = ["Change", "Gone", "TopicEvent", "TopicNews", "Watch", "Watches", "publication_cost"]

#: Watchers that one publication more is for, and bytes of a description beyond which they count once more.
_WATCHERS, _BYTES = 100, 4096


class Gone(enum.StrEnum):
    """Why an offer can no longer be found in a topic. ``withdrawn`` is also an offer that was moved to other topics."""

    ANSWERED = "answered"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


@attrs.frozen(weakref_slot=False)
class Change:
    """
    One change of a topic.

    :ivar seq: its number, from the numbers of events. It is the same in all topics of an offer.
    :ivar gone: ``None`` for an offer that has appeared, or that was published again.
    :ivar source: who is charged for it.
    """

    seq: int
    offer_id: str
    gone: Gone | None
    source: SourceNetwork


@attrs.frozen
class TopicEvent:
    """
    A change as it is read.

    :ivar topics: those of the topics that are read in which it has happened.
    :ivar offer: how it is now; ``None`` if it has gone.
    """

    seq: int
    offer_id: str
    topics: tuple[str, ...]
    offer: Offer | None
    gone: Gone | None


@attrs.frozen
class TopicNews:
    """
    What was read of some topics.

    :ivar events: in order.
    :ivar missed: topics of which some changes are no longer known, each with the number to go on after.
    :ivar until: the number up to which everything was read; ``None`` if that is all.
    """

    events: Sequence[TopicEvent] = ()
    missed: Mapping[str, int] = attrs.field(factory=dict)
    until: int | None = None


class Watch:
    """
    One watch of a topic, from :meth:`Watches.watch` to :meth:`close`.

    :ivar since: a number: every change after it is written down.
    """

    __slots__ = ("_leave", "since")

    def __init__(self, since: int, leave: Callable[[float], None]) -> None:
        self.since = since
        self._leave = leave

    def close(self, now: float) -> None:
        """
        End it; to be called once.

        A server that was stopped and started again has other :class:`Watches`. They are not concerned then.
        """
        self._leave(now)


class _Topic:
    """
    A topic that is watched, or was until lately.

    :ivar changes: oldest first.
    :ivar horizon: every change with a greater number is in ``changes``.
    :param most: how many watch it of one subscriber; 0 for no limit.
    :ivar source: who is charged for it: the first who has watched it.
    :ivar watching: how many watch it.
    :ivar watchers: how many of them each source has.
    :ivar until: when it is forgotten, if none watches it.
    """

    __slots__ = ("changes", "horizon", "name", "source", "until", "watchers", "watching")

    def __init__(self, name: str, source: SourceNetwork, horizon: int, most: int) -> None:
        self.name = name
        self.source = source
        self.horizon = horizon
        self.changes: list[Change] = []
        self.watching = 0
        self.watchers = Shares("watchers of the topic", most)
        self.until = 0.0


class Watches:
    """
    The topics that are watched.

    :param limits: how many there are, how many watch each, and how many changes are kept for how long.
    :param events: gives the numbers of changes.
    :param memory: where changes are charged.
    :param shares: how many topics each source may watch.
    """

    def __init__(self, limits: SignalingLimits, events: EventLog, memory: Memory, shares: Shares) -> None:
        self._limits = limits
        self._events = events
        self._memory = memory
        self.shares = shares
        self._topics: dict[str, _Topic] = {}
        # Those without a watcher, the one that was left first first.
        self._left: OrderedDict[str, _Topic] = OrderedDict()
        # Where each change is, oldest first; also of some that are no longer there.
        self._kept: deque[tuple[int, _Topic]] = deque()

    def __len__(self) -> int:
        """How many topics there are, those that were left lately included."""
        return len(self._topics)

    def watch(self, topic: str, source: SourceNetwork, now: float) -> Watch:
        """
        Write down from now on what changes in a topic.

        :param source: who watches.
        :raises TooMany: ``topic-watchers``, as many watch the topic as may; ``source-share``, the source watches as
            many topics as it may, or this one as often as it may.
        :raises Full: as many topics are watched as may be.
        """
        self.trim(now)
        held = self._topics.get(topic)
        if held is None:
            held = self._make(topic, source, now)
        elif held.watching >= self._limits.watchers_of_topic:
            most = self._limits.watchers_of_topic
            raise TooMany(f"At most {most} requests and streams may watch a topic at a time.", code="topic-watchers")
        held.watchers.check(source)
        held.watchers.add(source)
        held.watching += 1
        self._left.pop(topic, None)
        return Watch(self._events.latest, partial(self._leave, held, source))

    def _make(self, topic: str, source: SourceNetwork, now: float) -> _Topic:
        self.shares.check(source)
        if len(self._topics) >= self._limits.watched_topics:
            if not self._left:
                raise Full("The server watches as many topics as it can.", holder=self.shares.largest)
            self._forget(next(iter(self._left.values())))
        self.shares.add(source)
        # A number of its own: a reader that has an earlier one has missed something.
        horizon = self._events.draw(now)
        of_source = self._limits.watchers_of_source if self.shares.are_limited else 0
        held = self._topics[topic] = _Topic(topic, source, horizon, of_source)
        return held

    def _leave(self, held: _Topic, source: SourceNetwork, now: float) -> None:
        held.watchers.remove(source)
        held.watching -= 1
        if not held.watching:
            held.until = now + self._limits.event_linger
            self._left[held.name] = held

    def appeared(self, offer: Offer, now: float) -> Sequence[str]:
        """
        Note that an offer can be found in its topics, or that it was published again.

        :returns: those of its topics that are watched.
        """
        return self._note(offer, offer.topics, None, now) if self._topics else ()

    def vanished(self, offer: Offer, topics: Sequence[str], gone: Gone, now: float) -> Sequence[str]:
        """
        Note that an offer can no longer be found in some topics.

        :returns: those of them that are watched.
        """
        return self._note(offer, topics, gone, now) if self._topics else ()

    def watching(self, topics: Sequence[str]) -> int:
        """:returns: how many watch these topics, all together."""
        return sum(self._topics[topic].watching for topic in topics if topic in self._topics) if self._topics else 0

    def watched(self, offer: Offer) -> Sequence[str]:
        """:returns: those topics of an offer that are watched."""
        return [] if offer.namespace != OFFERS else [topic for topic in offer.topics if topic in self._topics]

    def _note(self, offer: Offer, topics: Sequence[str], gone: Gone | None, now: float) -> Sequence[str]:
        if offer.namespace != OFFERS:
            return ()
        held = [self._topics[topic] for topic in topics if topic in self._topics]
        if held:
            change = Change(self._events.draw(now), offer.id, gone, offer.source)
            for topic in held:
                self._keep(topic, change)
        return [topic.name for topic in held]

    def _keep(self, topic: _Topic, change: Change) -> None:
        topic.changes.append(change)
        self._kept.append((change.seq, topic))
        self._memory.charge(change.source, _cost(change))
        if len(topic.changes) > self._limits.changes_of_topic:
            self._drop_first(topic)
        if len(self._kept) > self._limits.changes_kept:
            self._drop_oldest()

    def read(
        self, positions: Mapping[str, int], find: Callable[[str], Offer | None], most: int | None = None
    ) -> TopicNews:
        """
        Read changes, oldest first.

        :param positions: the topics, each with the number after which it is read.
        :param find: gives the offer with an id as it is now, if it can still be answered.
        :param most: of the changes; :attr:`SignalingLimits.changes_in_a_read` if that is less.
        """
        latest, limits = self._events.latest, self._limits
        missed: dict[str, int] = {}
        parts: list[list[tuple[int, str, Change]]] = []
        left = limits.changes_in_a_read if most is None else min(most, limits.changes_in_a_read)
        for name, after in positions.items():
            topic = self._topics.get(name)
            if topic is None or not topic.horizon <= after <= latest:
                missed[name] = latest
            elif topic.changes and topic.changes[-1].seq > after:
                start = bisect_right(topic.changes, after, key=_seq)
                # One more than can be read, so that it is known whether there is more.
                parts.append([(change.seq, name, change) for change in topic.changes[start : start + left + 1]])
        room = limits.change_bytes_in_a_read
        events: list[TopicEvent] = []
        until: int | None = None
        for seq, found in groupby(merge(*parts), key=_first):
            if left <= 0 or room <= 0:
                return TopicNews(_without_earlier(events), missed, until)
            left -= 1
            event = _event(seq, list(found), find)
            if event is not None:
                events.append(event)
                room -= event.offer.size if event.offer is not None else 0
            until = seq
        return TopicNews(_without_earlier(events), missed)

    def trim(self, now: float, at_most: int = AT_MOST) -> None:
        """
        Forget changes that are too old, and topics that were left long ago.

        :param at_most: how many changes, and how many topics together with the changes that they still have; the next
            call goes on.
        """
        old = int((now - self._limits.event_linger) * 1_000_000)
        for _ in range(at_most):
            if not self._kept or self._kept[0][0] > old:
                break
            self._drop_oldest()
        while at_most > 0 and self._left:
            topic = next(iter(self._left.values()))
            if topic.until > now:
                break
            at_most -= 1 + len(topic.changes)
            self._forget(topic)

    def _forget(self, topic: _Topic) -> None:
        del self._left[topic.name], self._topics[topic.name]
        self.shares.remove(topic.source)
        while topic.changes:
            self._drop_first(topic)

    def _drop_oldest(self) -> None:
        seq, topic = self._kept.popleft()
        if topic.changes and topic.changes[0].seq == seq:
            self._drop_first(topic)

    def _drop_first(self, topic: _Topic) -> None:
        change = topic.changes.pop(0)
        topic.horizon = change.seq
        self._memory.refund(change.source, _cost(change))


def publication_cost(watching: int, size: int) -> int:
    """
    What an offer counts for in the rate of its source: it is also sent to all who watch its topics. With 250 watchers
    and 5 KB, for example, it counts for six.

    :param watching: how many watch its topics, all together.
    :param size: bytes of its description.
    :returns: publications.
    """
    return 1 + watching * (1 + size // _BYTES) // _WATCHERS


_seq = attrgetter("seq")


def _first(item: tuple[int, str, Change]) -> int:
    return item[0]


def _cost(change: Change) -> int:
    return CHANGE_COST + text_size(change.offer_id)


def _event(
    seq: int, found: Sequence[tuple[int, str, Change]], find: Callable[[str], Offer | None]
) -> TopicEvent | None:
    """
    :param found: one change, as it was written down in each of its topics.
    :returns: what a reader is shown of it; ``None`` for an offer that has gone since, because that follows.
    """
    change = found[0][2]
    topics = tuple(topic for _, topic, _ in found)
    if change.gone is not None:
        return TopicEvent(seq, change.offer_id, topics, None, change.gone)
    offer = find(change.offer_id)
    if offer is None or not any(topic in offer.topics for topic in topics):
        return None
    return TopicEvent(seq, change.offer_id, topics, offer, None)


def _without_earlier(events: Sequence[TopicEvent]) -> list[TopicEvent]:
    """:returns: the events without those of an offer that is shown again by a later one."""
    last = {event.offer_id: event for event in events if event.offer is not None}
    return [event for event in events if event.offer is None or last[event.offer_id] is event]
