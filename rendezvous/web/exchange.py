"""A worked request as it is sent, and its answer as it is received."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import attrs

from rendezvous.limits import SignalingLimits
from rendezvous.web.examples import EXAMPLES
from rendezvous.web.examples.example import Examples
from rendezvous.web.examples.values import KEYS, WEBSOCKET_ACCEPT
from rendezvous.web.parameters import parameters
from rendezvous.web.route import Route

__all__ = ["Exchange", "exchange"]


@attrs.frozen
class Exchange:
    """
    A request and its answer.

    :ivar target: path and query.
    :ivar headers: of the request, but for ``Host`` and those that describe the body.
    :ivar body: of the request, as JSON; ``None`` without one.
    :ivar status: of the answer.
    :ivar answer_headers: those of the answer that matter.
    :ivar answer: as in :class:`~rendezvous.web.examples.Example`.
    :ivar is_abridged: the same.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: Any
    status: int
    answer_headers: dict[str, str]
    answer: Any
    is_abridged: bool


def exchange(route: Route, examples: Examples = EXAMPLES, known: Mapping[str, Any] | None = None) -> Exchange:
    """
    :param examples: by the names that routes give.
    :param known: the parameters of these routes; those of the public ports if they are left out.
    :returns: the worked request to a route, and its answer.
    """
    example = examples[route.example]
    if known is None:
        known = parameters(SignalingLimits())
    target, query, headers = route.path, {}, {}
    if example.caller is not None:
        headers["Authorization"] = f"Bearer {example.caller}:{KEYS[example.caller]}"
    for name in (*route.parts, *route.params):
        parameter = known[name]
        if parameter.get("required") or name in example.params:
            value = f"{parameter['examples']['worked']['value']}"
            if parameter["in"] == "path":
                target = target.replace(f"<{name}>", quote(value, safe=""))
            elif parameter["in"] == "query":
                query[parameter["name"]] = value
            else:
                headers[parameter["name"]] = value
    opened = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": WEBSOCKET_ACCEPT}
    return Exchange(
        route.method,
        f"{target}?{urlencode(query)}" if query else target,
        headers,
        example.body,
        route.status,
        {"Content-Type": example.media or route.media} if route.media else opened,
        example.answer,
        example.is_abridged,
    )
