"""
Sending what is large to clients that read it slowly, or not at all.

An answer of up to 16 KiB is handed to the transport as it is. The bytes of a longer one are counted, by source and in
all, until its client has read them. An answer of up to 128 KiB is handed over whole, and its request ends at once. A
longer one, and each one over TLS, is handed over in pieces of 128 KiB, each when the client has read the one before.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Protocol

from zope.interface import implementer

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.task import deferLater
from twisted.web.http import Request

from rendezvous.core.shares import Shares, share_of
from rendezvous.core.sources import SourceNetwork
from rendezvous.errors import Full, RendezvousError
from rendezvous.limits import UnreadLimits
from rendezvous.web._json import write_head
from rendezvous.web.sources import source_of
from rendezvous.web.turns import Turns
from rendezvous.web.waiting import fires_within

__all__ = [
    "PIECE",
    "PIECES",
    "SMALL",
    "STALL_TIME",
    "YIELD_TIME",
    "Reader",
    "ResponseWriter",
    "Sender",
    "Stalled",
    "aborted",
]

#: Bytes that one connection may leave unread without being counted. A transport with more asks for a pause.
SMALL = 16 * 1024

#: Bytes that are handed to a transport at a time.
PIECE = 128 * 1024

#: Pieces that are handed over in one turn of the reactor, to all connections together: some 1 ms.
PIECES = 32

#: Seconds after which a connection whose client does not read is closed.
STALL_TIME = 60.0

#: Seconds after which a client that does not read gives way to another one, if there is no more room.
YIELD_TIME = 5.0

#: Seconds until a stream looks again whether there is room.
RETRY_TIME = 1.0

#: The least that may be unread: the longest answer fits, whatever the settings say.
LEAST = 2 * 1024 * 1024


class Stalled(Exception):
    """The client has read nothing for :data:`STALL_TIME`, or another one needs its place."""


class Reader(Protocol):
    """A client that has to read what it was sent."""

    def paused_for(self) -> float:
        """:returns: seconds since it was to read."""

    def give_way(self) -> None:
        """Close its connection, because another client needs the room."""


class Sender:
    """
    Sends answers and events, and bounds what clients have not read of them.

    :param clock: the time that stalls are measured on.
    :param limits: how much that may be; the defaults, unless they are given.
    :ivar unread: bytes that clients have not read.
    :ivar most: how many those may be.
    """

    def __init__(self, clock: IReactorTime, limits: UnreadLimits | None = None) -> None:
        self.clock = clock
        self.unread = 0
        self._shares = Shares("answers that clients have not read", code="source-unread")
        self._turns = Turns(clock, PIECES)
        # Those whose clients have to read, in the order in which they were paused.
        self._paused: OrderedDict[Reader, None] = OrderedDict()
        self.change(limits or UnreadLimits())

    def change(self, limits: UnreadLimits) -> None:
        """Use other limits from now on. What is unread already stays, and is counted."""
        self.most = max(LEAST, limits.most)
        subscriber, site = share_of(self.most, limits.share)
        self._shares.change(subscriber and max(LEAST, subscriber), site and max(LEAST, site))

    async def send(self, request: Request, parts: Sequence[bytes], media: bytes = b"application/json") -> bytes:
        """
        Send a 200 answer.

        :param parts: what it consists of. They are shared with the store, and not copied before they are sent.
        :param media: type of the answer.
        :returns: what is still to be written.
        :raises TooMany: ``source-unread``, the source has left as much unread as it may.
        :raises Full: ``full-unread``, all sources together have.
        """
        size = sum(map(len, parts))
        write_head(request, size, media)
        if size <= SMALL:
            return b"".join(parts)
        if request.method == b"HEAD":
            return b""
        # TLS, and the channel of another site, do not say when the client has read an answer that has ended.
        if size <= PIECE and hasattr(request.channel, "keep_unread") and not request.isSecure():
            await self._send_whole(request, size, parts)
        else:
            await self._send_pieces(request, size, parts)
        return b""

    async def _send_whole(self, request: Any, size: int, parts: Sequence[bytes]) -> None:
        """Hand a whole answer over and end the request. The connection counts the bytes until they are read."""
        unread = Unread(self, source_of(request), size, request.channel)
        try:
            await self.turn(unread.source)
        except BaseException:  # The client has left, as a rule.
            unread.read()
            raise
        unread.written()
        request.channel.keep_unread(unread)
        request.write_whole(parts, size)

    async def _send_pieces(self, request: Request, size: int, parts: Sequence[bytes]) -> None:
        """Hand an answer over as its client reads it."""
        try:
            with ResponseWriter(self, request) as writer:
                writer.reserve(size)
                await writer.write_parts(parts)
        except Stalled:
            await aborted(request)

    def reserve(self, source: SourceNetwork, size: int) -> None:
        """
        Count bytes as unread.

        :param source: which they are counted for.
        :param size: how many bytes.
        :raises TooMany: see :meth:`send`.
        :raises Full: see :meth:`send`.
        """
        self._shares.check(source, size)
        while self.unread + size > self.most and self._make_room():
            pass
        if self.unread + size > self.most:
            raise Full(
                "The server holds as many unread answers as it can.", code="full-unread", holder=self._shares.largest
            )
        self.unread += size
        self._shares.add(source, size)

    async def reserve_later(self, source: SourceNetwork, size: int) -> None:
        """
        Count bytes as unread, as soon as there is room for them.

        :raises Stalled: there is none for :data:`STALL_TIME`.
        """
        until = self.clock.seconds() + STALL_TIME
        while True:
            try:
                self.reserve(source, size)
            except RendezvousError:
                if self.clock.seconds() >= until:
                    raise Stalled from None
                await deferLater(self.clock, RETRY_TIME)
            else:
                return

    def release(self, source: SourceNetwork, size: int) -> None:
        """Stop counting bytes of a source as unread."""
        self.unread -= size
        self._shares.remove(source, size)

    def paused(self, writer: Reader) -> None:
        """Note that a client has to read before there can be more for it."""
        self._paused[writer] = None

    def resumed(self, writer: Reader) -> None:
        """Note that it has read everything."""
        self._paused.pop(writer, None)

    async def turn(self, source: SourceNetwork) -> None:
        """Wait until a piece may be handed over. The sources take turns."""
        await self._turns.take(source.subscriber)

    def _make_room(self) -> bool:
        """Close the connection that has not read for longest, if that is long enough."""
        oldest = next(iter(self._paused), None)
        if oldest is None or oldest.paused_for() < YIELD_TIME:
            return False
        oldest.give_way()
        return True


class Unread:
    """
    The bytes of an answer that was handed over whole, until its client has read them.

    :param sender: counts them.
    :param source: of the request.
    :param size: how many bytes.
    :param connection: the channel, which is closed if another client needs the room.
    :ivar source: as given.
    :raises TooMany: there is no room for them; see :meth:`Sender.send`.
    :raises Full: there is no room for them; see :meth:`Sender.send`.
    """

    def __init__(self, sender: Sender, source: SourceNetwork, size: int, connection: Any) -> None:
        self.source = source
        self._sender = sender
        self._connection = connection
        self._written_at = 0.0
        sender.reserve(source, size)
        self._size = size

    def written(self) -> None:
        """Note that the answer was handed over: from now on the connection can be closed if another needs the room."""
        self._written_at = self._sender.clock.seconds()
        self._sender.paused(self)

    def paused_for(self) -> float:
        """:returns: seconds since the answer was handed over."""
        return self._sender.clock.seconds() - self._written_at

    def give_way(self) -> None:
        """Close the connection, because another client needs the room."""
        self.read()
        self._connection.give_way()

    def read(self) -> None:
        """Note that the client has read everything, or has left. Further calls do nothing."""
        if self._size:
            self._sender.resumed(self)
            self._sender.release(self.source, self._size)
            self._size = 0


@implementer(IPushProducer)
class ResponseWriter:
    """
    Writes one answer as fast as its client reads it: it is paused while the client has to read. Used as a context
    manager.

    :ivar source: who is charged for what is unread.
    """

    def __init__(self, sender: Sender, request: Request) -> None:
        self.source: SourceNetwork = source_of(request)
        self._sender = sender
        self._clock = sender.clock
        self._request = request
        self._reserved = 0
        self._paused_at: float | None = None
        self._waiting: Deferred[None] | None = None
        self._is_over = False

    def __enter__(self) -> ResponseWriter:
        self._request.registerProducer(self, True)
        return self

    def __exit__(self, type: type[BaseException] | None, *error: object) -> None:
        self._release()
        # If the client is gone, so is the channel that would be asked.
        if self._request.channel is not None and not self._is_over:
            self._request.unregisterProducer()
        # The request still refers to this producer, if its client is gone.
        del self._request

    @property
    def is_paused(self) -> bool:
        """:returns: whether the transport has more to send than it should."""
        return self._paused_at is not None

    def paused_for(self) -> float:
        """:returns: seconds for which it has been paused."""
        return 0.0 if self._paused_at is None else self._clock.seconds() - self._paused_at

    def reserve(self, size: int) -> None:
        """Count bytes as unread until all of them are read; see :meth:`Sender.send` for the errors."""
        self._sender.reserve(self.source, size)
        self._reserved += size

    def give_way(self) -> None:
        """Close the connection: another one needs the room."""
        self._release()
        self._is_over = True
        _transport(self._request).abortConnection()

    async def write(self, block: bytes) -> bool:
        """
        Write one event; a large one waits for its room, its turn and its reader.

        :returns: whether it has waited for anything.
        :raises Stalled: it has waited for too long.
        """
        if len(block) <= SMALL:
            self._request.write(block)
            return False
        await self._sender.reserve_later(self.source, len(block))
        self._reserved += len(block)
        writing = self.write_parts((block,))
        del block  # The transport has a copy. Only that stays while the reader is waited for.
        await writing
        self._release()
        return True

    async def write_parts(self, parts: Sequence[bytes]) -> None:
        """
        Write what was reserved, a piece at a time, and wait until all of it is read.

        :raises Stalled: the client does not read.
        """
        ends = list(accumulate(map(len, parts)))
        for start in range(0, ends[-1], PIECE):
            await self.drain()
            await self._sender.turn(self.source)
            self._request.write(_piece(parts, ends, start))
        del parts
        if self._request.isSecure():
            # TLS keeps up to 64 KB until the next turn of the reactor, and asks for a pause only then.
            await deferLater(self._clock, 0.0)
        await self.drain()

    async def drain(self) -> None:
        """
        Wait until it is not paused.

        :raises Stalled: it has been paused for :data:`STALL_TIME`.
        """
        while self._paused_at is not None:
            left = self._paused_at + STALL_TIME - self._clock.seconds()
            self._waiting = Deferred()
            if self._is_over or left <= 0 or not await fires_within(self._waiting, left, self._clock):
                raise Stalled

    def pauseProducing(self) -> None:
        """Write no more for now."""
        if self._paused_at is None:
            self._paused_at = self._clock.seconds()
            if self._reserved:
                self._sender.paused(self)

    def resumeProducing(self) -> None:
        """Write on: the transport has sent all that it had."""
        self._paused_at = None
        self._sender.resumed(self)
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)

    def stopProducing(self) -> None:
        """Do nothing: the request is cancelled as well."""

    def _release(self) -> None:
        if self._reserved:
            self._sender.resumed(self)
            self._sender.release(self.source, self._reserved)
            self._reserved = 0


async def aborted(request: Request) -> None:
    """Close a connection whose client does not read; a proper end would stand behind what it has not read."""
    _transport(request).abortConnection()
    await Deferred()  # Cancelled as soon as the connection is lost.


def _transport(request: Request) -> Any:
    return request.channel.transport


def _piece(parts: Sequence[bytes], ends: Sequence[int], start: int) -> bytes:
    """
    :param ends: where each of the parts ends, if they stand one after the other.
    :param start: where the piece begins.
    :returns: the next :data:`PIECE` bytes, or those that are left.
    """
    end = min(start + PIECE, ends[-1])
    # The parts that hold the first and the last byte of the piece.
    first, last = bisect_right(ends, start), bisect_left(ends, end)
    piece = list(parts[first : last + 1])
    piece[-1] = piece[-1][: len(piece[-1]) - (ends[last] - end)]
    piece[0] = piece[0][start - (ends[first] - len(parts[first])) :]
    return b"".join(piece)
