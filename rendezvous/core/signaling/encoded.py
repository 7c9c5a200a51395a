"""
JSON that is made once, when something is taken in, and spliced into every answer that shows it.

What clients send is kept as the bytes that are sent on: then the size of a record is what it costs to keep and to show,
control characters included, which JSON writes in six bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import orjson

__all__ = ["array", "compact", "offer_head", "session_head", "string", "text_of"]

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def compact(value: object) -> str:
    """
    Write JSON exactly as ``JSON.stringify`` prints strings, lists and objects of them.

    :raises TypeError: the value is not JSON.
    :raises ValueError: it holds NaN, or a number beyond a double.
    """
    return _encode(value)


def string(text: str) -> bytes:
    """
    Write a JSON string in UTF-8, exactly as ``JSON.stringify`` does.

    :raises TypeError: the text holds half of a surrogate pair.
    """
    # A copy, because orjson leaves its result in a buffer of up to eight times the size.
    return b"%b" % orjson.dumps(text)


def text_of(encoded: bytes) -> str:
    """:returns: the text that :func:`string` has written."""
    text: str = orjson.loads(encoded)
    return text


def array(values: Sequence[str | int]) -> str:
    """Write a JSON list of texts and of integers that fit into 64 bits."""
    return orjson.dumps(values).decode()


def offer_head(id: str, owner: str, topics: Sequence[str], *, has_secret: bool, info: str | None) -> bytes:
    """:returns: the JSON object that listings show of an offer, up to the value of ``sdp``; the rest is up to them."""
    fields: dict[str, object] = {"id": id, "peerId": owner, "topics": topics, "hasSecret": has_secret}
    if info is not None:
        fields["info"] = info
    return orjson.dumps(fields)[:-1] + b',"sdp":'


def session_head(code: str, info: str | None) -> bytes:
    """:returns: the JSON object that listings show of a session, up to the value of ``offer``."""
    # Three generations of clients: the name of the peer is info to some and peerId to others.
    return orjson.dumps({"code": code, "info": info, "peerId": info})[:-1] + b',"offer":'
