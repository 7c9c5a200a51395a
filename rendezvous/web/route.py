"""One row of the table of routes, and what a route may ask of its request."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine
from typing import Any

import attrs

from twisted.web.http import Request

from rendezvous.core.protocols import Protocol
from rendezvous.interfaces import IStore
from rendezvous.limits import SMALL_BODY
from rendezvous.web.authorization import parse_authorization
from rendezvous.web.fields import header

__all__ = ["SHARED", "Route", "RouteResult", "caller"]

#: The tags that are not protocols, with the protocols that need their routes; without any, they are always served.
SHARED = {"about": (), "identity": (), "topics": (Protocol.OFFERS, Protocol.SESSIONS)}

#: What a route gives: the JSON object of a good answer, or its JSON in UTF-8, whole or in parts; nothing if it has
#: written for itself, and ``NOT_DONE_YET`` if the connection is a WebSocket from now on.
RouteResult = Coroutine[Any, Any, dict[str, Any] | bytes | list[bytes] | int | None]


@attrs.frozen
class Route:
    """
    What a route is, and what :mod:`rendezvous.web.openapi` says of it; its summary is the answer's docstring.

    :ivar method: HTTP's.
    :ivar path: with ``<name>`` for each part that varies.
    :ivar answer: called with the request and those parts, still percent-encoded.
    :ivar tag: a protocol, or one of :data:`SHARED`; the description groups routes by it.
    :ivar credential: whether it needs one.
    :ivar params: names of its parameters in the query and the headers (:func:`~rendezvous.web.schemas.parameters`).
    :ivar body: bytes that its body may have.
    :ivar request: name of the schema of its body (:func:`~rendezvous.web.schemas.schemas`), or ``None`` without one.
    :ivar status: of its answer when all went well.
    :ivar response: name of the schema of this answer, or ``None`` if it is not JSON.
    :ivar media: media type of this answer; empty if it has no body.
    :ivar socket: whether a request with a handshake is answered with a WebSocket.
    :ivar needs_store: whether it can be answered only while the server runs.
    :ivar errors: statuses of its errors, beyond those that follow from the above or that every route may give.
    :ivar example: name of its worked request (:data:`rendezvous.web.examples.EXAMPLES`); usually method and path.
    """

    method: str
    path: str
    answer: Callable[..., RouteResult]
    tag: str = attrs.field(kw_only=True)
    credential: bool = attrs.field(default=False, kw_only=True)
    params: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    body: int = attrs.field(default=SMALL_BODY, kw_only=True)
    request: str | None = attrs.field(default=None, kw_only=True)
    response: str | None = attrs.field(kw_only=True)
    status: int = attrs.field(default=200, kw_only=True)
    media: str = attrs.field(default="application/json", kw_only=True)
    socket: bool = attrs.field(default=False, kw_only=True)
    needs_store: bool = attrs.field(default=True, kw_only=True)
    errors: tuple[int, ...] = attrs.field(default=(), kw_only=True)
    example: str = attrs.field(kw_only=True)

    @example.default
    def _usual_name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def parts(self) -> list[str]:
        """:returns: the names of the parts of the path that vary."""
        return [part[1:-1] for part in self.path.split("/") if part.startswith("<")]

    def is_served(self, without: Collection[str]) -> bool:
        """:returns: whether the route is there when these protocols are off."""
        needed_by: tuple[str, ...] = SHARED.get(self.tag, (self.tag,))
        return not needed_by or not set(needed_by) <= set(without)


async def caller(request: Request, store: IStore, now: float) -> bytes:
    """
    :returns: the client id of the sender of the request.
    :raises Unauthorized: it has no valid credential.
    """
    return await store.authenticate(parse_authorization(header(request, b"Authorization")), now)
