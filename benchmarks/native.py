"""The programs in C, built with ``cc`` when they are needed, and what servers do under their load."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from benchmarks.load import cpu_of, pinned, turnserver_process

__all__ = [
    "FIRST_PORT",
    "SIGNED",
    "Load",
    "Server",
    "build",
    "c_echo",
    "coturn",
    "load",
    "python_server",
    "start_load",
    "write_datagrams",
]

SOURCES = Path(__file__).parent / "c"
BUILT = Path("build") / "bench"
#: Where the load's sockets begin; below the ports that the system gives out by itself.
FIRST_PORT = 20_000
#: Suffix of a file of clients whose pulses are signed.
SIGNED = ".signed"


@functools.cache
def build() -> str:
    """
    Compile the programs, if they are older than their sources.

    :returns: why that cannot be done; an empty string if it is done.
    """
    compiler = shutil.which("cc")
    if sys.platform != "linux":
        return "the load generator is for Linux"
    if compiler is None:
        return "there is no C compiler (cc)"
    BUILT.mkdir(parents=True, exist_ok=True)
    newest = max(source.stat().st_mtime for source in SOURCES.iterdir())
    for source in SOURCES.glob("*.c"):
        program = BUILT / source.stem
        if not program.exists() or program.stat().st_mtime < newest:
            subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", program, source], check=True)
    return ""


@attrs.frozen
class Server:
    """
    A server under load.

    :ivar port: its UDP port.
    :ivar pid: its process.
    :ivar http_port: its TCP port, 0 if it has none.
    """

    port: int
    pid: int
    http_port: int = 0

    def workers(self) -> list[int]:
        """:returns: the process ids of its UDP workers."""
        return list(map(int, Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii").split()))

    def cpus(self) -> tuple[float, float]:
        """:returns: seconds of CPU time, in the kernel as well: of the main process, and of the workers."""
        return cpu_of(self.pid), sum(map(cpu_of, self.workers()))

    def cpu(self) -> float:
        """:returns: the seconds of CPU time that all its processes have used."""
        return sum(self.cpus())

    def resident(self) -> int:
        """:returns: bytes of memory, the pages of mapped files included."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def state(self) -> str:
        """:returns: what the process is at, as one letter (proc(5)); ``Z`` if it has ended."""
        return Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]

    def settle(self) -> None:
        """
        Wait until it has nothing more to do, such as writing what it was filled with.

        :raises RuntimeError: it is still busy after a minute.
        """
        for _ in range(120):
            before = self.cpu()
            time.sleep(0.5)
            if self.cpu() - before < 0.005:
                return
        raise RuntimeError("a server that nothing is asked of does not come to rest")


@attrs.frozen
class Load:
    """
    What one run of the load showed.

    :ivar rate: replies a second.
    :ivar cpu: microseconds of CPU time a reply, of all processes of the server.
    :ivar workers_cpu: the part of it that its workers have used.
    :ivar lost: the part of the datagrams that had no reply.
    :ivar p50: the median of the time to a reply, in microseconds.
    :ivar p99: the 99th percentile of it.
    :ivar p999: the 99.9th percentile of it.
    :ivar codes: replies by their first four bytes as a number.
    """

    rate: float
    cpu: float
    workers_cpu: float
    lost: float
    p50: float
    p99: float
    p999: float
    codes: dict[str, int]

    def other_than(self, code: str) -> float:
        """:returns: the part of the replies that were not this one."""
        return 1 - self.codes.get(code, 0) / max(1, sum(self.codes.values()))


class Running:
    """A load generator at work."""

    def __init__(self, server: Server, command: Sequence[object], core: int | None) -> None:
        self._server, self._before = server, server.cpus()
        self._process = subprocess.Popen(
            [str(part) for part in command], stdout=subprocess.PIPE, text=True, preexec_fn=pinned(core)
        )

    def result(self, *, at_rest: bool = False) -> Load:
        """
        Wait for its end.

        :param at_rest: count the CPU time until the server has come to rest, and not only until the last reply.
        """
        output, _ = self._process.communicate()
        if self._process.returncode:
            raise RuntimeError(f"the load generator has ended with status {self._process.returncode}")
        if at_rest:
            self._server.settle()
        own, workers = (now - then for now, then in zip(self._server.cpus(), self._before, strict=True))
        found: dict[str, Any] = json.loads(output)
        per_reply = 1e6 / max(1, sum(found["codes"].values()))
        return Load(
            rate=found["replies"] / found["seconds"],
            cpu=(own + workers) * per_reply,
            workers_cpu=workers * per_reply,
            lost=found["lost"] / max(1, found["sent"]),
            p50=found["p50"],
            p99=found["p99"],
            p999=found["p999"],
            codes=found["codes"],
        )


def start_load(
    server: Server, core: int | None, *options: object, keys: Path | None = None, first_port: int = FIRST_PORT
) -> Running:
    """
    Start the load generator.

    :param core: the core it runs on; ``None`` for any.
    :param options: see ``benchmarks/c/load.c``.
    :param keys: a file of keys to pulse with, or with the suffix ``.signed`` one of clients whose pulses are signed;
        without one, it sends STUN Bindings.
    :param first_port: the port of its first socket. The same clients come from elsewhere with another one.
    """
    kind: list[object] = ["-b"] if keys is None else ["-g" if keys.suffix == SIGNED else "-k", keys]
    return Running(server, [BUILT / "load", "-p", server.port, "-a", first_port, *kind, *options], core)


def load(
    server: Server,
    core: int | None,
    *options: object,
    keys: Path | None = None,
    first_port: int = FIRST_PORT,
    at_rest: bool = False,
) -> Load:
    """Run the load generator; see :func:`start_load` and :meth:`Running.result`."""
    return start_load(server, core, *options, keys=keys, first_port=first_port).result(at_rest=at_rest)


def write_datagrams(path: Path, datagrams: Iterable[bytes]) -> Path:
    """Write the file that ``load -k`` or ``load -g`` reads."""
    with path.open("wb") as file:
        file.writelines(datagrams)
    return path


@contextlib.contextmanager
def _running(command: Sequence[str], core: int | None) -> Iterator[Server]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=pinned(core))
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{command[-3:]} has not started")
        *http, port = map(int, line.split())
        yield Server(port, process.pid, *http)
    finally:
        process.kill()
        process.wait()


def c_echo(core: int) -> contextlib.AbstractContextManager[Server]:
    """Run the echo in C."""
    return _running([str(BUILT / "echo")], core)


def python_server(
    name: str, core: int | None, argument: int = 0, **settings: object
) -> contextlib.AbstractContextManager[Server]:
    """Run one of :mod:`benchmarks.servers`, on any core if it has none of its own."""
    return _running([sys.executable, "-m", "benchmarks.servers", name, str(argument), json.dumps(settings)], core)


@contextlib.contextmanager
def coturn(core: int) -> Iterator[Server | None]:
    """Run coturn's server with one thread for STUN alone, or give ``None`` if it is not installed."""
    with turnserver_process(core, 0) as running:
        yield None if running is None else Server(*running)
