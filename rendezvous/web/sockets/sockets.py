"""All WebSockets of a server: how they are opened, how many there may be, and which of them are dead."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from wsproto.frame_protocol import CloseReason

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from rendezvous.core.shares import Shares
from rendezvous.core.sources import SITE_FACTOR
from rendezvous.errors import Forbidden, Full, Malformed
from rendezvous.limits import SocketLimits
from rendezvous.web.cors import Cors
from rendezvous.web.gate import Gate
from rendezvous.web.request import CappedRequest
from rendezvous.web.sockets.batch import Batch
from rendezvous.web.sockets.pieces import MESSAGE_TIME
from rendezvous.web.sockets.socket import Conversation, Socket
from rendezvous.web.sources import source_of
from rendezvous.web.turns import Turns
from rendezvous.wire.handshake import FIELDS, accept

__all__ = ["PING_INTERVAL", "Sockets", "is_upgrade"]

#: Seconds between two pings. A socket from which nothing has come between two of them is dead.
PING_INTERVAL = 30.0

#: Pings of one turn of the reactor: some 2 ms.
PINGS = 100


def is_upgrade(request: Any) -> bool:
    """:returns: whether a request asks for a WebSocket, which only ``GET`` can (RFC 6455, section 4.1)."""
    return request.method == b"GET" and b"websocket" in (request.getHeader(b"Upgrade") or b"").lower()


class Sockets:
    """
    The open sockets.

    :param clock: the time of deadlines.
    :param gate: counts what clients leave unread, and what has not arrived whole.
    :param cors: which web pages may open one.
    :param limits: of each socket, each source, and all.
    :ivar limits: as given, or changed.
    """

    def __init__(self, clock: IReactorTime, gate: Gate, cors: Cors, limits: SocketLimits) -> None:
        self._clock = clock
        self._gate = gate
        self._cors = cors
        self._turns = Turns(clock, working=gate.working)
        self._batch = Batch()
        self._shares = Shares("WebSockets", code="source-sockets")
        # In the order of their next pings: when that is, and how often something had come when the last one was sent.
        self._open: OrderedDict[Socket, tuple[float, int]] = OrderedDict()
        self._next: IDelayedCall | None = None
        self._is_ending = False
        self._opened = 0
        # Fire when no socket is left.
        self._ended: list[Deferred[None]] = []
        self.change(limits)

    def __len__(self) -> int:
        """:returns: how many are open."""
        return len(self._open)

    def __iter__(self) -> Iterator[Socket]:
        """Walk those that are open now."""
        return iter(list(self._open))

    def change(self, limits: SocketLimits) -> None:
        """
        Use other limits for sockets that are opened from now on.

        A subscriber has at most a quarter of all sockets, and a site a half, even if its limit is higher. Of 400, for
        example, one address has 100.
        """
        self.limits = limits
        subscriber, site = limits.of_source, SITE_FACTOR * limits.of_source
        if subscriber:
            subscriber, site = min(subscriber, max(1, limits.most // 4)), min(site, max(1, limits.most // 2))
        self._shares.change(subscriber, site)

    def begin(self) -> None:
        """Take sockets, also after an end."""
        self._is_ending = False

    def end(self) -> Deferred[None]:
        """
        Close all of them: the server stops (close code 1001).

        :returns: fires when none is left, at the latest after :data:`~rendezvous.web.sockets.socket.CLOSE_TIME`.
        """
        self._is_ending = True
        for socket in list(self._open):
            socket.close(CloseReason.GOING_AWAY, "The server stops.")
        ended: Deferred[None] = Deferred()
        self._ended.append(ended)
        self._end_if_none()
        return ended

    def _end_if_none(self) -> None:
        if not self._open:
            ended, self._ended = self._ended, []
            for each in ended:
                each.callback(None)

    def open(self, request: Any, conversation: Conversation) -> None:
        """
        Answer a request with a WebSocket.

        :param conversation: takes the messages.
        :raises Forbidden: ``origin``, pages of this origin may not.
        :raises TooMany: ``source-sockets``, the source has as many as it may.
        :raises Full: ``full-sockets``, there are as many as there may be.
        :raises Malformed: ``bad-handshake``, this is no handshake of RFC 6455.
        :raises UpgradeRequired: it is one of another version.
        """
        origin = request.getHeader(b"Origin")
        if origin is not None and not self._cors.allows(origin, request.getHeader(b"Host") or b""):
            raise Forbidden("Pages of this origin may not use this server.", code="origin")
        # It would end somewhere within what comes for the socket.
        if request.getHeader(b"Transfer-Encoding") or (request.getHeader(b"Content-Length") or b"").strip(b"0"):
            raise Malformed("A handshake of a WebSocket has no body.", code="bad-handshake")
        source = source_of(request)
        self._shares.check(source)
        if self._is_ending or len(self._open) >= self.limits.most:
            raise Full("The server has as many WebSockets as it can.", code="full-sockets", holder=self._shares.largest)
        answer = accept(*(b",".join(request.requestHeaders.getRawHeaders(name, ())) for name in FIELDS))
        socket = Socket(
            conversation, self.limits, source, self._clock, self._turns, self._batch, self._gate, self._gone
        )
        self._opened += 1
        socket.host, socket.number = getattr(request, "source_host", ""), self._opened
        socket.since = self._clock.seconds()
        _take_over(request, socket)
        self._shares.add(source)
        self._open[socket] = self._clock.seconds() + PING_INTERVAL, -1
        self._expect()
        if isinstance(request, CappedRequest):
            request.count(101)
        socket.transport.write(answer)
        socket.opened()

    def _gone(self, socket: Socket) -> None:
        self._open.pop(socket, None)
        self._shares.remove(socket.source)
        if not self._open and self._next is not None:
            self._next.cancel()
            self._next = None
        self._end_if_none()

    def _expect(self) -> None:
        if self._next is None and self._open:
            due, _ = next(iter(self._open.values()))
            self._next = self._clock.callLater(max(0.0, due - self._clock.seconds()), self._ping)

    def _ping(self) -> None:
        """Ping those that are due, some at a time, and close those from which nothing has come since the last ping."""
        self._next = None
        now = self._clock.seconds()
        for _ in range(min(len(self._open), PINGS)):
            socket, (due, heard) = next(iter(self._open.items()))
            if due > now:
                break
            # Nothing can come from one that is not read, because it has sent more than it may.
            if socket.heard == heard and not socket.is_waiting:
                del self._open[socket]
                socket.abort()
                continue
            if socket.is_late(now) and not socket.is_waiting:
                socket.close(CloseReason.POLICY_VIOLATION, f"A message has to arrive within {MESSAGE_TIME:g} s.")
            self._open[socket] = now + PING_INTERVAL, socket.heard
            self._open.move_to_end(socket)
            socket.writer.ping()
        self._expect()


def _take_over(request: Any, socket: Socket) -> None:
    """
    Give the connection of a request to a socket.

    Twisted has no public way to do this: it is what ``twisted.web.websocket`` does, without what that leaves in memory.
    """
    channel = request.channel
    lost = channel.connectionLost
    # The channel produces for the transport; from now on the socket does.
    channel.transport.unregisterProducer()
    channel._protocolUpgradeForWebsockets(socket)

    def connection_lost(reason: Any) -> None:
        # It refers to the channel, which would stay until the garbage is collected.
        del channel.dataReceived, channel.rawDataReceived, channel.connectionLost
        socket.connectionLost(reason)
        lost(reason)

    channel.connectionLost = connection_lost
    # A client has to wait for the answer. One that does not is understood, so that the channel keeps nothing of it.
    channel.rawDataReceived = socket.dataReceived
    # With its headers it takes as much memory as all the rest of a socket.
    channel.requests.remove(request)
