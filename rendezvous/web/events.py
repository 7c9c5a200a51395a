"""One peer's events as a stream of Server-Sent Events (HTML Standard, section 9.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from twisted.internet.interfaces import IReactorTime
from twisted.web.http import Request

from rendezvous.core.attempts.attempt import Invitation
from rendezvous.core.notes import PeerEvents
from rendezvous.core.signaling.events import Event
from rendezvous.core.signaling.offers import Answer, Candidate
from rendezvous.errors import Malformed
from rendezvous.interfaces import IStore
from rendezvous.model import Events
from rendezvous.web.fields import header
from rendezvous.web.pages import encode
from rendezvous.web.quotas import Quotas
from rendezvous.web.records import ahead_of, answer_json, candidate_json, invitation_fields
from rendezvous.web.route import Route, caller
from rendezvous.web.sending import ResponseWriter, Sender, Stalled, aborted
from rendezvous.web.sources import source_of
from rendezvous.web.waiting import fires_within

__all__ = ["KEEP_ALIVE", "EventRoutes"]

#: Seconds of silence after which a comment is sent, so that no proxy takes the stream for dead.
KEEP_ALIVE = 15.0


class EventRoutes:
    """``protocol/offers``, Events."""

    def __init__(self, store: IStore, clock: IReactorTime, quotas: Quotas, sender: Sender) -> None:
        self._store = store
        self._clock = clock
        self._quotas = quotas
        self._sender = sender
        self._ahead = ahead_of(clock)

    def routes(self) -> list[Route]:
        """:returns: the routes."""
        return [
            Route(
                "GET",
                "/events",
                self.events,
                tag="offers",
                credential=True,
                params=("Last-Event-ID",),
                response=None,
                media="text/event-stream",
                errors=(429,),
            )
        ]

    async def events(self, request: Request) -> None:
        """Answers, candidates, ends and invitations, as they happen, until the client leaves or logs out."""
        peer = (await caller(request, self._store, self._clock.seconds())).hex()
        cursor = _last_event_id(request)
        request.setHeader(b"Content-Type", b"text/event-stream")
        request.setHeader(b"Cache-Control", b"no-store")
        # Some proxies would otherwise collect the stream into larger pieces.
        request.setHeader(b"X-Accel-Buffering", b"no")
        if request.method == b"HEAD":
            return
        try:
            with ResponseWriter(self._sender, request) as writer:
                await self._stream(request, writer, peer, cursor)
        except Stalled:
            await aborted(request)

    async def _stream(self, request: Request, writer: ResponseWriter, peer: str, cursor: int | None) -> None:
        """Write until something is raised. The stream is counted from its first to its last moment."""
        place = self._quotas.waiting(source_of(request))
        with place, self._store.subscribe(PeerEvents(peer)) as subscription, self._connected(peer):
            while True:
                if writer.is_paused:
                    await writer.drain()
                    await caller(request, self._store, self._clock.seconds())
                news = await self._store.events_since(peer, cursor, self._clock.seconds())
                for position, block in _blocks(news, self._ahead()):
                    writing = writer.write(block)
                    del block  # It may be long, and the client may not read it for long.
                    has_waited = await writing
                    cursor = position
                    if has_waited or writer.is_paused:
                        # What a client does not read stays in the log of events, which is bounded, and not here.
                        break
                else:
                    cursor = news.cursor
                    await fires_within(subscription.changed(), KEEP_ALIVE, self._clock)
                await caller(request, self._store, self._clock.seconds())

    @contextmanager
    def _connected(self, peer: str) -> Iterator[None]:
        """Offers that end with their owner last as long as this."""
        closed = self._store.stream_opened(peer, self._clock.seconds())
        try:
            yield
        finally:
            closed(self._clock.seconds())


def _last_event_id(request: Request) -> int | None:
    text = header(request, b"Last-Event-ID")
    if not text:
        return None
    if re.fullmatch(r"[0-9]{1,19}", text, re.ASCII) is None:
        raise Malformed("Last-Event-ID is not an id of this stream.")
    return int(text)


def _blocks(news: Events, ahead: int) -> Iterator[tuple[int, bytes]]:
    """:returns: what to write, each with the number of the event after which the stream goes on then."""
    reset = b"" if news.complete else b"event: reset\ndata: {}\n\n"
    for event in news.events:
        kind = event.kind.value.encode("ascii")
        yield event.seq, b"%bid: %d\nevent: %b\ndata: %b\n\n" % (reset, event.seq, kind, _data(event, ahead))
        reset = b""
    if not news.events:
        # A block without data is no event, but its id counts: a quiet stream can be resumed however long it was quiet.
        yield news.cursor, b"%b: keep-alive\nid: %d\n\n" % (reset, news.cursor)


def _data(event: Event, ahead: int) -> bytes:
    """JSON as it is stored has no line ends, which would end the event."""
    if isinstance(event.payload, Invitation):
        return encode(invitation_fields(event.payload, ahead))
    if isinstance(event.payload, Answer):
        return answer_json(event.offer_id, event.topics, event.payload)
    if isinstance(event.payload, Candidate):
        return candidate_json(event.payload, event.offer_id)
    return encode({"offerId": event.offer_id, "topics": event.topics})
