"""HTTP/1.1 on one connection: strict, with deadlines, and with an answer for what is not read to its end."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import suppress
from enum import Enum
from typing import Any

from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

from rendezvous.core.sources import UNKNOWN
from rendezvous.errors import HeadersTooLarge, LineTooLong, Malformed, RendezvousError, RequestTimeout
from rendezvous.web.bodies import framing_error
from rendezvous.web.deadlines import (
    BODY_RATE,
    BODY_TIME,
    FIRST_BYTE_TIME,
    HEADER_TIME,
    IDLE_TIME,
    REFUSAL_TIME,
    REST_TIME,
    UNREAD_TIME,
    Awaited,
    Deadlines,
)
from rendezvous.web.request import Refused
from rendezvous.web.sending import SMALL, Unread
from rendezvous.web.transports import (
    has_proxy_header,
    innermost,
    keep_little_unread,
    refusal,
    send_at_once,
    source_of_peer,
)

__all__ = ["Channel"]

#: Bytes of the header lines behind a chunked body.
_TRAILERS = 1024

#: Bytes that may wait for their turn of the reactor before no more is read from the connection.
EAGER = 4096


class _Reading(Enum):
    """What happens to data that arrives."""

    OPEN = "open"  # It is read at once, if the turn of the reactor is not over.
    QUEUED = "queued"  # It waits for a later turn of the reactor.
    BLOCKED = "blocked"  # It waits until the client has read the answers that it has been sent.
    RESTING = "resting"  # It waits for a second: its source sends more requests than it may.
    ENDED = "ended"  # It is dropped: a request was refused, or the connection is closed.


# Found here once: to look up a member of an enumeration takes 70 ns with Python 3.11, and each request does it often.
_OPEN, _QUEUED, _BLOCKED, _RESTING, _ENDED = _Reading
_REQUEST, _HEADERS, _BODY, _NOTHING = Awaited


class Channel(HTTPChannel):
    """
    One connection.

    Each part of a request has a deadline, which the bytes of the part do not move. What cannot be read to its end is
    answered, as JSON, and the connection is closed: where the next request would begin is not known.

    The timeouts of the base class are off: the site gives ``None`` for them.
    """

    transport: Any
    site: Any
    _reading = _OPEN
    _is_proxied = False
    _is_secure: bool | None = None
    _who: Hashable = None
    _peer: Any = None
    _host: Any = None
    _unread: Unread | None = None
    # The base class sets it with the first line, unless that is malformed.
    _command = b""

    def __init__(self) -> None:
        super().__init__()
        self._arrived: list[bytes] = []

    @property
    def refused(self) -> bool:
        """:returns: whether nothing more is read: a request was refused, or the connection is closed."""
        return self._reading is _ENDED

    # The connection

    def connectionMade(self) -> None:
        """Begin, unless there are too many connections."""
        self._deadlines = Deadlines(self.site.reactor, self)
        self._is_proxied = has_proxy_header(self.transport)
        if self._may_stay(self.site.connections.opened, is_known=not self._is_proxied):
            super().connectionMade()
            # By default it would hold 64 KiB of an answer for a client that reads nothing before it asks for a pause.
            innermost(self.transport).bufferSize = SMALL
            keep_little_unread(self.transport)
            self._deadlines.expect(_REQUEST, FIRST_BYTE_TIME)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Forget the connection, and cancel what it had in hand."""
        self._reading = _ENDED
        self._arrived.clear()
        self._has_read()
        self.site.connections.closed(self)
        super().connectionLost(reason)
        self._deadlines.end()
        # It refers to this channel: a body that did not arrive whole would stay until the garbage is collected.
        self._transferDecoder = None

    def loseConnection(self) -> None:
        """Close the connection once all is sent, or when the client does not read it."""
        super().loseConnection()
        if not self._deadlines.is_closing:
            self._deadlines.abort_in(UNREAD_TIME)

    def abort(self) -> None:
        """Close the connection at once, however much is unsent."""
        self.transport.abortConnection()

    def give_way(self) -> None:
        """Close the connection at once: another one needs its place."""
        self._reading = _ENDED
        self.abort()

    def _may_stay(self, count: Any, *, is_known: bool = True) -> bool:
        peer = self.transport.getPeer()
        gate = self.site.root.gate
        is_counted = is_known and not gate.proxies.trusts(peer)
        source = source_of_peer(peer) if is_counted else UNKNOWN
        # Behind one proxy are many sources: each of its connections counts as one.
        self._who = id(self) if source is UNKNOWN else source.subscriber
        stays = not (is_counted and gate.turns_away(peer, source)) and count(self, source)
        if not stays:
            self.give_way()
        return bool(stays)

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

    def writeSequence(self, iovec: Sequence[bytes]) -> None:
        """Write a whole response, or the head of one, in this turn of the reactor if the transport allows it."""
        send_at_once(self.transport, iovec)

    # Backpressure

    def pauseProducing(self) -> None:
        """Stop writing; if the client reads nothing for too long, close."""
        super().pauseProducing()
        if not self.refused:
            self._deadlines.abort_in(UNREAD_TIME)

    def resumeProducing(self) -> None:
        """Go on: the client has read everything. A connection that is being closed is closed all the same."""
        if not self.refused:
            self._deadlines.keep_open()
        self._has_read()
        super().resumeProducing()
        if self._reading is _BLOCKED:
            self._queue()

    def keep_unread(self, unread: Unread) -> None:
        """
        Keep the count of a long answer until the client has read it.

        :param unread: counts the answer to the present request. The next request is read after that, so there is one
            at a time.
        """
        self._unread = unread

    def _has_read(self) -> None:
        unread, self._unread = self._unread, None
        if unread is not None:
            unread.read()

    # Reading

    def dataReceived(self, data: bytes) -> None:
        """Read on. Unlike the base class, this does not restart the timeout with each byte."""
        if self._is_proxied:
            # The header of the PROXY protocol has arrived, so the peer is known now.
            self._is_proxied = False
            if self._reading is not _ENDED:
                self._may_stay(self.site.connections.belongs_to)
        reading, turns = self._reading, self.site.turns
        if reading is _OPEN and not turns.are_over:
            turns.run(self._who, self._read, data)
        elif reading is not _ENDED:
            # Most clients send nothing more before they are answered. To pause and to resume are two system calls.
            if self._arrived or len(data) > EAGER:
                self._networkProducer.pauseProducing()
            self._arrived.append(data)
            if reading is _OPEN:
                self._queue()

    def _read(self, data: bytes) -> None:
        LineReceiver.dataReceived(self, data)
        if not self._busyReceiving:
            self._expect()

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
        self._reading = _QUEUED
        self.site.turns.add(self._who, self._go_on)

    def rested(self) -> None:
        """Go on, after a rest."""
        if self._reading is _RESTING:
            self._queue()

    def _go_on(self) -> None:
        """Read what has arrived, and the request behind the one that was answered."""
        if self._reading is not _QUEUED:
            return
        if self._waitingForTransport:
            # One packet may hold a thousand requests: their answers would gather while the client reads none of them.
            self._reading = _BLOCKED
            return
        self._reading = _OPEN
        data = b"".join(self._arrived)
        self._arrived.clear()
        if not self._handlingRequest:
            self.paused = False
        self._networkProducer.resumeProducing()
        self.site.turns.run(self._who, self._read, data)

    def rawDataReceived(self, data: bytes) -> None:
        """Read a part of a body, unless it is refused; keep what comes while a request is in hand."""
        if self._handlingRequest:
            # In one piece: neither memory nor time grows with the number of packets. Unlike in the base class, reading
            # ends here also while the client reads nothing of the answer.
            behind = b"".join((*self._dataBuffer, data))
            self._dataBuffer = [behind]
            if len(behind) > self._optimisticEagerReadSize:
                self._networkProducer.pauseProducing()
            return
        with suppress(Refused):
            super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        """Answer a whole request; no deadline holds while that takes."""
        if self._reading is not _ENDED:
            self._deadlines.expect_nothing()
            self.site.connections.busy(self)
            super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        """Wait for the next request; for a while, if the source sends more of them than it may."""
        # If the transport has not asked for a pause, it holds at most SMALL bytes, and resumeProducing is not called.
        if not self._waitingForTransport:
            self._has_read()
        self.site.connections.idle(self)
        if self.site.connections.are_ending:
            self.persistent = False
        # One request in each turn of the reactor: one packet may hold a thousand, and others would wait for all.
        self.paused = True
        super().requestDone(request)
        goes_on = self.persistent and self._reading is not _ENDED
        if goes_on:
            self._deadlines.expect(_REQUEST, IDLE_TIME)
        # A connection of a proxy carries requests of other sources as well, which must not wait for this one.
        if goes_on and request.is_over_rate and not self.site.root.gate.proxies.trusts(self.getPeer()):
            self._networkProducer.pauseProducing()
            self._reading = _RESTING
            self._deadlines.rest(REST_TIME)
        elif goes_on and (self._buffer or self._waitingForTransport):
            # The base class pauses nothing for an answer that fills the transport while its request is in hand.
            self._networkProducer.pauseProducing()
            if self._reading is _OPEN:
                self._queue()
        else:
            self.paused = self._reading is _ENDED
        if not self._busyReceiving:
            self._expect()

    # Deadlines

    def overdue(self) -> None:
        """Close the connection. A request that has begun is answered first."""
        awaited = self._deadlines.awaited
        if self.paused:
            # The next request may be there already: it waits for its turn, or for the client to read.
            self._deadlines.expect(_REQUEST, IDLE_TIME)
        elif awaited is _HEADERS:
            self.refuse(RequestTimeout(f"The headers did not arrive within {HEADER_TIME:g} s."))
        elif awaited is not _BODY:
            self.loseConnection()
        # More of a chunked body may have come since the deadline was set.
        elif self.length is not None or not self._deadlines.extend(self._body_time()):
            self.refuse(RequestTimeout("The body did not arrive in time."))

    def _expect(self) -> None:
        """Set the deadline of what the client has to send now, if it has begun a request."""
        if self._handlingRequest or self._reading is _ENDED:
            return
        if not self.line_mode:
            if self._deadlines.awaited is not _BODY:
                self._deadlines.expect(_BODY, self._body_time())
        elif (self._buffer or self.requests) and self._deadlines.awaited is not _HEADERS:
            self._deadlines.expect(_HEADERS, HEADER_TIME)

    def _body_time(self) -> float:
        """:returns: the seconds for the body: by its length, or by what has arrived if that is not announced."""
        length = self.requests[-1].received if self.length is None else self.length
        return float(BODY_TIME + length / BODY_RATE)

    # Refusals

    def refuse(self, error: RendezvousError) -> None:
        """Answer a request of which no more is read, and close the connection."""
        if self.refused:
            return
        self._reading = _ENDED
        self.paused = True  # The loop that reads lines ends.
        self._deadlines.expect_nothing()
        request = self.requests[-1] if self.requests else None
        method: bytes = b"" if request is None else getattr(self, "_command", request.method)
        gate = self.site.root.gate
        gate.requests.note(None, method, error.status)
        self.transport.writeSequence(refusal(error, self.site.root.cors.headers(request), gate.request_ids))
        # Closing at once, with unread bytes in the kernel, would reset the connection before the answer is read.
        self.transport.pauseProducing()
        self._deadlines.abort_in(REFUSAL_TIME)

    def lineReceived(self, line: bytes) -> None:
        """Read a line. One that goes on with the header before it is refused (RFC 9112, section 5.2)."""
        if line[:1] in (b" ", b"\t"):
            # To join 16 000 of them takes 20 ms, and proxies do not agree on what such a header means.
            self.refuse(Malformed("A header is on more than one line.", code="bad-request"))
        else:
            HTTPChannel.lineReceived(self, line)  # In half the time of super(), five times a request.

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
        error = framing_error(header, data)
        if error is not None:
            self.refuse(error)
            return False
        chosen: bool = super()._maybeChooseTransferDecoder(header, data)
        if chosen and self._transferDecoder is not None and self.length is None:
            # No route reads trailers. The decoder would keep 20 000 of them, which takes 10 ms and over a megabyte.
            self._transferDecoder._maxTrailerHeadersSize = _TRAILERS
        return chosen

    def _send100Continue(self) -> None:
        if not self.refused:
            super()._send100Continue()
