"""``rendezvous-admin``, over files that a server has left and over those of one that runs."""

from __future__ import annotations

import configparser
import json
import os
import re
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred

from rendezvous import __version__
from rendezvous.core.identity import Keyring, Secret
from rendezvous.core.signaling.specs import OfferSpec
from rendezvous.limits import SignalingLimits
from rendezvous.settings import Settings
from rendezvous.storage import inspection
from rendezvous.storage.database import open_database, schema_steps
from rendezvous.storage.local import LocalStore
from rendezvous.storage.registry import sqlite_store
from rendezvous.testing import SECRET, MemoryReactor, MemoryServer
from tests._admin_case import NOW, AdminCase
from tests.real_server import environment

OWNER, ANSWERER = "ab" * 16, "cd" * 16
ANSWER_SECRET = "the secret of an offer"
ADMIN = [sys.executable, "-m", "rendezvous.commands.admin"]
T = TypeVar("T")
#: What is in the file of FileCase.
COUNTS = {
    "version": 5,
    "alive": NOW + 60,
    "clients": 4,
    "clients_online": 1,
    "clients_pending": 2,
    "clients_never_pulsed": 1,
    "clients_gone": 0,
    "logouts": 1,
    "offers_unanswered": 1,
    "offers_answered": 1,
    "sessions": 1,
    "candidates": 2,
    "tracker_peers": 1,
    "events": 3,
    "bans": 1,
}
DOCS = Path(__file__).parents[1] / "docs"


def make_store(path: str) -> LocalStore:
    """:returns: a store that writes at once, opened."""

    def at_once(work: Any) -> Deferred[None]:
        return maybeDeferred(work)

    settings = Settings()
    store = sqlite_store(
        path,
        at_once,
        keyring=Keyring([Secret(SECRET)]),
        random=os.urandom,
        timers=settings.timers,
        bounds=settings.bounds,
        logout_memory=3600.0,
        limits=SignalingLimits(),
        tracker_lifetime=300.0,
    )
    store.open(NOW)
    return store


def spec(sdp: str, secret: str | None = None) -> OfferSpec:
    """:returns: an offer to be made."""
    return OfferSpec.check(SignalingLimits(), "offer", sdp=sdp, topics=["t"], secret=secret)


