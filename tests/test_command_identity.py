"""The identity of a user in a file, and its lock."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.client import Identity
from rendezvous.commands.rendezvous.errors import CommandError
from rendezvous.commands.rendezvous.identity import IdentityFile, default_path

URL = "https://rendezvous.example"
IDENTITY = Identity("0123456789abcdef" * 2, "fedcba9876543210" * 4)


class IdentityFileTests(SynchronousTestCase):
    """The file."""

    def setUp(self) -> None:
        """Begin with an empty directory."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.file = IdentityFile(self.directory / "rendezvous" / "identity.json", URL)

    def refusal(self) -> str:
        """:returns: why the file cannot be used."""
        error: CommandError = self.assertRaises(CommandError, self.file.load)
        self.assertEqual(error.code, "identity-file")
        self.assertIn(str(self.file.path), error.reason)
        self.assertNotIn(IDENTITY.private_id, error.reason)
        return error.reason

    def test_no_file(self) -> None:
        """There is no identity yet."""
        self.assertIsNone(self.file.load())

    def test_saved_identity_is_found_again(self) -> None:
        """A later identity takes its place, and nothing else is left in the directory."""
        self.file.save(Identity("ab" * 16, "cd" * 32))
        self.file.save(IDENTITY)
        self.assertEqual(self.file.load(), IDENTITY)
        self.assertEqual(os.listdir(self.file.path.parent), ["identity.json"])

    def test_only_the_owner_can_read(self) -> None:
        """The file has mode 0600 and a new directory mode 0700, whatever the umask is."""
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        self.file.save(IDENTITY)
        self.assertEqual(stat.S_IMODE(self.file.path.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.file.path.parent.stat().st_mode), 0o700)

    def test_file_that_others_can_read_is_refused(self) -> None:
        """The line says what to do."""
        self.file.save(IDENTITY)
        for mode in (0o640, 0o604, 0o620):
            self.file.path.chmod(mode)
            self.assertIn("chmod 600", self.refusal())

    def test_file_of_another_user_is_refused(self) -> None:
        """Its owner would know the key."""
        self.file.save(IDENTITY)
        with mock.patch("os.geteuid", lambda: os.getuid() + 1):
            self.assertIn("belongs to another user", self.refusal())

    def test_file_of_another_server_is_refused(self) -> None:
        """The key is not sent to a server that it does not belong to."""
        IdentityFile(self.file.path, "https://other.example").save(IDENTITY)
        self.assertRegex(self.refusal(), "another server than .*: name another one with --identity")

    def test_other_contents_are_refused(self) -> None:
        """The line says that it holds no identity, and does not advise to change its mode."""
        self.file.save(IDENTITY)
        for content in ("", "x", "[]", "[" * 100_000, "{}", " " * 100_000, f'{{"server": "{URL}"}}'):
            self.file.path.write_text(content)
            self.file.path.chmod(0o644)
            refusal = self.refusal()
            self.assertNotIn("chmod", refusal)
            self.assertIn("--identity", refusal)
        self.file.path.write_text(f'{{"server": "{URL}", "client_id": 7, "private_id": []}}')
        self.assertIn("client_id must be 32 hex digits", self.refusal())

    def test_directory_in_its_place(self) -> None:
        """It is refused in words, for reading and for writing, and no draft is left."""
        self.file.path.mkdir(parents=True)
        self.assertIn("directory", self.refusal())
        error = self.assertRaises(CommandError, self.file.save, IDENTITY)
        self.assertIn("cannot be written", error.reason)
        self.assertEqual(os.listdir(self.file.path.parent), ["identity.json"])

    def test_file_in_the_place_of_its_directory(self) -> None:
        """It is refused in words, also by the lock."""
        self.file.path.parent.write_text("")
        self.refusal()
        self.assertIn("cannot be written", self.assertRaises(CommandError, self.file.save, IDENTITY).reason)
        self.assertIn("lock file", self.assertRaises(CommandError, self.file.lock).reason)

    def test_failed_write_leaves_the_old_identity(self) -> None:
        """The new one is written beside it first."""
        self.file.save(IDENTITY)
        with mock.patch("os.fsync", side_effect=OSError(28, "No space left on device")):
            self.assertRaises(CommandError, self.file.save, Identity("ab" * 16, "cd" * 32))
        self.assertEqual(self.file.load(), IDENTITY)
        self.assertEqual(os.listdir(self.file.path.parent), ["identity.json"])

    def test_one_lock_at_a_time(self) -> None:
        """The second caller gets none, until the first has released it."""
        first = self.file.lock()
        assert first is not None
        self.assertIsNone(self.file.lock())
        first.release()
        second = self.file.lock()
        assert second is not None
        second.release()

    def test_lock_outlives_a_new_identity(self) -> None:
        """Saving replaces the file; the lock is beside it."""
        lock = self.file.lock()
        assert lock is not None
        self.addCleanup(lock.release)
        self.file.save(IDENTITY)
        self.assertIsNone(self.file.lock())


class DefaultPathTests(SynchronousTestCase):
    """Where the file is."""

    def test_configuration_folder(self) -> None:
        """XDG_CONFIG_HOME is used if it is absolute, and otherwise ``~/.config``."""
        home = {"HOME": "/home/user"}
        for environ, parent in (
            (home | {"XDG_CONFIG_HOME": "/etc/x"}, "/etc/x/rendezvous"),
            (home | {"XDG_CONFIG_HOME": "x"}, "/home/user/.config/rendezvous"),
            (home | {"XDG_CONFIG_HOME": ""}, "/home/user/.config/rendezvous"),
            (home, "/home/user/.config/rendezvous"),
        ):
            self.assertEqual(str(default_path(URL, environ).parent), parent)

    def test_no_home(self) -> None:
        """The line names the option that helps."""
        for environ in ({}, {"HOME": "x"}):
            self.assertIn("--identity", self.assertRaises(CommandError, default_path, URL, environ).reason)

    def test_each_server_has_its_own(self) -> None:
        """The name of the file shows the host, and differs by port and path too."""
        urls = (URL, f"{URL}:8443", f"{URL}/a", "https://other.example", "http://[::1]:5025", "http://" + "x" * 300)
        names = {default_path(url, {"HOME": "/"}).name for url in urls}
        self.assertEqual(len(names), len(urls))
        self.assertTrue(default_path(URL, {"HOME": "/"}).name.startswith("rendezvous.example-"))
        self.assertLess(max(map(len, names)), 200)
