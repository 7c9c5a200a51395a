"""One peer's news as a stream of Server-Sent Events (HTML Standard, section 9.2)."""

from __future__ import annotations

import json
import re

from zope.interface import implementer

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.web.http import Request

from rendezvous.core.events import Event
from rendezvous.core.offers import Answer, Candidate
from rendezvous.errors import Malformed
from rendezvous.interfaces import IStore
from rendezvous.model import Events
from rendezvous.web.fields import header
from rendezvous.web.offers import answer_fields, candidate_fields
from rendezvous.web.route import Route, caller
from rendezvous.web.waiting import notified_within, stop_waiting

__all__ = ["KEEP_ALIVE", "EventRoutes"]

#: Seconds of silence after which a comment is sent, so that no proxy takes the stream for dead.
KEEP_ALIVE = 15.0


class EventRoutes:
    """``protocol/offers``, Events."""

    def __init__(self, store: IStore, clock: IReactorTime) -> None:
        self._store = store
        self._clock = clock

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
        valve = _Valve()
        request.registerProducer(valve, True)
        try:
            await self._stream(request, valve, peer, cursor)
        except CancelledError:
            raise
        except Exception:
            # There is still a client: it has logged out, or the server stops, or there is no room for this stream.
            request.unregisterProducer()
            raise

    async def _stream(self, request: Request, valve: _Valve, peer: str, cursor: int | None) -> None:
        """Write until something is raised."""
        while True:
            # The notification is there before the look: what happens in between rings it.
            notification = self._store.wait(("peer", peer))
            try:
                news = await self._store.events_since(peer, cursor, self._clock.seconds())
                request.write(_written(news))
                cursor = news.cursor
                await notified_within(notification, KEEP_ALIVE, self._clock)
            finally:
                stop_waiting(notification)
            await valve.opened()
            await caller(request, self._store, self._clock.seconds())


@implementer(IPushProducer)
class _Valve:
    """Open while the client reads as fast as we write; what it does not read stays in its log, which is bounded."""

    def __init__(self) -> None:
        self._closed: Deferred[None] | None = None

    def pauseProducing(self) -> None:
        """Close."""
        self._closed = self._closed or Deferred()

    def resumeProducing(self) -> None:
        """Open."""
        closed, self._closed = self._closed, None
        if closed is not None and not closed.called:
            closed.callback(None)

    def stopProducing(self) -> None:
        """Do nothing: the request is cancelled as well."""

    async def opened(self) -> None:
        """Wait until it is open."""
        if self._closed is not None:
            await self._closed


def _last_event_id(request: Request) -> int | None:
    text = header(request, b"Last-Event-ID")
    if not text:
        return None
    if re.fullmatch(r"[0-9]{1,19}", text, re.ASCII) is None:
        raise Malformed("Last-Event-ID is not an id of this stream.")
    return int(text)


def _written(news: Events) -> bytes:
    blocks = [] if news.complete else ["event: reset\ndata: {}\n\n"]
    blocks += [f"id: {event.seq}\nevent: {event.kind.value}\ndata: {_data(event)}\n\n" for event in news.events]
    if not news.events:
        # A block without data is no event, but its id counts: a quiet stream can be resumed however long it was quiet.
        blocks.append(f": keep-alive\nid: {news.cursor}\n\n")
    return "".join(blocks).encode("ascii")


def _data(event: Event) -> str:
    if isinstance(event.payload, Answer):
        return json.dumps(answer_fields(event.offer_id, event.topics, event.payload))
    if isinstance(event.payload, Candidate):
        return json.dumps({"offerId": event.offer_id, **candidate_fields(event.payload)})
    return json.dumps({"offerId": event.offer_id, "topics": list(event.topics)})