class FileCase(AdminCase):
    """A directory for files."""

    def setUp(self) -> None:
        """Begin with an empty directory."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.path = str(self.directory / "rendezvous.sqlite3")

    def stats(self, *options: str) -> Any:
        """:returns: the numbers."""
        return json.loads(self.good("stats", "--json", self.path, *options))

    def fill(self) -> LocalStore:
        """
        Make a file with something of everything.

        :returns: its store, open still.
        """
        store = make_store(self.path)

        def done(verb: Coroutine[Deferred[Any], Any, T]) -> T:
            return self.successResultOf(Deferred.fromCoroutine(verb))

        ids = [done(store.register(NOW)) for _ in range(5)]
        for index, (_, key) in enumerate(ids[:4]):
            done(store.pulse(key, ("192.0.2.1", 4000 + index), NOW + index * 20))
        done(store.logout(ids[3][0], NOW + 60))
        made = done(store.publish(OWNER, [spec("one", secret=ANSWER_SECRET), spec("two")], NOW + 60))
        done(store.answer(made[0].id, ANSWERER, "v=0", ANSWER_SECRET, NOW + 60))
        done(store.add_candidates(made[0].id, OWNER, [{"a": 1}, {"b": 2}], NOW + 60))
        done(store.open_session("https://a.example", "t", "", "an offer", None, NOW + 60))
        done(store.announce(("192.0.2.9", 999, 5024), NOW + 60))
        done(store.ban("198.51.100.0/24", None, "a flood", NOW + 60))
        done(store.sweep(NOW + 60))
        return store

    def leave(self) -> None:
        """Make the same file, of a server that has stopped."""
        self.successResultOf(Deferred.fromCoroutine(self.fill().close(NOW + 60)))

    def listing(self) -> dict[str, bytes]:
        """:returns: every file of the directory, with what is in it."""
        return {path.name: path.read_bytes() for path in self.directory.iterdir() if path.suffix != ".lock"}


class StatsTests(FileCase):
    """``rendezvous-admin stats``."""

    def test_stopped_server(self) -> None:
        """Everything is counted, clients as of the moment when the server stopped."""
        self.leave()
        found = self.stats()
        size = os.path.getsize(self.path) + self.space_of_clients()
        self.assertEqual(found, COUNTS | {"bytes": size, "bytes_per_client": round(size / 4)})
        self.good("backup", self.path, self.path + ".copy")
        self.path += ".copy"
        self.assertEqual(self.stats()["bytes"], os.path.getsize(self.path))

    def test_server_that_has_the_file_open(self) -> None:
        """What is in the log beside the file counts."""
        store = self.fill()
        self.assertLess(os.path.getsize(self.path) + self.space_of_clients(), self.stats()["bytes"])
        found = self.stats()
        self.assertEqual({name: found[name] for name in COUNTS}, COUNTS)
        self.successResultOf(Deferred.fromCoroutine(store.close(NOW + 60)))

    def test_store_of_before_bans(self) -> None:
        """It has none."""
        self.leave()
        database = sqlite3.connect(self.path)
        database.executescript("DROP TABLE bans; PRAGMA user_version = 4;")
        database.close()
        found = self.stats()
        self.assertEqual({name: found[name] for name in COUNTS}, COUNTS | {"version": 4, "bans": 0})

    def space_of_clients(self) -> int:
        """:returns: bytes that the file of clients takes on the disk; its length is mostly a hole."""
        found = os.stat(self.path + ".clients")
        self.assertLess(100 * 64, found.st_blocks * 512)
        self.assertLess(found.st_blocks * 512, found.st_size)
        return found.st_blocks * 512

    def test_text_has_the_same(self) -> None:
        """One line for each number, and the time in words."""
        self.leave()
        lines = dict(re.split(" {2,}", line) for line in self.good("stats", "sqlite:" + self.path).splitlines())
        self.assertEqual(list(lines), [name.replace("_", " ") for name in self.stats()])
        self.assertEqual((lines["alive"], lines["clients pending"]), ("2023-11-14 22:14:20 UTC", "2"))

    def test_timers_decide(self) -> None:
        """They are given as the server's are."""
        self.leave()
        self.assertEqual(self.stats("--pulse-interval=60")["clients_online"], 3)
        found = self.stats("--pulse-interval=1", "--pulse-grace=0", "--error-time=45")
        self.assertEqual((found["clients_online"], found["clients_pending"], found["clients_gone"]), (0, 2, 1))
        self.assertEqual(self.stats("--registration-time=59")["clients_never_pulsed"], 0)
        self.assertEqual(self.stats("--registration-time=60")["clients_never_pulsed"], 1)
        self.assertIn("--pulse-interval must be", self.refusal("stats", self.path, "--pulse-interval=x"))

    def test_new_file(self) -> None:
        """Nothing is in it, and no client has any bytes."""
        open_database(self.path).close()
        found = self.stats()
        self.assertEqual((found["clients"], found["alive"], found["bytes_per_client"]), (0, None, None))
        self.assertIn("alive                 -\n", self.good("stats", self.path))


class UntouchedTests(FileCase):
    """What only reads leaves no trace."""

    def look(self) -> None:
        """Do all that only reads."""
        self.good("check", self.path)
        self.good("stats", self.path)
        self.good("backup", self.path, self.mktemp())

    def test_file_of_a_stopped_server(self) -> None:
        """Nothing is written, and nothing is made beside it."""
        self.leave()
        before = self.listing()
        self.look()
        self.assertEqual(self.listing(), before)

    def test_directory_that_may_only_be_read(self) -> None:
        """SQLite cannot make its log there, and need not."""
        self.leave()
        self.addCleanup(self.directory.chmod, 0o700)
        self.directory.chmod(0o500)
        self.look()

    def test_file_of_a_server_that_was_killed(self) -> None:
        """The log beside it is read, and kept for the server, which has to read it itself."""
        self.fill()
        with tempfile.TemporaryDirectory() as crashed:
            for name, data in self.listing().items():
                Path(crashed, name).write_bytes(data)
            self.path, self.directory = str(Path(crashed, "rendezvous.sqlite3")), Path(crashed)
            before = self.listing()
            self.look()
            self.assertEqual(self.stats()["clients"], 4)
            for name in ("rendezvous.sqlite3", "rendezvous.sqlite3-wal"):
                self.assertEqual(self.listing()[name], before[name])

    def test_server_may_start_meanwhile(self) -> None:
        """Then what was seen may be of no one moment, and it is looked at again."""
        self.leave()
        seen: list[int] = []

        def look(database: sqlite3.Connection) -> int:
            if not seen:
                store = make_store(self.path)
                self.successResultOf(Deferred.fromCoroutine(store.register(NOW)))
            seen.append(database.execute("SELECT count(*) FROM clients").fetchone()[0])
            return seen[-1]

        self.assertEqual((inspection.read_only(self.path, look), seen), (5, [4, 5]))


