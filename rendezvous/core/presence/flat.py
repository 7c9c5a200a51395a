"""Memory without objects: zero-filled bytes that the system provides page by page, as they are first used."""

from __future__ import annotations

import mmap
from collections.abc import Callable

from rendezvous.errors import StartupError

__all__ = ["Flat", "SharedMemory", "flat_memory"]

#: Reserves memory; see :func:`flat_memory`.
Flat = Callable[[int], mmap.mmap]


class SharedMemory(mmap.mmap):
    """
    A file in memory, which other processes can map as well.

    :param file: the descriptor of the file. It has to stay open for as long as another process is to be given it.
    :param size: how much of the file is mapped, in bytes.
    :ivar descriptor: the same as ``file``.
    """

    descriptor: int

    def __new__(cls, file: int, size: int) -> SharedMemory:
        """Map the file."""
        self = super().__new__(cls, file, size)
        self.descriptor = file
        return self


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
