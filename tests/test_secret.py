"""The server's secret: where it comes from, and which files are good enough for it."""

from __future__ import annotations

import os
import stat
import threading

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.secret import SECRET_SIZE, load_secret
from rendezvous.settings import SettingsError

SECRET = bytes(range(0xE0, 0x100))
OTHER = bytes(range(0xC0, 0xE0))


def never(size: int) -> bytes:
    """Stand for randomness that must not be asked for."""
    raise AssertionError("a secret was made")


class SecretCase(SynchronousTestCase):
    """A directory in which the secret may be."""

    def setUp(self) -> None:
        """Begin without one."""
        self.directory = self.mktemp()
        os.mkdir(self.directory)
        self.path = os.path.join(self.directory, "secret")

    def write(self, text: str | bytes, mode: int = 0o600) -> None:
        """Put a file there."""
        with open(self.path, "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        os.chmod(self.path, mode)

    def load(self, **environ: str) -> bytes:
        """:returns: the secret, which must not have to be made."""
        return load_secret(self.path, never, environ)

    def refusal(self, path: str | None = None, **environ: str) -> str:
        """:returns: why the secret cannot be had: one line that says where."""
        with self.assertRaises(SettingsError) as caught:
            load_secret(path or self.path, lambda size: SECRET, environ)
        message = str(caught.exception)
        self.assertNotIn("\n", message)
        self.assertIn("RENDEZVOUS_SECRET" if environ else repr(path or self.path), message)
        return message


class FirstStartTests(SecretCase):
    """Making a secret."""

    def test_secret_is_made_and_kept(self) -> None:
        """32 random bytes, and the next start finds them."""
        asked: list[int] = []

        def random(size: int) -> bytes:
            asked.append(size)
            return SECRET

        self.assertEqual(load_secret(self.path, random, {}), SECRET)
        self.assertEqual((asked, SECRET_SIZE), ([32], 32))
        self.assertEqual(self.load(), SECRET)

    def test_file_is_its_owners_alone(self) -> None:
        """Whatever the umask says, and with nothing else left beside it."""
        self.addCleanup(os.umask, os.umask(0))
        load_secret(self.path, lambda size: SECRET, {})
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        self.assertEqual(os.listdir(self.directory), ["secret"])

    def test_file_is_one_line_of_hex_digits(self) -> None:
        """So that it can be copied to another node by hand."""
        load_secret(self.path, lambda size: SECRET, {})
        with open(self.path) as file:
            self.assertEqual(file.read(), SECRET.hex() + "\n")

    def test_of_two_first_starts_one_wins(self) -> None:
        """The other one has looked before the file was there, and then takes what it finds."""
        won = []

        def random(size: int) -> bytes:
            won.append(load_secret(self.path, lambda size: SECRET, {}))
            return OTHER

        self.assertEqual(load_secret(self.path, random, {}), SECRET)
        self.assertEqual((won, self.load()), ([SECRET], SECRET))
        self.assertEqual(os.listdir(self.directory), ["secret"])

    def test_many_first_starts_agree(self) -> None:
        """All at once, in one process."""
        barrier, secrets = threading.Barrier(8), []

        def start(n: int) -> None:
            def random(size: int) -> bytes:
                barrier.wait(10)
                return bytes([n]) * size

            secrets.append(load_secret(self.path, random, {}))

        threads = [threading.Thread(target=start, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        self.assertEqual(secrets, [self.load()] * 8)
        self.assertEqual(os.listdir(self.directory), ["secret"])

    def test_crash_on_an_earlier_first_start_does_no_harm(self) -> None:
        """In a container every start has the same process id, and may find the draft of the one that crashed."""
        with open(f"{self.path}.{os.getpid()}", "w") as file:
            file.write("half")
        self.assertEqual(load_secret(self.path, lambda size: SECRET, {}), SECRET)
        self.assertEqual(self.load(), SECRET)

    def test_secret_that_cannot_be_kept_is_refused(self) -> None:
        """A secret that the next start does not find would end every credential; nothing is left behind."""
        self.assertIn("No such file", self.refusal(os.path.join(self.directory, "missing", "secret")))
        self.assertEqual(os.listdir(self.directory), [])
        self.write("a file, not a directory")
        self.assertIn("Not a directory", self.refusal(os.path.join(self.path, "secret")))

    def test_link_to_nowhere_is_refused(self) -> None:
        """It is there and yet is not; it stays as it was, and nothing is left behind."""
        os.symlink("nowhere", self.path)
        self.refusal()
        self.assertEqual((os.listdir(self.directory), os.readlink(self.path)), (["secret"], "nowhere"))


class SecretFileTests(SecretCase):
    """Reading a secret that is there."""

    def test_digits_in_any_case_and_blanks_around_them_are_read(self) -> None:
        """As editors and shells leave them."""
        for text in (SECRET.hex(), SECRET.hex().upper(), f"{SECRET.hex()}\n", f"\r\n  {SECRET.hex()}\t\r\n\n"):
            self.write(text)
            self.assertEqual(self.load(), SECRET, text)

    def test_owners_file_is_read(self) -> None:
        """Writable or not."""
        for mode in (0o600, 0o400):
            self.write(SECRET.hex(), mode)
            self.assertEqual(self.load(), SECRET)
            os.unlink(self.path)

    def test_file_that_others_may_touch_is_refused(self) -> None:
        """Each bit of the group and of the rest by itself; the message says what to do, and the file stays."""
        for bit in range(6):
            self.write(SECRET.hex(), 0o600 | 1 << bit)
            self.assertIn("chmod 600", self.refusal())
        with open(self.path) as file:
            self.assertEqual(file.read(), SECRET.hex())

    def test_anything_else_is_refused_and_left_alone(self) -> None:
        """The file may be somebody's, named by mistake: it is not written to, and not shown."""
        digits = SECRET.hex()
        contents: list[str | bytes] = [
            "",
            "\n",
            digits[1:],
            digits + "0",
            digits[:-1] + "g",
            digits[:32] + "\n" + digits[32:],
            digits + "\n" + digits,
            "0x" + digits[2:],
            SECRET,
            b"\xff" * 64,
            "\uff11" * 64,
            digits + " " * 2000 + "something else",
            "x" * 100_000,
        ]
        for content in contents:
            self.write(content)
            message = self.refusal()
            self.assertIn("64 hex digits", message)
            self.assertNotIn(digits[2:30], message)
            with open(self.path, "rb") as file:
                self.assertEqual(file.read(), content if isinstance(content, bytes) else content.encode())

    def test_directory_is_refused(self) -> None:
        """With the system's own reason."""
        self.assertIn("Is a directory", self.refusal(self.directory))


class EnvironmentTests(SecretCase):
    """The secret itself, given from outside."""

    def test_environment_comes_first_and_touches_no_file(self) -> None:
        """Neither one that is there nor one that is not."""
        self.assertEqual(self.load(RENDEZVOUS_SECRET=SECRET.hex()), SECRET)
        self.assertEqual(os.listdir(self.directory), [])
        self.write(OTHER.hex(), 0o644)
        self.assertEqual(self.load(RENDEZVOUS_SECRET=SECRET.hex().upper()), SECRET)

    def test_other_variables_say_nothing(self) -> None:
        """Only the one name counts."""
        self.write(OTHER.hex())
        self.assertEqual(self.load(SECRET=SECRET.hex(), RENDEZVOUS_SECRET_FILE="x"), OTHER)

    def test_anything_else_is_refused(self) -> None:
        """Rather than falling back to a file that the operator did not mean; the message does not show it."""
        digits = SECRET.hex()
        for text in ("", " ", digits[1:], digits + "0", digits[:-1] + "g", "0x" + digits[2:], "\uff11" * 64):
            message = self.refusal(RENDEZVOUS_SECRET=text)
            self.assertIn("64 hex digits", message)
            self.assertNotIn(digits[2:30], message)
        self.assertEqual(os.listdir(self.directory), [])
