"""
Sending what is large to clients that read it slowly, or not at all.

An answer of up to 16 KiB is handed to the transport as it is. A longer one is handed over in pieces, each when the
client has read the one before. Meanwhile its bytes are counted, by source and in all.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from zope.interface import implementer

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.task import deferLater
from twisted.web.http import Request

from rendezvous.core.shares import Shares, share_of
from rendezvous.core.sources import SourceNetwork
from rendezvous.errors import Full, RendezvousError
from rendezvous.limits import UnreadLimits
from rendezvous.web._json import write_head, write_object
from rendezvous.web.sources import source_of
from rendezvous.web.waiting import fires_within

__all__ = ["PIECE", "PIECES", "SMALL", "STALL_TIME", "YIELD_TIME", "Outlet", "Sender", "Stalled", "aborted"]

#: Bytes that one connection may leave unread without being counted. A transport with more asks for a pause.
SMALL = 16 * 1024

#: Bytes that are handed to a transport at a time.
PIECE = 64 * 1024

#: Pieces that are handed over in one turn of the reactor, to all connections together: some 2 ms.
PIECES = 16

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


class Sender:
    """
    Sends answers and events, and bounds what clients have not read of them.

    :param clock: the time that stalls are measured on.
    :param limits: how much that may be; the defaults, unless they are given.
    :ivar held: bytes that are counted now.
    """

    def __init__(self, clock: IReactorTime, limits: UnreadLimits | None = None) -> None:
        self.clock = clock
        self.held = 0
        self._shares = Shares("answers that clients have not read", code="source-unread")
        self._turns = _Turns(clock)
        # Those that wait for their clients, in the order in which they began to.
        self._paused: OrderedDict[Outlet, None] = OrderedDict()
        self.change(limits or UnreadLimits())

    def change(self, limits: UnreadLimits) -> None:
        """Use other limits from now on. What is held already stays, and is counted."""
        self._most = max(LEAST, limits.most)
        subscriber, site = share_of(self._most, limits.share)
        self._shares.change(subscriber and max(LEAST, subscriber), site and max(LEAST, site))

    async def send(self, request: Request, parts: Sequence[bytes]) -> bytes:
        """
        Send the JSON of a 200 answer.

        :param parts: what it consists of. They are shared with the store, and not copied before they are sent.
        :returns: what is still to be written.
        :raises TooMany: ``source-unread``, the source has left as much unread as it may.
        :raises Full: ``full-unread``, all sources together have.
        """
        size = sum(map(len, parts))
        if size <= SMALL:
            return write_object(request, b"".join(parts))
        if request.method == b"HEAD":
            write_head(request, size)
            return b""
        try:
            with Outlet(self, request) as outlet:
                outlet.hold(size)
                write_head(request, size)
                await outlet.pass_on(parts)
        except Stalled:
            await aborted(request)
        return b""

    def take(self, outlet: Outlet, size: int) -> None:
        """Count bytes; see :meth:`send` for the errors."""
        self._shares.check(outlet.source, size)
        while self.held + size > self._most and self._make_room():
            pass
        if self.held + size > self._most:
            raise Full(
                "The server holds as many unread answers as it can.", code="full-unread", holder=self._shares.largest
            )
        self.held += size
        self._shares.add(outlet.source, size)

    def give_back(self, outlet: Outlet, size: int) -> None:
        """Count bytes no more."""
        self._paused.pop(outlet, None)
        self.held -= size
        self._shares.remove(outlet.source, size)

    def paused(self, outlet: Outlet) -> None:
        """Note that a client has to read before there can be more for it."""
        self._paused[outlet] = None

    def resumed(self, outlet: Outlet) -> None:
        """Note that it has read everything."""
        self._paused.pop(outlet, None)

    async def turn(self) -> None:
        """Wait until a piece may be handed over."""
        await self._turns.take()

    def _make_room(self) -> bool:
        """Close the connection that has not read for longest, if that is long enough."""
        oldest = next(iter(self._paused), None)
        if oldest is None or oldest.paused_for() < YIELD_TIME:
            return False
        oldest.give_way()
        return True


@implementer(IPushProducer)
class Outlet:
    """
    Where one request is answered: closed while its client has to read. Used as a context manager.

    :ivar source: who is charged for what is unread.
    """

    def __init__(self, sender: Sender, request: Request) -> None:
        self.source: SourceNetwork = source_of(request)
        self._sender = sender
        self._clock = sender.clock
        self._request = request
        self._held = 0
        self._closed_at: float | None = None
        self._waiting: Deferred[None] | None = None
        self._is_over = False

    def __enter__(self) -> Outlet:
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
    def is_closed(self) -> bool:
        """:returns: whether the transport has more to send than it should."""
        return self._closed_at is not None

    def paused_for(self) -> float:
        """:returns: seconds for which it has been closed."""
        return 0.0 if self._closed_at is None else self._clock.seconds() - self._closed_at

    def hold(self, size: int) -> None:
        """Count bytes until all of them are read; see :meth:`Sender.send` for the errors."""
        self._sender.take(self, size)
        self._held += size

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
        until = self._clock.seconds() + STALL_TIME
        while True:
            try:
                self.hold(len(block))
                break
            except RendezvousError:
                if self._clock.seconds() >= until:
                    raise Stalled from None
                await deferLater(self._clock, RETRY_TIME)
        await self.pass_on((block,))
        self._release()
        return True

    async def pass_on(self, parts: Sequence[bytes]) -> None:
        """
        Hand over what was counted, a piece at a time, and wait until all of it is read.

        :raises Stalled: the client does not read.
        """
        for piece in _pieces(parts):
            await self.opened()
            await self._sender.turn()
            self._request.write(piece)
        await self.opened()

    async def opened(self) -> None:
        """
        Wait until it is open.

        :raises Stalled: it has been closed for :data:`STALL_TIME`.
        """
        while self._closed_at is not None:
            left = self._closed_at + STALL_TIME - self._clock.seconds()
            self._waiting = Deferred()
            if self._is_over or left <= 0 or not await fires_within(self._waiting, left, self._clock):
                raise Stalled

    def pauseProducing(self) -> None:
        """Close."""
        if self._closed_at is None:
            self._closed_at = self._clock.seconds()
            if self._held:
                self._sender.paused(self)

    def resumeProducing(self) -> None:
        """Open: the transport has sent all that it had."""
        self._closed_at = None
        self._sender.resumed(self)
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)

    def stopProducing(self) -> None:
        """Do nothing: the request is cancelled as well."""

    def _release(self) -> None:
        if self._held:
            self._sender.give_back(self, self._held)
            self._held = 0


class _Turns:
    """
    Lets so many pieces pass in one turn of the reactor, and the others in later turns, in their order.

    :param clock: what calls later.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._left = PIECES
        self._waiting: deque[Deferred[None]] = deque()
        self._next: IDelayedCall | None = None

    async def take(self) -> None:
        """Wait for a turn, if there is none left in this one."""
        if self._left == 0:
            turn: Deferred[None] = Deferred()
            self._waiting.append(turn)
            await turn
        self._left -= 1
        if self._left == 0 and self._next is None:
            self._next = self._clock.callLater(0, self._begin)

    def _begin(self) -> None:
        self._next = None
        self._left = PIECES
        while self._left and self._waiting:
            turn = self._waiting.popleft()
            if not turn.called:  # Its client has not left meanwhile.
                turn.callback(None)


async def aborted(request: Request) -> None:
    """Close a connection whose client does not read; a proper end would stand behind what it has not read."""
    _transport(request).abortConnection()
    await Deferred()  # Cancelled as soon as the connection is lost.


def _transport(request: Request) -> Any:
    return request.channel.transport


def _pieces(parts: Sequence[bytes]) -> Iterator[bytes]:
    """:returns: the same bytes, in pieces of :data:`PIECE`; the last one may be shorter."""
    ends = list(accumulate(map(len, parts)))
    size = ends[-1] if ends else 0
    for start in range(0, size, PIECE):
        end = min(start + PIECE, size)
        # The parts that hold the first and the last byte of the piece.
        first, last = bisect_right(ends, start), bisect_left(ends, end)
        held = list(parts[first : last + 1])
        held[-1] = held[-1][: len(held[-1]) - (ends[last] - end)]
        held[0] = held[0][start - (ends[first] - len(parts[first])) :]
        yield b"".join(held)
