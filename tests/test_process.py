"""
Tests of real ``twistd`` processes on loopback, from outside.

They block, so they have a time-out for everything that they wait for; the times that decide something are generous.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import attrs
import zope.interface

from twisted.trial.unittest import SkipTest

from tests._process_case import CHECKOUT, ON_TIME, TWISTD, UNKNOWN, VERIFY, Client, ForegroundCase, ProcessCase


class ForegroundTests(ForegroundCase):
    """Tests of ``twistd -n rendezvous``."""

    def test_two_clients_find_and_lose_each_other(self) -> None:
        """Register, pulse, look up, fall silent, 1050, verify, come back, log out; over IPv4 and IPv6 at once."""
        ports = self.start("--pulse-interval=1.5", "--pulse-grace=0.5", "--error-time=60")
        four, six = (self.client(host, ports) for host in ("127.0.0.1", "::1"))
        for client, other in ((four, six), (six, four)):
            self.assertEqual(client.pulse(), ON_TIME)
            _, found = other.ask("GET", f"/peer/{client.client_id}/udp")
            self.assertEqual((found["host"], found["port"]), (client.host, client.socket.getsockname()[1]))
        self.eventually(lambda: six.status() == "PENDING", "falling silent")
        self.assertEqual(six.pulse(), VERIFY)
        self.assertEqual(six.ask("POST", "/verify")[0], 200)
        self.assertEqual((six.pulse(), six.status()), (ON_TIME, "ONLINE"))
        self.assertEqual(six.ask("POST", "/logout")[0], 200)
        self.assertEqual(six.pulse(), UNKNOWN)
        status, body = four.ask("GET", f"/peer/{six.client_id}/udp")
        self.assertEqual((status, body["code"]), (404, "not-found"))
        self.stop(signal.SIGINT)
        for client in (four, six):
            for form in (client.key.hex(), client.credential, repr(client.key)[2:-1]):
                self.assertNotIn(form, self.log())

    def test_silent_client_is_gone_and_counted(self) -> None:
        """After the error time a pulse gets 1060, and the log says how many fell silent."""
        ports = self.start("--pulse-interval=0.4", "--error-time=0.6", "--interface=127.0.0.1")
        client = self.client("127.0.0.1", ports)
        self.assertEqual(client.pulse(), ON_TIME)
        self.eventually(lambda: client.status() == "not-found", "going")
        self.assertEqual(client.pulse(), UNKNOWN)
        client.socket.sendto(b"junk", (client.host, client.udp_port))
        self.eventually(lambda: "dropped datagrams: {'unreadable': 1}" in self.log(), "counting")
        self.stop(signal.SIGTERM)

    def test_port_in_use_is_one_line(self) -> None:
        """Of either kind: on standard error, with status 1 and no traceback, in the foreground and as a daemon."""
        with contextlib.ExitStack() as stack:
            tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            udp.bind(("127.0.0.1", 0))
            for option, port in (("--http-port", tcp), ("--udp-port", udp)):
                free = {"--http-port": "--udp-port", "--udp-port": "--http-port"}[option]
                words = ["rendezvous", "--interface=127.0.0.1", f"{option}={port.getsockname()[1]}", f"{free}=0"]
                done = self.run_twistd("-n", *words)
                (line,) = done.stderr.splitlines()
                what = {"--http-port": "HTTP", "--udp-port": "UDP"}[option]
                place = f"127.0.0.1:{port.getsockname()[1]} ({option}, --interface)"
                expected = f"twistd rendezvous: cannot listen for {what} on {place}: Address already in use"
                self.assertEqual(line, expected)
                self.assertEqual(done.returncode, 1)
                self.assertNotIn("Traceback", done.stdout)
            done = self.run_twistd(*words)
            self.assertEqual(done.returncode, 1)
            # The whole line comes first. twistd adds two of its own, and cuts the reason off.
            self.assertEqual(done.stderr.splitlines()[0], expected)
            self.assertEqual(len(done.stderr.splitlines()), 3)
            # twistd first ends the process that the operator has started, and then removes the file.
            self.eventually(lambda: not (self.directory / "twistd.pid").exists(), "removing the pid file")


class CommandTests(ProcessCase):
    """Tests of commands that end by themselves."""

    def assert_refused(self, *words: str) -> None:
        """Check that a command ends with status 1, and says why in one line."""
        done = self.run_twistd("-n", "rendezvous", *words)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        (line,) = done.stderr.splitlines()
        self.assertTrue(line.startswith("twistd rendezvous: "), line)

    def test_wrong_value_is_one_line(self) -> None:
        """On the command line as in the environment."""
        self.assert_refused("--http-port=x")
        self.environ["RENDEZVOUS_PULSE_INTERVAL"] = "soon"
        self.assert_refused()

    def test_secret_file_that_cannot_be_used_is_one_line(self) -> None:
        """It holds something else, or others can read it."""
        path = self.directory / "secret"
        path.write_text("not a secret\n")
        path.chmod(0o600)
        self.assert_refused("--secret-file=secret")
        path.write_text("ab" * 32)
        path.chmod(0o644)
        self.assert_refused("--secret-file=secret")

    def test_twistd_lists_the_plugin(self) -> None:
        """With its one line of description."""
        done = self.run_twistd("--help")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"\n +rendezvous +A rendezvous server")


class UserTests(ForegroundCase):
    """Tests of ``twistd --uid``."""

    def open_python(self) -> str:
        """:returns: an interpreter that every user can run: this one, or the system's if it is alike."""
        if all(parent.stat().st_mode & 0o001 for parent in Path(os.__file__).resolve().parents):
            return sys.executable
        version = "import sys; print(*sys.version_info[:2])"
        found = subprocess.run(["/usr/bin/python3", "-c", version], capture_output=True, text=True)
        if found.stdout.split() != [str(number) for number in sys.version_info[:2]]:
            raise SkipTest("another user cannot run this Python")
        packages = {str(Path(attrs.__file__).parents[1]), str(Path(zope.interface.__file__).parents[2])}
        self.environ["PYTHONPATH"] = os.pathsep.join([str(CHECKOUT), *sorted(packages)])
        return "/usr/bin/python3"

    def test_files_belong_to_the_users_that_the_docs_say(self) -> None:
        """The secret to root, the store to the user that the server runs as; and both are found again."""
        if os.geteuid() != 0:
            raise SkipTest("only root can change its user")
        python = self.open_python()
        # The directory of the tests may not be open to others.
        directory = Path(tempfile.mkdtemp(prefix="rendezvous-"))
        self.addCleanup(shutil.rmtree, directory)
        directory.chmod(0o755)
        state = directory / "state"
        state.mkdir()
        os.chown(state, 65534, 65534)
        self.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        key = None
        for _ in range(2):
            with open(self.directory / "out.log", "w") as out, open(self.directory / "err.log", "w") as err:
                command = [
                    python,
                    *TWISTD[1:],
                    "-n",
                    "--pidfile=",
                    "--uid=65534",
                    "--gid=65534",
                    "rendezvous",
                    "--http-port=0",
                ]
                command += ["--udp-port=0", "--interface=127.0.0.1", f"--secret-file={directory}/secret"]
                command += [f"--store=sqlite:{state}/rendezvous.sqlite3"]
                self.process = subprocess.Popen(command, cwd=directory, env=self.environ, stdout=out, stderr=err)
            self.addCleanup(self.kill)
            client = Client("127.0.0.1", self.ports())
            self.addCleanup(client.close)
            client.register()
            if key is not None:
                client.key = key
            key = client.key
            self.assertEqual(client.pulse(), ON_TIME)
            owners = {path.name: path.stat().st_uid for path in (*state.iterdir(), directory / "secret")}
            self.assertEqual(owners.pop("secret"), 0)
            self.assertEqual(set(owners.values()), {65534}, owners)
            self.stop(signal.SIGTERM)


class DaemonTests(ProcessCase):
    """Tests of ``twistd rendezvous``."""

    def test_daemon_starts_serves_and_stops(self) -> None:
        """The command returns once the server serves; the server's pid is where twistd puts it."""
        words = ("--logfile=twistd.log", "rendezvous", "--http-port=0", "--udp-port=0", "--interface=127.0.0.1")
        done = self.run_twistd(*words)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        path = self.directory / "twistd.pid"
        pid = int(path.read_text())
        self.addCleanup(self.kill, pid)
        client = Client("127.0.0.1", self.ports())
        self.addCleanup(client.close)
        client.register()
        self.assertEqual(client.pulse(), ON_TIME)
        os.kill(pid, signal.SIGTERM)
        self.eventually(lambda: not path.exists(), "stopping")
        self.assertNotIn("Traceback", self.log())
        self.assertNotIn(client.key.hex(), self.log())

    def kill(self, pid: int) -> None:
        """End the daemon, if it is still the process of that number that runs in our directory."""
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cwd").resolve() == self.directory:
                os.kill(pid, signal.SIGKILL)
