"""
Tests of real ``twistd`` processes on loopback, from outside.

They block, so they have a time-out for everything that they wait for; the times that decide something are generous.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from twisted.trial.unittest import SynchronousTestCase

import rendezvous

CHECKOUT = Path(rendezvous.__file__).parent.parent
TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]

#: Seconds within which anything must have happened that is going to.
PATIENCE = 20.0

ON_TIME, VERIFY, UNKNOWN = (code.to_bytes(4, "big") for code in (1020, 1050, 1060))


class _Case(SynchronousTestCase):
    """A directory to run in, without settings in the environment."""

    def setUp(self) -> None:
        """Make the directory."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("RENDEZVOUS_")}
        self.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH")]))

    def run_twistd(self, *words: str) -> subprocess.CompletedProcess[str]:
        """:returns: a process that ended by itself."""
        return subprocess.run(
            [*TWISTD, *words],
            cwd=self.directory,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def eventually(self, found: Callable[[], Any], what: str) -> Any:
        """:returns: what a function finds, once it finds something."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            result = found()
            if result:
                return result
            time.sleep(0.02)
        self.fail(f"{what} did not happen: {self.log()}")

    def log(self) -> str:
        """:returns: all that a process has written so far, to its log or elsewhere."""
        return "".join(path.read_text() for path in sorted(self.directory.glob("*.log")))

    def ports(self) -> tuple[int, int]:
        """:returns: the HTTP port and the UDP port that the server says it listens on."""

        def found() -> tuple[int, int] | None:
            ports = [re.search(rf"{what} on \S+:([0-9]+)\n", self.log()) for what in ("HTTP", "UDP")]
            return (int(ports[0][1]), int(ports[1][1])) if ports[0] and ports[1] else None

        found_ports: tuple[int, int] = self.eventually(found, "listening")
        return found_ports


class _Client:
    """One client of a server on loopback: an HTTP connection for each request, and one UDP socket."""

    def __init__(self, host: str, ports: tuple[int, int]) -> None:
        self.host = host
        self.http_port, self.udp_port = ports
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.settimeout(PATIENCE)
        self.socket.bind((host, 0))
        self.credential = ""

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def ask(self, method: str, path: str) -> tuple[int, Any]:
        """:returns: status and body."""
        connection = http.client.HTTPConnection(self.host, self.http_port, timeout=PATIENCE)
        try:
            connection.request(method, path, headers={"Authorization": self.credential})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def register(self) -> None:
        """Register."""
        _, made = self.ask("POST", "/register")
        self.client_id, self.key = made["client_id"], bytes.fromhex(made["private_id"])
        self.credential = f"Bearer {self.client_id}:{self.key.hex()}"

    def pulse(self) -> bytes:
        """:returns: what a pulse is answered with."""
        self.socket.sendto(self.key, (self.host, self.udp_port))
        return self.socket.recv(100)

    def status(self) -> str:
        """:returns: this client's status, or the error's code."""
        _, body = self.ask("GET", f"/peer/{self.client_id}/udp/status")
        return str(body.get("status") or body["code"])


class ForegroundTests(_Case):
    """Tests of ``twistd -n rendezvous``."""

    def start(self, *words: str) -> tuple[int, int]:
        """:returns: the ports of a server that was started with these options."""
        with open(self.directory / "out.log", "w") as out, open(self.directory / "err.log", "w") as err:
            self.process = self.launch(out, err, words)
        self.addCleanup(self.kill)
        return self.ports()

    def launch(self, out: IO[str], err: IO[str], words: tuple[str, ...]) -> subprocess.Popen[bytes]:
        """:returns: the process."""
        command = [*TWISTD, "-n", "rendezvous", "--http-port=0", "--udp-port=0", *words]
        return subprocess.Popen(command, cwd=self.directory, env=self.environ, stdout=out, stderr=err)

    def kill(self) -> None:
        """End the process, if it has not ended."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)

    def client(self, host: str, ports: tuple[int, int]) -> _Client:
        """:returns: a client that has registered."""
        client = _Client(host, ports)
        self.addCleanup(client.close)
        client.register()
        return client

    def stop(self, number: signal.Signals) -> None:
        """Stop the server, which must end in peace; twistd then ends by the same signal, so that a shell can tell."""
        self.process.send_signal(number)
        self.assertEqual(self.process.wait(PATIENCE), -number)
        self.assertIn("Main loop terminated.", self.log())
        self.assertIn("Server Shut Down.", self.log())
        self.assertNotIn("Traceback", self.log())
        self.assertEqual((self.directory / "err.log").read_text(), "")

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
            self.assertIn("cannot listen for UDP on 127.0.0.1:", done.stderr)
            self.assertFalse((self.directory / "twistd.pid").exists())


class CommandTests(_Case):
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


class DaemonTests(_Case):
    """Tests of ``twistd rendezvous``."""

    def test_daemon_starts_serves_and_stops(self) -> None:
        """The command returns once the server serves; the server's pid is where twistd puts it."""
        words = ("--logfile=twistd.log", "rendezvous", "--http-port=0", "--udp-port=0", "--interface=127.0.0.1")
        done = self.run_twistd(*words)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        path = self.directory / "twistd.pid"
        pid = int(path.read_text())
        self.addCleanup(self.kill, pid)
        client = _Client("127.0.0.1", self.ports())
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