class CheckTests(FileCase):
    """``rendezvous-admin check``."""

    def test_good_file(self) -> None:
        """Its version, the newest one, and how many records there are: all but candidates count by themselves."""
        self.leave()
        self.assertEqual(
            self.good("check", self.path),
            f"the store {self.path!r} is whole: version 5, the newest that this server knows; 13 records can be read\n",
        )

    def test_older_and_newer_version(self) -> None:
        """An older one is upgraded by the next start; what is in a newer one is not known, so nothing reads it."""
        open_database(self.path).close()
        steps = {**schema_steps(), 6: "CREATE TABLE more (a);"}
        self.patch(inspection, "schema_steps", lambda: steps)
        self.assertIn("version 5, which a server upgrades to 6 when it starts", self.good("check", self.path))
        open_database(self.path, steps).close()
        self.patch(inspection, "schema_steps", schema_steps)
        copy = str(self.directory / "copy")
        for words in (["check"], ["stats"], ["backup"], ["restore"]):
            destination = [copy] if words[0] in ("backup", "restore") else []
            refusal = self.refusal(*words, self.path, *destination)
            self.assertIn("has version 6, and this server knows 5 at most: run a newer server", refusal)
        self.assertFalse(os.path.exists(copy))

    def test_pipe_in_the_place_of_the_clients(self) -> None:
        """A pipe that no other program writes to is not waited for."""
        self.leave()
        os.unlink(self.path + ".clients")
        os.mkfifo(self.path + ".clients", 0o600)
        for words in (["check"], ["stats"], ["backup"]):
            destination = [str(self.directory / "copy")] if words == ["backup"] else []
            self.assertIn("rendezvous.sqlite3.clients", self.refusal(*words, self.path, *destination))

    def test_damaged_file(self) -> None:
        """Pages that make no sense, and records that make none."""
        database = open_database(self.path)
        database.execute("INSERT INTO candidates VALUES ('', 'gone', 1, 'offerer', 'p', '\"hidden\"', 1)")
        database.close()
        message = self.refusal("check", self.path)
        self.assertIn("is damaged", message)
        self.assertNotIn("hidden", message)
        database = open_database(self.path)
        database.execute("DELETE FROM candidates")
        for target in ("hidden", "192.0.2.1", "fe80::1%eth0/128"):
            database.execute("DELETE FROM bans")
            database.execute("INSERT INTO bans VALUES (?, NULL, '', 0.0)", (target,))
            self.assertIn("is damaged", self.refusal("check", self.path), target)
        database.close()
        data = Path(self.path).read_bytes()
        Path(self.path).write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
        for command in (["check"], ["stats"]):
            self.assertIn("is damaged", self.refusal(*command, self.path))
        self.assertIn("is damaged", self.refusal("backup", self.path, self.path + ".copy"))
        self.assertEqual(sorted(os.listdir(self.directory)), ["rendezvous.sqlite3"])

    def test_damage_that_hides_no_record(self) -> None:
        """The number of free pages is wrong, say. The store is refused, and no copy is made of it."""
        open_database(self.path).close()
        with open(self.path, "r+b") as file:
            file.seek(36)
            file.write((7).to_bytes(4, "big"))
        copy = self.path + ".copy"
        for command in (["check", self.path], ["backup", self.path, copy], ["restore", self.path, copy]):
            self.assertIn("is damaged", self.refusal(*command))
            self.assertFalse(os.path.lexists(copy))

    def test_files_that_are_no_store(self) -> None:
        """None, an empty one, a text, a directory, another program's."""
        other = self.directory / "other"
        sqlite3.connect(other).executescript("CREATE TABLE theirs (a);").connection.close()
        (self.directory / "empty").touch()
        (self.directory / "text").write_text("text " * 1000)
        for name in ("none", "empty", "text", "other", ""):
            path = str(self.directory / name)
            for words in (["check", path], ["stats", path], ["backup", path, str(self.directory / "copy")]):
                self.assertIn(repr(path), self.refusal(*words))
        self.assertEqual(sorted(os.listdir(self.directory)), ["empty", "other", "text"])


