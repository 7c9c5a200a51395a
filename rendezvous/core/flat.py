"""Memory without objects: zero-filled bytes that the system provides page by page, as they are first used."""

from __future__ import annotations

from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap

__all__ = ["flat_memory"]


def flat_memory(size: int) -> mmap:
    """
    Reserve private memory.

    A page that was never written to takes no memory, so a table may be sized for the most that it may ever hold.

    :param size: in bytes.
    :returns: that many zero bytes. A slice of them is a ``bytes``, the cheapest thing that can be compared with a key.
    """
    return mmap(-1, size, flags=MAP_PRIVATE | MAP_ANONYMOUS)
