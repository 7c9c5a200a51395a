"""A server as operators run it: ``twistd rendezvous`` in a process of its own, on free ports of every address."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

import rendezvous

CHECKOUT = Path(rendezvous.__file__).parent.parent
TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "--nodaemon", "--pidfile="]
START_SECONDS = 30.0
STOP_SECONDS = 15.0

_LISTENING = re.compile(r"\b(HTTP|UDP) on \S+:(\d+)\b")


@attrs.frozen
class RealServer:
    """
    Where a running server listens.

    :ivar http_port: TCP.
    :ivar udp_ports: in the order of the options.
    """

    http_port: int
    udp_ports: tuple[int, ...]

    @property
    def url(self) -> str:
        """:returns: the root of the HTTP side, over IPv4."""
        return f"http://127.0.0.1:{self.http_port}"


def environment() -> dict[str, str]:
    """:returns: the environment for a process that is to import this checkout, without settings of a server."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RENDEZVOUS_")}
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(CHECKOUT), environ.get("PYTHONPATH")]))
    return environ


@contextmanager
def running(*options: str, preexec: Callable[[], object] | None = None) -> Iterator[subprocess.Popen[str]]:
    """
    Keep a server's process running for a while, in a directory of its own, then stop it as Ctrl-C does.

    :param options: of ``twistd rendezvous``.
    :param preexec: called in the process before it becomes a server.
    """
    with tempfile.TemporaryDirectory(prefix="rendezvous-") as directory:
        process = subprocess.Popen(
            [*TWISTD, "rendezvous", *options],
            cwd=directory,
            env={**environment(), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=preexec,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=STOP_SECONDS)
            finally:
                process.kill()
                process.wait()


@contextmanager
def real_server(*options: str, udp_ports: tuple[str, ...] = ("0",)) -> Iterator[RealServer]:
    """
    Keep a server running for a while, then stop it as Ctrl-C does.

    :param options: further ones of ``twistd rendezvous``.
    :param udp_ports: the values of ``--udp-port``, each asking for a free port.
    :raises AssertionError: if it does not start, or not in time; the message has its log.
    """
    ports = ["--http-port=0", *(f"--udp-port={port}" for port in udp_ports)]
    with running(*ports, *options) as process:
        yield _started(process, len(udp_ports))


def _started(process: subprocess.Popen[str], udp_ports: int) -> RealServer:
    """Read the log until every port listens; it ends early when the server does, or is ended for being late."""
    assert process.stdout is not None
    late = threading.Timer(START_SECONDS, process.kill)
    late.start()
    lines: list[str] = []
    ports: dict[str, list[int]] = {"HTTP": [], "UDP": []}
    try:
        for line in process.stdout:
            lines.append(line)
            match = _LISTENING.search(line.rstrip())
            if match is not None:
                ports[match[1]].append(int(match[2]))
            if len(ports["HTTP"]) == 1 and len(ports["UDP"]) == udp_ports:
                return RealServer(ports["HTTP"][0], tuple(ports["UDP"]))
    finally:
        late.cancel()
    raise AssertionError(f"the server did not start:\n{''.join(lines)}")
