"""One request as it arrives: its body within bounds and in memory, and its target in the form that routes know."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.python.failure import Failure
from twisted.web.http import NO_BODY_CODES, parse_qs
from twisted.web.server import NOT_DONE_YET, Request

from rendezvous.core.sources import UNKNOWN, SourceNetwork
from rendezvous.errors import Malformed, RendezvousError
from rendezvous.web._json import write_failure
from rendezvous.web.bodies import too_large
from rendezvous.web.requestcounts import ABANDONED
from rendezvous.web.transports import response_head

__all__ = ["MAX_SEGMENTS", "CappedRequest", "Refused"]

# RFC 9112, section 3.2.2.
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE)

#: Bytes that the chunks of a body must have on average; each takes some 3 us, however short it is.
CHUNK = 64

#: Chunks that a body may have besides.
FREE_CHUNKS = 128


#: Equals signs of a query: no route has as many fields. A request that is held would keep 600 KiB of them otherwise.
MAX_FIELDS = 64

#: No route has more parts; to decode a path of ten thousand takes 6 ms. The root resource refuses one with more.
MAX_SEGMENTS = 8


class Refused(Exception):
    """Nothing more is read of a body: the request has been refused."""


class CappedRequest(Request):
    """
    A request whose body is read no further than its route's limit.

    :ivar received: bytes of the body so far.
    :ivar is_over_rate: whether it is refused because its source sends more requests than it may.
    :ivar left: called if the client leaves before it is answered. Unlike ``notifyFinish``, it makes no Deferred.
    """

    channel: Any
    content: Any
    site: Any
    source: SourceNetwork = UNKNOWN
    #: The address that it comes from, as :class:`~rendezvous.web.sources.Proxies` has found it.
    source_host = ""
    received = 0
    is_over_rate = False
    left: Callable[[], None] | None = None
    #: The path of its route, as the table of routes has it.
    route: str | None = None
    _began: float | None = None
    _chunks = 0
    _limit = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._fields: dict[bytes, bytes] = {}

    def gotLength(self, length: int | None) -> None:
        """
        Refuse a body whose announced length is over the limit before any of it is read, and what comes from a banned
        network.
        """
        # In memory always: the base class takes a file, and so a descriptor, for a long body.
        self.content = io.BytesIO()
        channel = self.channel
        root = channel.site.root
        # A connection of a proxy goes on: it carries requests of others as well.
        has_body = length != 0
        if has_body or (root.gate.bans.has_networks and not root.gate.proxies.trusts(channel.getPeer())):
            root.gate.proxies.source(self)
            try:
                root.gate.refuse_banned(self)
            except RendezvousError as error:
                channel.refuse(error)
                return
        if not has_body:
            return
        self._limit = root.bodies.of_path(channel._command, self._path_of(channel._command, channel._path) or b"")
        if length is not None and length > self._limit:
            channel.refuse(too_large(self._limit))

    def handleContentChunk(self, data: bytes) -> None:
        """
        Refuse a body that turns out to be over the limit, or for which there is no room.

        :raises Refused: it has been refused.
        """
        channel = self.channel
        if channel is None:
            return
        self._take(channel, data)
        if channel.refused:
            # The decoder of chunks would go on to the end of what it has: ten thousand chunks may be in one packet.
            raise Refused

    def _take(self, channel: Any, data: bytes) -> None:
        self._chunks += channel.length is None
        if self._chunks > FREE_CHUNKS + self.received // CHUNK:
            channel.refuse(Malformed(f"The chunks of the body have less than {CHUNK} bytes.", code="bad-request"))
            return
        if self.received + len(data) > self._limit:
            channel.refuse(too_large(self._limit))
            return
        try:
            channel.site.root.gate.quotas.receive(self.source, len(data))
        except RendezvousError as error:
            channel.site.root.gate.refusals.note(error, self.source)
            channel.refuse(error)
        else:
            self.received += len(data)
            self.content.write(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Hand on a request that was not refused."""
        self._give_back()
        self.method = command
        target = self._path_of(command, path)
        if target is None:
            self.channel.refuse(Malformed("The target is neither a path nor a URL.", code="bad-target"))
            return
        # Unlike the base class, this reads no forms: no route takes one.
        self.content.seek(0)
        self.uri, self.clientproto = target, version
        self.path, _, query = target.partition(b"?")
        if query.count(b"=") > MAX_FIELDS:
            self.channel.refuse(Malformed(f"The query has more than {MAX_FIELDS} fields.", code="bad-target"))
            return
        self.args = parse_qs(query, keep_blank_values=True) if query else {}
        self.process()

    def parseCookies(self) -> None:
        """Leave cookies alone: no route reads one."""

    def process(self) -> None:
        """
        Answer.

        This is what the base class does for a root that is a leaf, but it does not look for children, and sends no
        Server header, which would tell the version of Twisted.
        """
        self.site = self.channel.site
        self._began = self.site.root.gate.requests.seconds()
        self._fields[b"Date"] = self.site.date()
        self.prepath = []
        path = self.path[1:].split(b"/", MAX_SEGMENTS)
        self.postpath = [unquote_to_bytes(part) for part in path] if b"%" in self.path else path
        try:
            body = self.site.resource.render(self)
            if body is not NOT_DONE_YET:
                self._fields.setdefault(b"Content-Length", b"%d" % len(body))
                self.write(body)
                self.finish()
        except Exception:
            self.processingFailed(Failure())

    def processingFailed(self, reason: Failure) -> Failure:
        """
        Answer what nothing else has caught as any other bug, with a request id, and not with a page of Twisted.

        An answer that has begun can only break off.
        """
        body = write_failure(self, reason, self.site.root.gate.request_ids)
        if self.startedWriting:
            self.loseConnection()
        else:
            self.write(body)
            self.finish()
        return reason

    def setHeader(self, name: bytes, value: bytes) -> None:
        """Keep a header of the answer until the answer is written."""
        if b"\n" in value or b"\r" in value:
            raise ValueError("The value of a header is one line.")
        self._fields[name] = value

    def write(self, data: bytes) -> None:
        """Write a piece of the answer, behind its headers if it is the first one."""
        if self.startedWriting:
            super().write(data)
        elif not self._disconnected:
            self._begin((data,), len(data))

    def write_whole(self, parts: Sequence[bytes], size: int) -> None:
        """
        Write the headers and the whole body.

        :param parts: the body. The transport may refer to them until they are sent, so they must not change.
        :param size: bytes of all parts together.
        """
        if not self._disconnected:
            self._begin(parts, size)

    def _begin(self, parts: Sequence[bytes], size: int) -> None:
        """
        Write the headers and what follows them in one piece.

        The base class looks at each header again, and hands over more than twenty pieces.
        """
        self.startedWriting = 1
        fields = self._fields
        has_body = self.method != b"HEAD" and self.code not in NO_BODY_CODES
        if has_body and b"Content-Length" not in fields and self.clientproto == b"HTTP/1.1":
            fields[b"Transfer-Encoding"] = b"chunked"
            self.chunked = 1
        for name, values in self.responseHeaders.getAllRawHeaders():
            fields = {name: b", ".join(values), **fields}
        head = response_head(self.clientproto, self.code, self.code_message, fields)
        if not has_body:
            self.channel.write(head)
            self.write = _drop  # type: ignore[method-assign]
        elif self.chunked:
            self.channel.write(head)
            super().write(b"".join(parts))
        else:
            self.sentLength = size
            self.channel.writeSequence((head, *parts))

    def connectionLost(self, reason: Failure) -> None:
        """Forget the body, and call :attr:`left` if the request was not answered."""
        self._give_back()
        if not self.finished:
            self.count(ABANDONED)
        super().connectionLost(reason)
        left, self.left = self.left, None
        if left is not None:
            left()
        self._let_go()

    def finish(self) -> None:
        """End the answer."""
        self.count(self.code)
        super().finish()
        self.left = None
        self._let_go()

    def count(self, code: int) -> None:
        """Count the request, once it was there whole, and once only."""
        began, self._began = self._began, None
        if began is not None:
            self.site.root.gate.requests.note(self.route, self.method, code, began)

    def _let_go(self) -> None:
        # The router keeps each request in a reference cycle until the garbage is collected. Without this, the transport
        # and what a client has not read of a large answer would stay in memory as long.
        self.transport: Any = None

    def _path_of(self, command: bytes, target: bytes) -> bytes | None:
        """
        Find the path that a target means. The authority of a whole URL counts, and not the Host header.

        :returns: the path with its query; ``None`` if the target is not one that a server takes.
        """
        if target[:1] == b"/":
            return target
        match = _ABSOLUTE.fullmatch(target)
        if match is None:
            return b"/" if command == b"OPTIONS" and target == b"*" else None
        self.requestHeaders.setRawHeaders(b"Host", [match[1]])
        return match[2] if match[2].startswith(b"/") else b"/" + match[2]

    def _give_back(self) -> None:
        if self.received:
            site = self.channel.site if self.channel is not None else None
            if site is not None:
                site.root.gate.quotas.received(self.source, self.received)
            self.received = 0


def _drop(data: bytes) -> None:
    """Write nothing: an answer to ``HEAD``, or one of these codes, has no body."""
