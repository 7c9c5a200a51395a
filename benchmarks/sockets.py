"""
WebSockets beside each client's own server: y-webrtc's signaling server, and the PeerServer of npm's package ``peer``.

Servers have one core, and the load, a program in C, has another (``c/sockets.c``). Messages are 300 bytes. One is under
way until all of its readers have got it.
"""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs

from benchmarks.load import pinned
from benchmarks.native import BUILT, Server, build, python_server
from benchmarks.npm import installed
from benchmarks.report import Report, Row
from benchmarks.udp_protocols import on_another_core

__all__ = ["Exchange", "exchange", "run"]

PACKAGES = Path(__file__).parent / "node"
SECONDS = 3.0
#: Sockets that are opened, and handshakes that are under way, where openings are counted.
OPENINGS, UNDER_WAY = 2000, 16
#: Sockets that are held open.
IDLE = 10_000
#: Opened and closed before memory is looked at, so that what a first socket loads is not counted.
FIRST = 200
#: Seconds after which a server has freed what it needed for handshakes alone, if it does that at all.
REST = 3.0
#: Seconds within which a server must listen.
PATIENCE = 20.0
#: No limit but that of the system is to be reached, by sources least of all: the load has one address.
SETTINGS = {"max_sockets": 20_000, "no_source_limits": True}


@attrs.frozen
class Exchange:
    """
    What one run of the load showed.

    :ivar opened: sockets.
    :ivar openings: of them a second.
    :ivar messages: a second; a message to several readers is one.
    :ivar received: messages in all, counted at each reader.
    :ivar load: the part of its core that the load has used.
    """

    opened: int
    openings: float
    messages: float
    received: int
    load: float


@attrs.frozen
class Yardstick:
    """
    A client's own server.

    :ivar options: of the load.
    :ivar rows: what a row of messages says, with the number of sockets, for those that are sent.
    :ivar command: starts it, on a port.
    """

    name: str
    options: tuple[str, ...]
    rows: tuple[tuple[str, int], ...]
    command: Callable[[int], Sequence[str]]


def _y_webrtc(port: int) -> list[str]:
    return ["env", f"PORT={port}", "node", "node_modules/y-webrtc/bin/server.js"]


def _peer(port: int) -> list[str]:
    options = ["--port", str(port), "--path", "/", "--concurrent_limit", "20000"]
    return ["node", "node_modules/peer/dist/bin/peerjs.js", *options]


YARDSTICKS = (
    Yardstick("y-webrtc's server", (), (("through a topic of 2", 2), ("through a topic of 50", 50)), _y_webrtc),
    Yardstick("npm's peer", ("-j",), (("from peer to peer", 2),), _peer),
)


def run(report: Report) -> None:
    """Messages, openings and memory, beside each of them."""
    report.section("WebSockets beside each client's own server: one core, 300 bytes a message")
    reason = build() or installed(PACKAGES)
    if reason:
        report.add(Row("messages through WebSockets", "", f"not measured: {reason}"))
        return
    _allow_descriptors()
    with on_another_core() as core:
        for each in YARDSTICKS:
            with python_server("http", core, **SETTINGS) as ours, _yardstick(each, core) as theirs:
                _messages(report, each, ours, theirs)
                _openings(report, each, ours, theirs)
            _memory(report, each, core, min(IDLE, report.clients))


def _messages(report: Report, yardstick: Yardstick, ours: Server, theirs: Server) -> None:
    for where, count in yardstick.rows:
        for window in (1, 64):
            options = (*yardstick.options, "-n", count, "-w", window, "-t", SECONDS)
            pairs = [(exchange(theirs, *options), exchange(ours, *options)) for _ in range(report.rounds)]
            _beside(
                report,
                f"messages {where}, {window} under way",
                yardstick.name,
                [(mine.messages, other.messages) for other, mine in pairs],
                max(one.load for pair in pairs for one in pair),
            )


def _openings(report: Report, yardstick: Yardstick, ours: Server, theirs: Server) -> None:
    options = (*yardstick.options, "-n", min(OPENINGS, report.clients), "-o", UNDER_WAY)
    pairs = [(exchange(theirs, *options), exchange(ours, *options)) for _ in range(report.rounds)]
    rates = [(mine.openings, other.openings) for other, mine in pairs]
    _beside(report, "sockets opened", yardstick.name, rates, 0.0)


def _beside(report: Report, what: str, name: str, rates: list[tuple[float, float]], load: float) -> None:
    note = f" (load: {load:.0%} of its core)" if load else ""
    report.beside(what, "/s", [mine for mine, _ in rates], name, [other for _, other in rates], note)


def _memory(report: Report, yardstick: Yardstick, core: int, count: int) -> None:
    """Compare what an idle socket adds to servers that have had a few before."""
    with python_server("http", core, **SETTINGS) as ours, _yardstick(yardstick, core) as theirs:
        mine, other = (_growth(server, yardstick, count) / count / 1024 for server in (ours, theirs))
    what = f"memory of each of {count:,} idle sockets"
    report.add(Row(what, f"{mine:.1f} KiB", f"{yardstick.name} {other:.1f}", f"{other / mine:.2f}"))


def _growth(server: Server, yardstick: Yardstick, count: int) -> int:
    exchange(server, *yardstick.options, "-n", min(FIRST, count))
    time.sleep(REST)
    before = server.resident()
    with _load(server, *yardstick.options, "-n", count, "-k") as holding:
        assert holding.stdout is not None
        opened = json.loads(holding.stdout.readline())["opened"]
        if opened != count:
            raise RuntimeError(f"{opened} of {count} sockets were opened")
        time.sleep(REST)
        return server.resident() - before


def exchange(server: Server, *options: object) -> Exchange:
    """
    Run the load; see ``c/sockets.c`` for its options.

    :raises RuntimeError: it has not come to its end.
    """
    with _load(server, *options) as load:
        output, said = load.communicate()
    if load.returncode:
        raise RuntimeError(f"the load of sockets has ended: {said.strip()}")
    found = json.loads(output)
    seconds = found["seconds"] or 1.0
    return Exchange(
        opened=found["opened"],
        openings=found["opened"] / found["opening"],
        messages=found["messages"] / seconds,
        received=found["received"],
        load=found["cpu"] / seconds,
    )


@contextlib.contextmanager
def _load(server: Server, *options: object) -> Iterator[subprocess.Popen[str]]:
    command = [str(BUILT / "sockets"), "-p", str(server.port), *map(str, options)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def _yardstick(yardstick: Yardstick, core: int) -> Iterator[Server]:
    """Run a client's own server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        yardstick.command(port), cwd=PACKAGES, stdout=subprocess.DEVNULL, preexec_fn=pinned(core)
    )
    try:
        _wait_for(port)
        yield Server(port, process.pid)
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int) -> None:
    late = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > late:
                raise
            time.sleep(0.05)
        else:
            return


def _allow_descriptors() -> None:
    """Let the processes that are started open as many files as the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
