"""A real server on a store of its own that is killed and started again in the same directory, on the same ports."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tests.real_server import environment

__all__ = ["TWISTD", "UNMEASURED", "Server"]

#: The prefix for a server whose coverage is not measured. One that is killed cannot write what was measured, so that
#: measuring would only make it slow.
UNMEASURED = ("env", "-u", "COVERAGE_PROCESS_CONFIG")

_RUN = "from twisted.scripts.twistd import run; run()"
TWISTD = [sys.executable, "-c", _RUN, "--nodaemon", "--pidfile="]

LOOPBACK = "--interface=127.0.0.1"

#: Seconds within which a server must have started or ended.
PATIENCE = 40.0


class Server:
    """
    One server, through all its lives.

    :param prefix: what to put before its command.
    :param plant: the name of a bug to plant in it; see :mod:`tests.crash.planted`.
    :ivar workers: how many UDP workers the next life has.
    :ivar http_port: TCP, from the first start on.
    :ivar udp_port: UDP, likewise.
    :ivar admin_port: that of operators, likewise.
    :ivar down: set while no process runs.
    """

    def __init__(
        self, directory: Path, *options: str, store: str = "rendezvous.sqlite3", prefix: Sequence[str] = (),
        plant: str = "",
    ) -> None:  # fmt: skip
        self.directory = directory
        self.store = store
        self.http_port = 0
        self.udp_port = 0
        self.admin_port = 0
        self.workers = 0
        self.down = threading.Event()
        self.down.set()
        self._options = options
        self._prefix = prefix
        self._plant = plant
        self._lives = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log_path(self) -> Path:
        """:returns: where the present life, or the last one, writes."""
        return self.directory / f"server-{self._lives}.log"

    @property
    def admin_token(self) -> str:
        """:returns: the token of operators, which the first life has made."""
        return (self.directory / "rendezvous.admin-token").read_text(encoding="ascii").strip()

    @property
    def pid(self) -> int:
        """:returns: the process of the present life."""
        assert self._process is not None
        return self._process.pid

    def log(self) -> str:
        """:returns: what it has written."""
        return self.log_path.read_text()

    def command(self) -> Sequence[str]:
        """:returns: how it is started."""
        workers = [f"--udp-workers={self.workers}"] if self.workers else []
        admin = f"--admin=tcp:{self.admin_port}:interface=127.0.0.1"
        options = [*workers, f"--http-port={self.http_port}", f"--udp-port={self.udp_port}", admin]
        twistd = [*TWISTD]
        if self._plant:
            twistd[2] = f"from tests.crash import planted; planted.{self._plant}(); {_RUN}"
        return [
            *self._prefix,
            *twistd,
            "rendezvous",
            "--store",
            f"sqlite:{self.store}",
            *options,
            LOOPBACK,
            *self._options,
        ]

    def start(self) -> float:
        """
        Start it, and wait until it listens and its workers answer.

        :returns: the seconds that took.
        :raises AssertionError: it does not; the message has its log.
        """
        began = time.monotonic()
        self._process = self.popen()
        while True:
            said = self.log()
            found = [re.search(rf"\b{what} on \S+:(\d+)[,\n]", said) for what in ("HTTP", "UDP", "operators")]
            answering = said.count(" answers, as process ")
            if found[0] and found[1] and found[2] and answering == self.workers:
                break
            late = time.monotonic() - began > PATIENCE
            if late or self._process.poll() is not None:
                self.kill()
                raise AssertionError(f"the server did not start:\n{self.log()}")
            time.sleep(0.01)
        self.http_port, self.udp_port, self.admin_port = int(found[0][1]), int(found[1][1]), int(found[2][1])
        self.down.clear()
        return time.monotonic() - began

    def popen(self) -> subprocess.Popen[bytes]:
        """:returns: the process of a new life, which may end by itself."""
        self._lives += 1
        with self.log_path.open("wb") as log:
            return subprocess.Popen(
                self.command(),
                cwd=self.directory,
                env={**environment(), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        """End it as a power cut would: at once, and without its knowledge."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self.down.set()

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)
            self._process = None
        self.down.set()
