"""Memory without objects: zero-filled bytes that the system provides page by page, as they are first used."""

from __future__ import annotations

import mmap

from rendezvous.errors import StartupError

__all__ = ["flat_memory"]


def flat_memory(size: int) -> mmap.mmap:
    """
    Reserve private memory.

    A page that was never written to takes no memory, so a table may be sized for the most that it may ever hold.

    :param size: in bytes.
    :returns: that many zero bytes. A slice of them is a ``bytes``, the cheapest thing that can be compared with a key.
    :raises StartupError: the system does not give so much address space.
    """
    # Without this flag Linux refuses what is larger than its memory, although most of it will never be used.
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    try:
        return mmap.mmap(-1, size, flags=flags)
    except (OSError, OverflowError) as e:
        raise StartupError(f"there is no memory for so many clients ({e}): give a smaller max_clients") from None
