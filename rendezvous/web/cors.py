"""Which web pages may read the answers (Fetch Standard, CORS protocol)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.web.server import NOT_DONE_YET

__all__ = ["Cors"]


class Cors:
    """
    What a browser is told.

    :param origins: those whose pages may read; empty for any.
    """

    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(origin.encode("ascii") for origin in origins)

    def apply(self, request: Any) -> bool:
        """
        Set the headers that every answer has, errors included.

        :returns: whether the page that asks may read it.
        """
        origin = request.getHeader(b"Origin")
        if self._origins:
            # Also on what is sent to nobody's page: a cache must not keep that for a page.
            request.setHeader(b"Vary", b"Origin")
        if origin is None or (self._origins and origin not in self._origins):
            return False
        request.setHeader(b"Access-Control-Allow-Origin", origin if self._origins else b"*")
        request.setHeader(b"Access-Control-Expose-Headers", b"Allow, Retry-After, WWW-Authenticate")
        return True

    def preflight(self, request: Any) -> int:
        """Answer ``OPTIONS``, which browsers ask before anything that is not plain."""
        if self.apply(request):
            request.setHeader(b"Access-Control-Allow-Methods", b"GET, POST, PUT, DELETE")
            request.setHeader(b"Access-Control-Allow-Headers", b"Authorization, Content-Type, Last-Event-ID")
            request.setHeader(b"Access-Control-Max-Age", b"86400")
        request.setResponseCode(204)
        # Finished here, because a body handed back, even an empty one, would be announced with a length.
        request.finish()
        return NOT_DONE_YET
