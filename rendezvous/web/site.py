"""What stands between the socket and the routes: the body's cap, and paths and headers that no router can digest."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.http import Request as PlainRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site

from rendezvous.errors import Malformed, NotFound, TooLarge
from rendezvous.web._json import error_body, write_error, write_failure
from rendezvous.web.cors import Cors

__all__ = ["RendezvousSite", "RootResource"]

#: RFC 9110, section 4.2: a name, an IPv4 address or a bracketed IPv6 one, and a port. The router refuses other labels.
_HOST = re.compile(
    rb"(?:\[[0-9a-f]{0,4}:[\w:.%~-]{1,63}\]|(?=[^:]{0,255}(?::|\Z))(?:[\w~-]{1,63}\.)*[\w~-]{0,63})(?::[0-9]{0,5})?",
    re.IGNORECASE,
)

#: Seconds that a refused client has to read why, before the connection is closed on what it still sends.
REFUSAL_TIME = 1.0


@lru_cache(128)
def _is_host(text: bytes) -> bool:
    """A server goes by few names, so nearly every request finds its own here."""
    return _HOST.fullmatch(text) is not None


def too_large(limit: int) -> TooLarge:
    """:returns: the error for a body over the limit."""
    return TooLarge(f"The body is over the limit of {limit} bytes.")


class CappedRequest(Request):
    """A request whose body is read no further than the site's limit."""

    channel: Any
    content: Any
    _refused = False
    _received = 0
    _media: Sequence[bytes] = ()

    def gotLength(self, length: int | None) -> None:
        """Refuse a body whose announced length is over the limit before any of it is read."""
        limit = self.channel.site.max_body
        if length is not None and length > limit:
            super().gotLength(0)
            self._refuse(limit)
        else:
            super().gotLength(length)

    def handleContentChunk(self, data: bytes) -> None:
        """Refuse a body that turns out to be over the limit."""
        if self._refused:
            return
        self._received += len(data)
        limit = self.channel.site.max_body
        if self._received > limit:
            self._refuse(limit)
        else:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Hand on a request that was not refused."""
        if self._refused:
            return
        if command == b"POST":
            # The base class would read forms, and answer for a broken one in words of its own. No route takes a form.
            self._media = self.requestHeaders.getRawHeaders(b"Content-Type", [])
            self.requestHeaders.removeHeader(b"Content-Type")
        super().requestReceived(command, path, version)

    def process(self) -> None:
        """Answer."""
        if self._media:
            self.requestHeaders.setRawHeaders(b"Content-Type", self._media)
        super().process()

    def _refuse(self, limit: int) -> None:
        self._refused = True
        self.content = io.BytesIO()
        self.method, self.uri, self.clientproto = b"POST", b"", b"HTTP/1.1"
        # Otherwise the channel would go on to invite the body with "100 Continue".
        self.requestHeaders.removeHeader(b"Expect")
        self.setHeader(b"Connection", b"close")
        channel = self.channel
        channel.site.root.cors.apply(self)
        self.write(write_error(self, too_large(limit)))
        # Closing at once, with unread bytes in the kernel, would reset the connection before the answer is read.
        channel.transport.pauseProducing()
        channel.callLater(REFUSAL_TIME, channel.transport.abortConnection)


class Channel(HTTPChannel):
    """HTTP/1.1 on one connection, where a line over the limit is refused in words and not by hanging up."""

    transport: Any

    def lineLengthExceeded(self, line: bytes) -> None:
        """Answer, and read no further: where this request ends cannot be known."""
        error = Malformed(f"A line of the request is over the limit of {self.MAX_LENGTH} bytes.", code="line-too-long")
        body = json.dumps(error_body(error)).encode("ascii")
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        self.transport.pauseProducing()
        self.callLater(REFUSAL_TIME, self.transport.abortConnection)


class RendezvousSite(Site):
    """
    The site of one HTTP port.

    It writes no line for each request: at a thousand requests a second nobody reads them, and the disk fills.

    :param root: the resource that answers everything.
    :param max_body: bytes.
    """

    displayTracebacks = False
    noisy = False
    protocol: Any = Channel

    def __init__(self, root: RootResource, reactor: IReactorTime) -> None:
        super().__init__(root, requestFactory=CappedRequest, reactor=reactor)
        self.root = root
        self.max_body = root.max_body

    def acceptableProtocols(self) -> list[bytes]:
        """:returns: HTTP/1.1 alone: the limits above are those of its channel."""
        return [b"http/1.1"]

    def log(self, request: PlainRequest) -> None:
        """Write nothing."""


class RootResource(Resource):
    """
    The resource in front of the routes. Put it below any path of your own site, or use the server's.

    :param routes: what answers.
    :param max_body: bytes; below a site of your own, which has read the body already, a longer one is still refused.
    :param cors: which web pages may read the answers.
    """

    isLeaf = True

    def __init__(self, routes: IResource, max_body: int, cors: Cors) -> None:
        super().__init__()
        self._routes = routes
        self.cors = cors
        self.max_body = max_body

    def render(self, request: Any) -> Any:
        """Answer, or hand on to the routes what they can digest."""
        self.cors.apply(request)
        if request.method == b"OPTIONS":
            return self.cors.preflight(request)
        try:
            self._check(request)
            return self._route(request)
        except Exception:
            # A plain Site would answer what the router itself raises in HTML.
            return write_failure(request, Failure())

    def _route(self, request: Any) -> Any:
        # The router sees the path joined with "/" and decoded as UTF-8. So what was percent-encoded is encoded again:
        # a topic with a slash in it, or bytes that are no UTF-8, stay one segment, and routes decode their own.
        request.postpath = [
            segment if segment.isalnum() else quote(segment, safe="").encode("ascii")
            for segment in request.postpath or [b""]  # Below somebody's path, what has no slash after it is our root.
        ]
        return self._routes.render(request)

    def _check(self, request: Any) -> None:
        if not request.method.isalpha() or not request.method.isascii():
            raise Malformed("The method is not a word.", code="bad-method")
        if not _is_host(request.getHeader(b"Host") or b""):
            raise Malformed("The Host header is not a host name.", code="bad-host")
        if request.content.seek(0, io.SEEK_END) > self.max_body:
            raise too_large(self.max_body)
        if request.postpath[:1] == [b""] and len(request.postpath) > 1:
            # The router takes any number of leading slashes for one.
            raise NotFound("There is nothing at this path.", code="no-such-path")
