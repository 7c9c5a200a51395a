"""JSON in the messages of WebSockets. What clients send is read as any JSON, and some of it is passed on."""

from __future__ import annotations

from typing import Any

import orjson

__all__ = ["decode_object", "encode_value"]


def decode_object(text: str) -> dict[str, Any] | None:
    """:returns: a JSON object; ``None`` if the text is none."""
    try:
        found = orjson.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def encode_value(value: object) -> bytes | None:
    """
    Write again what :func:`decode_object` has read.

    :returns: JSON in UTF-8; ``None`` for what is nested too deeply: orjson reads 1024 levels, and writes 254.
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return None
