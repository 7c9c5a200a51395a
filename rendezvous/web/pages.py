"""
Pages of listings on the wire: JSON that is spliced from what is stored, and the opaque position of the next page.

An answer that holds a listing has ``hasMore``, and ``next`` if that is true. A client sends ``next`` back as it is, in
the query. It is no secret and needs no protection: whatever a client makes of it is a position in what it may read
anyway.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from rendezvous.core.signaling.pages import Page
from rendezvous.errors import Malformed
from rendezvous.limits import MAX_INTEGER

__all__ = ["encode", "listing", "name_after", "next_name", "number_after", "ranked_after", "separated", "splice"]

_encode_any = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

#: Characters of a position: a topic of 256 characters in base64, behind a number.
MAX_NEXT = 1500


def encode(value: Any) -> bytes:
    """:returns: JSON in UTF-8; half of a surrogate pair, which UTF-8 cannot carry, is escaped."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return _encode_any(value).encode("utf-8", "backslashreplace")


def splice(fields: dict[str, Any], **spliced: bytes) -> bytes:
    """
    Make an object of which some values are JSON already.

    :param fields: the other fields; they stand first.
    """
    parts = [encode(fields)[1:-1]] if fields else []
    parts += [b'"%b":%b' % (name.encode("ascii"), value) for name, value in spliced.items()]
    return b"{%b}" % b",".join(parts)


def listing(
    fields: dict[str, Any], name: str, items: Sequence[bytes], page: Page[Any, Any], next: str | None = None
) -> list[bytes]:
    """
    Make the answer that holds a page.

    :param fields: what it has besides.
    :param name: what its items are called.
    :param items: their JSON, with commas between them, in parts; see :func:`separated`.
    :param page: says whether there are more, and where they begin.
    :param next: the position of the next page, if it is not a number.
    :returns: its JSON, in parts: those of the items are not copied.
    """
    more: dict[str, Any] = {"hasMore": page.next is not None}
    if page.next is not None:
        more["next"] = str(page.next) if next is None else next
    return [encode({**fields, **more})[:-1] + b',"%b":[' % name.encode("ascii"), *items, b"]}"]


def separated(items: Iterable[Sequence[bytes]]) -> list[bytes]:
    """
    Put commas between the items of a listing.

    :param items: their JSON, each in parts.
    :returns: the parts of all of them, which are not copied. Example: ``[(b"1",), (b"2", b"3")]`` becomes
        ``[b"1", b",", b"2", b"3"]``.
    """
    parts: list[bytes] = []
    for item in items:
        parts += item
        parts.append(b",")
    return parts[:-1]


def number_after(text: str | None) -> int | None:
    """
    Read a position that is a number.

    :raises Malformed: it is not one that this server has made.
    """
    if text is None:
        return None
    if re.fullmatch(r"[0-9]{1,19}", text, re.ASCII) is None:
        raise _bad()
    return int(text)


def next_name(name: str) -> str:
    """:returns: the position after a topic in a listing by name."""
    return base64.urlsafe_b64encode(name.encode()).decode("ascii").rstrip("=")


def name_after(text: str | None) -> str | None:
    """
    Read a position that is a name.

    :raises Malformed: it is not one that this server has made.
    """
    if text is None:
        return None
    if len(text) > MAX_NEXT or re.fullmatch(r"[A-Za-z0-9_-]+", text, re.ASCII) is None:
        raise _bad()
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except ValueError:
        raise _bad() from None


def ranked_after(text: str | None) -> tuple[int, str] | None:
    """
    Read a position that is a number and a name, ``<number>.<name>``.

    :raises Malformed: it is not one that this server has made.
    """
    if text is None:
        return None
    number, _, rest = text.partition(".")
    rank, name = number_after(number), name_after(rest)
    if rank is None or name is None or rank > MAX_INTEGER:
        raise _bad()
    return rank, name


def _bad() -> Malformed:
    return Malformed("next is not what this listing has given.")
