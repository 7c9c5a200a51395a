"""Files that only their owner may read: how they are written."""

from __future__ import annotations

import os
import stat
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.privatefile import create_private, draft_private


class PrivateFileTests(SynchronousTestCase):
    """Drafts, and files that are made of them."""

    def setUp(self) -> None:
        """Make an empty directory."""
        self.directory = self.mktemp()
        os.mkdir(self.directory)
        self.path = os.path.join(self.directory, "token")

    def test_draft_is_beside_its_path(self) -> None:
        """A rename or a link across file systems would fail. Its name shows what it is a draft of."""
        draft = draft_private(self.path, "text\n")
        self.assertEqual(os.listdir(self.directory), [os.path.basename(draft)])
        self.assertTrue(os.path.basename(draft).startswith("token."))
        self.assertEqual(stat.S_IMODE(os.stat(draft).st_mode), 0o600)
        with open(draft, encoding="ascii") as file:
            self.assertEqual(file.read(), "text\n")

    def test_draft_is_on_the_disk_before_it_has_its_name(self) -> None:
        """After a crash the file is whole or not there."""
        done: list[Any] = []
        fsync, link = os.fsync, os.link

        def kept(descriptor: int) -> None:
            done.append(os.fstat(descriptor).st_size)
            fsync(descriptor)

        def linked(draft: str, path: str) -> None:
            done.append(path)
            link(draft, path)

        self.patch(os, "fsync", kept)
        self.patch(os, "link", linked)
        self.assertTrue(create_private(self.path, "text\n"))
        self.assertEqual(done, [5, self.path])
        self.assertEqual(os.listdir(self.directory), ["token"])

    def test_file_that_is_there_stays(self) -> None:
        """And nothing is left beside it."""
        self.assertTrue(create_private(self.path, "first\n"))
        self.assertFalse(create_private(self.path, "second\n"))
        with open(self.path, encoding="ascii") as file:
            self.assertEqual(file.read(), "first\n")
        self.assertEqual(os.listdir(self.directory), ["token"])

    def test_full_disk(self) -> None:
        """The error is that of the system, and nothing is left of the draft."""

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        self.patch(os, "fsync", full)
        self.assertEqual(self.assertRaises(OSError, create_private, self.path, "text\n").errno, 28)
        self.assertEqual(os.listdir(self.directory), [])
