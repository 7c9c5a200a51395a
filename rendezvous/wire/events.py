"""
The messages of ``/events`` as a WebSocket. See ``docs/protocol/events.rst``.

A client's message is a JSON object with a ``type``, the server's one with an ``event``.
"""

from __future__ import annotations

from typing import Any

import attrs
import orjson

from rendezvous.errors import WireError
from rendezvous.wire.objects import decode_object

__all__ = ["PONG", "Authenticate", "Ping", "Subscribe", "decode", "message"]


@attrs.frozen
class Authenticate:
    """
    The credential of a page, which cannot send an ``Authorization`` header.

    :ivar credential: what would stand behind ``Bearer`` there.
    """

    credential: str = attrs.field(repr=False)


@attrs.frozen
class Subscribe:
    """
    Watch topics, or stop watching them.

    :ivar is_end: whether to stop.
    """

    topics: tuple[str, ...]
    is_end: bool


@attrs.frozen
class Ping:
    """A page's own ping; it cannot send those of RFC 6455."""


#: The answer to :class:`Ping`.
PONG = b'{"event":"pong"}'


def decode(text: str) -> Authenticate | Subscribe | Ping | None:
    """
    Read a client's message.

    :returns: ``None`` for a type that is not known, which is ignored.
    :raises WireError: it is not a JSON object with a type, or a field of it is missing or wrong; which one, in a plain
        sentence.
    """
    found = decode_object(text)
    kind = None if found is None else found.get("type")
    if found is None or not isinstance(kind, str):
        raise WireError("A message is a JSON object with a type.")
    if kind == "authenticate":
        credential = found.get("credential")
        if not isinstance(credential, str):
            raise WireError("credential must be a string.")
        return Authenticate(credential)
    if kind in ("subscribe", "unsubscribe"):
        topics = found.get("topics")
        if not isinstance(topics, list) or not all(isinstance(topic, str) for topic in topics):
            raise WireError("topics must be a list of strings.")
        return Subscribe(tuple(topics), kind == "unsubscribe")
    return Ping() if kind == "ping" else None


def message(event: str, data: bytes | dict[str, Any] | None = None, id: int | None = None) -> bytes:
    """
    Write a message of the server.

    :param data: of the event: an object, or its JSON in UTF-8.
    :param id: of the event: a stream that is opened later can go on after it.
    """
    parts = [b'"event":"%b"' % event.encode("ascii")]
    if id is not None:
        parts.insert(0, b'"id":"%d"' % id)
    if data is not None:
        parts.append(b'"data":' + (data if isinstance(data, bytes) else orjson.dumps(data)))
    return b"{%b}" % b",".join(parts)
