"""A server as a process of its own, on loopback, for tests whose clients are processes too."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import rendezvous

__all__ = ["CHECKOUT", "RealServer", "environment"]

CHECKOUT = Path(rendezvous.__file__).parent.parent

#: Seconds within which the server has started, or stopped.
PATIENCE = 20.0


def environment() -> dict[str, str]:
    """:returns: the environment for a process that is to import this checkout, without settings of a server."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RENDEZVOUS_")}
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(CHECKOUT), environ.get("PYTHONPATH")]))
    return environ


class RealServer:
    """
    ``twistd -n rendezvous`` on ports that the system picks.

    :param directory: where it runs; it keeps its secret there.
    :ivar url: where it listens for HTTP.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        twistd = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "--nodaemon", "--pidfile="]
        ports = ["--http-port", "0", "--udp-port", "0", "--interface", "127.0.0.1"]
        self._process = subprocess.Popen(
            [*twistd, "rendezvous", *ports],
            cwd=directory,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.log = ""
        try:
            self.url = self._listening()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop it; afterwards ``log`` is all that it wrote."""
        self._process.terminate()
        try:
            rest, _ = self._process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            rest, _ = self._process.communicate()
        self.log += rest.decode()

    def _listening(self) -> str:
        output = self._process.stdout
        assert output is not None
        deadline = time.monotonic() + PATIENCE
        while (found := re.search(r"HTTP on (\S+)\n", self.log)) is None:
            ready, _, _ = select.select([output], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(output.fileno(), 65536) if ready else b""
            assert piece, f"the server did not start: {self.log}"
            self.log += piece.decode()
        return f"http://{found[1]}"
