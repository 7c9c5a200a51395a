"""Memory that UDP workers share with the main process, and never with a file."""

from __future__ import annotations

import ctypes
import mmap as _mmap
import os
import weakref
from mmap import mmap

from rendezvous.core.presence.flat import SharedMemory
from rendezvous.errors import StartupError

__all__ = ["shared_memory", "where"]

_OVERCOMMIT = "/proc/sys/vm/overcommit_memory"
_NEVER = b"2"


def shared_memory(size: int) -> SharedMemory:
    """
    Reserve memory that can be given to another process; otherwise as
    :func:`~rendezvous.core.presence.flat.flat_memory`.

    :param size: in bytes.
    :raises StartupError: the system does not give so much.
    """
    if not hasattr(os, "memfd_create"):
        raise StartupError("--udp-workers needs Linux")
    try:
        descriptor = os.memfd_create("rendezvous", os.MFD_CLOEXEC)
        try:
            os.ftruncate(descriptor, size)
            if _is_strict():
                # Where memory is never overcommitted, a page that cannot be had later would end the process (SIGBUS).
                os.posix_fallocate(descriptor, 0, size)
            memory = SharedMemory(descriptor, size)
            memory.madvise(_mmap.MADV_DONTDUMP)
        except BaseException:
            os.close(descriptor)
            raise
    except (OSError, OverflowError) as e:
        raise StartupError(f"there is no memory for so many clients ({e}): give a smaller max_clients") from None
    weakref.finalize(memory, os.close, descriptor)
    return memory


def _is_strict() -> bool:
    try:
        with open(_OVERCOMMIT, "rb") as file:
            return file.read().strip() == _NEVER
    except OSError:
        return False


def where(memory: mmap | memoryview) -> tuple[int, int, int]:
    """
    :param memory: shared memory, or a part of it.
    :returns: the descriptor of its file, where it begins there, and how many bytes it has.
    :raises TypeError: it is not shared.
    """
    whole = memory.obj if isinstance(memory, memoryview) else memory
    if not isinstance(whole, SharedMemory):
        raise TypeError("this memory is private to the process")
    return whole.descriptor, _address(memory) - _address(whole), memoryview(memory).nbytes


def _address(memory: mmap | memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))
