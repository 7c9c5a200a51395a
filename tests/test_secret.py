"""The server's secret: where it comes from, and which files are good enough for it."""

from __future__ import annotations

import os
import stat
import threading
from typing import Any

from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from rendezvous.core.identity import Secret
from rendezvous.errors import StartupError
from rendezvous.secret import SECRET_SIZE, has_changed, load_secrets, rotate_secret

SECRET = bytes(range(0xE0, 0x100))
OTHER = bytes(range(0xC0, 0xE0))
NOW = 1_700_000_000.0


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

    def load(self, **environ: str) -> list[Secret]:
        """:returns: the secrets, none of which must have to be made."""
        return load_secrets(self.path, never, environ)

    def refusal(self, path: str | None = None, **environ: str) -> str:
        """:returns: why the secret cannot be had: one line that says where."""
        with self.assertRaises(StartupError) as caught:
            load_secrets(path or self.path, lambda size: SECRET, environ)
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

        self.assertEqual(load_secrets(self.path, random, {}), [Secret(SECRET)])
        self.assertEqual((asked, SECRET_SIZE), ([32], 32))
        self.assertEqual(self.load(), [Secret(SECRET)])

    def test_file_is_its_owners_alone(self) -> None:
        """Whatever the umask says, and with nothing else left beside it."""
        self.addCleanup(os.umask, os.umask(0))
        load_secrets(self.path, lambda size: SECRET, {})
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        self.assertEqual(os.listdir(self.directory), ["secret"])

    def test_file_is_one_line_of_hex_digits(self) -> None:
        """So that it can be copied to another node by hand."""
        load_secrets(self.path, lambda size: SECRET, {})
        with open(self.path) as file:
            self.assertEqual(file.read(), SECRET.hex() + "\n")

    def test_of_two_first_starts_one_wins(self) -> None:
        """The other one has looked before the file was there, and then takes what it finds."""
        won = []

        def random(size: int) -> bytes:
            won.append(load_secrets(self.path, lambda size: SECRET, {}))
            return OTHER

        self.assertEqual(load_secrets(self.path, random, {}), [Secret(SECRET)])
        self.assertEqual((won, self.load()), ([[Secret(SECRET)]], [Secret(SECRET)]))
        self.assertEqual(os.listdir(self.directory), ["secret"])

    def test_many_first_starts_agree(self) -> None:
        """All at once, in one process."""
        barrier, secrets = threading.Barrier(8), []

        def start(n: int) -> None:
            def random(size: int) -> bytes:
                barrier.wait(10)
                return bytes([n]) * size

            secrets.append(load_secrets(self.path, random, {}))

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
        self.assertEqual(load_secrets(self.path, lambda size: SECRET, {}), [Secret(SECRET)])
        self.assertEqual(self.load(), [Secret(SECRET)])

    def test_secret_that_cannot_be_kept_is_refused(self) -> None:
        """A secret that the next start does not find would end every credential; nothing is left behind."""
        missing = os.path.join(self.directory, "missing")
        self.assertIn(f"there is no directory {missing!r}", self.refusal(os.path.join(missing, "secret")))
        self.assertEqual(os.listdir(self.directory), [])
        self.write("a file, not a directory")
        self.assertIn("Not a directory", self.refusal(os.path.join(self.path, "secret")))

    def test_link_to_nowhere_is_refused(self) -> None:
        """It is there and yet is not; it stays as it was, and nothing is left behind."""
        os.symlink("nowhere", self.path)
        self.assertIn("No such file", self.refusal())
        self.assertEqual((os.listdir(self.directory), os.readlink(self.path)), (["secret"], "nowhere"))


