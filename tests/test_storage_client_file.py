"""The mapped file of clients: made, opened, refused, enlarged, and after the end of a process at any moment."""

from __future__ import annotations

import builtins
import errno
import io
import os
import random
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import attrs

from twisted.logger import LogLevel, capturedLogs
from twisted.python.monkey import MonkeyPatcher
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from rendezvous.core.addresses import packed
from rendezvous.core.presence.client import Client
from rendezvous.core.presence.record import RECORD_SIZE
from rendezvous.errors import StartupError, Unavailable
from rendezvous.storage import client_file, client_header
from rendezvous.storage.client_file import STEP, ClientFile, client_file_path
from rendezvous.storage.client_header import Header, read_header

NOW = 1_700_000_000.0
ID = b"a client's id..."
OTHER = b"another one's..."
HERE = ("198.51.100.7", 40000)
GENERATION = b"generation......"
RECORDS = 4096


def stored_time(time: float) -> bytes:
    """:returns: a server time as the header has it: twice, each time with its complement."""
    bits = struct.pack("=d", time)
    return 2 * (bits + bytes(byte ^ 0xFF for byte in bits))


class ClientFileCase(SynchronousTestCase):
    """A file with two clients, which was closed."""

    def setUp(self) -> None:
        """Make it."""
        self.path = client_file_path(self.mktemp())
        made = ClientFile.create(self.path, 1000, GENERATION, NOW)
        for client_id in (ID, OTHER):
            made.columns.take(client_id, NOW, "192.0.2.1")
        made.columns.move(1, packed(HERE[0]), HERE[1], 5024, NOW + 1)
        made.begin(NOW + 1)
        made.close()
        self._ends: list[Callable[[], None]] = []
        self.addCleanup(self.end)

    def opened(self, capacity: int = 1000) -> ClientFile:
        """:returns: the file, as a new process finds it: one that has it open has ended."""
        self.end()
        opened = ClientFile.open(self.path, capacity, GENERATION)
        self._ends.append(opened.close)
        return opened

    def end(self) -> None:
        """Let go of the file, if it is open."""
        while self._ends:
            self._ends.pop()()

    def adopt(self, opened: ClientFile, shift: float = 0.0, latest: float = NOW + 1) -> list[bool]:
        """:returns: whether each of the two clients was whole."""
        return [opened.columns.adopt(slot, client_id, shift, latest) for slot, client_id in ((1, ID), (2, OTHER))]

    def overwrite(self, place: int, content: bytes) -> None:
        """Change some bytes of the file."""
        with open(self.path, "r+b") as file:
            file.seek(place)
            file.write(content)

    def refusal(self) -> str:
        """:returns: why the file is refused; it stays as it is."""
        before = Path(self.path).read_bytes()
        message = str(self.assertRaises(StartupError, ClientFile.open, self.path, 1000, GENERATION))
        self.assertEqual(Path(self.path).read_bytes(), before)
        self.assertNotIn("\n", message)
        self.assertIn(repr(self.path), message)
        return message


