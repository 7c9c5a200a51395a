"""
What becomes of a real server when its file cannot be written, or is not there, or not what it should be.

A full disk needs a small file system of its own, and with it the right to mount one: without that right those tests are
skipped, save in CI, where that would be a failure.
"""

from __future__ import annotations

import http.client
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from rendezvous.storage.database import schema_steps
from tests.crash.server import Server
from tests.crash.wire import Connection, ask, ask_tracker, udp_socket

PATIENCE = 20.0
ON_TIME = (1020).to_bytes(4, "big")
#: Runs a program as a root that has to keep to the modes of files, as every other user does.
MERE_OWNER = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--")


class _Case(SynchronousTestCase):
    """A directory, and a server that can be started in it."""

    def setUp(self) -> None:
        """Make the directory where anybody may go."""
        self.directory = Path(tempfile.mkdtemp(prefix="rendezvous-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.server = Server(self.directory, "--no-source-limits")
        self.addCleanup(self.server.kill)

    def begin(self) -> None:
        """Start, and connect."""
        self.server.start()
        self.http = Connection(self.server)
        self.addCleanup(self.http.close)

    def again(self) -> None:
        """Kill the server, start it anew, and connect again."""
        self.http.close()
        self.server.kill()
        self.begin()

    def register(self) -> tuple[str, bytes]:
        """:returns: a client's credential and its key."""
        made = self.http.expect("POST", "/register")
        return f"{made['client_id']}:{made['private_id']}", bytes.fromhex(made["private_id"])

    def publish(self, auth: str, name: str, size: int = 10) -> int:
        """:returns: the status of publishing an offer, whose description has so many bytes."""
        body = {"offers": [{"id": name, "sdp": "s" * size, "topics": ["a"]}]}
        return self.http.send("POST", "/offers", auth, body)[0]

    def mine(self, auth: str) -> set[str]:
        """:returns: the ids of a client's offers."""
        return {each["id"] for each in self.http.expect("GET", "/offers/mine", auth)["offers"]}

    def eventually(self, found: Callable[[], object], what: str) -> None:
        """Wait until something is so."""
        late = time.monotonic() + PATIENCE
        while not found():
            if time.monotonic() > late:
                self.fail(f"{what} did not happen:\n{self.server.log()}")
            time.sleep(0.05)

    def refused_start(self) -> str:
        """:returns: the one line that a server says on the terminal before it ends with status 1."""
        process = self.server.popen()
        self.assertEqual(process.wait(PATIENCE), 1, self.server.log())
        said = [line for line in self.server.log().splitlines() if line.startswith("twistd rendezvous: ")]
        self.assertEqual(len(said), 1, self.server.log())
        self.assertNotIn("Traceback", self.server.log())
        return said[0]


class FullDiskTests(_Case):
    """A disk of two megabytes, which something else fills."""

    def setUp(self) -> None:
        """Mount it, if we may."""
        super().setUp()
        disk = self.directory / "disk"
        disk.mkdir()
        mounted = (
            os.geteuid() == 0
            and not subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=2m", "rendezvous-test", str(disk)],
                capture_output=True,
                check=False,
            ).returncode
        )
        if not mounted:
            if os.environ.get("CI") == "true":
                self.fail("no right to mount a small file system")
            raise SkipTest("needs the right to mount a small file system")
        self.addCleanup(subprocess.run, ["umount", "--lazy", str(disk)], check=True)
        self.disk = disk
        self.server.store = str(disk / "store.sqlite3")

    def fill(self) -> Path:
        """:returns: what takes the last free byte."""
        ballast = self.disk / "ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                while file.write(b"\0" * 4096):
                    pass
            except OSError:
                return ballast
        self.fail("the disk did not get full")

    def test_full_disk_refuses_writes_and_nothing_else(self) -> None:
        """Writes are 503, reads and pulses go on, all is well once there is room, and what was acknowledged is kept."""
        self.begin()
        auth, key = self.register()
        sock, tracked = udp_socket(self.server), udp_socket(self.server)
        self.addCleanup(sock.close)
        self.addCleanup(tracked.close)
        self.assertEqual(ask(self.server, sock, key), ON_TIME)
        ask_tracker(self.server, tracked, action="announce")
        kept = {name for name in map(str, range(5)) if self.publish(auth, name) == 200}
        ballast = self.fill()
        statuses: list[int] = []
        while (503 not in statuses) and len(statuses) < 100:
            name = f"late-{len(statuses)}"
            statuses.append(self.publish(auth, name, 60_000))
            kept |= {name} if statuses[-1] == 200 else set()
        self.assertEqual(set(statuses), {200, 503} if len(statuses) > 1 else {503})
        self.check_refusal(auth)
        self.assertLessEqual(kept, self.mine(auth))
        self.assertEqual(ask(self.server, sock, key), ON_TIME)
        self.assertEqual(ask_tracker(self.server, tracked, action="alive"), {"action": "alived"})
        time.sleep(2.5)
        self.assertEqual(ask(self.server, sock, key), ON_TIME)
        ballast.unlink()
        self.eventually(lambda: self.http.send("POST", "/register", None, None)[0] == 200, "recovery")
        self.assertEqual(self.publish(auth, "after"), 200)
        self.assertEqual(self.server.log().count("cannot be written: "), 1)
        self.assertEqual(self.server.log().count("can be written again"), 1)
        self.again()
        self.assertLessEqual(kept | {"after"}, self.mine(auth))
        self.assertEqual(ask(self.server, sock, key), ON_TIME)

    def check_refusal(self, auth: str) -> None:
        """See what a write is told: a plain error, and when to come again."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.http_port, timeout=PATIENCE)
        connection.request("POST", "/register")
        response = connection.getresponse()
        body = response.read()
        connection.close()
        self.assertEqual(response.status, 503)
        self.assertIn(b'"unsaved"', body)
        self.assertGreater(int(response.headers["Retry-After"]), 0)


class FileTests(_Case):
    """What others do to the file while the server runs."""

    def test_deleted_file_is_written_anew(self) -> None:
        """The next write makes the file again, whole, so that a restart finds all that was ever acknowledged."""
        self.begin()
        auth, _ = self.register()
        self.assertEqual(self.publish(auth, "before"), 200)
        for path in self.directory.glob("rendezvous.sqlite3*"):
            if path.suffix != ".lock":
                path.unlink()
        self.assertEqual(self.publish(auth, "after"), 200)
        self.assertEqual(os.stat(self.directory / "rendezvous.sqlite3").st_mode & 0o777, 0o600)
        self.again()
        self.assertEqual(self.mine(auth), {"before", "after"})

    def test_other_file_in_its_place_is_left_alone(self) -> None:
        """Writes are refused until the file is back or gone, and no other program's file is written over."""
        self.begin()
        auth, _ = self.register()
        path = self.directory / "rendezvous.sqlite3"
        path.rename(self.directory / "ours")
        path.write_bytes(b"somebody else's")
        self.assertEqual(self.publish(auth, "a"), 503)
        self.assertEqual(path.read_bytes(), b"somebody else's")
        self.assertIn("another file has been put in its place", self.server.log())
        (self.directory / "ours").rename(path)
        self.eventually(lambda: self.publish(auth, "b") == 200, "recovery")
        self.again()
        self.assertLessEqual({"b"}, self.mine(auth))

    def test_second_server_on_one_file_is_refused(self) -> None:
        """It says so in one line, and the first goes on."""
        self.begin()
        auth, _ = self.register()
        second = Server(self.directory)
        second._lives = 10
        first, self.server = self.server, second
        self.assertIn("'rendezvous.sqlite3' is in use by another server: stop it", self.refused_start())
        self.server = first
        self.assertEqual(self.publish(auth, "a"), 200)


class StartTests(_Case):
    """Files that a server refuses to start on."""

    def path(self) -> Path:
        """:returns: the file."""
        return self.directory / "rendezvous.sqlite3"

    def make(self) -> None:
        """Let a server make its file, and end."""
        self.begin()
        for _ in range(50):
            self.register()
        self.http.close()
        self.server.stop()

    def assert_refused(self, *words: str) -> None:
        """See that the server names the file, says these words, and has left the file as it was."""
        before = self.path().read_bytes()
        said = self.refused_start()
        for word in ("'rendezvous.sqlite3'", *words):
            self.assertIn(word, said)
        self.assertEqual(self.path().read_bytes(), before)

    def test_damaged_file_is_refused(self) -> None:
        """A file with garbage in the midst of it is not touched; what to do is said."""
        self.make()
        content = bytearray(self.path().read_bytes())
        content[4096:] = b"\xa5" * (len(content) - 4096)
        self.path().write_bytes(content)
        self.assert_refused("is damaged", "put a backup in its place, or move it away")

    def test_cut_file_is_refused(self) -> None:
        """So is one of which the end is missing."""
        self.make()
        content = self.path().read_bytes()
        self.path().write_bytes(content[: len(content) // 2])
        self.assert_refused("is damaged")

    def test_foreign_database_is_refused(self) -> None:
        """Another program's database stays as it is."""
        with sqlite3.connect(self.path()) as database:
            database.execute("CREATE TABLE songs (name)")
        database.close()
        self.assert_refused("another program's database: give another --store")

    def test_file_that_is_no_database_is_refused(self) -> None:
        """Nor is a text written over."""
        self.path().write_text("My diary.\n" * 500)
        self.assert_refused("no store at all", "move it away")

    def test_newer_file_is_refused(self) -> None:
        """A file from a later release is for a later release."""
        self.make()
        newer = max(schema_steps()) + 1
        with sqlite3.connect(self.path()) as database:
            database.execute(f"PRAGMA user_version = {newer}")
        database.close()
        self.assert_refused(f"has version {newer}", "run a newer server")

    def test_read_only_file_is_refused(self) -> None:
        """A server whose user may not write to the file says which, and what to look at."""
        self.make()
        self.path().chmod(0o444)
        self.server = Server(self.directory, prefix=MERE_OWNER if os.geteuid() == 0 else ())
        self.server._lives = 10
        self.assert_refused("cannot be written to: check its owner and its mode")
