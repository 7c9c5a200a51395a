"""One peer's events as a stream of Server-Sent Events (HTML Standard, section 9.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from zope.interface import implementer

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.web.http import Request

from rendezvous.core.events import Event
from rendezvous.core.notes import PeerEvents
from rendezvous.core.offers import Answer, Candidate
from rendezvous.errors import Malformed
from rendezvous.interfaces import IStore
from rendezvous.model import Events
from rendezvous.web.fields import header
from rendezvous.web.pages import encode
from rendezvous.web.quotas import Quotas
from rendezvous.web.records import answer_json, candidate_json
from rendezvous.web.route import Route, caller
from rendezvous.web.sources import source_of
from rendezvous.web.waiting import fires_within

__all__ = ["KEEP_ALIVE", "PIECE", "STALL_TIME", "EventRoutes"]

#: Seconds of silence after which a comment is sent, so that no proxy takes the stream for dead.
KEEP_ALIVE = 15.0

#: Seconds after which a stream whose client does not read is closed.
STALL_TIME = 60.0

#: Bytes that are handed to the transport at a time: what its own buffer holds before it asks for a pause.
PIECE = 64 * 1024


class EventRoutes:
    """``protocol/offers``, Events."""

    def __init__(self, store: IStore, clock: IReactorTime, quotas: Quotas) -> None:
        self._store = store
        self._clock = clock
        self._quotas = quotas

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
                errors=(429,),
            )
        ]

    async def events(self, request: Request) -> None:
        """Answers, candidates and ends, as they happen, until the client leaves or logs out."""
        peer = (await caller(request, self._store, self._clock.seconds())).hex()
        cursor = _last_event_id(request)
        request.setHeader(b"Content-Type", b"text/event-stream")
        request.setHeader(b"Cache-Control", b"no-store")
        # Some proxies would otherwise collect the stream into larger pieces.
        request.setHeader(b"X-Accel-Buffering", b"no")
        if request.method == b"HEAD":
            return
        valve = _Valve(self._clock)
        request.registerProducer(valve, True)
        try:
            await self._stream(request, valve, peer, cursor)
        except CancelledError:
            raise
        except _Stalled:
            # A proper end would stand behind everything else that this client does not read.
            _transport(request).abortConnection()
            await Deferred()  # Cancelled as soon as the connection is lost.
        except Exception:
            # There is still a client: it has logged out, or the server stops, or there is no room for this stream.
            request.unregisterProducer()
            raise

    async def _stream(self, request: Request, valve: _Valve, peer: str, cursor: int | None) -> None:
        """Write until something is raised. The stream is counted from its first to its last moment."""
        place = self._quotas.waiting(source_of(request))
        with place, self._store.subscribe(PeerEvents(peer)) as subscription, self._connected(peer):
            while True:
                await self._readable(request, valve)
                news = await self._store.events_since(peer, cursor, self._clock.seconds())
                cursor = news.cursor
                for piece in _pieces(news):
                    await self._readable(request, valve)
                    request.write(piece)
                await fires_within(subscription.changed(), KEEP_ALIVE, self._clock)
                await caller(request, self._store, self._clock.seconds())

    @contextmanager
    def _connected(self, peer: str) -> Iterator[None]:
        """Offers that end with their owner last as long as this."""
        self._store.stream_opened(peer, self._clock.seconds())
        try:
            yield
        finally:
            self._store.stream_closed(peer, self._clock.seconds())

    async def _readable(self, request: Request, valve: _Valve) -> None:
        if valve.closed:
            await valve.opened()
            await caller(request, self._store, self._clock.seconds())


class _Stalled(Exception):
    """The client has read nothing for :data:`STALL_TIME`."""


@implementer(IPushProducer)
class _Valve:
    """Open while the client reads as fast as we write: backpressure. What it does not read stays in the event log."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._closed_at: float | None = None
        self._waiting: Deferred[None] | None = None

    @property
    def closed(self) -> bool:
        """:returns: whether the transport has more to send than it should."""
        return self._closed_at is not None

    def pauseProducing(self) -> None:
        """Close."""
        if self._closed_at is None:
            self._closed_at = self._clock.seconds()

    def resumeProducing(self) -> None:
        """Open: the transport has sent all that it had."""
        self._closed_at = None
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)

    def stopProducing(self) -> None:
        """Do nothing: the request is cancelled as well."""

    async def opened(self) -> None:
        """
        Wait until it is open.

        :raises _Stalled: it has been closed for :data:`STALL_TIME`.
        """
        while self._closed_at is not None:
            left = self._closed_at + STALL_TIME - self._clock.seconds()
            self._waiting = Deferred()
            if left <= 0 or not await fires_within(self._waiting, left, self._clock):
                raise _Stalled


def _transport(request: Request) -> Any:
    return request.channel.transport


def _last_event_id(request: Request) -> int | None:
    text = header(request, b"Last-Event-ID")
    if not text:
        return None
    if re.fullmatch(r"[0-9]{1,19}", text, re.ASCII) is None:
        raise Malformed("Last-Event-ID is not an id of this stream.")
    return int(text)


def _pieces(news: Events) -> Iterator[bytes]:
    """:returns: what to write, in pieces that a transport may be given one at a time."""
    for block in _blocks(news):
        for start in range(0, len(block), PIECE):
            yield block[start : start + PIECE]


def _blocks(news: Events) -> Iterator[bytes]:
    if not news.complete:
        yield b"event: reset\ndata: {}\n\n"
    for event in news.events:
        yield b"id: %d\nevent: %b\ndata: %b\n\n" % (event.seq, event.kind.value.encode("ascii"), _data(event))
    if not news.events:
        # A block without data is no event, but its id counts: a quiet stream can be resumed however long it was quiet.
        yield b": keep-alive\nid: %d\n\n" % news.cursor


def _data(event: Event) -> bytes:
    """JSON as it is stored has no line ends, which would end the event."""
    if isinstance(event.payload, Answer):
        return answer_json(event.offer_id, event.topics, event.payload)
    if isinstance(event.payload, Candidate):
        return candidate_json(event.payload, event.offer_id)
    return encode({"offerId": event.offer_id, "topics": event.topics})
