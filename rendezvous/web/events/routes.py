"""The routes of event streams, and of the tickets that open them."""

from __future__ import annotations

import re
from functools import partial

from twisted.internet.interfaces import IReactorTime
from twisted.web.http import Request
from twisted.web.server import NOT_DONE_YET

from rendezvous.core.identity import Credential
from rendezvous.core.tickets import Tickets
from rendezvous.errors import Malformed, Unauthorized
from rendezvous.interfaces import IStore
from rendezvous.web.authorization import parse_authorization
from rendezvous.web.events.sse import block
from rendezvous.web.events.stream import EventStreams
from rendezvous.web.events.websocket import EventConversation
from rendezvous.web.fields import Query, header
from rendezvous.web.gate import Gate
from rendezvous.web.records import ahead_of
from rendezvous.web.route import Route, caller
from rendezvous.web.sending import ResponseWriter, Stalled, aborted
from rendezvous.web.sockets.sockets import Sockets, is_upgrade
from rendezvous.web.sources import source_of

__all__ = ["EventRoutes"]


class EventRoutes:
    """
    ``protocol/events``.

    :param tickets: those that were not used yet.
    :param sockets: the open WebSockets.
    """

    def __init__(self, store: IStore, clock: IReactorTime, gate: Gate, tickets: Tickets, sockets: Sockets) -> None:
        self._store = store
        self._clock = clock
        self._gate = gate
        self._tickets = tickets
        self._sockets = sockets
        self._streams = EventStreams(store, clock, gate.quotas)
        self._ahead = ahead_of(clock)

    def routes(self) -> list[Route]:
        """:returns: the routes."""
        route = partial(Route, tag="offers", credential=True)
        params = ("Last-Event-ID", "lastEventId", "ticket", "watched", "watched-one")
        return [
            route(
                "GET",
                "/events",
                self.events,
                params=params,
                response=None,
                media="text/event-stream",
                socket=True,
            ),
            route("POST", "/events/ticket", self.ticket, response="Ticket"),
        ]

    async def ticket(self, request: Request) -> dict[str, object]:
        """A ticket that opens one event stream within a minute, for pages that cannot send a credential there."""
        now = self._clock.seconds()
        await caller(request, self._store, now)
        credential = parse_authorization(header(request, b"Authorization"))
        ticket, until = self._tickets.give(credential, source_of(request), now)
        return {"ticket": ticket, "expires": int(until * 1000) + self._ahead()}

    async def events(self, request: Request) -> int | None:
        """Answers, candidates, ends, invitations and offers in topics, as they happen, until the client leaves."""
        query = Query(request)
        if is_upgrade(request):
            cursor, topics = _last_event_id(request, query), _topics(query, self._store.limits.topics_of_stream)
            conversation = EventConversation(
                self._streams, self._gate.refusals, partial(self._credential, request, query), cursor, topics
            )
            self._sockets.open(request, conversation)
            return NOT_DONE_YET
        credential = self._credential(request, query)
        if credential is None:
            raise Unauthorized("This needs an Authorization header, or a ticket in the query (POST /events/ticket).")
        peer = (await self._store.authenticate(credential, self._clock.seconds())).hex()
        cursor, topics = _last_event_id(request, query), _topics(query, self._store.limits.topics_of_stream)
        request.setHeader(b"Content-Type", b"text/event-stream")
        request.setHeader(b"Cache-Control", b"no-store")
        # Some proxies would otherwise collect the stream into larger pieces.
        request.setHeader(b"X-Accel-Buffering", b"no")
        if request.method == b"HEAD":
            return None
        try:
            with (
                ResponseWriter(self._gate.sender, request) as writer,
                self._streams.open(credential, peer, source_of(request), cursor, topics) as stream,
            ):
                await stream.run(writer, block)
        except Stalled:
            await aborted(request)
        return None

    def _credential(self, request: Request, query: Query) -> Credential | None:
        """
        :returns: what the request brings, if it brings any.
        :raises Unauthorized: it cannot be used.
        """
        authorization, ticket = header(request, b"Authorization"), query.text("ticket")
        if authorization is not None or ticket is None:
            return None if authorization is None else parse_authorization(authorization)
        return self._tickets.use(ticket, self._clock.seconds())


def _last_event_id(request: Request, query: Query) -> int | None:
    """:returns: the header, which a browser that reconnects has kept up to date, or else the parameter."""
    text = header(request, b"Last-Event-ID") or query.text("lastEventId")
    if not text:
        return None
    if re.fullmatch(r"[0-9]{1,19}", text, re.ASCII) is None:
        raise Malformed("Last-Event-ID and lastEventId are the id of an event: a whole number of up to 19 digits.")
    return int(text)


def _topics(query: Query, most: int) -> list[str]:
    """
    :param most: how many there may be. A stream keeps them as long as it is open.
    :returns: the names in ``topics``, between commas, and those in each ``topic``.
    """
    listed = query.text("topics")
    names = [*(listed.split(",", most) if listed else ()), *query.texts("topic")]
    if len(names) > most:
        raise Malformed(f"A stream watches at most {most} topics.", code="too-long")
    return names
