"""
The header of the file of clients: one page, in the byte order of the machine.

====== ====== ==========================================================================================
offset type   field
====== ====== ==========================================================================================
0      8 B    ``RDVZclnt``
8      uint32 version of the layout
12     uint32 0x01020304
16     uint32 size of a record
20     uint32 bytes for each client in the second block
24     uint64 capacity: the highest number of a slot
32     16 B   generation: equal to the one in the database, or the two do not belong together
48     uint32 CRC-32 of bytes 0 to 48
64     double server time, renewed each second
72     double all that was written before this server time is on the disk
80     16 B   the boot of the system in which the file was mapped last
====== ====== ==========================================================================================
"""

from __future__ import annotations

import mmap
import os
import struct
from zlib import crc32

import attrs

from rendezvous.core.record import RECORD_SIZE
from rendezvous.errors import StartupError

__all__ = [
    "BOOT_AT",
    "FLUSHED_AT",
    "MAGIC",
    "MOST",
    "PAGE",
    "SIGNED_SIZE",
    "TIME_AT",
    "Header",
    "mark_boot",
    "read_header",
]

#: Version of the layout.
VERSION = 1

#: What the file begins with.
MAGIC = b"RDVZclnt"
_ORDER = 0x01020304
_FIXED = struct.Struct("=8sIIIIQ16s")
_CHECK = struct.Struct("=I")

#: Bytes of the header; the blocks behind it begin at a multiple of this.
PAGE = 4096

#: No server time is as late: in microseconds, with which events are numbered, it fits into 63 bits.
MOST = 1e12

#: Where fields of the header stand.
TIME_AT, FLUSHED_AT, BOOT_AT = 64, 72, 80

#: Bytes for each client in the second block.
SIGNED_SIZE = 16


def boot() -> bytes:
    """:returns: 16 bytes that change with each boot of the system; zero if it does not say."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return bytes.fromhex(file.read().strip().replace("-", ""))
    except (OSError, ValueError):
        return bytes(16)


def mark_boot(page: mmap.mmap) -> None:
    """Record in a header which boot of the system the file is mapped in."""
    page[BOOT_AT : BOOT_AT + 16] = boot()


@attrs.frozen
class Header:
    """
    What the header says.

    :ivar capacity: the highest number of a slot.
    :ivar generation: which database the file belongs to, 16 bytes.
    :ivar time: the last server time.
    :ivar flushed: all that was written before this server time is on the disk.
    :ivar boot: see :func:`boot`.
    """

    capacity: int
    generation: bytes
    time: float = 0.0
    flushed: float = 0.0
    boot: bytes = bytes(16)

    @property
    def records_end(self) -> int:
        """:returns: where the second block begins."""
        return PAGE + _pages((self.capacity + 1) * RECORD_SIZE)

    @property
    def size(self) -> int:
        """:returns: the length of the file."""
        return self.records_end + _pages((self.capacity + 1) * SIGNED_SIZE)

    @property
    def is_complete(self) -> bool:
        """:returns: whether the system has run ever since the file was mapped last, so that nothing is missing."""
        return self.boot == boot() != bytes(16)

    @property
    def survived(self) -> float:
        """
        :returns: up to which server time the records are complete: the last one if they were in the page cache ever
            since, otherwise the last one that is known to be on the disk.
        """
        return self.time if self.is_complete else min(self.flushed, self.time)

    def pack(self) -> bytes:
        """:returns: the page."""
        fixed = _FIXED.pack(MAGIC, VERSION, _ORDER, RECORD_SIZE, SIGNED_SIZE, self.capacity, self.generation)
        page = fixed + _CHECK.pack(crc32(fixed))
        page = page.ljust(TIME_AT, b"\0") + struct.pack("=dd16s", self.time, self.flushed, self.boot)
        return page.ljust(PAGE, b"\0")


def read_header(path: str, descriptor: int) -> Header:
    """
    Read and check the header of a file, and its length.

    :raises StartupError: it is no such file, of a newer version, or not whole.
    """
    page = os.pread(descriptor, PAGE, 0)
    if not page.startswith(MAGIC):
        raise StartupError(f"the file {path!r} is no table of clients: move it away")
    try:
        _, version, order, record, signed, capacity, generation = _FIXED.unpack_from(page)
        (check,) = _CHECK.unpack_from(page, _FIXED.size)
        time, flushed, booted = struct.unpack_from("=dd16s", page, TIME_AT)
    except struct.error:
        raise _damaged(path, "it ends within its header") from None
    if check != crc32(page[: _FIXED.size]):
        raise _damaged(path, "its header is not what was written")
    if order != _ORDER:
        raise StartupError(f"the table of clients {path!r} was written by another kind of machine: restore a backup")
    if version > VERSION:
        raise StartupError(
            f"the table of clients {path!r} has version {version}, and this server knows {VERSION} at most: run a newer"
            " server"
        )
    header = Header(capacity, generation, time, flushed, booted)
    if (record, signed) != (RECORD_SIZE, SIGNED_SIZE) or not 0.0 <= time < MOST or not 0.0 <= flushed < MOST:
        raise _damaged(path, "its header makes no sense")
    if os.fstat(descriptor).st_size != header.size:
        raise _damaged(path, f"it has {os.fstat(descriptor).st_size} bytes and should have {header.size}")
    return header


def _damaged(path: str, found: str) -> StartupError:
    return StartupError(
        f"the table of clients {path!r} is damaged ({found}): restore a backup, or move the file away; then all clients"
        " stay registered, and have no address until their next pulse"
    )


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE
