"""Which web pages may read the answers (Fetch Standard, CORS protocol), and which caches may keep them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.web.server import NOT_DONE_YET

__all__ = ["Cors"]

#: Headers of an answer that a page may read besides those that every page may.
_EXPOSED = b"Allow, Retry-After, WWW-Authenticate, X-Request-ID"


class Cors:
    """
    The headers about web pages and caches that every answer has.

    Answers depend on the ``Origin`` of the request, and on the moment. So each has ``Vary: Origin`` and
    ``Cache-Control: no-store``; a route whose answer may be kept sets another ``Cache-Control``.

    :param origins: those whose pages may read; empty for any, and ``None`` for no other page than the server's own.
    :ivar has_preflight: whether ``OPTIONS`` is answered for browsers that ask before they send a request.
    """

    def __init__(self, origins: Sequence[str] | None) -> None:
        self.allow(origins)

    def allow(self, origins: Sequence[str] | None) -> None:
        """Allow these origins from now on; empty for any, and ``None`` for none."""
        self.has_preflight = origins is not None
        # No browser sends an origin without a scheme.
        allowed = ("none",) if origins is None else origins
        self._origins = frozenset(origin.encode("ascii") for origin in allowed)

    def headers(self, request: Any | None) -> dict[bytes, bytes]:
        """
        Make the headers of an answer to a request that was not read to its end, and maybe not to its ``Origin``.

        :param request: the request as far as it was read; ``None`` if not even its first line was.
        """
        headers = {b"Vary": b"Origin", b"Cache-Control": b"no-store"}
        origin: bytes | None = None if request is None else request.getHeader(b"Origin")
        if not self._origins:
            headers[b"Access-Control-Allow-Origin"] = b"*"
        elif origin is not None and origin in self._origins:
            headers[b"Access-Control-Allow-Origin"] = origin
        if b"Access-Control-Allow-Origin" in headers:
            headers[b"Access-Control-Expose-Headers"] = _EXPOSED
        return headers

    def apply(self, request: Any) -> None:
        """Set the headers of the answer, whether it will be an error or not."""
        origin = request.getHeader(b"Origin")
        request.setHeader(b"Vary", b"Origin")
        request.setHeader(b"Cache-Control", b"no-store")
        if self._may_read(origin):
            request.setHeader(b"Access-Control-Allow-Origin", origin if self._origins else b"*")
            request.setHeader(b"Access-Control-Expose-Headers", _EXPOSED)

    def preflight(self, request: Any) -> int:
        """Answer ``OPTIONS``, which browsers ask before anything that is not plain."""
        if self._may_read(request.getHeader(b"Origin")):
            request.setHeader(b"Access-Control-Allow-Methods", b"GET, POST, PUT, DELETE")
            request.setHeader(b"Access-Control-Allow-Headers", b"Authorization, Content-Type, Last-Event-ID")
            request.setHeader(b"Access-Control-Max-Age", b"86400")
        request.setResponseCode(204)
        # Finished here, because a body handed back, even an empty one, would be announced with a length.
        request.finish()
        return NOT_DONE_YET

    def allows(self, origin: bytes, host: bytes) -> bool:
        """
        :param origin: of a page.
        :param host: the ``Host`` of its request. Pages of the same host and port are the server's own, such as the
            demo; whether they came over TLS is not known behind a proxy.
        :returns: whether the page may use the server.
        """
        if not self._origins or origin in self._origins:
            return True
        _, separator, own = origin.partition(b"://")
        return separator != b"" and own != b"" and own == host

    def _may_read(self, origin: bytes | None) -> bool:
        return origin is not None and (not self._origins or origin in self._origins)
