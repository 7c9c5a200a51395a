"""
The messages of ``/signal``: those of y-webrtc's signaling server and of trystero's relay.

Both are JSON objects with a ``type``. A list ``topics``, or a message without a ``payload``, is y-webrtc's; one
``topic``, or a message with a ``payload``, is trystero's. See ``docs/protocol/signal.rst``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import attrs

from rendezvous.wire.objects import decode_object, encode_value

__all__ = ["PONG", "Dialect", "Ping", "Publish", "Subscribe", "decode", "delivered"]


class Dialect(StrEnum):
    """Whose message it is."""

    Y_WEBRTC = "y-webrtc"
    TRYSTERO = "trystero"


@attrs.frozen
class Subscribe:
    """
    Subscribe to topics, or end subscriptions.

    :ivar is_end: whether subscriptions end.
    """

    dialect: Dialect
    topics: tuple[str, ...]
    is_end: bool


@attrs.frozen
class Publish:
    """
    A message to all subscribers of a topic.

    :ivar message: the whole object.
    """

    dialect: Dialect
    topic: str
    message: dict[str, Any]


@attrs.frozen
class Ping:
    """y-webrtc's own ping; a browser cannot send those of RFC 6455."""


#: The answer to :class:`Ping`.
PONG = b'{"type":"pong"}'


def decode(text: str) -> Subscribe | Publish | Ping | None:
    """
    Read a message.

    :returns: ``None`` for anything else: both protocols ignore it, and neither has an answer for errors.
    """
    message = decode_object(text)
    if message is None:
        return None
    kind, topic = message.get("type"), message.get("topic")
    if kind == "publish" and isinstance(topic, str):
        return Publish(Dialect.TRYSTERO if "payload" in message else Dialect.Y_WEBRTC, topic, message)
    if kind in ("subscribe", "unsubscribe"):
        topics = message.get("topics")
        if isinstance(topics, list):
            # y-webrtc's server ignores a topic that is not a text, and takes the others.
            names = tuple(name for name in topics if isinstance(name, str))
            return Subscribe(Dialect.Y_WEBRTC, names, kind == "unsubscribe")
        if isinstance(topic, str):
            return Subscribe(Dialect.TRYSTERO, (topic,), kind == "unsubscribe")
    return Ping() if kind == "ping" else None


def delivered(publish: Publish, subscribers: int) -> bytes | None:
    """
    :param subscribers: of the topic, the sender included.
    :returns: what each of them gets, in UTF-8; ``None`` if the message is nested more deeply than it can be written.
    """
    if publish.dialect is Dialect.TRYSTERO:
        message = {"topic": publish.topic, "payload": publish.message["payload"]}
    else:
        message = {**publish.message, "clients": subscribers}
    return encode_value(message)
