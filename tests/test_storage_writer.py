"""Batches on a real file."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.storage.database import open_database
from rendezvous.storage.journal import Batch
from rendezvous.storage.rows import Statement
from rendezvous.storage.writer import MAX_VARIABLES, Writer, execute_many

PUT = "INSERT OR REPLACE INTO meta VALUES (?, ?)"


def batch(*made: Statement, **meta: object) -> Batch:
    """:returns: a batch of these alone."""
    return Batch(list(made), None, meta)


class WriterTests(SynchronousTestCase):
    """A file that is open."""

    def setUp(self) -> None:
        """Make it."""
        directory = Path(self.mktemp())
        directory.mkdir()
        self.path = str(directory / "store.sqlite3")
        self.database = open_database(self.path)
        self.writer = Writer(self.path, self.database)
        self.addCleanup(self.writer.close)

    def meta(self) -> dict[str, object]:
        """:returns: what another reader sees."""
        reader = sqlite3.connect(self.path)
        try:
            return dict(reader.execute("SELECT * FROM meta"))
        finally:
            reader.close()

    def remove(self) -> None:
        """Delete the file and what is beside it."""
        for suffix in ("", "-wal", "-shm"):
            os.unlink(self.path + suffix)

    def test_statements_and_meta_are_one_transaction(self) -> None:
        """All of it, or nothing of it if one statement fails."""
        self.writer.write(batch((PUT, ("a", 1)), b=2))
        self.assertEqual(self.meta(), {"a": 1, "b": 2})
        bad = ("INSERT INTO nowhere VALUES (?)", (1,))
        self.assertRaises(sqlite3.OperationalError, self.writer.write, batch((PUT, ("c", 3)), bad))
        self.assertEqual(self.meta(), {"a": 1, "b": 2})
        self.assertFalse(self.database.in_transaction)

    def test_one_statement_has_no_more_values_than_sqlite_allows(self) -> None:
        """Whatever limit this SQLite was built with."""
        self.assertEqual(MAX_VARIABLES, 32766)
        self.database.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, MAX_VARIABLES)
        rows = [(str(number), number) for number in range(MAX_VARIABLES // 2 + 7)]
        execute_many(self.database, PUT, rows)
        self.assertEqual(len(self.meta()), len(rows))

    def test_deleted_file_is_written_anew(self) -> None:
        """With all that was in it; the next batch goes there as well."""
        self.writer.write(batch(a=1))
        self.remove()
        self.writer.write(batch(b=2))
        self.writer.write(batch(c=3))
        self.assertEqual(self.meta(), {"a": 1, "b": 2, "c": 3})

    def test_deleted_file_that_cannot_be_written_anew_is_left_deleted(self) -> None:
        """Half a file would be taken for a whole one; the next attempt writes it."""
        self.writer.write(batch(a=1))
        self.remove()
        wal = Path(self.path + "-wal")
        wal.mkdir()  # SQLite can put no log there.
        self.assertRaises(Exception, self.writer.write, batch(b=2))  # noqa: B017 - of whatever kind
        self.assertFalse(os.path.exists(self.path))
        wal.rmdir()
        self.writer.write(batch(b=2))
        self.assertEqual(self.meta(), {"a": 1, "b": 2})

    def test_copy_that_fails_is_removed(self) -> None:
        """The error is the copy's own, so that the batch counts as not written."""
        self.writer.write(batch(a=1))
        self.remove()

        class Broken:
            """A database that cannot be copied."""

            def backup(self, copy: sqlite3.Connection) -> None:
                raise sqlite3.OperationalError("disk I/O error")

        whole, self.writer._database = self.writer._database, Broken()  # type: ignore[assignment]
        self.assertRaises(sqlite3.OperationalError, self.writer.write, batch(b=2))
        self.assertFalse(os.path.exists(self.path))
        self.writer._database = whole
        self.writer.write(batch(b=2))
        self.assertEqual(self.meta(), {"a": 1, "b": 2})

    def test_other_file_in_its_place_is_left_alone(self) -> None:
        """It is somebody else's."""
        os.rename(self.path, self.path + ".ours")
        Path(self.path).write_text("another's")
        self.assertRaises(sqlite3.OperationalError, self.writer.write, batch(a=1))
        self.assertEqual(Path(self.path).read_text(), "another's")
