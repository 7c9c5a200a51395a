"""
The mapped file of clients: their times and addresses, beside the database that says which clients exist.

What is written to a mapped file is in the system's page cache at once. It survives the end of this process, however it
ends, without a system call. A power cut, or a crash of the system, keeps what was flushed: at least everything that was
written before the server time ``flushed`` in the header.

The file begins with a header of one page (:mod:`rendezvous.storage.client_header`). Then come the records of
:mod:`rendezvous.core.presence.record`, slot 0 first, from a page boundary on, and from another one the second block:
the times of the last signed pulses, sixteen bytes for each slot (:mod:`rendezvous.core.presence.freshness`).

The file has its full length from the start, but only slots that may be used have space on the disk, given out in steps:
a disk that fills up is then an error when a step is asked for. A store into a mapped page without space would end the
process (SIGBUS).
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from twisted.logger import Logger

from rendezvous.core.presence.clients import ClientColumns
from rendezvous.core.presence.flat import SharedMemory
from rendezvous.core.presence.freshness import TIMES_SIZE
from rendezvous.core.presence.record import RECORD_SIZE
from rendezvous.errors import StartupError, Unavailable
from rendezvous.storage.client_header import (
    BOOT_AT,
    FLUSHED_AT,
    PAGE,
    TIME_AT,
    Header,
    StoredTime,
    mark_boot,
    read_header,
)
from rendezvous.storage.database import draft_beside, sync_directory, target

__all__ = ["STEP", "ClientFile", "client_file_path", "lock_client_file", "look", "open_to_read", "space_taken"]

_log = Logger()

#: Slots that get their space at once: somewhat more than a mebibyte.
STEP = 16_384

#: Bytes that are copied at once.
_CHUNK = 1 << 20


def client_file_path(store: str) -> str:
    """:returns: the name of the file that lies beside a store."""
    return f"{target(store)}.clients"


class ClientFile:
    """
    The file, mapped and locked: two servers that write to the same records would damage them.

    The store has a lock in a file of its own. This one also holds if somebody deletes that file while a server runs. If
    both files are deleted, the copy that the next flush writes is locked as well.

    :ivar columns: the records.
    :ivar header: what the header said when the file was opened.
    """

    def __init__(self, path: str, descriptor: int, header: Header) -> None:
        self._path = path
        self._descriptor = descriptor
        self.header = header
        self._mapped = SharedMemory(descriptor, header.size)
        page = memoryview(self._mapped)[:PAGE]
        self._time, self._flushed = StoredTime(page, TIME_AT), StoredTime(page, FLUSHED_AT)
        self.columns = ClientColumns(
            header.capacity,
            memoryview(self._mapped)[PAGE : header.records_end],
            self._reserve,
            memoryview(self._mapped)[header.records_end : header.times_end],
        )
        self._reserved = 0
        self._is_full = False
        # The copy that stands in the place of a file that was deleted. It is open, so that it stays locked.
        self._copy: int | None = None

    @classmethod
    def create(cls, path: str, capacity: int, generation: bytes, now: float) -> ClientFile:
        """
        Make a file without clients, in the place of one that may be there.

        :raises StartupError: the system refuses.
        """
        header = Header(capacity, generation, now, now)
        with _explained(path), draft_beside(path) as draft:
            descriptor = os.open(draft, os.O_RDWR | os.O_CLOEXEC)
            try:
                os.pwrite(descriptor, header.pack(), 0)
                os.ftruncate(descriptor, header.size)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(draft, path)
        sync_directory(path)
        return cls.open(path, capacity, generation)

    @classmethod
    def open(cls, path: str, capacity: int, generation: bytes) -> ClientFile:
        """
        Open a file that is there. One that has room for fewer clients is made larger.

        :raises FileNotFoundError: there is none.
        :raises StartupError: it is not whole, belongs to another database or is in use, or the system refuses.
        """
        with _explained(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                if os.fstat(descriptor).st_mode & 0o027:
                    # Its group may read it, for copies.
                    raise StartupError(
                        f"the table of clients {path!r} can be read or written by others: run chmod g-w,o-rwx on it"
                    )
                lock_client_file(path, descriptor)
                header = read_header(path, descriptor)
                if header.generation != generation:
                    raise StartupError(
                        f"the table of clients {path!r} belongs to another store than the one beside it: move it away,"
                        " or restore both from one backup"
                    )
                if header.capacity < capacity:
                    header = attrs.evolve(header, capacity=capacity)
                    descriptor = _enlarged(path, descriptor, header)
                opened = cls(path, descriptor, header)
            except BaseException:
                os.close(descriptor)
                raise
        return opened

    def _reserve(self, slot: int) -> int:
        upto = min(-(-slot // STEP) * STEP, self.header.capacity)
        try:
            for start, size in ((PAGE, RECORD_SIZE), (self.header.records_end, TIMES_SIZE)):
                begin, end = start + self._reserved * size, start + (upto + 1) * size
                os.posix_fallocate(self._descriptor, begin, end - begin)
        except OSError as e:
            if not self._is_full:
                self._is_full = True
                _log.error(
                    "there is no space for more clients in {path}: {reason}",
                    path=self._path,
                    reason=e.strerror,
                    event="clients_without_space",
                )
            raise Unavailable(f"There is no room for another client: {e.strerror}.", code="unsaved") from None
        self._is_full = False
        self._reserved = upto
        return upto

    def begin(self, now: float) -> None:
        """
        Go on from a server time, in this boot of the system; call it once the records have been adopted.

        :raises StartupError: what was adopted cannot be written.
        """
        self._time.restart(now)
        with _explained(self._path):
            self.flush(now)
        self._flushed.restart(now)
        mark_boot(self._mapped)

    def renew(self, now: float) -> None:
        """Record the server time."""
        self._time.renew(now)

    def flush(self, now: float) -> None:
        """
        Have everything on the disk. Blocks; may be called in another thread while the records change.

        :param now: the server time at the call.
        :raises OSError: it could not be written.
        """
        self.renew(now)
        if sys.platform != "linux":
            # POSIX does not say that fdatasync covers what was written through a mapping. Linux does it, without
            # holding the interpreter's lock as this does.
            self._mapped.flush()
        os.fdatasync(self._descriptor)
        self._flushed.renew(now)
        if not self._is_at_path(self._descriptor):
            self._write_anew()

    def _is_at_path(self, descriptor: int | None) -> bool:
        try:
            return descriptor is not None and os.path.samestat(os.stat(self._path), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    def _write_anew(self) -> None:
        """Put a copy in the place of a file that has been deleted or moved. It lacks what is written from now on."""
        with draft_beside(self._path) as draft:
            copy = os.open(draft, os.O_RDWR | os.O_CLOEXEC)
            try:
                os.ftruncate(copy, self.header.size)
                _copy(self._descriptor, 0, self.header.size, copy, 0)
                # Without the boot, what is read back counts as complete up to this flush and not longer.
                os.pwrite(copy, bytes(16), BOOT_AT)
                os.fsync(copy)
                if os.path.lexists(self._path) and not self._is_at_path(self._copy):
                    raise FileExistsError(errno.EEXIST, "another file has been put in its place")
                lock_client_file(self._path, copy)
                os.replace(draft, self._path)
            except BaseException:
                os.close(copy)
                raise
        if self._copy is None:
            _log.warn(
                "the table of clients {path} had been deleted; a copy is written with each flush",
                path=self._path,
                event="clients_deleted",
            )
        else:
            os.close(self._copy)
        self._copy = copy
        sync_directory(self._path)

    def close(self) -> None:
        """
        Let go of the file, without flushing it; what was written is in the page cache.

        It stays mapped until nothing refers to the columns any more.
        """
        # The mapping has a copy of the descriptor, with which the lock would stay.
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.close(self._descriptor)
        if self._copy is not None:
            os.close(self._copy)


def lock_client_file(path: str, descriptor: int) -> None:
    """
    Lock a file until the descriptor and all copies of it are closed.

    :raises StartupError: another server has the lock.
    :raises OSError: the file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StartupError(
            f"the table of clients {path!r} is in use by another server: stop it, or give another --store"
        ) from None


