"""HTTP/1.1 on one connection: strict, with deadlines, and with an answer for what is not read to its end."""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IDelayedCall
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

from rendezvous.core.sources import UNKNOWN
from rendezvous.errors import HeadersTooLarge, LineTooLong, Malformed, RendezvousError, RequestTimeout, Unsupported
from rendezvous.web.request import Refused
from rendezvous.web.sending import SMALL
from rendezvous.web.transports import has_proxy_header, innermost, keep_little_unread, source_of_peer, written

if TYPE_CHECKING:
    from rendezvous.web.site import RendezvousSite

__all__ = [
    "BODY_RATE",
    "BODY_TIME",
    "FIRST_BYTE_TIME",
    "HEADER_TIME",
    "IDLE_TIME",
    "REFUSAL_TIME",
    "REST_TIME",
    "UNREAD_TIME",
    "Channel",
]

#: Seconds that a new connection has to send its first byte. A TLS handshake is part of that.
FIRST_BYTE_TIME = 10.0

#: Seconds from the first byte of a request to the end of its headers.
HEADER_TIME = 10.0

#: Seconds from the end of the headers to the end of the body, besides those that :data:`BODY_RATE` gives.
BODY_TIME = 10.0

#: Bytes a second at which a body must arrive.
BODY_RATE = 16 * 1024

#: Seconds that a connection may be idle between two requests.
IDLE_TIME = 60.0

#: Seconds that a response may stay unread, while there is more of it than the transport's buffer should hold.
UNREAD_TIME = 60.0

#: Seconds that a refused client has to read why, before the connection is closed on what it still sends.
REFUSAL_TIME = 1.0

#: Seconds for which a connection is not read after ``source-requests``: its answers cost time as well.
REST_TIME = 1.0

#: Seconds that are as good as none: sums of times are not exact.
_INSTANT = 0.001

#: Digits of a Content-Length: as many as a 64-bit number may have.
_LENGTH_DIGITS = 19


class _Phase(Enum):
    NEW = 0  # Nothing has arrived yet.
    IDLE = 1  # Between two requests.
    HEADER = 2  # A part of the request line and the headers has arrived.
    BODY = 3  # The headers have arrived, and the body has not.
    REQUEST = 4  # A whole request is being answered.