class OpenTests(ClientFileCase):
    """What is read back."""

    def test_clients_are_back(self) -> None:
        """With all that was recorded of them."""
        opened = self.opened()
        self.assertEqual(self.adopt(opened), [True, True])
        self.assertEqual(opened.columns.client(1), Client(ID, NOW + 1, "192.0.2.1", *HERE, 5024))
        self.assertEqual(opened.columns.client(2), Client(OTHER, NOW, "192.0.2.1"))
        self.assertEqual((opened.columns.top, opened.header.time, opened.header.survived), (2, NOW + 1, NOW + 1))

    def test_file_is_its_owners_alone(self) -> None:
        """Whatever the umask says; an enlarged one, too."""
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)
        self.opened(5000)
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)
        self.assertEqual(os.listdir(os.path.dirname(self.path) or ".").count(os.path.basename(self.path)), 1)

    def test_missing_file_is_for_the_caller(self) -> None:
        """It knows whether there should be one."""
        os.unlink(self.path)
        self.assertRaises(FileNotFoundError, ClientFile.open, self.path, 1000, GENERATION)

    def test_enlarged_file_has_all_that_the_small_one_had(self) -> None:
        """Records, the second block, and the times; and there is room."""
        signed = read_header(self.path, self.descriptor()).records_end + 16
        self.overwrite(signed, struct.pack("=dd", 5.0, 6.0))
        opened = self.opened(100_000)
        self.assertEqual(self.adopt(opened), [True, True])
        self.assertEqual(opened.columns.client(1), Client(ID, NOW + 1, "192.0.2.1", *HERE, 5024))
        header = read_header(self.path, self.descriptor())
        self.assertEqual((header.capacity, header.time, opened.columns.capacity), (100_000, NOW + 1, 100_000))
        content = Path(self.path).read_bytes()
        self.assertEqual(struct.unpack_from("=dd", content, header.records_end + 16), (5.0, 6.0))
        self.assertEqual(opened.columns.take(ID, NOW), 3)

    def test_blocks_begin_behind_the_last_slot(self) -> None:
        """Slots are counted from 0, so a capacity of 63 fills a page with records, and one of 255 one with times."""
        for capacity, records, times in ((62, 1, 1), (63, 1, 1), (64, 2, 1), (255, 4, 1), (256, 5, 2)):
            header = Header(capacity, GENERATION)
            self.assertEqual((header.records_end, header.size), (4096 * (1 + records), 4096 * (1 + records + times)))
            made = ClientFile.create(self.path, capacity, GENERATION, NOW)
            self.addCleanup(made.close)
            made.columns.ready(capacity)
            made.columns.fill(capacity, ID, NOW)
            content = Path(self.path).read_bytes()
            self.assertEqual(content.index(ID), 4096 + capacity * RECORD_SIZE + 40)
            self.assertEqual(content[header.records_end :].strip(b"\0"), b"")

    def test_larger_file_stays(self) -> None:
        """A lower bound is no reason to lose clients."""
        self.assertEqual(self.opened(10).columns.capacity, 1000)

    def descriptor(self) -> int:
        """:returns: of the file as it is now."""
        descriptor = os.open(self.path, os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        return descriptor


class RefusalTests(ClientFileCase):
    """Files that are not trusted, in one line that says what to do."""

    def test_another_kind_of_file(self) -> None:
        """It is not touched."""
        for content in (b"", b"SQLite format 3\0" * 300, bytes(8192)):
            Path(self.path).write_bytes(content)
            self.assertIn("no table of clients", self.refusal())

    def test_newer_version(self) -> None:
        """Which a newer server can read."""
        header = struct.pack("=8sIIIIQ16s", b"RDVZclnt", 2, 0x01020304, RECORD_SIZE, 16, 1000, GENERATION)
        self.overwrite(0, header + struct.pack("=I", crc32(header)))
        self.assertIn("version 2, and this server knows 1 at most: run a newer server", self.refusal())

    def test_another_byte_order(self) -> None:
        """Nothing in the file could be read, neither the times nor the check of the header."""
        order = ">" if sys.byteorder == "little" else "<"
        header = struct.pack(f"{order}8sIIIIQ16s", b"RDVZclnt", 1, 0x01020304, RECORD_SIZE, 16, 1000, GENERATION)
        self.overwrite(0, header + struct.pack(f"{order}I12x8d", crc32(header), *[NOW] * 8))
        self.assertIn("another kind of machine", self.refusal())

    def test_any_damaged_byte_of_the_header(self) -> None:
        """Of what is written once; the first eight bytes say what kind of file it is."""
        whole = Path(self.path).read_bytes()
        for place in range(52):
            self.overwrite(place, bytes([whole[place] ^ 0x10]))
            self.assertIn("no table of clients" if place < 8 else "damaged", self.refusal())
            self.overwrite(place, whole[place : place + 1])
        self.opened()

    def test_times_that_make_no_sense(self) -> None:
        """They decide who is there. Zero is a time like others."""
        for place in (64, 96):
            for time in (float("nan"), float("inf"), -1.0, 1e12, 1e300):
                before = Path(self.path).read_bytes()[place : place + 32]
                self.overwrite(place, stored_time(time))
                self.assertIn("makes no sense", self.refusal())
                self.overwrite(place, before)
            self.overwrite(place, stored_time(0.0))
        header = self.opened().header
        self.assertEqual((header.time, header.flushed), (0.0, 0.0))

    def test_records_of_another_size(self) -> None:
        """They could not be found in the file."""
        for record, signed in ((RECORD_SIZE * 2, 16), (RECORD_SIZE, 32)):
            header = struct.pack("=8sIIIIQ16s", b"RDVZclnt", 1, 0x01020304, record, signed, 1000, GENERATION)
            self.overwrite(0, header + struct.pack("=I", crc32(header)))
            self.assertIn("makes no sense", self.refusal())

    def test_times_that_are_both_damaged(self) -> None:
        """Of server time and of the last flush, one copy has to be whole."""
        for place in (64, 96):
            before = Path(self.path).read_bytes()[place : place + 32]
            for first in (0, 15):
                damaged = bytearray(before)
                damaged[first] ^= 0x10
                damaged[16 + first] ^= 0x10
                self.overwrite(place, bytes(damaged))
                self.assertIn("its header is not what was written", self.refusal())
            self.overwrite(place, before)

    def test_wrong_length(self) -> None:
        """Cut anywhere, or too long."""
        whole = Path(self.path).read_bytes()
        for length in (8, 51, 52, 143, 4095, 4096, len(whole) - 1, len(whole) + 1, 2 * len(whole)):
            Path(self.path).write_bytes(whole[:length].ljust(length, b"\0"))
            expected = (
                f"has {length} bytes and should have {len(whole)}" if length >= 4096 else "ends within its header"
            )
            self.assertIn(expected, self.refusal())

    def test_file_of_another_store(self) -> None:
        """Its times and addresses are of other clients, or of another moment."""
        message = str(self.assertRaises(StartupError, ClientFile.open, self.path, 1000, bytes(16)))
        self.assertIn("belongs to another store", message)

    def test_file_that_others_may_use(self) -> None:
        """As of the store itself."""
        for mode in (0o620, 0o604, 0o602, 0o601):
            os.chmod(self.path, mode)
            self.assertIn("can be read or written by others", self.refusal())

    def test_file_that_its_group_may_read(self) -> None:
        """So that another account can copy it."""
        os.chmod(self.path, 0o640)
        self.assertEqual(self.adopt(self.opened()), [True, True])

    def test_file_that_cannot_be_used(self) -> None:
        """The system's reason is given."""
        os.unlink(self.path)
        os.mkdir(self.path)
        message = str(self.assertRaises(StartupError, ClientFile.open, self.path, 1000, GENERATION))
        self.assertIn("Is a directory", message)


class DamageTests(ClientFileCase):
    """Records that are not what was written cost their client an address, never more."""

    def test_torn_address_is_dropped(self) -> None:
        """At whatever byte."""
        for place in (*range(16, 36), *range(38, 56)):
            before = Path(self.path).read_bytes()
            at = RECORDS + RECORD_SIZE + place
            self.overwrite(at, bytes([before[at] ^ 1]))
            opened = self.opened()
            self.assertEqual(self.adopt(opened), [False, True])
            self.assertIsNone(opened.columns.client(1).host)
            self.assertEqual(opened.columns.client(1).client_id, ID)
            Path(self.path).write_bytes(before)

    def test_page_that_was_never_written_costs_its_clients_the_address(self) -> None:
        """They are there, without an address, since the moment of the start."""
        self.overwrite(RECORDS, bytes(4096))
        opened = self.opened()
        self.assertEqual(self.adopt(opened), [False, False])
        self.assertEqual(
            [opened.columns.client(slot) for slot in (1, 2)], [Client(ID, NOW + 1), Client(OTHER, NOW + 1)]
        )

    def test_record_of_another_client_is_not_trusted(self) -> None:
        """A slot whose new client never reached the database, say."""
        opened = self.opened()
        self.assertFalse(opened.columns.adopt(1, OTHER, 0.0, NOW + 9))
        self.assertEqual(opened.columns.client(1), Client(OTHER, NOW + 9))

    def test_slots_that_were_left_out_are_free(self) -> None:
        """Clients that the database does not know are gone."""
        opened = self.opened()
        opened.columns.adopt(2, OTHER, 0.0, NOW + 1)
        self.assertEqual((opened.columns.flags(1), opened.columns.take(ID, NOW + 1)), (0, 1))

    def test_times_are_shifted_and_bounded(self) -> None:
        """None is later than the start, or no number."""
        opened = self.opened()
        self.assertEqual(self.adopt(opened, shift=5.0, latest=NOW + 5.5), [True, True])
        self.assertEqual([opened.columns.client(slot).last_seen for slot in (1, 2)], [NOW + 5.5, NOW + 5.0])
        for time in (float("nan"), float("inf"), -5.0, 1e300):
            self.overwrite(RECORDS + RECORD_SIZE, struct.pack("=d", time))
            opened = self.opened()
            self.adopt(opened, latest=NOW + 7)
            self.assertEqual(opened.columns.client(1).last_seen, NOW + 7, time)

    def test_time_before_a_verify_is_shifted_and_bounded_too(self) -> None:
        """It is shown as the last pulse."""
        opened = self.opened()
        self.adopt(opened)
        opened.columns.verify(1, NOW + 3)
        again = self.opened()
        self.adopt(again, shift=1.0, latest=NOW + 4)
        self.assertEqual(again.columns.client(1).last_pulse, NOW + 2)
        self.overwrite(RECORDS + RECORD_SIZE + 8, struct.pack("=d", float("nan")))
        again = self.opened()
        self.adopt(again, latest=NOW + 4)
        self.assertEqual(again.columns.client(1).last_pulse, NOW + 4)


class ServerTimeTests(ClientFileCase):
    """What the header says of time."""

    def test_time_of_the_same_boot_is_the_last_one(self) -> None:
        """The page cache has everything, however the process ended."""
        opened = self.opened()
        opened.renew(NOW + 50)
        self.assertEqual(self.opened().header.survived, NOW + 50)
        self.assertEqual(self.opened().header.flushed, NOW + 1)

    def test_time_after_another_boot_is_that_of_the_last_flush(self) -> None:
        """Also if the system does not say which boot it is."""
        opened = self.opened()
        opened.renew(NOW + 50)
        for now in (bytes(16), b"another boot....", b"yet another one."):
            self.patch(client_header, "boot", lambda now=now: now)
            self.assertEqual(self.opened().header.survived, NOW + 1)
        opened.flush(NOW + 60)
        self.assertEqual(self.opened().header.survived, NOW + 60)

    def test_system_that_never_says_which_boot_it_is(self) -> None:
        """Two boots cannot be told from each other, so only what was flushed counts."""

        def refuse(*args: object, **options: object) -> object:
            raise PermissionError(errno.EACCES, "Permission denied")

        for found in (refuse, lambda *args, **options: io.StringIO("no hex digits")):
            opened = self.opened()
            with MonkeyPatcher((builtins, "open", found)):
                self.assertEqual(client_header.boot(), bytes(16))
                opened.begin(NOW + 2)
                opened.renew(NOW + 50)
                header = self.opened().header
                self.assertEqual((header.is_complete, header.survived), (False, NOW + 2))

    def test_one_wrong_bit_changes_no_time(self) -> None:
        """In either copy of either time: the other copy is at most as old as the renewal before."""
        opened = self.opened()
        opened.renew(NOW + 2)
        opened.flush(NOW + 3)
        descriptor = os.open(self.path, os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        whole = Path(self.path).read_bytes()
        for bit in range(512):
            at = 64 + bit // 8
            self.overwrite(at, bytes([whole[at] ^ 1 << bit % 8]))
            header = read_header(self.path, descriptor)
            self.assertIn(header.time, (NOW + 2, NOW + 3))
            self.assertIn(header.flushed, (NOW + 1, NOW + 3))
            self.overwrite(at, whole[at : at + 1])

    def test_kill_between_the_two_stores_of_a_time(self) -> None:
        """The earlier time holds, and the next renewal does not touch it."""
        opened = self.opened()
        opened.renew(NOW + 2)
        before = Path(self.path).read_bytes()[64:96]
        opened.renew(NOW + 3)
        after = Path(self.path).read_bytes()[64:96]
        changed = [word for word in range(0, 32, 8) if before[word : word + 8] != after[word : word + 8]]
        self.assertEqual(len(changed), 2)
        self.overwrite(64 + changed[1], before[changed[1] : changed[1] + 8])
        again = self.opened()
        self.assertEqual(again.header.time, NOW + 2)
        again.renew(NOW + 4)
        self.assertEqual(self.opened().header.time, NOW + 4)
        self.overwrite(64 + changed[1], bytes(8))
        self.assertEqual(self.opened().header.time, NOW + 2)

    def test_time_may_begin_anew_at_an_earlier_one(self) -> None:
        """After a power cut, server time goes back to the last flush."""
        opened = self.opened()
        opened.renew(NOW + 50)
        opened.flush(NOW + 60)
        opened.begin(NOW + 40)
        self.assertEqual((self.opened().header.time, self.opened().header.flushed), (NOW + 40, NOW + 40))
        opened.renew(NOW + 41)
        self.assertEqual(self.opened().header.time, NOW + 41)

    def test_failed_flush_promises_nothing(self) -> None:
        """The records are still there, the time of the last flush stays."""
        opened = self.opened()

        def fail(descriptor: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        self.patch(os, "fdatasync", fail)
        self.assertRaises(OSError, opened.flush, NOW + 9)
        self.assertEqual((self.opened().header.time, self.opened().header.flushed), (NOW + 9, NOW + 1))
        message = str(self.assertRaises(StartupError, opened.begin, NOW + 9))
        self.assertIn("Input/output error", message)


class DeletedFileTests(ClientFileCase):
    """A file that somebody deletes while it is open."""

    def setUp(self) -> None:
        """Delete it, after a move that is in it, and before another."""
        super().setUp()
        self.file = self.opened()
        self.adopt(self.file)
        self.file.begin(NOW + 2)
        self.file.columns.move(1, packed(HERE[0]), 1, 0, NOW + 3)
        os.unlink(self.path)

    def test_flush_writes_a_copy(self) -> None:
        """One line says so; each flush writes a newer one. It is taken for what was there at the flush."""
        with capturedLogs() as events:
            self.file.flush(NOW + 4)
            self.file.columns.move(1, packed(HERE[0]), 2, 0, NOW + 5)
            self.file.flush(NOW + 6)
            self.file.columns.move(1, packed(HERE[0]), 3, 0, NOW + 7)
            self.file.renew(NOW + 8)
        self.assertEqual([event["log_level"] for event in events], [LogLevel.warn])
        opened = self.opened()
        self.assertEqual((opened.header.survived, opened.header.is_complete), (NOW + 6, False))
        self.adopt(opened)
        self.assertEqual(opened.columns.client(1).port, 2)

    def test_copy_is_locked(self) -> None:
        """As the file was: no other server can use it before this one has closed it. A newer copy is locked, too."""
        for flushed in (NOW + 4, NOW + 5):
            self.file.flush(flushed)
            self.assertIn("is in use by another server", self.refusal())
        self.assertEqual(self.opened().header.survived, NOW + 5)

    def test_another_file_in_its_place_stays(self) -> None:
        """The flush fails; also where a copy has been replaced."""
        for _ in range(2):
            Path(self.path).write_text("mine")
            self.assertRaises(FileExistsError, self.file.flush, NOW + 4)
            self.assertEqual(Path(self.path).read_text(), "mine")
            os.unlink(self.path)
            self.file.flush(NOW + 4)
            Path(self.path).rename(self.path + ".moved")

    def test_copy_that_cannot_be_written_is_an_error(self) -> None:
        """There is no copy then."""
        self.patch(client_file, "draft_beside", _no_space)
        self.assertRaises(OSError, self.file.flush, NOW + 4)
        self.assertFalse(Path(self.path).exists())


def _no_space(path: str) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


class SpaceTests(ClientFileCase):
    """Space on the disk."""

    def test_file_takes_the_space_of_the_slots_that_may_be_used(self) -> None:
        """In steps; the rest of its length takes none."""
        path = self.mktemp()
        opened = ClientFile.create(path, 10 * STEP, GENERATION, NOW)
        self.addCleanup(opened.close)
        used = [os.stat(path).st_blocks * 512]
        for slot in (1, STEP, STEP + 1):
            opened.columns.ready(slot)
            used.append(os.stat(path).st_blocks * 512)
        self.assertLess(used[0], 100_000)
        self.assertEqual(used[1], used[2])
        self.assertGreaterEqual(used[1], STEP * 80)
        self.assertGreaterEqual(used[3], 2 * STEP * 80)
        self.assertLess(used[3], 3 * STEP * 80)
        self.assertEqual(os.stat(path).st_size, read_header(path, opened._descriptor).size)

    def test_full_disk_is_an_error_and_recovers(self) -> None:
        """No new client is taken in, the others go on, and new ones are taken in when there is room again."""
        opened = self.opened()
        self.adopt(opened)
        path = self.mktemp()
        opened = ClientFile.create(path, 3 * STEP, GENERATION, NOW)
        self.addCleanup(opened.close)
        opened.columns.take(ID, NOW)
        allocate = os.posix_fallocate

        def fail(descriptor: int, offset: int, length: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.patch(os, "posix_fallocate", fail)
        with capturedLogs() as events:
            for _ in range(2):
                error = self.assertRaises(Unavailable, opened.columns.ready, STEP + 1)
                self.assertIn("No space left on device", error.message)
        self.assertEqual([event["log_level"] for event in events], [LogLevel.error])
        opened.columns.move(1, packed(HERE[0]), HERE[1], 0, NOW)
        self.assertEqual(opened.columns.take(OTHER, NOW), 2)
        self.patch(os, "posix_fallocate", allocate)
        opened.columns.ready(STEP + 1)

    def test_disk_that_is_really_full_ends_no_process(self) -> None:
        """On a file system of two megabytes: registrations fail, and those who were let in can pulse."""
        script = f"mount -t tmpfs -o size=2m none {os.getcwd()} && exec {sys.executable} -c '{FILL_DISK}'"
        made = subprocess.run(
            ["unshare", "--map-root-user", "--mount", "sh", "-c", script],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        if "unshare" in made.stderr or "mount" in made.stderr:
            raise SkipTest("this needs a user namespace")
        self.assertEqual((made.returncode, made.stderr), (0, ""))
        self.assertEqual(made.stdout.split(), [str(STEP), "full", "written"])


FILL_DISK = """
import os
from rendezvous.errors import Unavailable
from rendezvous.storage.client_file import ClientFile
os.chdir(os.getcwd())
opened = ClientFile.create("clients", 1000000, bytes(16), 1.0)
made = 0
try:
    while True:
        opened.columns.take(made.to_bytes(16, "big"), 1.0)
        made += 1
except Unavailable:
    print(made, "full")
rest = os.open("rest", os.O_WRONLY | os.O_CREAT)
try:
    while True:
        os.write(rest, bytes(4096))
except OSError:
    pass
for slot in range(1, made + 1):
    opened.columns.move(slot, bytes([192, 0, 2, 1]), slot % 65536, 0, 2.0)
opened.flush(3.0)
print("written")
os._exit(0)
"""

WRITE_FOREVER = """
import sys
from rendezvous.core.addresses import packed
from rendezvous.storage.client_file import ClientFile
opened = ClientFile.open(sys.argv[1], 1000, b"generation......")
columns, count = opened.columns, 20
for slot in range(1, 3):
    columns.adopt(slot, [b"a client's id...", b"another one's..."][slot - 1], 0.0, 1e12)
for slot in range(3, count + 1):
    columns.take(slot.to_bytes(16, "big"), 0.0)
opened.begin(0.0)
step = 0
while True:
    step += 1
    for slot in range(1, count + 1):
        host = f"192.0.2.{step % 256}" if step % 2 else f"2001:db8:{step % 65536:x}::{slot:x}"
        columns.move(slot, packed(host), step % 65536, step % 7, float(step))
        columns.verify(slot, step + 0.5)
        columns.pulse(slot, step + 0.75)
    opened.renew(float(step))
    sys.stdout.write(f"{step}\\n")
    sys.stdout.flush()
"""


class KillTests(ClientFileCase):
    """The process ends without a warning, at whatever instruction."""

    def test_killed_process_leaves_every_record_whole(self) -> None:
        """Each client has the address of one moment or none, and no accepted time is lost."""
        for _ in range(8):
            self.setUp()
            self.kill_one(random.uniform(0.0, 0.05))

    def kill_one(self, after: float) -> None:
        """Let a process write as fast as it can for a while, kill it, and look."""
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITE_FOREVER, self.path],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        assert writer.stdout is not None
        self.assertEqual(writer.stdout.readline(), "1\n")
        try:
            writer.wait(after)
        except subprocess.TimeoutExpired:
            writer.send_signal(signal.SIGKILL)
        # It may have been killed in its second step.
        last = int(["1", *writer.stdout.read().split()][-1])
        self.assertEqual(writer.wait(), -signal.SIGKILL)
        writer.stdout.close()
        opened = self.opened()
        self.adopt(opened, latest=1e12)
        for slot in range(3, 21):
            opened.columns.adopt(slot, slot.to_bytes(16, "big"), 0.0, 1e12)
        homeless = 0
        for slot in range(1, 21):
            client = opened.columns.client(slot)
            step = int(client.last_seen)
            self.assertIn(step, (last, last + 1))
            if client.host is None:
                homeless += 1
                continue
            # A move records the time just before the address counts again.
            host = f"192.0.2.{step % 256}" if step % 2 else f"2001:db8:{step % 65536:x}::{slot:x}"
            self.assertEqual((client.host, client.port, client.local_port), (host, step % 65536, step % 7))
        self.assertLessEqual(homeless, 1)
        self.assertIn(int(attrs.evolve(opened.header).time), (last, last + 1))