class BackupTests(FileCase):
    """``rendezvous-admin backup``."""

    def setUp(self) -> None:
        """Leave a store."""
        super().setUp()
        self.leave()
        self.copy = str(self.directory / "copy.sqlite3")

    def test_copy_has_everything_and_is_its_owners_alone(self) -> None:
        """Whatever the umask says, with nothing else left beside it."""
        self.addCleanup(os.umask, os.umask(0))
        self.assertIn("keep the server's secret with it", self.good("backup", self.path, self.copy))
        self.assertEqual(stat.S_IMODE(os.stat(self.copy).st_mode), 0o600)
        self.assertEqual(sorted(self.listing()), ["copy.sqlite3", "rendezvous.sqlite3", "rendezvous.sqlite3.clients"])
        self.path = self.copy
        found = self.stats()
        self.assertEqual({name: found[name] for name in COUNTS}, COUNTS)

    def test_nothing_is_overwritten(self) -> None:
        """Not even a link that leads nowhere."""
        Path(self.copy).write_text("precious")
        self.assertIn("is there already", self.refusal("backup", self.path, self.copy))
        self.assertEqual(Path(self.copy).read_text(), "precious")
        link = self.directory / "link"
        link.symlink_to("nowhere")
        self.assertIn("is there already", self.refusal("backup", self.path, str(link)))

    def test_copy_that_appears_meanwhile_is_kept(self) -> None:
        """The first one wins."""
        link = os.link

        def late(source: str, destination: str) -> None:
            Path(destination).write_text("precious")
            link(source, destination)

        self.patch(os, "link", late)
        self.assertIn("is there already", self.refusal("backup", self.path, self.copy))
        self.assertEqual(sorted(self.listing()), ["copy.sqlite3", "rendezvous.sqlite3", "rendezvous.sqlite3.clients"])

    def test_copy_that_cannot_be_made_is_not_there(self) -> None:
        """It goes to a directory that is not there."""
        self.assertIn("cannot be made", self.refusal("backup", self.path, str(self.directory / "no" / "copy")))

    def test_disk_of_the_copy_that_is_full_is_not_blamed_on_the_store(self) -> None:
        """The message names the copy, and there is none."""
        full = sqlite3.OperationalError("database or disk is full")
        full.sqlite_errorcode = sqlite3.SQLITE_FULL

        def copy_database(database: sqlite3.Connection, path: str, progress: object) -> None:
            raise full

        self.patch(inspection, "copy_database", copy_database)
        refusal = self.refusal("backup", self.path, self.copy)
        self.assertIn(f"the copy {self.copy!r} cannot be made: database or disk is full", refusal)
        self.assertEqual(sorted(self.listing()), ["rendezvous.sqlite3", "rendezvous.sqlite3.clients"])

    def test_restored_copy_starts_and_has_everything(self) -> None:
        """Clients go on with what they were given, and offers are there with their answers."""
        reactor = MemoryReactor()
        server = MemoryServer(reactor, store="sqlite:" + str(self.directory / "live"))
        _, key, headers = server.register()
        server.deliver(key)
        offer = server.request("POST", "/offers", {"offers": [{"sdp": "v=0", "topics": ["t"]}]}, headers)
        self.assertLess(offer.status, 300)
        reactor.advance(2)
        self.good("backup", str(self.directory / "live"), self.copy)
        server.stop()
        restored = MemoryServer(reactor, store="sqlite:" + self.copy)
        self.addCleanup(restored.stop)
        self.assertEqual(restored.deliver(key), [(1020).to_bytes(4, "big")])
        self.assertIn(b'"v=0"', restored.request("GET", "/offers/mine", headers=headers).body)


