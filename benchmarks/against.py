"""
This revision beside another one in the same run: ``python -m benchmarks --against REV``.

The other revision's code is taken from git into a temporary directory. Its servers run from there, in the same
environment; the load is always this revision's. Both servers run in turn, so that a slow moment of the machine hits
both, and a ratio above 1 means that this revision is faster. Beside the ratio of answers a second there is that of
answers for each second of the server's CPU, which is steadier on a machine that has other work.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import attrs

from benchmarks.http import request
from benchmarks.load import BINDING, WINDOW, cpu, datagrams, requests, server
from benchmarks.report import Report
from benchmarks.servers import KEYRING, client_id
from benchmarks.signaling import SDP, publish, send

__all__ = ["revision", "run"]

SECONDS = 2.0
#: HTTP connections where requests share a commit, and where they do not.
MANY, SOME = 256, 16
PULSING = 20_000
KEYS = [KEYRING.key(client_id(number)) for number in range(PULSING)]
ANNOUNCE, TRACKER_PULSE = b'{"action":"announce"}', b'{"action":"pulse"}'
REPOSITORY = Path(__file__).parents[1]


@attrs.frozen
class Rate:
    """
    What a server did.

    :ivar a_second: answers a second.
    :ivar by_cpu: answers for each second of the server's CPU, which other programs disturb less.
    """

    a_second: float
    by_cpu: float


@contextlib.contextmanager
def revision(name: str) -> Iterator[Path]:
    """
    Take a revision's code out of git.

    :returns: a directory that lasts as long as the context.
    """
    packed = subprocess.run(["git", "-C", str(REPOSITORY), "archive", name], stdout=subprocess.PIPE, check=True)  # noqa: S607
    with tempfile.TemporaryDirectory(prefix="rendezvous-revision-") as directory:
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
            archive.extractall(directory, filter="data")
        yield Path(directory)


def run(report: Report, name: str) -> None:
    """Compare registrations, publishes, look-ups, pulses and the other datagrams."""
    with revision(name) as other, tempfile.TemporaryDirectory(dir=_build()) as made:
        directory = Path(made).resolve()
        report.section(f"This revision beside {name}, HTTP, source limits off")
        _http(report, name, other, directory)
        report.section("Source limits on beside off, this revision, memory")
        _limits(report)
        report.section(f"This revision beside {name}, UDP, source limits off, {PULSING:,} clients in turn")
        _pulses(report, name, other, directory)
        _other_datagrams(report, name, other)


def _build() -> str:
    os.makedirs("build", exist_ok=True)
    return "build"  # On the disk of the working directory: temporary files may be in memory.


def _http(report: Report, name: str, other: Path, directory: Path) -> None:
    register = request("POST", "/register")
    refresh = publish(901, [{"sdp": SDP, "topics": ["bench"], "id": "refreshed"}])
    origin = "Origin: https://bench.example\r\n"
    session = request("POST", "/bench/offer", body=b'{"info":"","offer":"v=0"}', headers=origin)
    rows = (
        ("register", register),
        ("publish an offer of 2 KB", refresh),
        ("open a session", session),
        ("look up an address", request("GET", f"/peer/{client_id(2).hex()}/udp", 1)),
        ("discover, 1 offer", request("GET", "/offers/by-topic/one")),
        ("discover, 50 offers", request("GET", "/offers/by-topic/fifty")),
        ("topics", request("GET", "/topics")),
    )
    for kept in (False, True):
        stores = {which: f"sqlite:{directory}/{which}.sqlite3" if kept else "memory:" for which in ("ours", "theirs")}
        with (
            server("http", 1000, store=stores["ours"], max_offers=10_000_000) as ours,
            server("http", 1000, checkout=other, store=stores["theirs"], max_offers=10_000_000) as theirs,
        ):
            for port in (ours, theirs):
                send(port, publish(900, [{"sdp": SDP, "topics": ["one"]}]))
                for number in range(50):
                    send(port, publish(900, [{"sdp": SDP, "topics": ["fifty"], "id": f"{number}"}]))
            # What reads only costs the same with either store.
            for what, asked in rows[:3] if kept else rows:
                load = partial(requests, request=asked, seconds=SECONDS, connections_open=MANY if kept else SOME)
                _compare(report, f"{what}, {'SQLite' if kept else 'memory'}", load, ours, name, theirs)


def _limits(report: Report) -> None:
    """Compare this revision with its own source limits on and off; each of many sources stays within its limits."""
    sources = [f"127.{7 + number // 250}.{number % 250}.1" for number in range(500)]
    register, look_up = request("POST", "/register"), request("GET", f"/peer/{client_id(2).hex()}/udp", 1)
    with server("http", 1000, no_source_limits=False) as limited, server("http", 1000) as free:
        for what, asked in (("register", register), ("look up an address", look_up)):
            load = partial(requests, request=asked, seconds=SECONDS, connections_open=len(sources), sources=sources)
            _compare(report, f"{what}, {len(sources)} sources", load, limited, "without limits", free)


def _pulses(report: Report, name: str, other: Path, directory: Path) -> None:
    """First pulses, moves, steady pulses: each life of a server begins with a store of clients that never pulsed."""
    prepared = {checkout: _never_pulsed(checkout, directory) for checkout in (None, other)}
    lives: dict[Path | None, list[dict[str, Rate]]] = {None: [], other: []}
    for number in range(report.rounds):
        for checkout in (other, None):
            store = directory / f"life-{number}-{checkout is None}.sqlite3"
            shutil.copy(prepared[checkout], store)
            lives[checkout].append(_life(checkout, store))
    for what in lives[None][0]:
        _beside(report, what, [each[what] for each in lives[None]], name, [each[what] for each in lives[other]])


def _never_pulsed(checkout: Path | None, directory: Path) -> Path:
    """:returns: a store, made by this revision's code, of clients that have registered and not pulsed yet."""
    path = directory / f"prepared-{checkout is None}.sqlite3"
    code = f"from benchmarks.store import make_file; make_file({str(path)!r}, {PULSING})"
    subprocess.run([sys.executable, "-c", code], cwd=checkout or REPOSITORY, check=True)
    with contextlib.closing(sqlite3.connect(path)) as database:
        # Addresses are in a table of their own since version 3.
        (version,) = database.execute("PRAGMA user_version").fetchone()
        table = "clients" if version < 3 else "client_snapshot"
        database.execute(f"UPDATE {table} SET host = NULL, port = 0")  # noqa: S608
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def _life(checkout: Path | None, store: Path) -> dict[str, Rate]:
    """:returns: pulses a second by kind."""
    measured = {}
    with server("datagrams", 0, checkout=checkout, store=f"sqlite:{store}") as port:
        with _socket(port) as first, _socket(port) as second:
            measured["first pulses, SQLite"] = _rate(lambda _: each_once(first, KEYS), port)
            measured["moves to another port, SQLite"] = _rate(lambda _: each_once(second, KEYS), port)
        measured["steady pulses, SQLite"] = _steady(port, KEYS)
        measured["steady pulses in hex, SQLite"] = _steady(port, [key.hex().encode() for key in KEYS])
    with server("datagrams", PULSING, checkout=checkout, store="memory:") as port:
        measured["steady pulses, memory"] = _steady(port, KEYS)
        unknown = [bytes([255]) + key[1:] for key in KEYS]
        measured["pulses with unknown keys, memory"] = _rate(
            partial(datagrams, payloads=unknown, seconds=SECONDS), port
        )
    return measured