def open_to_read(path: str) -> int:
    """:returns: a descriptor. If the path leads to a pipe, this does not wait for another program to write to it."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


def space_taken(path: str) -> int:
    """:returns: how many bytes a file takes on the disk: its length without the holes, and 0 if it is not there."""
    try:
        # POSIX leaves the unit open. It is 512 bytes wherever this runs, whatever the size of a block of the disk.
        return os.stat(path).st_blocks * 512
    except FileNotFoundError:
        return 0


def look(path: str) -> tuple[Header, ClientColumns]:
    """
    Look into a file that a server may have open, or may not. Nothing is written to it.

    :returns: what its header says, and the records, which may change meanwhile.
    :raises FileNotFoundError: there is none.
    :raises StartupError: it cannot be read, or is not whole.
    """
    with _explained(path):
        descriptor = open_to_read(path)
        try:
            header = read_header(path, descriptor)
            mapped = mmap.mmap(descriptor, header.size, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)
    return header, ClientColumns(header.capacity, memoryview(mapped)[PAGE : header.records_end])


def _enlarged(path: str, old: int, header: Header) -> int:
    """
    Put a larger copy in the place of a file.

    :param old: is closed.
    :returns: a descriptor of the copy, which is locked.
    """
    with draft_beside(path) as draft:
        new = os.open(draft, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.ftruncate(new, header.size)
            before = read_header(path, old)
            _copy(old, PAGE, before.records_end, new, PAGE)
            _copy(old, before.records_end, before.size, new, header.records_end)
            os.pwrite(new, header.pack(), 0)
            os.fsync(new)
            lock_client_file(path, new)
            os.replace(draft, path)
        except BaseException:
            os.close(new)
            raise
    sync_directory(path)
    os.close(old)
    return new


def _copy(source: int, start: int, end: int, target: int, place: int) -> None:
    for at in range(start, end, _CHUNK):
        piece = os.pread(source, min(_CHUNK, end - at), at)
        # A hole stays a hole.
        if piece.strip(b"\0"):
            os.pwrite(target, piece, place + at - start)


@contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as e:
        raise StartupError(f"the table of clients {path!r} cannot be used: {e.strerror}") from None
