"""``rendezvous-admin`` with a real server: every command, as table and as JSON, and what it says when it cannot."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests._process_case import PATIENCE, TWISTD, Client, ProcessCase

ADMIN = [sys.executable, "-m", "rendezvous.commands.admin"]
PORTS = ("--interface=127.0.0.1", "--http-port=0", "--udp-port=0")


class RunningServerTests(ProcessCase):
    """A server with a port for operators, two clients, and the program."""

    def setUp(self) -> None:
        """Start the server."""
        super().setUp()
        self.environ["USER"] = "alice"
        self.port = 0
        self.server = self.started("first.log")
        self.clients = [Client("127.0.0.1", self.ports()) for _ in range(2)]
        for client in self.clients:
            self.addCleanup(client.close)
            client.register()
            client.pulse()

    def started(self, log: str) -> subprocess.Popen[bytes]:
        """:returns: the process of a server that listens; a later one is on the same port for operators."""
        options = (*PORTS, f"--admin=tcp:{self.port}:interface=127.0.0.1", "--store=sqlite:rendezvous.sqlite3")
        with open(self.directory / log, "wb") as file:
            words = [*TWISTD, "--nodaemon", "--pidfile=", "rendezvous", *options]
            server = subprocess.Popen(words, cwd=self.directory, env=self.environ, stdout=file, stderr=file)
        self.addCleanup(self.end, server)
        written = Path(self.directory / log)
        found = self.eventually(lambda: re.search(r"operators on \S+:(\d+)\n", written.read_text()), "listening")
        self.eventually(lambda: "UDP on" in written.read_text(), "listening on all ports")
        self.port = int(found[1])
        self.environ["RENDEZVOUS_ADMIN_URL"] = f"http://127.0.0.1:{self.port}"
        return server

    def end(self, server: subprocess.Popen[bytes]) -> None:
        """Stop a server as Ctrl-C does, unless it has ended."""
        if server.poll() is None:
            server.send_signal(signal.SIGINT)
            server.wait(PATIENCE)

    def run_admin(self, *words: str) -> subprocess.CompletedProcess[str]:
        """:returns: the program that ended by itself."""
        return subprocess.run(
            [*ADMIN, *words],
            cwd=self.directory,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def good(self, *words: str) -> str:
        """:returns: what it printed, all having gone well."""
        ended = self.run_admin(*words)
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        return ended.stdout

    def objects(self, *words: str) -> list[Any]:
        """:returns: the objects that it printed, one a line."""
        return [json.loads(line) for line in self.good(*words, "--json").splitlines()]

    def bad(self, *words: str) -> str:
        """:returns: the one line of what could not be done."""
        ended = self.run_admin(*words)
        self.assertEqual((ended.returncode, ended.stdout, ended.stderr.count("\n")), (1, "", 1), ended.stderr)
        return ended.stderr

    def test_what_is_there(self) -> None:
        """Each list, the numbers, a client with its history and the settings, as tables and as JSON."""
        one, other = self.clients
        listed = self.good("list")
        self.assertRegex(listed, rf"(?m)^{one.client_id}  online +127\.0\.0\.1:\d+ +127\.0\.0\.1 ")
        self.assertEqual({each["client_id"] for each in self.objects("list")}, {one.client_id, other.client_id})
        self.assertEqual(len(self.objects("list", "--limit", "1")), 1)
        self.assertEqual(self.objects("list", "--network", "192.0.2.0/24"), [])
        [found] = self.objects("list", "--prefix", one.client_id, "--state", "online", "--network", "127.0.0.0/8")
        self.assertEqual((found["client_id"], found["host"]), (one.client_id, "127.0.0.1"))
        for what in ("topics", "offers", "sessions", "sockets", "attempts", "limited", "bans"):
            self.assertEqual(len(self.good("list", what).splitlines()), 1, what)
            self.assertEqual(self.objects("list", what), [], what)
        self.assertRegex(self.good("top"), r"(?s)^server +rendezvous .*\npulses ")
        [top] = self.objects("top")
        self.assertEqual((top["overview"]["draining"], "pulses" in top["rates"]), (False, True))
        self.assertRegex(self.good("show", one.client_id), r"(?s)state +online\n.*first_pulse +The first pulse came")
        [shown] = self.objects("show", one.client_id)
        self.assertEqual([each["event"] for each in shown["client"]["events"]], ["registered", "first_pulse"])
        self.assertRegex(self.good("show", "settings"), r"(?m)^udp_port +0$")
        self.assertNotIn(self.token(), self.good("show", "settings"))

    def token(self) -> str:
        """:returns: the token of operators."""
        return (self.directory / "rendezvous.admin-token").read_text().strip()

    def test_kick(self) -> None:
        """The client is unknown at once; the log says who did it; a second kick is refused in one line."""
        one, other = self.clients
        self.assertEqual(self.good("kick", one.client_id), f"kicked {one.client_id}\n")
        self.assertEqual(one.pulse(), (1060).to_bytes(4, "big"))
        self.assertEqual(other.pulse(), (1020).to_bytes(4, "big"))
        self.assertIn("no such client", self.bad("kick", one.client_id))
        self.assertEqual(self.objects("kick", other.client_id), [{"client_id": other.client_id, "kicked": True}])
        self.assertIn(f"operator alice (127.0.0.1): client {one.client_id} was kicked", self.log())

    def test_bans(self) -> None:
        """A ban holds from now on, is listed, survives a restart, and ends with ``unban``."""
        one, _ = self.clients
        self.assertIn("for good", self.good("ban", "127.0.0.0/8", "--reason", "a test"))
        self.assertEqual(one.ask("POST", "/register")[0], 403)
        self.assertRegex(self.good("list", "bans"), r"(?m)^127\.0\.0\.0/8 +for good .* a test$")
        [ban] = self.objects("ban", one.client_id, "--for", "12h")
        self.assertEqual((ban["target"], round(ban["until"] - ban["since"])), (one.client_id, 12 * 3600))
        self.end(self.server)
        self.server = self.started("second.log")
        self.assertEqual({each["target"] for each in self.objects("list", "bans")}, {"127.0.0.0/8", one.client_id})
        self.assertEqual(self.good("unban", "127.0.0.0/8"), "lifted the ban of 127.0.0.0/8\n")
        self.assertEqual(self.objects("unban", one.client_id)[0]["target"], one.client_id)
        self.assertIn("no such ban", self.bad("unban", one.client_id))

    def test_a_ban_with_host_bits_is_refused_with_what_may_be_meant(self) -> None:
        """It could mean one address or all of them."""
        line = self.bad("ban", "198.51.100.7/24")
        self.assertIn("198.51.100.0/24", line)
        self.assertIn("198.51.100.7", line.replace("198.51.100.7/24", ""))
        self.assertEqual(self.objects("list", "bans"), [])

    def test_drain_and_reload(self) -> None:
        """``/ready`` and registrations follow, and a reload says what it has done."""
        one, _ = self.clients
        self.assertEqual(self.objects("drain"), [{"draining": True}])
        self.assertEqual([one.ask("GET", "/ready")[0], one.ask("POST", "/register")[0]], [503, 503])
        self.assertIn(", drains", self.good("top"))
        self.assertIn("takes new clients again", self.good("undrain"))
        self.assertEqual([one.ask("GET", "/ready")[0], one.ask("POST", "/register")[0]], [200, 200])
        self.assertIn("refuses new clients", self.good("drain"))
        self.assertEqual(self.objects("undrain"), [{"draining": False}])
        self.assertIn("no setting has changed", self.good("reload"))
        self.assertEqual(self.objects("reload"), [{"changed": [], "refused": [], "certificates": 0}])

    def test_watch_goes_on_after_a_restart(self) -> None:
        """Lines of before, lines as they come, one line while the server is away, and then those of the next server."""
        written = self.directory / "watch.log"
        with open(written, "wb") as file:
            words = [*ADMIN, "watch", "--json"]
            watch = subprocess.Popen(words, cwd=self.directory, env=self.environ, stdout=file, stderr=file)
        self.addCleanup(watch.wait)
        self.addCleanup(watch.kill)
        self.eventually(lambda: "operators on" in written.read_text(), "a line of before")
        self.good("drain")
        self.eventually(lambda: "operator alice" in written.read_text(), "a line that came")
        self.end(self.server)
        self.eventually(lambda: "it is tried again" in written.read_text(), "the end of the server")
        self.server = self.started("second.log")
        self.eventually(lambda: written.read_text().count("has started") == 2, "a line of the next server")
        watch.send_signal(signal.SIGINT)
        self.assertEqual(watch.wait(PATIENCE), 130)

    def test_refusals(self) -> None:
        """A wrong token, no token, an unknown client, and a server that is gone: one line each, without the token."""
        token = self.token()
        wrong = self.directory / "wrong"
        wrong.write_text("another-token-of-operators-0123456789\n")
        self.assertIn("token", self.bad("top", "--token-file", str(wrong)))
        self.assertIn("cannot be read", self.bad("top", "--token-file", str(self.directory / "none")))
        self.assertIn("no such client", self.bad("show", "ab" * 16))
        self.assertIn("hex digits", self.bad("list", "--prefix", "xyz"))
        self.end(self.server)
        for words in (["list"], ["top"], ["show", "settings"], ["drain"], ["kick", "ab" * 16], ["ban", "192.0.2.1"]):
            line = self.bad(*words)
            self.assertIn(f"the server at http://127.0.0.1:{self.port} cannot be reached", line)
            self.assertNotIn(token, line)

    def test_top_on_a_terminal_is_renewed(self) -> None:
        """It shows a screen after the other, and ends with Ctrl-C."""
        master, slave = os.openpty()
        self.addCleanup(os.close, master)
        top = subprocess.Popen([*ADMIN, "top"], cwd=self.directory, env=self.environ, stdout=slave, stderr=slave)
        os.close(slave)
        self.addCleanup(top.wait)
        self.addCleanup(top.kill)
        shown = b""
        deadline = time.monotonic() + PATIENCE
        # The clients are counted now and then, so the first screens may be older than their pulses.
        while not (shown.count(b"\x1b[2J") > 1 and b"2 online" in shown) and time.monotonic() < deadline:
            shown += os.read(master, 65536)
        self.assertGreater(shown.count(b"\x1b[2J"), 1)
        self.assertIn(b"2 online", shown)
        top.send_signal(signal.SIGINT)
        self.assertEqual(top.wait(PATIENCE), 130)
