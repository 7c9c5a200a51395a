"""Pages of listings: bounded in items and in bytes, each with the position where the next one begins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

import attrs

__all__ = ["FRAME", "Page", "cut"]

#: Bytes of an item of a listing besides its texts: names of fields, numbers, ids of peers.
FRAME = 160

T = TypeVar("T")
P = TypeVar("P")


@attrs.frozen
class Page(Generic[T, P]):
    """
    A page of a listing.

    :ivar items: what is on it.
    :ivar next: the position to go on after, or ``None`` if this was the last page.
    :ivar total: how many items the whole listing has, where it says so.
    """

    items: tuple[T, ...]
    next: P | None = None
    total: int = 0


def cut(found: Iterable[tuple[P, int, T | None]], limit: int, size: int, scan: int, total: int = 0) -> Page[T, P]:
    """
    Take a page from the front of a listing.

    :param found: position, bytes and value of each item in order; without a value it is passed over.
    :param limit: the most items.
    :param size: the most bytes; an item that has more by itself is a page of its own.
    :param scan: the most items to look at, those that are passed over included.
    :param total: given back in the page.
    """
    items: list[T] = []
    taken = 0
    last: P | None = None
    for position, bytes_, item in found:
        if scan <= 0:
            return Page(tuple(items), last, total)
        scan -= 1
        if item is not None:
            taken += bytes_
            if limit <= 0 or (taken > size and items):
                return Page(tuple(items), last, total)
            limit -= 1
            items.append(item)
        last = position
    return Page(tuple(items), None, total)
