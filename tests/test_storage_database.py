"""The file of the SQLite store: whose it is, its version, its mode, and one server at a time."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.errors import StartupError
from rendezvous.storage.database import APPLICATION_ID, Lock, draft_beside, open_database, schema_steps, stored_version
from rendezvous.testing import MemoryServer

STEPS = {1: "CREATE TABLE one (a TEXT) STRICT;\n", 2: "ALTER TABLE one ADD COLUMN b TEXT; CREATE TABLE two (c TEXT);\n"}
FIRST = {1: STEPS[1]}


def mode(path: str) -> int:
    """:returns: the permissions of a file."""
    return stat.S_IMODE(os.stat(path).st_mode)


class DatabaseCase(SynchronousTestCase):
    """A directory for a file."""

    def setUp(self) -> None:
        """Begin without one."""
        directory = Path(self.mktemp())
        directory.mkdir()
        self.directory = directory
        self.path = str(directory / "store.sqlite3")

    def open(self, steps: dict[int, str] | None = None) -> sqlite3.Connection:
        """:returns: the file, which is closed when the test ends."""
        database = open_database(self.path, steps)
        self.addCleanup(database.close)
        return database

    def make(self, steps: dict[int, str] = FIRST) -> None:
        """Make a file that has one row."""
        database = open_database(self.path, steps)
        database.execute("INSERT INTO one (a) VALUES ('kept')")
        database.close()

    def refusal(self, steps: dict[int, str] | None = None) -> str:
        """:returns: why the file cannot be used: one line that names it; and it is as it was."""
        before = Path(self.path).read_bytes() if os.path.isfile(self.path) else None
        with self.assertRaises(StartupError) as caught:
            open_database(self.path, steps)
        message = str(caught.exception)
        self.assertNotIn("\n", message)
        self.assertIn(repr(self.path), message)
        if before is not None:
            self.assertEqual(Path(self.path).read_bytes(), before)
        return message


class NewFileTests(DatabaseCase):
    """A file that is not there yet, or has nothing in it."""

    def test_steps_are_numbered_from_one(self) -> None:
        """No number is left out, so that every version leads to the next."""
        steps = schema_steps()
        self.assertEqual(list(steps), list(range(1, len(steps) + 1)))
        self.assertIn("CREATE TABLE clients", steps[1])

    def test_new_file_is_ours_and_of_the_newest_version(self) -> None:
        """It says so itself."""
        database = self.open()
        self.assertEqual(database.execute("PRAGMA application_id").fetchone()[0], APPLICATION_ID)
        self.assertEqual(APPLICATION_ID.to_bytes(4, "big"), b"RDVZ")
        self.assertEqual(stored_version(database), max(schema_steps()))

    def test_file_and_its_log_are_their_owners_alone(self) -> None:
        """Whatever the umask says."""
        self.addCleanup(os.umask, os.umask(0))
        self.open().execute("INSERT INTO meta VALUES ('alive', 1.0)")
        self.assertEqual([mode(self.path + end) for end in ("", "-wal", "-shm")], [0o600] * 3)

    def test_commits_are_on_the_disk_when_they_return(self) -> None:
        """A log of writes, and each commit synced."""
        database = self.open()
        self.assertEqual(database.execute("PRAGMA journal_mode").fetchone()[0], "wal")
        self.assertEqual(database.execute("PRAGMA synchronous").fetchone()[0], 2)

    def test_empty_file_becomes_a_store(self) -> None:
        """Somebody made it beforehand, for its owner or its mode."""
        Path(self.path).touch(0o640)
        self.assertEqual(stored_version(self.open(FIRST)), 1)

    def test_file_that_others_may_use_is_refused(self) -> None:
        """The group may read, for copies; every other bit of the group and of the rest is refused by itself."""
        self.open().close()
        for bit in range(6):
            os.chmod(self.path, 0o600 | 1 << bit)
            if 1 << bit in (0o040, 0o010):
                self.open().close()
            else:
                message = str(self.assertRaises(StartupError, self.open))
                self.assertIn("can be read or written by others: run chmod g-w,o-rwx on it", message)

    def test_new_file_leaves_no_copy(self) -> None:
        """There was nothing to copy."""
        self.open(STEPS).close()
        self.assertEqual(os.listdir(self.directory), ["store.sqlite3"])


class RefusedTests(DatabaseCase):
    """Files that are left as they are."""

    def test_newer_version(self) -> None:
        """It says which version there is and which one is known."""
        self.make(STEPS)
        self.assertIn("has version 2, and this server knows 1 at most: run a newer server", self.refusal(FIRST))

    def test_other_programs_database(self) -> None:
        """With another application id, or with none."""
        for number in (0, 1):
            database = sqlite3.connect(self.path)
            database.executescript(f"CREATE TABLE IF NOT EXISTS theirs (a); PRAGMA application_id = {number};")
            database.close()
            self.assertIn("another program's database", self.refusal())

    def test_empty_database_of_another_program(self) -> None:
        """It has no tables yet, but somebody has put their name on it."""
        database = sqlite3.connect(self.path)
        database.execute("PRAGMA application_id = 7")
        database.close()
        self.assertIn("another program's database", self.refusal())

    def test_no_database_at_all(self) -> None:
        """A text file, say."""
        Path(self.path).write_text("something else\n" * 100)
        self.assertIn("is damaged, or no store at all", self.refusal())

    def test_damaged_pages(self) -> None:
        """Found before anything is read back."""
        self.make()
        data = bytearray(Path(self.path).read_bytes())
        data[4096:] = b"\xff" * (len(data) - 4096)
        Path(self.path).write_bytes(data)
        self.assertIn("put a backup in its place", self.refusal(FIRST))

    def test_file_cut_short(self) -> None:
        """Half of it is missing."""
        self.open().close()
        data = Path(self.path).read_bytes()
        Path(self.path).write_bytes(data[: len(data) // 2])
        self.assertIn("is damaged", self.refusal())

    def test_directory(self) -> None:
        """It cannot be opened."""
        os.mkdir(self.path)
        self.assertIn("cannot be used", self.refusal())

    def test_directory_that_is_not_there(self) -> None:
        """Nothing is made."""
        self.path = str(self.directory / "none" / "store.sqlite3")
        self.assertIn("No such file or directory", self.refusal())

    def test_record_that_cannot_be_read_back(self) -> None:
        """The pages are whole, and what they say makes no sense: a server does not start, and says why in one line."""
        database = open_database(self.path)
        database.execute("INSERT INTO candidates VALUES ('', 'gone', 1, 'offerer', 'p', '{}', 1)")
        database.close()
        with self.assertRaises(StartupError) as caught:
            MemoryServer(store="sqlite:" + self.path)
        self.assertIn(f"the store {self.path!r} is damaged", str(caught.exception))
        Lock(self.path).release()


class UpgradeTests(DatabaseCase):
    """A file of an earlier version."""

    def test_rows_are_kept_and_the_version_is_new(self) -> None:
        """Only the steps that it has not seen are taken."""
        self.make()
        database = self.open(STEPS)
        self.assertEqual(stored_version(database), 2)
        self.assertEqual(database.execute("SELECT a, b FROM one").fetchall(), [("kept", None)])
        self.assertEqual(database.execute("SELECT count(*) FROM two").fetchone(), (0,))

    def test_copy_of_the_old_one_is_kept(self) -> None:
        """A store that an earlier server can open, readable by its owner alone."""
        self.addCleanup(os.umask, os.umask(0))
        self.make()
        self.open(STEPS)
        self.path += ".v1.backup"
        self.assertEqual(mode(self.path), 0o600)
        database = self.open(FIRST)
        self.assertEqual(database.execute("SELECT * FROM one").fetchall(), [("kept",)])

    def test_copy_takes_the_place_of_an_earlier_one(self) -> None:
        """Whatever its mode was."""
        self.make()
        backup = Path(self.path + ".v1.backup")
        backup.write_text("of an attempt that was cut short")
        backup.chmod(0o644)
        self.open(STEPS)
        self.assertEqual(mode(str(backup)), 0o600)
        self.assertTrue(backup.read_bytes().startswith(b"SQLite format 3\0"))
        self.assertEqual(len([name for name in os.listdir(self.directory) if "backup" in name]), 1)

    def test_file_of_the_newest_version_is_not_copied(self) -> None:
        """Opening it again changes nothing."""
        self.make(STEPS)
        self.open(STEPS)
        self.assertFalse(os.path.exists(self.path + ".v2.backup"))

    def test_step_that_fails_leaves_the_file_as_it_was(self) -> None:
        """All steps are one transaction, so the good part of it is gone too."""
        self.make()
        self.assertIn("cannot be used", self.refusal({**STEPS, 3: "INSERT INTO nowhere VALUES (1);"}))
        database = self.open(FIRST)
        self.assertEqual(stored_version(database), 1)
        self.assertEqual(database.execute("SELECT * FROM one").fetchall(), [("kept",)])
        self.assertEqual(database.execute("SELECT count(*) FROM sqlite_schema").fetchone(), (1,))

    def test_upgrade_that_cannot_copy_is_not_begun(self) -> None:
        """Something is in the way of the copy."""
        self.make()
        os.mkdir(self.path + ".v1.backup")
        self.assertIn("cannot be used", self.refusal(STEPS))
        self.assertEqual(stored_version(self.open(FIRST)), 1)


class DraftTests(DatabaseCase):
    """The empty file that a whole one is made from."""

    def test_nothing_is_left_of_a_draft(self) -> None:
        """Neither when all went well nor after a fault."""
        with self.assertRaises(ZeroDivisionError), draft_beside(self.path) as draft:
            self.assertEqual(mode(draft), 0o600)
            Path(draft + "-journal").touch()
            _ = 1 / 0
        with draft_beside(self.path) as draft:
            os.rename(draft, self.path)
        self.assertEqual(os.listdir(self.directory), ["store.sqlite3"])


class LockTests(DatabaseCase):
    """One server at a time."""

    def test_second_one_is_refused(self) -> None:
        """It learns what to do."""
        lock = Lock(self.path)
        self.addCleanup(lock.release)
        with self.assertRaises(StartupError) as caught:
            Lock(self.path)
        self.assertIn(f"{self.path!r} is in use by another server", str(caught.exception))

    def test_link_is_not_followed(self) -> None:
        """It could lead to a file of somebody else, which would be opened, or made."""
        target = Path(self.path).with_name("target")
        os.symlink(target, self.path + ".lock")
        for _ in range(2):
            message = str(self.assertRaises(StartupError, Lock, self.path))
            self.assertEqual(message, f"the lock file {self.path + '.lock'!r} cannot be opened: it is a symbolic link")
            self.assertFalse(target.is_symlink() or (target.exists() and target.stat().st_size > 0))
            target.touch()

    def test_lock_that_cannot_be_opened_is_one_line(self) -> None:
        """A directory has its name."""
        os.mkdir(self.path + ".lock")
        message = str(self.assertRaises(StartupError, Lock, self.path))
        self.assertIn("cannot be opened: Is a directory", message)

    def test_released_one_can_be_had_again(self) -> None:
        """Its file stays, and means nothing."""
        Lock(self.path).release()
        self.assertEqual(mode(self.path + ".lock"), 0o600)
        Lock(self.path).release()

    def test_lock_goes_when_a_server_stops(self) -> None:
        """The next one takes over at once."""
        for _ in range(2):
            server = MemoryServer(store="sqlite:" + self.path)
            self.assertRaises(StartupError, Lock, self.path)
            server.stop()
