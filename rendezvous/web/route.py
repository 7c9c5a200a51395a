"""One row of the table of routes, and what a route may ask of its request."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import attrs

from twisted.web.http import Request

from rendezvous.core.identity import parse_authorization
from rendezvous.interfaces import IStore
from rendezvous.web.fields import header

__all__ = ["Answer", "Route", "caller"]

#: What a route gives: the JSON object of a 200 answer, or nothing if it has written for itself.
Answer = Coroutine[Any, Any, dict[str, Any] | None]


@attrs.frozen
class Route:
    """
    :ivar method: HTTP's.
    :ivar path: with ``<name>`` for each part that varies.
    :ivar answer: called with the request and those parts, still percent-encoded.
    """

    method: str
    path: str
    answer: Callable[..., Answer]


async def caller(request: Request, store: IStore, now: float) -> bytes:
    """
    :returns: the client id of whoever sent the request.
    :raises Unauthorized: it carries no credential that is good.
    """
    return await store.authenticate(parse_authorization(header(request, b"Authorization")), now)