class SecretFileTests(SecretCase):
    """Reading a secret that is there."""

    def test_digits_in_any_case_and_blanks_around_them_are_read(self) -> None:
        """As editors and shells leave them."""
        for text in (SECRET.hex(), SECRET.hex().upper(), f"{SECRET.hex()}\n", f"\r\n  {SECRET.hex()}\t\r\n\n"):
            self.write(text)
            self.assertEqual(self.load(), [Secret(SECRET)], text)

    def test_old_secrets_stand_below_with_their_end(self) -> None:
        """In any number; blank lines between them do no harm."""
        for text in (
            f"{SECRET.hex()}\n{OTHER.hex()} until 17\n{bytes(32).hex()} until {'9' * 12}\n",
            f"\n{SECRET.hex()} \r\n\n  {OTHER.hex().upper()} until 17\n{bytes(32).hex()} until {'9' * 12}",
        ):
            self.write(text)
            self.assertEqual(self.load(), [Secret(SECRET), Secret(OTHER, 17.0), Secret(bytes(32), 10.0**12 - 1)])

    def test_size_of_the_file_is_bounded(self) -> None:
        """It is read at 64 KiB, and one character more is no secret."""
        digits = SECRET.hex()
        self.write(digits + "\n" * (65536 - 64))
        self.assertEqual(self.load(), [Secret(SECRET)])
        self.write(digits + "\n" * (65536 - 63))
        self.assertIn("64 hex digits", self.refusal())

    def test_owners_file_is_read(self) -> None:
        """Writable or not."""
        for mode in (0o600, 0o400):
            self.write(SECRET.hex(), mode)
            self.assertEqual(self.load(), [Secret(SECRET)])
            os.unlink(self.path)

    def test_file_that_others_may_touch_is_refused(self) -> None:
        """Each bit of the group and of the rest by itself; the message says what to do, and the file stays."""
        for bit in range(6):
            self.write(SECRET.hex(), 0o600 | 1 << bit)
            self.assertIn("chmod 600", self.refusal())
        with open(self.path) as file:
            self.assertEqual(file.read(), SECRET.hex())

    def test_file_of_another_program_is_not_to_be_changed(self) -> None:
        """A wrong option may name any file, such as ``/etc/passwd``. The error does not advise to run chmod on it."""
        self.write("root:x:0:0:root:/root:/bin/sh", 0o644)
        message = self.refusal()
        self.assertIn("must hold 64 hex digits", message)
        self.assertNotIn("chmod", message)

    def test_pipe_is_not_waited_for(self) -> None:
        """A server that reloads looks into the file; it must not stop until somebody writes to a pipe."""
        os.mkfifo(self.path, 0o600)
        self.assertIn("not a regular file", self.refusal())
        self.assertFalse(has_changed(self.path, {}, [Secret(SECRET)]))

    def test_file_of_another_user_is_warned_of(self) -> None:
        """Root reads it, and says whose it is; a file of its own is no reason for a line."""
        if os.geteuid() != 0:
            raise SkipTest("only root can read the file of another user")
        events: list[Any] = []
        observer: Any = events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.write(SECRET.hex())
        self.assertEqual(self.load(), [Secret(SECRET)])
        self.assertEqual(events, [])
        os.chown(self.path, 65534, 65534)
        self.assertEqual(self.load(), [Secret(SECRET)])
        [event] = events
        expected = f"the secret file {self.path} belongs to user 65534, who can read it"
        self.assertEqual((formatEvent(event), event["log_level"].name), (expected, "warn"))

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
            digits + " until 1",
            digits + " until 1\n" + digits,
            digits + f"\n{digits} until",
            digits + f"\n{digits} until -1",
            digits + f"\n{digits} until 1.5",
            digits + f"\n{digits} until soon",
            digits + f"\n{digits} until {'9' * 13}",
            digits + f"\n{digits[1:]} until 1",
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


