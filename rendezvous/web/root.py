"""The resource in front of the routes: what every request is checked for, and what every answer carries."""

from __future__ import annotations

import io
import re
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from twisted.web.resource import IResource, Resource

from rendezvous.errors import Malformed, TooMany, Unsupported
from rendezvous.web._json import nothing_here, write_error
from rendezvous.web.bodies import BodyLimits, too_large
from rendezvous.web.cors import Cors
from rendezvous.web.gate import Gate
from rendezvous.web.request import MAX_SEGMENTS, CappedRequest

__all__ = ["RootResource"]

#: RFC 9110, section 4.2: a name, an IPv4 address or a bracketed IPv6 one, and a port. The router refuses other labels.
_HOST = re.compile(
    rb"(?:\[[0-9a-f]{0,4}:[\w:.%~-]{1,63}\]|(?=[^:]{0,255}(?::|\Z))(?:[\w~-]{1,63}\.)*[\w~-]{0,63})(?::[0-9]{0,5})?",
    re.IGNORECASE,
)

# RFC 3986, section 2.3: what is never percent-encoded.
_is_unreserved = re.compile(rb"[A-Za-z0-9_.~-]*").fullmatch


@lru_cache(128)
def _is_host(text: bytes) -> bool:
    """Cached, because nearly all requests name one of a few hosts."""
    return _HOST.fullmatch(text) is not None


class RootResource(Resource):
    """
    The resource in front of the routes. Put it below any path of your own site, or use the server's.

    :param routes: what answers.
    :param bodies: how long bodies may be; below a site of your own, which has read the body already, a longer one is
        still refused.
    :param cors: which web pages may read the answers.
    :param gate: what each source may take.
    """

    isLeaf = True

    def __init__(self, routes: IResource, bodies: BodyLimits, cors: Cors, gate: Gate) -> None:
        super().__init__()
        self._routes = routes
        self.bodies = bodies
        self.cors = cors
        self.gate = gate

    def render(self, request: Any) -> Any:
        """Answer, or hand on to the routes what they can digest."""
        self.cors.apply(request)
        gate = self.gate
        if not isinstance(request, CappedRequest):
            gate.requests.follow(request)
        source = gate.proxies.source(request)
        try:
            if gate.bans.has_networks:
                gate.refuse_banned(request)
            try:
                gate.quotas.request(source)
            except TooMany:
                request.is_over_rate = True
                raise
            if request.method == b"OPTIONS" and self.cors.has_preflight:
                return self.cors.preflight(request)
            self._check(request)
            return self._route(request)
        except Exception as error:
            # A plain Site would answer what the router itself raises in HTML.
            if isinstance(error, TooMany):
                gate.refusals.note(error, source)
            return write_error(request, error, gate.request_ids)

    def _route(self, request: Any) -> Any:
        # The router sees the path joined with "/" and decoded as UTF-8. So what was percent-encoded is encoded again:
        # a topic with a slash in it, or bytes that are no UTF-8, stay one segment, and routes decode their own.
        path = request.postpath
        if not _is_unreserved(b"".join(path)):
            request.postpath = [quote(segment, safe="").encode("ascii") for segment in path]
        return self._routes.render(request)

    def _check(self, request: Any) -> None:
        method, headers = request.method, request.requestHeaders
        if not method.isalpha() or not method.isascii():
            raise Malformed("The method is not a word.", code="bad-method")
        if not method.isupper():
            # RFC 9110, section 9.1: methods are case-sensitive. The router would take "get" for GET.
            raise Unsupported("The server knows no such method; methods are written in capital letters.")
        hosts = headers.getRawHeaders(b"Host") or ()
        if len(hosts) > 1 or (not hosts and request.clientproto == b"HTTP/1.1"):
            raise Malformed("A request of HTTP/1.1 has exactly one Host header.", code="bad-host")
        if hosts and not _is_host(hosts[0]):
            raise Malformed(
                "The Host header is not a host name or an address, with or without a port.", code="bad-host"
            )
        # Below somebody's path, what has no slash after it is our root.
        path = request.postpath = request.postpath or [b""]
        content = request.content
        if content.seek(0, io.SEEK_END) and content.tell() > self.bodies.of(method, path):
            raise too_large(self.bodies.of(method, path))
        if len(path) > MAX_SEGMENTS or (path[0] == b"" and len(path) > 1):
            # The router takes any number of leading slashes for one.
            raise nothing_here()
