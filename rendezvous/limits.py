"""Sizes that nobody needs to turn."""

from __future__ import annotations

__all__ = ["MAX_BODY"]

#: Bytes of an HTTP body. Ten offers of 64 KiB each, twice over for what JSON escapes, with room for topics.
MAX_BODY = 2 * 1024 * 1024
