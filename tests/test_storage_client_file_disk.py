"""The file of clients and the disk: what has space, what is flushed before it counts, and large copies."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.python.monkey import MonkeyPatcher

from rendezvous.core.addresses import packed
from rendezvous.core.presence.freshness import TIMES_SIZE
from rendezvous.core.presence.record import RECORD_SIZE
from rendezvous.errors import StartupError, Unavailable
from rendezvous.storage import client_file, database
from rendezvous.storage.client_file import STEP, ClientFile, look
from rendezvous.storage.client_header import Header
from tests.test_storage_client_file import GENERATION, HERE, NOW, OTHER, RECORDS, ClientFileCase, stored_time

LARGE = 100_000


def _open_descriptors() -> int:
    # A file and its columns refer to each other, and the mapping has a descriptor of its own.
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def _fail(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


class FlushedTests(ClientFileCase):
    """What takes the place of a file is on the disk, whole and locked, before it has the name of the file."""

    def setUp(self) -> None:
        """Keep what each flush has put on the disk, and look at it when a draft is renamed."""
        super().setUp()
        self.flushed = dict[int, bytes]()
        self.events: list[str] = []
        fsync, replace, sync = os.fsync, os.replace, database.sync_directory

        def flush(descriptor: int) -> None:
            fsync(descriptor)
            path = f"/proc/self/fd/{descriptor}"
            if os.path.isfile(path):
                self.flushed[os.stat(path).st_ino] = Path(path).read_bytes()

        def rename(draft: str, path: str) -> None:
            self.assertEqual(self.flushed[os.stat(draft).st_ino], Path(draft).read_bytes())
            self.events.append("locked" if self.is_locked(draft) else "free")
            replace(draft, path)

        def sync_name(path: str) -> None:
            self.events.append("name")
            sync(path)

        self.patch(os, "fsync", flush)
        self.patch(os, "replace", rename)
        self.patch(client_file, "sync_directory", sync_name)

    def is_locked(self, path: str) -> bool:
        """:returns: whether another process could not lock a file."""
        with open(path, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False

    def test_file_that_is_made(self) -> None:
        """Nobody can have opened it before it has its name, so it is locked after that."""
        made = ClientFile.create(self.path, 1000, GENERATION, NOW)
        self.assertTrue(self.is_locked(self.path))
        made.close()
        self.assertEqual(self.events, ["free", "name"])

    def test_file_that_is_enlarged(self) -> None:
        """There is no moment at which another server could take it."""
        self.opened(5000)
        self.assertEqual(self.events, ["locked", "name"])

    def test_copy_of_a_file_that_was_deleted(self) -> None:
        """The same holds for each copy."""
        opened = self.opened()
        os.unlink(self.path)
        for count in (1, 2):
            opened.flush(NOW + 5)
            self.assertEqual(self.events, ["locked", "name"] * count)


class LargeFileTests(ClientFileCase):
    """A file that is copied in several pieces, most of which are holes."""

    def setUp(self) -> None:
        """Have clients in the first slot and in the last, and in one between them."""
        super().setUp()
        self.slots = {1: b"the first one...", 20_001: b"one between them", LARGE: b"the last one...."}
        self.file = ClientFile.create(self.path, LARGE, GENERATION, NOW)
        self._ends.append(self.file.close)
        self.file.columns.ready(LARGE)
        for slot, client_id in self.slots.items():
            self.file.columns.fill(slot, client_id, NOW)
            self.file.columns.move(slot, packed(HERE[0]), slot % 65536, 0, NOW)
        self.file.begin(NOW)

    def assertSame(self, opened: ClientFile, before: bytes) -> None:
        """Fail unless both blocks of a file are those of an earlier one, and all else is zero."""
        old, new, content = Header(LARGE, GENERATION), opened.header, Path(self.path).read_bytes()
        self.assertEqual(len(content), new.size)
        for start, end, place, upto in (
            (RECORDS, old.records_end, RECORDS, new.records_end),
            (old.records_end, old.size, new.records_end, new.size),
        ):
            # Not assertEqual: a message of a few megabytes helps nobody.
            self.assertTrue(content[place:upto] == before[start:end].ljust(upto - place, b"\0"), "a block differs")
        for slot, client_id in self.slots.items():
            client = opened.columns.whole_client(slot, client_id)
            assert client is not None
            self.assertEqual(client.port, slot % 65536)

    def sign(self, *slots: int) -> bytes:
        """:returns: the content of the file, after the times of some slots have been set."""
        for slot in slots:
            at = Header(LARGE, GENERATION).records_end + slot * TIMES_SIZE
            self.overwrite(at, struct.pack("=dd", 5.0, float(slot)))
        return Path(self.path).read_bytes()

    def test_enlarged(self) -> None:
        """Everything is there, and there is nothing in the slots that are new."""
        before = self.sign(0, LARGE)
        self.assertSame(self.opened(3 * LARGE), before)

    def test_written_anew(self) -> None:
        """The copy has the whole length, and the pages that were never written to take no space in it."""
        before = self.sign(0, 1)
        os.unlink(self.path)
        self.file.flush(NOW + 1)
        self.assertSame(self.opened(LARGE), before)
        self.assertLess(os.stat(self.path).st_blocks * 512, len(before))

    def test_enlarging_that_fails_leaves_the_file(self) -> None:
        """The next start finds what was there, and no draft is left behind."""
        before, names = self.sign(0, LARGE), os.listdir(os.path.dirname(os.path.abspath(self.path)))
        self.end()
        patched = MonkeyPatcher((os, "fsync", _fail))
        message = str(
            patched.runWithPatches(self.assertRaises, StartupError, ClientFile.open, self.path, 2 * LARGE, GENERATION)
        )
        self.assertIn("No space left on device", message)
        self.assertTrue(Path(self.path).read_bytes() == before, "the file has changed")
        self.assertEqual(os.listdir(os.path.dirname(os.path.abspath(self.path))), names)
        self.assertSame(self.opened(2 * LARGE), before)


class OpeningTests(ClientFileCase):
    """The lock and the descriptors of a file."""

    def test_header_is_read_under_the_lock(self) -> None:
        """Another server that ends just before may have written a later time."""
        lock = client_file.lock_client_file

        def lock_late(path: str, descriptor: int) -> None:
            self.overwrite(64, stored_time(NOW + 70))
            lock(path, descriptor)

        self.patch(client_file, "lock_client_file", lock_late)
        self.assertEqual(self.opened().header.time, NOW + 70)

    def test_no_descriptor_stays_open(self) -> None:
        """Whether the file is made, opened, enlarged, written anew, looked at or refused."""
        for use in self.uses():
            before = _open_descriptors()
            use()
            self.assertEqual(_open_descriptors(), before, use.__name__)

    def uses(self) -> Iterator[Callable[[], object]]:
        """:returns: what may be done with a file, until it is closed again."""

        def create() -> None:
            ClientFile.create(self.path, 1000, GENERATION, NOW).close()

        def enlarge() -> None:
            ClientFile.open(self.path, 2000, GENERATION).close()

        def fail_to_enlarge() -> None:
            arguments = (StartupError, ClientFile.open, self.path, 4000, GENERATION)
            MonkeyPatcher((os, "fsync", _fail)).runWithPatches(self.assertRaises, *arguments)

        def write_anew() -> None:
            opened = ClientFile.open(self.path, 1000, GENERATION)
            for _ in range(3):
                os.unlink(self.path)
                opened.flush(NOW + 2)
            opened.close()

        def fail_to_write_anew() -> None:
            opened = ClientFile.open(self.path, 1000, GENERATION)
            os.unlink(self.path)
            Path(self.path).write_text("mine")
            self.assertRaises(FileExistsError, opened.flush, NOW + 4)
            opened.close()
            os.unlink(self.path)
            create()

        def look_at() -> None:
            look(self.path)

        def refuse() -> None:
            self.assertRaises(StartupError, ClientFile.open, self.path, 1000, bytes(16))

        return iter((create, enlarge, fail_to_enlarge, write_anew, fail_to_write_anew, look_at, refuse))


class SpaceTests(ClientFileCase):
    """Space is given out before it is used."""

    def setUp(self) -> None:
        """Keep which bytes of the file have been given space."""
        super().setUp()
        self.given: list[tuple[int, int]] = []
        self.is_full = False
        allocate = os.posix_fallocate

        def give(descriptor: int, start: int, length: int) -> None:
            if self.is_full:
                raise OSError(errno.ENOSPC, "No space left on device")
            allocate(descriptor, start, length)
            self.given.append((start, start + length))

        self.patch(os, "posix_fallocate", give)

    def test_every_slot_that_may_be_used_has_its_space(self) -> None:
        """Its record and its part of the second block, to the last byte; also the slot at the end of a step."""
        made = ClientFile.create(self.path, 2 * STEP + 5, GENERATION, NOW)
        self.addCleanup(made.close)
        for asked, last in ((1, STEP), (STEP, STEP), (STEP + 1, 2 * STEP), (2 * STEP + 1, 2 * STEP + 5)):
            made.columns.ready(asked)
            for slot in (1, asked, last):
                for start, size in ((RECORDS, RECORD_SIZE), (made.header.records_end, TIMES_SIZE)):
                    self.assertGiven(start + slot * size, start + (slot + 1) * size)

    def assertGiven(self, start: int, end: int) -> None:
        """Fail unless these bytes have been given space."""
        self.assertTrue(any(first <= start and end <= last for first, last in self.given), (start, end))

    def test_full_disk_is_logged_once_until_there_is_room_again(self) -> None:
        """Also if it is full from the start."""
        made = ClientFile.create(self.path, 3 * STEP, GENERATION, NOW)
        self.addCleanup(made.close)
        for step in (1, STEP + 1):
            self.is_full = True
            with capturedLogs() as events:
                for _ in range(3):
                    error = self.assertRaises(Unavailable, made.columns.ready, step)
            self.assertEqual(error.code, "unsaved")
            self.assertEqual([event["log_level"] for event in events], [LogLevel.error])
            line = formatEvent(events[0])
            self.assertEqual(line, f"there is no space for more clients in {self.path}: No space left on device")
            self.is_full = False
            made.columns.ready(step)
        self.assertEqual(made.columns.take(OTHER, NOW), 1)
