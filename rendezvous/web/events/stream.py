"""
What one event stream reads, whatever carries it: the events of a client, and what changes in topics that it watches.

:class:`EventStream` reads and waits; a :class:`Writer` is its connection. What a client does not read stays in the
store, whose logs are bounded, and not here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Protocol

import attrs

from twisted.internet.interfaces import IReactorTime

from rendezvous.core.attempts.attempt import Invitation
from rendezvous.core.identity import Credential
from rendezvous.core.notes import PeerEvents, TopicChanges
from rendezvous.core.signaling.events import Event
from rendezvous.core.signaling.offers import Answer, Candidate
from rendezvous.core.signaling.watches import TopicEvent, Watch
from rendezvous.core.sources import SourceNetwork
from rendezvous.errors import Malformed
from rendezvous.interfaces import IStore, ISubscription
from rendezvous.model import Events
from rendezvous.web.pages import encode
from rendezvous.web.quotas import Quotas
from rendezvous.web.records import ahead_of, answer_json, candidate_json, invitation_fields, offers_json
from rendezvous.web.turns import Turns
from rendezvous.web.waiting import fires_within

__all__ = ["KEEP_ALIVE", "EventStream", "EventStreams", "Item", "Writer"]

#: Seconds of silence after which something is sent, so that no proxy closes the stream because it is idle.
KEEP_ALIVE = 15.0

#: Streams that watch topics and that read in one turn of the reactor: some 5 ms.
READING = 50


@attrs.frozen
class Item:
    """
    What is written at a time.

    :ivar resets: the data of events ``reset`` that come before the event. They have no id.
    :ivar id: after which the stream goes on.
    :ivar event: its name; empty if there is none, and only the id counts.
    :ivar data: JSON in UTF-8, without line ends.
    """

    resets: Sequence[bytes]
    id: int
    event: str
    data: bytes


class Writer(Protocol):
    """The connection of a stream."""

    @property
    def is_paused(self) -> bool:
        """:returns: whether the client has to read before there is more for it."""

    async def drain(self) -> None:
        """
        Wait until the client has read everything.

        :raises Stalled: it does not read.
        """

    async def write(self, data: bytes) -> bool:
        """
        Write an item.

        :returns: whether it has waited for anything.
        :raises Stalled: it has waited for too long.
        """


class EventStreams:
    """
    What all streams share.

    :param store: is read.
    :param clock: the time of streams.
    :param quotas: how many streams each source may have.
    """

    def __init__(self, store: IStore, clock: IReactorTime, quotas: Quotas) -> None:
        self.store = store
        self.clock = clock
        self.ahead = ahead_of(clock)
        self.turns = Turns(clock, READING)
        self._quotas = quotas

    @contextmanager
    def open(
        self, credential: Credential, peer: str, source: SourceNetwork, cursor: int | None, topics: Sequence[str]
    ) -> Iterator[EventStream]:
        """
        Open a stream. It is counted until the end of the ``with`` block.

        :param credential: of the client; the stream ends with it.
        :param peer: the id of the client.
        :param cursor: the id after which it goes on; ``None`` for what happens from now on.
        :param topics: which it watches from the beginning.
        :raises TooMany: the source or the client has as many streams as it may, or a topic has as many watchers.
        :raises Full: there are as many streams or topics as there may be.
        :raises Malformed: a topic is out of its limits, or there are too many.
        """
        with self._quotas.waiting(source), self.store.subscribe(PeerEvents(peer)) as subscription:
            closed = self.store.stream_opened(peer, self.clock.seconds())
            stream = EventStream(self, subscription, credential, peer, source, cursor)
            try:
                stream.watch(topics, resume=True)
                yield stream
            finally:
                stream.unwatch(stream.topics)
                closed(self.clock.seconds())


class EventStream:
    """
    One stream. Made by :meth:`EventStreams.open`.

    :ivar cursor: the id after which it goes on.
    """

    def __init__(
        self,
        streams: EventStreams,
        subscription: ISubscription,
        credential: Credential,
        peer: str,
        source: SourceNetwork,
        cursor: int | None,
    ) -> None:
        self.cursor = cursor
        self._streams = streams
        self._subscription = subscription
        self._credential = credential
        self._peer = peer
        self._source = source
        self._watches: dict[str, Watch] = {}
        # The number before which nothing is read of a topic.
        self._begins: dict[str, int] = {}

    @property
    def topics(self) -> list[str]:
        """:returns: those that it watches."""
        return list(self._watches)

    def watch(self, topics: Sequence[str], *, resume: bool = False) -> None:
        """
        Watch topics, all or none; one that is watched already stays as it is.

        :param resume: whether what has changed after ``cursor`` is read, too, instead of what changes from now on.
        :raises RendezvousError: as :meth:`EventStreams.open`.
        """
        store, now = self._streams.store, self._streams.clock.seconds()
        added = [topic for topic in dict.fromkeys(topics) if topic not in self._watches]
        most = store.limits.topics_of_stream
        if len(self._watches) + len(added) > most:
            raise Malformed(f"A stream watches at most {most} topics.", code="too-long")
        made: dict[str, Watch] = {}
        try:
            for topic in added:
                made[topic] = store.watch(topic, now, self._source)
        except BaseException:
            for watch in made.values():
                watch.close(now)
            raise
        for topic, watch in made.items():
            self._watches[topic] = watch
            self._begins[topic] = -1 if resume else watch.since
            self._subscription.add(TopicChanges(topic))

    def unwatch(self, topics: Sequence[str]) -> None:
        """Watch topics no longer. Those that it does not watch are passed over."""
        for topic in topics:
            watch = self._watches.pop(topic, None)
            if watch is not None:
                watch.close(self._streams.clock.seconds())
                del self._begins[topic]
                self._subscription.remove(TopicChanges(topic))

    async def run(self, writer: Writer, encode_item: Callable[[Item], bytes]) -> None:
        """
        Write until something is raised.

        :param encode_item: gives the bytes of an item on this connection.
        :raises Unauthorized: the credential is no longer valid.
        :raises Unavailable: the server stops.
        :raises Stalled: the client does not read.
        """
        while True:
            if writer.is_paused:
                await writer.drain()
            news = await self._read()
            for item in _items(news, self._streams.ahead()):
                position = item.id
                writing = writer.write(encode_item(item))
                del item  # It may be long, and the client may not read it for long.
                has_waited = await writing
                self.cursor = position
                if has_waited or writer.is_paused:
                    break
            else:
                self.cursor = news.cursor
                if not news.more:
                    del news
                    await fires_within(self._subscription.changed(), KEEP_ALIVE, self._streams.clock)

    async def _read(self) -> Events:
        store, clock = self._streams.store, self._streams.clock
        if self._watches:
            # One offer may notify hundreds of them.
            await self._streams.turns.take(self._source.subscriber)
        await store.authenticate(self._credential, clock.seconds())
        news = await store.events_since(self._peer, self.cursor, clock.seconds(), self._begins)
        self._begins.update({topic: begin for topic, begin in news.missed.items() if topic in self._begins})
        return news


def _items(news: Events, ahead: int) -> Iterator[Item]:
    """:returns: what to write. The resets come with the first item, so that they are written once."""
    resets = [] if news.complete else [b"{}"]
    if news.missed:
        resets.append(encode({"topics": list(news.missed)}))
    events: list[Event | TopicEvent] = [*news.events, *news.changes]
    events.sort(key=attrgetter("seq"))
    for event in events:
        yield _item(resets, event, ahead)
        resets = []
    if not events:
        # Its id counts: a quiet stream can be resumed however long it was quiet.
        yield Item(resets, news.cursor, "", b"")


def _item(resets: Sequence[bytes], event: Event | TopicEvent, ahead: int) -> Item:
    if isinstance(event, Event):
        return Item(resets, event.seq, event.kind.value, _data(event, ahead))
    if event.offer is not None:
        return Item(resets, event.seq, "offer", b"".join(offers_json((event.offer,), ahead)))
    fields = {"offerId": event.offer_id, "topics": event.topics, "reason": event.gone}
    return Item(resets, event.seq, "gone", encode(fields))


def _data(event: Event, ahead: int) -> bytes:
    """JSON as it is stored has no line ends, which would end the event."""
    if isinstance(event.payload, Invitation):
        return encode(invitation_fields(event.payload, ahead))
    if isinstance(event.payload, Answer):
        return answer_json(event.offer_id, event.topics, event.payload)
    if isinstance(event.payload, Candidate):
        return candidate_json(event.payload, event.offer_id)
    return encode({"offerId": event.offer_id, "topics": event.topics})
