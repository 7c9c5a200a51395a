"""Real ``twistd`` processes on loopback, for tests from outside. They block, with a time-out for every wait."""

from __future__ import annotations

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


class ProcessCase(SynchronousTestCase):
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
            ports = [re.search(rf"{what} on \S+:([0-9]+)[,\"\n]", self.log()) for what in ("HTTP", "UDP")]
            return (int(ports[0][1]), int(ports[1][1])) if ports[0] and ports[1] else None

        found_ports: tuple[int, int] = self.eventually(found, "listening")
        return found_ports


class Client:
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


class ForegroundCase(ProcessCase):
    """A server that runs in the foreground, with its log and its errors in files."""

    def start(self, *words: str) -> tuple[int, int]:
        """:returns: the ports of a server that was started with these options."""
        with open(self.directory / "out.log", "w") as out, open(self.directory / "err.log", "w") as err:
            self.process = self.launch(out, err, words)
        self.addCleanup(self.kill)
        return self.ports()

    def launch(self, out: IO[str], err: IO[str], words: tuple[str, ...]) -> subprocess.Popen[bytes]:
        """:returns: the process."""
        return self.launch_words(out, err, "--http-port=0", "--udp-port=0", *words)

    def launch_words(self, out: IO[str], err: IO[str], *words: str) -> subprocess.Popen[bytes]:
        """:returns: the process, with these options alone."""
        command = [*TWISTD, "-n", "rendezvous", *words]
        return subprocess.Popen(command, cwd=self.directory, env=self.environ, stdout=out, stderr=err)

    def kill(self) -> None:
        """End the process, if it has not ended."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self, number: signal.Signals) -> None:
        """Stop the server, which must end in peace; twistd then ends by the same signal, so that a shell can tell."""
        self.process.send_signal(number)
        self.assertEqual(self.process.wait(PATIENCE), -number)
        self.assertIn("the server has stopped", self.log())
        self.assertNotIn("Traceback", self.log())
        self.assertEqual((self.directory / "err.log").read_text(), "")

    def client(self, host: str, ports: tuple[int, int]) -> Client:
        """:returns: a client that has registered."""
        client = Client(host, ports)
        self.addCleanup(client.close)
        client.register()
        return client
