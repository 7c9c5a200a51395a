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
64     32 B   server time, renewed each second: see :class:`StoredTime`
96     32 B   all that was written before this server time is on the disk: see :class:`StoredTime`
128    16 B   the boot of the system in which the file was mapped last
====== ====== ==========================================================================================
"""

from __future__ import annotations

import mmap
import os
import struct
from zlib import crc32

import attrs

from rendezvous.core.presence.freshness import TIMES_SIZE
from rendezvous.core.presence.record import RECORD_SIZE
from rendezvous.errors import StartupError

__all__ = [
    "BOOT_AT",
    "FLUSHED_AT",
    "MAGIC",
    "MOST",
    "PAGE",
    "TIME_AT",
    "Header",
    "StoredTime",
    "mark_boot",
    "read_header",
]

#: Version of the layout.
VERSION = 1

#: What the file begins with.
MAGIC = b"RDVZclnt"
_ORDER, _OTHER_ORDER = 0x01020304, 0x04030201
_FIXED = struct.Struct("=8sIIIIQ16s")
_CHECK = struct.Struct("=I")

#: Bytes of the header; the blocks behind it begin at a multiple of this.
PAGE = 4096

#: No server time is as late: in microseconds, with which events are numbered, it fits into 63 bits.
MOST = 1e12

#: Where fields of the header stand.
TIME_AT, FLUSHED_AT, BOOT_AT = 64, 96, 128

_ALL_ONES = (1 << 64) - 1


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


class StoredTime:
    """
    A server time in the header of a file that is in use.

    The header has it twice, each time followed by its bitwise complement: four words of eight bytes. A new time
    replaces the earlier of the two. So a process that is killed between two stores leaves the other time whole, and a
    time whose bits have been damaged is recognised. For example, a single wrong bit could otherwise set server time
    forward by an hour, and all clients would have expired.

    :param header: at least the first 144 bytes of the file.
    :param at: where the four words begin.
    """

    def __init__(self, header: memoryview, at: int) -> None:
        words = header[at : at + 32]
        self._times, self._bits = words.cast("d"), words.cast("Q")

    def read(self) -> float | None:
        """:returns: the later of the times that are whole, in seconds; ``None`` if neither is."""
        latest = self._latest()
        return None if latest is None else self._times[latest]

    def renew(self, time: float) -> None:
        """Go on to a later time."""
        self._write(2 if self._latest() == 0 else 0, time)

    def restart(self, time: float) -> None:
        """Go on from a time that may be earlier than the one that is stored."""
        for place in (0, 2):
            self._write(place, time)

    def _write(self, place: int, time: float) -> None:
        self._times[place] = time
        self._bits[place + 1] = self._bits[place] ^ _ALL_ONES

    def _latest(self) -> int | None:
        whole = [place for place in (0, 2) if self._bits[place] ^ self._bits[place + 1] == _ALL_ONES]
        return max(whole, key=self._times.__getitem__, default=None)


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
    def times_end(self) -> int:
        """:returns: where the times of signed pulses end."""
        return self.records_end + (self.capacity + 1) * TIMES_SIZE

    @property
    def size(self) -> int:
        """:returns: the length of the file."""
        return self.records_end + _pages((self.capacity + 1) * TIMES_SIZE)

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
        fixed = _FIXED.pack(MAGIC, VERSION, _ORDER, RECORD_SIZE, TIMES_SIZE, self.capacity, self.generation)
        page = bytearray((fixed + _CHECK.pack(crc32(fixed))).ljust(PAGE, b"\0"))
        for at, time in ((TIME_AT, self.time), (FLUSHED_AT, self.flushed)):
            StoredTime(memoryview(page), at).restart(time)
        page[BOOT_AT : BOOT_AT + 16] = self.boot
        return bytes(page)


def read_header(path: str, descriptor: int) -> Header:
    """
    Read and check the header of a file, and its length.

    :raises StartupError: it is no such file, of a newer version, or not whole.
    """
    page = os.pread(descriptor, PAGE, 0)
    if not page.startswith(MAGIC):
        raise StartupError(f"the file {path!r} is no table of clients: move it away")
    if len(page) < PAGE:
        raise _damaged(path, "it ends within its header")
    _, version, order, record, signed, capacity, generation = _FIXED.unpack_from(page)
    if order == _OTHER_ORDER:
        # The check has the other order, too.
        raise StartupError(f"the table of clients {path!r} was written by another kind of machine: restore a backup")
    time, flushed = (StoredTime(memoryview(page), at).read() for at in (TIME_AT, FLUSHED_AT))
    if _CHECK.unpack_from(page, _FIXED.size)[0] != crc32(page[: _FIXED.size]) or time is None or flushed is None:
        raise _damaged(path, "its header is not what was written")
    if version > VERSION:
        raise StartupError(
            f"the table of clients {path!r} has version {version}, and this server knows {VERSION} at most: run a newer"
            " server"
        )
    header = Header(capacity, generation, time, flushed, page[BOOT_AT : BOOT_AT + 16])
    if (
        order != _ORDER
        or (record, signed) != (RECORD_SIZE, TIMES_SIZE)
        or not 0.0 <= time < MOST
        or not 0.0 <= flushed < MOST
    ):
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