def _steady(port: int, keys: list[bytes]) -> Rate:
    datagrams(port, keys, 1.0 + len(keys) / 10_000)  # The first pulse of each from this port moves its client.
    return _rate(partial(datagrams, payloads=keys, seconds=SECONDS), port)


def _rate(load: Callable[[int], float], port: int) -> Rate:
    start, used = time.perf_counter(), cpu(port)
    rate = load(port)
    return Rate(rate, rate * (time.perf_counter() - start) / max(cpu(port) - used, 0.01))


def _compare(report: Report, what: str, load: Callable[[int], float], ours: int, name: str, theirs: int) -> None:
    """Run both in turn, as often as there are rounds, and add a row."""
    pairs = [(_rate(load, theirs), _rate(load, ours)) for _ in range(report.rounds)]
    _beside(report, what, [pair[1] for pair in pairs], name, [pair[0] for pair in pairs])


def _beside(report: Report, what: str, ours: list[Rate], name: str, theirs: list[Rate]) -> None:
    by_cpu = statistics.median(one.by_cpu / other.by_cpu for one, other in zip(ours, theirs, strict=True))
    note = f", by CPU {by_cpu:.2f}"
    report.beside(what, "/s", [each.a_second for each in ours], name, [each.a_second for each in theirs], note)


def _socket(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect(("127.0.0.1", port))
    sock.settimeout(0.2)
    return sock


def each_once(sock: socket.socket, payloads: list[bytes]) -> float:
    """:returns: replies a second to the payloads, each sent once, with a window of them unanswered."""
    left = iter(payloads)
    count, start = 0, time.perf_counter()
    last = start
    for payload in (next(left) for _ in range(WINDOW)):
        sock.send(payload)
    # A reply that does not come leaves the window smaller by one, until there is none left to wait for.
    with contextlib.suppress(TimeoutError):
        while count < len(payloads):
            sock.recv(64)
            count += 1
            last = time.perf_counter()
            payload = next(left, b"")
            if payload:
                sock.send(payload)
    return count / (last - start)


def _other_datagrams(report: Report, name: str, other: Path) -> None:
    with server("datagrams", udp_rate=0) as ours, server("datagrams", checkout=other, udp_rate=0) as theirs:
        for what, payload in (
            ("STUN bindings", BINDING),
            ("announces of a known peer", ANNOUNCE),
            ("tracker pulses", TRACKER_PULSE),
        ):
            _compare(report, what, partial(datagrams, payloads=[payload], seconds=SECONDS), ours, name, theirs)
