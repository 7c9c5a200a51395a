"""The event stream: a service that reads what happens to a client's offers and attempts, and that reconnects."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

import attrs

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse

from rendezvous.client._backoff import retry_delay
from rendezvous.client._callbacks import call_back
from rendezvous.client._http import Exchanges, Request
from rendezvous.client._latch import Latch
from rendezvous.client._sse import Parser
from rendezvous.client.errors import ClientError, NotRegistered, ServerError, ServerUnreachable
from rendezvous.client.records import Identity

__all__ = ["LONGEST_PAUSE", "LONGEST_SILENCE", "Event", "EventStream"]

LONGEST_SILENCE = 45.0
"""Seconds without a byte after which the stream is taken for dead. The server sends a comment every 15 s."""

LONGEST_PAUSE = 60.0
"""Seconds that are waited at most before the stream is opened again, unless the server asks for more."""


@attrs.frozen
class Event:
    """
    Something that has happened.

    :ivar kind: such as ``answer``, ``candidate``, ``expired``, ``withdrawn``, ``invitation``, ``offer``, ``gone`` or
        ``reset``.
    :ivar data: the members of its JSON object.
    :ivar id: that it has; a stream that is given it as ``last_id`` begins with what is later.
    """

    kind: str
    data: dict[str, Any]
    id: str | None


class EventStream(Service):
    """
    Reads the event stream of a client, for as long as the service runs.

    When the stream ends, the service opens it again after 1, 2, 4 … seconds, jittered, and goes on after the last event
    that it has read, without loss or repetition. It ends only when the server does not know the client.

    Make one with :meth:`RendezvousClient.events() <rendezvous.client.RendezvousClient.events>`.

    :param exchanges: with the server.
    :param reactor: provides ``IReactorTime``.
    :param identity: whose events.
    :param on_event: called with each event. An exception that it raises is logged.
    :param last_id: the id of the last event that is known already.
    :param topics: which are watched.
    :param random: draws from ``[0, 1)``, for the jitter.
    """

    _log = Logger()

    def __init__(
        self,
        exchanges: Exchanges,
        reactor: Any,
        identity: Identity,
        on_event: Callable[[Event], object],
        *,
        last_id: str | None,
        topics: Sequence[str] = (),
        random: Callable[[], float],
    ) -> None:
        self._exchanges = exchanges
        self._reactor = reactor
        self._identity = identity
        self._on_event = on_event
        self._last_id = last_id
        query = urlencode([("topic", topic) for topic in topics])
        self._path = f"/events?{query}" if query else "/events"
        self._random = random
        self._work: Deferred[None] | None = None
        self._open = Latch()
        self._gone = Latch()
        self._failures = 0

    @property
    def last_id(self) -> str | None:
        """:returns: the id of the last event that was read, or ``None``."""
        return self._last_id

    def whenOpen(self) -> Deferred[None]:
        """:returns: fires when the stream has been open for the first time since the start."""
        return self._open.wait()

    def whenGone(self) -> Deferred[None]:
        """:returns: fails with ``NotRegistered`` when the server does not know the client; never fires otherwise."""
        return self._gone.wait()

    def startService(self) -> None:
        """Open the stream."""
        if self.running:
            return
        super().startService()
        self._work = Deferred.fromCoroutine(self._run())
        self._work.addErrback(lambda failure: failure.trap(CancelledError) and None)
        self._work.addErrback(lambda failure: self._log.failure("The event stream has stopped", failure=failure))

    def stopService(self) -> None:
        """Close the stream. Deferreds of :meth:`whenOpen` fail with ``CancelledError``."""
        super().stopService()
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
        opened, self._open = self._open, Latch()
        opened.set(CancelledError)

    async def _run(self) -> None:
        while True:
            error: ClientError
            try:
                await self._read()
                error = ServerUnreachable("the event stream has ended")
            except NotRegistered as gone:
                self._end(gone)
                return
            except ClientError as trouble:
                error = trouble
            self._failures += 1
            delay = retry_delay(LONGEST_PAUSE * 1.5, self._failures, self._random(), retry_after=error.retry_after)
            self._log.debug("The event stream is opened again in {delay:.1f} s: {error}", delay=delay, error=error)
            await deferLater(self._reactor, delay)

    def _end(self, reason: NotRegistered) -> None:
        self._gone.set(lambda: reason)
        self._open.set(lambda: reason)

    async def _read(self) -> None:
        headers = {"Accept": "text/event-stream"}
        if self._last_id is not None:
            headers["Last-Event-ID"] = self._last_id
        response = await self._exchanges.open(Request("GET", self._path, self._identity, headers=headers))
        await _Reader(self._reactor, self._took).read(response)

    def _took(self, parser: Parser, data: bytes) -> None:
        self._failures = 0
        self._open.set()
        for found in parser.feed(data):
            self._last_id = parser.last_id if parser.last_id is not None else self._last_id
            try:
                members = json.loads(found.data)
            except (ValueError, RecursionError):
                continue
            if isinstance(members, dict):
                call_back(self._on_event, Event(found.kind, members, parser.last_id))
        self._last_id = parser.last_id if parser.last_id is not None else self._last_id


class _Reader(Protocol):
    """Reads one response until it ends, or until it has been silent for too long."""

    def __init__(self, reactor: Any, took: Callable[[Parser, bytes], None]) -> None:
        self._reactor = reactor
        self._took = took
        self._parser = Parser()
        self._finished: Deferred[None] = Deferred(lambda _: self._give_up(CancelledError()))
        self._silence: IDelayedCall | None = None

    def read(self, response: IResponse) -> Deferred[None]:
        """:returns: fires when the stream has ended; fails when it cannot be read."""
        self._silence = self._reactor.callLater(LONGEST_SILENCE, self._silent)
        response.deliverBody(self)
        return self._finished

    def dataReceived(self, data: bytes) -> None:
        if self._finished.called:
            return
        if self._silence is not None:
            self._silence.reset(LONGEST_SILENCE)
        try:
            self._took(self._parser, data)
        except ValueError as error:
            self._give_up(ServerError(f"the event stream cannot be read: {error}"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._finished.called:
            self._stop_waiting()
            self._finished.callback(None)

    def _silent(self) -> None:
        self._give_up(ServerUnreachable(f"the event stream was silent for {LONGEST_SILENCE:g} s"))

    def _give_up(self, reason: Exception) -> None:
        self._stop_waiting()
        if not self._finished.called:
            self._finished.errback(reason)
        if self.transport is not None:
            self.transport.loseConnection()

    def _stop_waiting(self) -> None:
        if self._silence is not None and self._silence.active():
            self._silence.cancel()