class Channel(HTTPChannel):
    """
    One connection.

    Each part of a request has a deadline, which the bytes of the part do not move. What cannot be read to its end is
    answered, as JSON, and the connection is closed: where the next request would begin is not known.

    :ivar refused: whether that has happened; nothing more is read then.
    """

    transport: Any
    site: RendezvousSite
    refused = False
    _phase = _Phase.NEW
    _is_proxied = False
    _is_secure: bool | None = None
    _is_gone = False
    _is_held = False
    _is_queued = False
    _who: Hashable = None
    _body_began = 0.0
    _end: IDelayedCall | None = None
    _timer: IDelayedCall | None = None
    _due: float | None = None
    _peer: Any = None
    _host: Any = None
    _rest: IDelayedCall | None = None

    def __init__(self) -> None:
        super().__init__()
        self._arrived: list[bytes] = []

    # The connection

    def connectionMade(self) -> None:
        """Begin, unless there are too many connections."""
        self._is_proxied = has_proxy_header(self.transport)
        if self._may_stay(self.site.connections.opened, is_known=not self._is_proxied):
            super().connectionMade()
            # By default it would hold 64 KiB of an answer for a client that reads nothing before it asks for a pause.
            innermost(self.transport).bufferSize = SMALL
            keep_little_unread(self.transport)
            self.setTimeout(FIRST_BYTE_TIME)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Forget the connection, and cancel what it had in hand."""
        self._end_in(None)
        self._is_gone = True
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        self._arrived.clear()
        self.site.connections.closed(self)
        super().connectionLost(reason)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # It refers to this channel: a body that did not arrive whole would stay until the garbage is collected.
        self._transferDecoder = None

    def loseConnection(self) -> None:
        """Close the connection once all is sent, or when the client does not read it."""
        super().loseConnection()
        if self._end is None:
            self._end_in(UNREAD_TIME)

    def give_way(self) -> None:
        """Close the connection at once: another one needs its place."""
        self.refused = True
        self.transport.abortConnection()

    def _may_stay(self, count: Any, *, is_known: bool = True) -> bool:
        peer = self.transport.getPeer()
        is_counted = is_known and not self.site.root.gate.proxies.trusts(peer)
        source = source_of_peer(peer) if is_counted else UNKNOWN
        # Behind one proxy are many sources: each of its connections counts as one.
        self._who = id(self) if source is UNKNOWN else source.subscriber
        stays: bool = count(self, source)
        if not stays:
            self.give_way()
        return stays

    def isSecure(self) -> bool:
        """:returns: whether the connection has TLS. It is asked for twice in each request, and looked up once."""
        if self._is_secure is None:
            self._is_secure = bool(super().isSecure())
        return self._is_secure

    def getPeer(self) -> Any:
        """:returns: the address of the client. Each request asks for it, and a transport makes it anew each time."""
        if self._peer is None:
            self._peer = super().getPeer()
        return self._peer

    def getHost(self) -> Any:
        """:returns: the address that the client has connected to."""
        if self._host is None:
            self._host = super().getHost()
        return self._host

    # Backpressure

    def pauseProducing(self) -> None:
        """Stop writing; if the client reads nothing for too long, close."""
        super().pauseProducing()
        if not self.refused:
            self._end_in(UNREAD_TIME)

    def resumeProducing(self) -> None:
        """Go on: the client has read everything. A connection that is being closed is closed all the same."""
        if not self.refused:
            self._end_in(None)
        super().resumeProducing()
        if self._is_held:
            self._is_held = False
            self._queue()

    def _end_in(self, seconds: float | None) -> None:
        """Abort the connection after some time, however much is unsent then; or do not."""
        if self._end is not None and self._end.active():
            self._end.cancel()
        self._end = None if seconds is None else self.callLater(seconds, self.transport.abortConnection)

    # Deadlines

    def setTimeout(self, period: float | None) -> float | None:
        """
        Have :meth:`timeoutConnection` called after a time, or not at all.

        A deadline is set and cleared with each request. So a timer that runs already is left alone, unless the new
        deadline is earlier; when it ends, it is started again for the rest of the time.

        :returns: what was set before.
        """
        before, self.timeOut = self.timeOut, period  # type: ignore[assignment]
        if period is None:
            self._due = None
            return before
        now = self.site.reactor.seconds()
        self._due = now + period
        if self._timer is None:
            self._timer = self.callLater(period, self._timer_ended)
        elif self._timer.getTime() > self._due:
            self._timer.reset(period)
        return before

    def _timer_ended(self) -> None:
        self._timer = None
        if self._due is None:
            return
        left = self._due - self.site.reactor.seconds()
        if left > 0:
            self._timer = self.callLater(left, self._timer_ended)
        else:
            self._due = None
            self.timeoutConnection()

    def dataReceived(self, data: bytes) -> None:
        """Read on. Unlike the base class, this does not restart the timeout with each byte."""
        if self.refused:
            return
        if self._is_proxied:
            # The header of the PROXY protocol has arrived, so the peer is known now.
            self._is_proxied = False
            if not self._may_stay(self.site.connections.belongs_to):
                return
        turns = self.site.turns
        if self._is_queued or turns.are_over:
            self._arrived.append(data)
            self._networkProducer.pauseProducing()
            self._queue()
        else:
            turns.run(self._who, self._read, data)

    def _read(self, data: bytes) -> None:
        LineReceiver.dataReceived(self, data)
        if not self._busyReceiving:
            self._set_deadline()

    def setLineMode(self, extra: bytes = b"") -> None:
        """
        Read requests again.

        :param extra: what came behind a request while it was in hand. It came before what waits for its turn.
        """
        # Unlike the base class, this reads nothing yet: requestDone says when.
        self.line_mode = 1
        self._buffer = extra + self._buffer

    def _queue(self) -> None:
        """Go on in a later turn of the reactor."""
        if not self._is_queued:
            self._is_queued = True
            self.site.turns.add(self._who, self._go_on)

    def _rested(self) -> None:
        self._rest = None
        self._is_queued = False
        self._queue()

    def _go_on(self) -> None:
        """Read what has arrived, and the request behind the one that was answered."""
        self._is_queued = False
        if self._is_gone or self.refused:
            return
        if self._waitingForTransport:
            # One packet may hold a thousand requests: their answers would gather while the client reads none of them.
            self._is_held = True
            return
        data = b"".join(self._arrived)
        self._arrived.clear()
        if not self._handlingRequest:
            self.paused = False
        self._networkProducer.resumeProducing()
        self.site.turns.run(self._who, self._read, data)

    def rawDataReceived(self, data: bytes) -> None:
        """Read a part of a body, unless it is refused."""
        with suppress(Refused):
            super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        """Answer a whole request; no deadline holds while that takes."""
        if not self.refused:
            self._phase = _Phase.REQUEST
            self.site.connections.busy(self)
            super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        """Wait for the next request; for a while, if the source sends more of them than it may."""
        self._savedTimeOut = IDLE_TIME
        self._phase = _Phase.IDLE
        self.site.connections.idle(self)
        if self.site.connections.are_ending:
            self.persistent = False
        # One request in each turn of the reactor: one packet may hold a thousand, and others would wait for all.
        self.paused = True
        super().requestDone(request)
        goes_on = self.persistent and not self.refused
        # A connection of a proxy carries requests of other sources as well, which must not wait for this one.
        if goes_on and request.is_over_rate and not self.site.root.gate.proxies.trusts(self.getPeer()):
            self._is_queued = True
            self._networkProducer.pauseProducing()
            self._rest = self.callLater(REST_TIME, self._rested)
        elif goes_on and self._buffer:
            self._networkProducer.pauseProducing()
            self._queue()
        else:
            self.paused = self.refused
        if not self._busyReceiving:
            self._set_deadline()

    def timeoutConnection(self) -> None:
        """Close the connection. A request that has begun is answered first."""
        if self.paused:
            # The next request may be there already: it waits for its turn, or for the client to read.
            self._phase = _Phase.IDLE
            self.setTimeout(IDLE_TIME)
        elif self._phase is _Phase.HEADER:
            self.refuse(RequestTimeout(f"The headers did not arrive within {HEADER_TIME:g} s."))
        elif self._phase is _Phase.BODY:
            # More of a chunked body may have come since the deadline was set.
            left = self._body_time() - (self.site.reactor.seconds() - self._body_began)
            if self.length is None and left > _INSTANT:
                self.setTimeout(left)
            else:
                self.refuse(RequestTimeout("The body did not arrive in time."))
        else:
            self.loseConnection()

    def _set_deadline(self) -> None:
        if self.refused or self._handlingRequest or not self.transport:
            return
        if not self.line_mode:
            phase = _Phase.BODY
        elif self.requests or self._buffer:
            phase = _Phase.HEADER
        else:
            return
        if phase is not self._phase:
            self._phase = phase
            if phase is _Phase.HEADER:
                self.setTimeout(HEADER_TIME)
            else:
                self._body_began = self.site.reactor.seconds()
                self.setTimeout(self._body_time())

    def _body_time(self) -> float:
        """:returns: the seconds for the body: by its length, or by what has arrived if that is not announced."""
        length = self.requests[-1].received if self.length is None else self.length
        return float(BODY_TIME + length / BODY_RATE)

    # Refusals

    def refuse(self, error: RendezvousError) -> None:
        """Answer a request of which no more is read, and close the connection."""
        if self.refused:
            return
        self.refused = True
        self.paused = True  # The loop that reads lines ends.
        self.setTimeout(None)
        request = self.requests[-1] if self.requests else None
        self.transport.writeSequence(written(error, self.site.root.cors.headers(request)))
        # Closing at once, with unread bytes in the kernel, would reset the connection before the answer is read.
        self.transport.pauseProducing()
        self._end_in(REFUSAL_TIME)

    def lineReceived(self, line: bytes) -> None:
        """Read a line. One that goes on with the header before it is refused (RFC 9112, section 5.2)."""
        if line[:1] in (b" ", b"\t"):
            # To join 16 000 of them takes 20 ms, and proxies do not agree on what such a header means.
            self.refuse(Malformed("A header is on more than one line.", code="bad-request"))
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a line that is too long."""
        if self.requests:
            self.refuse(HeadersTooLarge(f"A header is over the limit of {self.MAX_LENGTH} bytes."))
        else:
            self.refuse(LineTooLong(f"The request line is over the limit of {self.MAX_LENGTH} bytes."))

    # The base class has no public way to change how it answers what it cannot read. The names below are private, and
    # tests/test_web_strict.py would notice a version of Twisted without them.

    def _respondToBadRequestAndDisconnect(self) -> None:
        if self._receivedHeaderSize > self.totalHeadersSize:
            self.refuse(HeadersTooLarge(f"The headers are over the limit of {self.totalHeadersSize} bytes."))
        elif self._receivedHeaderCount > self.maxHeaders:
            self.refuse(HeadersTooLarge(f"There are more than {self.maxHeaders} headers."))
        else:
            self.refuse(Malformed("The request is not valid HTTP/1.1.", code="bad-request"))

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:
        if header == b"Content-Length":
            if len(data) > _LENGTH_DIGITS:
                # int() of Python refuses more than 4300 digits with an exception.
                self._respondToBadRequestAndDisconnect()
                return False
        elif header == b"Transfer-Encoding":
            if data.lower() != b"chunked":
                self.refuse(Unsupported("The only transfer coding that the server knows is chunked."))
                return False
        else:
            return True
        chosen: bool = super()._maybeChooseTransferDecoder(header, data)
        return chosen

    def _send100Continue(self) -> None:
        if not self.refused:
            super()._send100Continue()