class RotationTests(SecretCase):
    """Putting a new secret in the place of the one in use."""

    def rotate(self, secret: bytes, keep: float = 100.0, now: float = NOW) -> None:
        """Rotate, the new secret being this one."""
        rotate_secret(self.path, lambda size: secret[:size], keep, now)

    def test_old_secret_is_kept_until_its_time(self) -> None:
        """The new one comes first, and the file says so in a line each."""
        self.write(SECRET.hex())
        self.rotate(OTHER)
        self.assertEqual(self.load(), [Secret(OTHER), Secret(SECRET, NOW + 100)])
        with open(self.path) as file:
            self.assertEqual(file.read(), f"{OTHER.hex()}\n{SECRET.hex()} until 1700000100\n")

    def test_file_stays_its_owners_alone(self) -> None:
        """Whatever the umask says, and with nothing else left beside it."""
        self.write(SECRET.hex(), 0o400)
        self.addCleanup(os.umask, os.umask(0))
        self.rotate(OTHER)
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        self.assertEqual(os.listdir(self.directory), ["secret"])

    def test_earlier_rotations_keep_their_end_and_go_after_it(self) -> None:
        """A second rotation gives nothing more time; what has ended by then is dropped."""
        self.write(SECRET.hex())
        self.rotate(OTHER)
        for since, kept in ((50, True), (99.5, True), (100, False), (150, False)):
            self.write(f"{OTHER.hex()}\n{SECRET.hex()} until {int(NOW) + 100}")
            self.rotate(bytes(32), now=NOW + since)
            old = [Secret(OTHER, float(int(NOW + since + 100)))]
            self.assertEqual(self.load(), [Secret(bytes(32)), *old, *[Secret(SECRET, NOW + 100)] * kept], since)

    def test_rotation_without_grace_ends_the_old_secret_at_once(self) -> None:
        """For one that has been stolen."""
        self.write(SECRET.hex())
        self.rotate(OTHER, keep=0.0)
        self.assertEqual(self.load(), [Secret(OTHER), Secret(SECRET, NOW)])

    def test_what_is_no_secret_is_not_rotated(self) -> None:
        """No file, one that others may read, one with something else in it: each stays as it was."""
        message = str(self.assertRaises(StartupError, self.rotate, OTHER))
        self.assertEqual(message, f"the secret file {self.path!r} cannot be rotated: No such file or directory")
        self.assertEqual(os.listdir(self.directory), [])
        for text, mode, word in ((SECRET.hex(), 0o640, "chmod 600"), ("something", 0o600, "64 hex digits")):
            self.write(text, mode)
            message = str(self.assertRaises(StartupError, self.rotate, OTHER))
            self.assertIn(repr(self.path), message)
            self.assertIn(word, message)
            with open(self.path) as file:
                self.assertEqual(file.read(), text)
        self.assertEqual(os.listdir(self.directory), ["secret"])


class EnvironmentTests(SecretCase):
    """The secret itself, given from outside."""

    def test_environment_comes_first_and_touches_no_file(self) -> None:
        """Neither one that is there nor one that is not."""
        self.assertEqual(self.load(RENDEZVOUS_SECRET=SECRET.hex()), [Secret(SECRET)])
        self.assertEqual(os.listdir(self.directory), [])
        self.write(OTHER.hex(), 0o644)
        self.assertEqual(self.load(RENDEZVOUS_SECRET=SECRET.hex().upper()), [Secret(SECRET)])

    def test_environment_may_hold_old_secrets_too(self) -> None:
        """In the lines of the file."""
        lines = f"{SECRET.hex()}\n{OTHER.hex()} until 17"
        self.assertEqual(self.load(RENDEZVOUS_SECRET=lines), [Secret(SECRET), Secret(OTHER, 17.0)])

    def test_other_variables_say_nothing(self) -> None:
        """Only the one name counts."""
        self.write(OTHER.hex())
        self.assertEqual(self.load(SECRET=SECRET.hex(), RENDEZVOUS_SECRET_FILE="x"), [Secret(OTHER)])

    def test_anything_else_is_refused(self) -> None:
        """Rather than falling back to a file that the operator did not mean; the message does not show it."""
        digits = SECRET.hex()
        for text in ("", " ", digits[1:], digits + "0", digits[:-1] + "g", "0x" + digits[2:], "\uff11" * 64):
            message = self.refusal(RENDEZVOUS_SECRET=text)
            self.assertIn("64 hex digits", message)
            self.assertNotIn(digits[2:30], message)
        self.assertEqual(os.listdir(self.directory), [])
