"""The messages of PeerServer: JSON objects with a ``type``. See ``docs/protocol/peerjs.rst``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from rendezvous.core.peerserver import Message
from rendezvous.wire.objects import decode_object, encode_value

__all__ = ["ID_TAKEN", "LEAVE", "OPEN", "decode", "encode", "error"]

#: A peer leaves.
LEAVE = "LEAVE"

#: What peers say to each other through the server.
_FORWARDED = frozenset({"OFFER", "ANSWER", "CANDIDATE", "LEAVE", "EXPIRE"})

#: The first answer to a peer whose id is its own.
OPEN = b'{"type":"OPEN"}'

#: The answer to a peer whose id another one has.
ID_TAKEN = b'{"type":"ID-TAKEN","payload":{"msg":"ID is taken"}}'


def error(words: str) -> bytes:
    """:returns: the last message to a peer that is refused."""
    return orjson.dumps({"type": "ERROR", "payload": {"msg": words}})


def decode(text: str, source: str) -> Message | str | None:
    """
    Read a message.

    :param source: the id of the sender; what the message says of it does not count.
    :returns: a message for another peer; :data:`LEAVE` for a peer that leaves; ``None`` for all else, such as
        ``HEARTBEAT``, and for a payload that is nested more deeply than it can be written.
    """
    message = decode_object(text)
    if message is None:
        return None
    kind, target = message.get("type"), message.get("dst")
    if not isinstance(kind, str) or kind not in _FORWARDED:
        return None
    if kind == LEAVE and not target:
        return LEAVE
    if not isinstance(target, str) or not target:
        return None
    payload = message.get("payload")
    if payload is None:
        return Message(kind, source, target)
    data = encode_value(payload)
    return None if data is None else Message(kind, source, target, data)


def encode(message: Message) -> bytes:
    """:returns: what the receiver of a message gets."""
    fields: Mapping[str, Any] = {"type": message.kind, "src": message.source, "dst": message.target}
    if message.payload is not None:
        fields = {**fields, "payload": orjson.Fragment(message.payload)}
    return orjson.dumps(fields)