class RotateTests(FileCase):
    """``rendezvous-admin rotate-secret``."""

    def setUp(self) -> None:
        """Have a secret."""
        super().setUp()
        self.file = self.directory / "secret"
        self.file.write_text(SECRET.hex() + "\n")
        self.file.chmod(0o600)

    def test_old_one_is_kept_for_the_stated_time(self) -> None:
        """The answer says until when, and that a server has to be restarted; no secret is in it."""
        for text, seconds in (("0", 0), ("90", 90), ("90s", 90), ("2m", 120), ("12h", 43200), ("30d", 2592000)):
            self.file.write_text(SECRET.hex() + "\n")
            out = self.good("rotate-secret", str(self.file), "--keep", text)
            lines = self.file.read_text().splitlines()
            self.assertEqual(lines[1:], [f"{SECRET.hex()} until {int(NOW + seconds)}"])
            self.assertIn("when it is restarted", out)
            for line in lines:
                self.assertNotIn(line[:64], out)
        self.assertIn("until 2023-12-14 22:13:20 UTC", out)

    def test_mistakes(self) -> None:
        """The file is as it was."""
        for text in ("", "-1", "x", "1w", "1.5d", "3661d", "9" * 13):
            self.assertIn("--keep", self.refusal("rotate-secret", str(self.file), f"--keep={text}"))
        self.assertEqual(self.file.read_text(), SECRET.hex() + "\n")
        self.good("rotate-secret", str(self.file), "--keep=3660d")
        self.assertIn("No such file", self.refusal("rotate-secret", str(self.file) + "x", "--keep=1"))
        self.file.write_text(SECRET.hex()[1:])
        self.assertNotIn(SECRET.hex()[1:9], self.refusal("rotate-secret", str(self.file), "--keep=1"))
        self.file.write_text(SECRET.hex())
        self.file.chmod(0o644)
        self.assertIn("can be read by others", self.refusal("rotate-secret", str(self.file), "--keep=1"))

    def test_link_is_followed(self) -> None:
        """The file that it leads to is replaced, and keeps being its owner's alone."""
        link = self.directory / "link"
        link.symlink_to(self.file)
        self.good("rotate-secret", str(link), "--keep=1")
        self.assertTrue(link.is_symlink())
        self.assertEqual(len(self.file.read_text().splitlines()), 2)
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)


class CommandLineTests(FileCase):
    """The program around the commands."""

    def test_mistakes_are_one_line(self) -> None:
        """Whatever is wrong with the words."""
        for words in (
            [],
            ["x"],
            ["check"],
            ["check", "memory:"],
            ["check", "sqlite:"],
            ["check", "a", "b"],
            ["stats", "--x"],
        ):
            self.assertIn("--help", self.refusal(*words))

    def test_help_and_version(self) -> None:
        """Each command has its own help."""
        for command in ((), ("check",), ("backup",), ("stats",), ("rotate-secret",)):
            self.assertIn("usage: rendezvous-admin", self.good(*command, "--help"))
        self.assertEqual(self.good("--version"), f"rendezvous {__version__}\n")

    def test_installed_name(self) -> None:
        """An installation has the program."""
        declared = configparser.ConfigParser()
        declared.read(DOCS.parent / "setup.cfg", encoding="utf-8")
        scripts = declared["options.entry_points"]["console_scripts"].splitlines()
        self.assertIn("rendezvous-admin = rendezvous.commands.admin.main:run", scripts)

    def test_nothing_that_is_secret_is_printed(self) -> None:
        """Neither the secret of an offer nor a client's id or key."""
        self.leave()
        shown = self.good("stats", self.path) + self.good("check", self.path)
        for hidden in (ANSWER_SECRET, OWNER, SECRET.hex()):
            self.assertNotIn(hidden, shown)

    def test_program_ends_quietly_when_its_output_is_closed(self) -> None:
        """A pipe that is closed is no reason for a traceback."""
        self.leave()
        reading, writing = os.pipe()
        os.close(reading)
        ended = subprocess.run(
            [*ADMIN, "stats", self.path], env=environment(), stdout=writing, stderr=subprocess.PIPE, timeout=60
        )
        os.close(writing)
        self.assertEqual((ended.returncode, ended.stderr), (1, b""))
