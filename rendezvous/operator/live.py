"""The routes for what changes all the time: curves, the last lines of the log, and a stream of updates."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import attrs
import orjson

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.web.http import Request

from rendezvous.errors import Full
from rendezvous.operator.logtail import Line, LogTail
from rendezvous.operator.sampler import Sampler
from rendezvous.web.fields import Query
from rendezvous.web.route import Route
from rendezvous.web.sending import ResponseWriter, Sender, Stalled, aborted

__all__ = ["KEEP_ALIVE", "MAX_STREAMS", "TICK", "LiveRoutes"]

#: Streams of updates that may be open. One address may have 50 connections to the port, and its requests need some.
MAX_STREAMS = 20

#: Seconds between two looks of a stream: a line of the log is at most so much late.
TICK = 1.0

#: Seconds of silence after which a stream sends a comment, so that no proxy closes it because it is idle.
KEEP_ALIVE = 15.0


class LiveRoutes:
    """
    ``/history``, ``/log`` and ``/updates``.

    :param sampler: samples the numbers.
    :param tail: keeps the last lines of the log.
    :param overview: gives what ``GET /overview`` answers.
    :param sender: bounds what is not read.
    :param clock: timers.
    """

    def __init__(
        self,
        sampler: Sampler,
        tail: LogTail,
        overview: Callable[[], Awaitable[dict[str, Any]]],
        sender: Sender,
        clock: IReactorTime,
    ) -> None:
        self._sampler, self._tail, self._overview = sampler, tail, overview
        self._sender, self._clock = sender, clock
        self._streams = 0

    def routes(self) -> list[Route]:
        """:returns: the routes."""
        route = partial(Route, tag="operators")
        stream = "text/event-stream"
        return [
            route("GET", "/history", self.history, response="History"),
            route("GET", "/log", self.log, params=("after",), response="Log"),
            route("GET", "/updates", self.updates, params=("after",), response=None, media=stream, errors=(503,)),
        ]

    async def history(self, request: Request) -> dict[str, Any]:
        """The numbers of the last 15 minutes, and rates over a minute, ten minutes and an hour."""
        return self._sampler.curves()

    async def log(self, request: Request) -> dict[str, Any]:
        """The last lines of the log, or those after a line that is known."""
        after = Query(request).integer("after", 0) or 0
        lines = self._tail.after(after)
        # Of a run before this one no line is counted.
        known = after if self._tail.first <= after <= self._tail.last else self._tail.first
        lost = lines[0].seq - known - 1 if lines and after else 0
        return {"lines": [attrs.asdict(line) for line in lines], "next": self._tail.last, "lost": lost}

    async def updates(self, request: Request) -> None:
        """Figures, the overview and lines of the log as they come, as Server-Sent Events, until the reader leaves."""
        after = Query(request).integer("after", 0)
        if self._streams >= MAX_STREAMS:
            raise Full(f"There are {MAX_STREAMS} streams of updates; read /history instead.", code="full-streams")
        request.setHeader(b"Content-Type", b"text/event-stream")
        request.setHeader(b"Cache-Control", b"no-store")
        # Some proxies would otherwise collect the stream into larger pieces.
        request.setHeader(b"X-Accel-Buffering", b"no")
        if request.method == b"HEAD":
            return
        self._streams += 1
        try:
            with ResponseWriter(self._sender, request) as writer:
                await self._stream(writer, self._tail.last if after is None else after)
        except Stalled:
            await aborted(request)
        finally:
            self._streams -= 1

    async def _stream(self, writer: ResponseWriter, seen: int) -> None:
        number, wrote = -1, self._clock.seconds()
        while True:
            await writer.drain()
            blocks = _log_blocks(self._tail.after(seen))
            seen = self._tail.last
            if number != self._sampler.number:
                number = self._sampler.number
                blocks.append(_block(b"figures", self._sampler.figures()))
                blocks.append(_block(b"overview", await self._overview()))
            if not blocks and self._clock.seconds() - wrote >= KEEP_ALIVE:
                blocks.append(b": keep-alive\n\n")
            if blocks:
                wrote = self._clock.seconds()
                await writer.write(b"".join(blocks))
            await deferLater(self._clock, TICK)


def _log_blocks(lines: Sequence[Line]) -> list[bytes]:
    return [_block(b"log", attrs.asdict(line)) for line in lines]


def _block(event: bytes, data: dict[str, Any]) -> bytes:
    """:returns: an event (HTML Standard, section 9.2). JSON of orjson has no line ends."""
    return b"event: %b\ndata: %b\n\n" % (event, orjson.dumps(data))
