"""How the body of a request may be framed (RFC 9112, section 6), and how long it may be, by its route."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from rendezvous.errors import Malformed, RendezvousError, TooLarge, Unsupported
from rendezvous.limits import SMALL_BODY
from rendezvous.web.route import Route

__all__ = ["BodyLimits", "framing_error", "too_large"]

#: Digits of a Content-Length: as many as a 64-bit number may have. int() of Python raises if there are over 4300.
_LENGTH_DIGITS = 19


def too_large(limit: int) -> TooLarge:
    """:returns: the error for a body over the limit."""
    return TooLarge(f"The body is over the limit of {limit} bytes.")


def framing_error(header: bytes, value: bytes) -> RendezvousError | None:
    """
    :param header: the name of a header field, with capitals as in ``Content-Length``.
    :returns: the error for a field that frames a body as the server cannot read it.
    """
    if header == b"Content-Length" and len(value) > _LENGTH_DIGITS:
        return Malformed("The Content-Length is too long.", code="bad-request")
    if header == b"Transfer-Encoding" and value.lower() != b"chunked":
        return Unsupported("The only transfer coding that the server knows is chunked.")
    return None


class BodyLimits:
    """
    The limits of all routes. A request that matches no route has the smallest limit, so that it is refused early.

    :param routes: the table of routes.
    :param default: bytes, for what is not a route.
    """

    def __init__(self, routes: Sequence[Route] = (), default: int = SMALL_BODY) -> None:
        self._default = default
        self._larger = [
            (route.method.encode("ascii"), _pattern(route.path), route.body) for route in routes if route.body > default
        ]

    def of(self, method: bytes, segments: Sequence[bytes]) -> int:
        """
        :param segments: the parts of the path, percent-decoded.
        :returns: bytes.
        """
        for known, pattern, limit in self._larger:
            if known == method and len(pattern) == len(segments) and all(map(_matches, pattern, segments)):
                return limit
        return self._default

    def of_path(self, method: bytes, path: bytes) -> int:
        """
        :param path: the target of a request as it was sent, with its query.
        :returns: bytes.
        """
        segments = path.partition(b"?")[0].split(b"/", 5)[1:]
        return self.of(method, [unquote_to_bytes(segment) for segment in segments])


def _pattern(path: str) -> list[bytes | None]:
    return [None if part.startswith("<") else part.encode("ascii") for part in path.split("/")[1:]]


def _matches(part: bytes | None, segment: bytes) -> bool:
    return part is None or part == segment
