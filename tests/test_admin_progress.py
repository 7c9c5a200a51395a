"""The line that says how far long work is."""

from __future__ import annotations

import io
import os
import sqlite3
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.commands.admin.progress import ProgressLine
from rendezvous.storage import database, inspection
from tests.test_admin import FileCase, make_store


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        """:returns: that it is."""
        return True


class ProgressLineTests(SynchronousTestCase):
    """The line itself."""

    def shown(self, stream: io.StringIO, *calls: tuple[float, str, float | None]) -> str:
        """:returns: what is written by calls at these times, from 0 on."""
        times = iter([0.0, *(time for time, _, _ in calls)])
        with ProgressLine(stream, lambda: next(times)) as progress:
            for _, what, share in calls:
                progress(what, share)
        return stream.getvalue()

    def test_nothing_without_a_terminal(self) -> None:
        """However long it takes."""
        self.assertEqual(self.shown(io.StringIO(), (100.0, "copying", 0.5)), "")

    def test_nothing_for_what_is_done_soon(self) -> None:
        """A line that comes and goes at once only disturbs."""
        self.assertEqual(self.shown(Terminal(), (0.1, "copying", 0.1), (0.4, "copying", 0.9)), "")

    def test_bar(self) -> None:
        """It is renewed at most ten times a second, and is gone at the end."""
        said = self.shown(Terminal(), (0.5, "copying", 0.5), (0.55, "copying", 0.6), (2.0, "copying", 7.0))
        first, second = f"[{'#' * 15}{'-' * 15}]  50% 0 s", f"[{'#' * 30}] 100% 2 s"
        self.assertEqual(said, f"\r\x1b[Kcopying {first}\r\x1b[Kcopying {second}\r\x1b[K")

    def test_share_that_is_not_known(self) -> None:
        """The line has what is done, and the time."""
        self.assertEqual(self.shown(Terminal(), (9.0, "looking", None)), "\r\x1b[Klooking 9 s\r\x1b[K")

    def test_it_is_gone_after_an_error(self) -> None:
        """The error stands on a line of its own."""
        stream, times = Terminal(), iter([0.0, 9.0])
        with self.assertRaises(ValueError), ProgressLine(stream, lambda: next(times)) as progress:
            progress("looking")
            raise ValueError
        self.assertTrue(stream.getvalue().endswith("\r\x1b[K"))


class ReportTests(FileCase):
    """What long work says of itself."""

    def test_check(self) -> None:
        """It looks through the file, and reads records back."""
        self.fill()
        said: list[str] = []
        with patch.object(inspection, "STEPS", 10), patch.object(inspection, "REPORTED", 2):
            found = inspection.check(self.path, lambda what, share: said.append(what))
        self.assertIn("looking through the file", said)
        self.assertEqual(said[-1], f"reading records back: {found['records'] // 2 * 2}")

    def test_backup(self) -> None:
        """How large the copy is, of what it will be."""
        make_store(self.path)
        shares: list[float | None] = []
        copied = database.copy_database

        class Slow:
            """A database whose copy takes until its progress was seen."""

            def __init__(self, real: sqlite3.Connection) -> None:
                self.execute, self._real = real.execute, real

            def backup(self, copy: sqlite3.Connection) -> None:
                self._real.backup(copy)
                while not shares or shares[-1] != 1.0:
                    os.sched_yield()

        def slow(real: sqlite3.Connection, path: str, progress: database.Progress) -> None:
            copied(Slow(real), path, progress)  # type: ignore[arg-type]

        with patch.object(database, "WATCH_INTERVAL", 0.001), patch.object(inspection, "copy_database", slow):
            inspection.backup(self.path, f"{self.path}.copy", lambda what, share: shares.append(share))
        self.assertEqual(shares[-1], 1.0)
        self.assertEqual(inspection.check(f"{self.path}.copy")["records"], 0)
