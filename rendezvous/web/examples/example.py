"""What a worked request to a route consists of, beyond what follows from the route."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

__all__ = ["Example", "Examples"]


@attrs.frozen
class Example:
    """
    A worked request and its answer.

    The parts of the path and the parameters that the route needs are there without being named. Their values are
    those of :func:`rendezvous.web.parameters.parameters`.

    :ivar answer: the JSON of the answer; the text, if it is not JSON; of a WebSocket, the first message.
    :ivar params: names of the other parameters that the request has.
    :ivar caller: the client id of the sender; only if the route needs a credential.
    :ivar body: the JSON of the request; ``None`` if it has none.
    :ivar media: media type of the answer, if the route has several.
    :ivar is_abridged: whether an answer of JSON has objects and lists that are longer than those shown, which are
        empty; whether a text goes on.
    """

    answer: Any
    params: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    caller: str | None = attrs.field(default=None, kw_only=True)
    body: Any = attrs.field(default=None, kw_only=True)
    media: str = attrs.field(default="", kw_only=True)
    is_abridged: bool = attrs.field(default=False, kw_only=True)


#: By the names that routes give (:class:`rendezvous.web.route.Route`), in the order in which a test can send them.
Examples = Mapping[str, Example]
