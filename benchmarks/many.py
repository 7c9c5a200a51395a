"""
A server with a million clients in a file: its start, its memory, and how long answers take while all of them pulse.

The server runs on one core and the load on another. All clients pulse in turn. Times of pulses are those that the load
generator sees, from sending a datagram to reading the reply.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.datagrams import LATER, PATIENT, each_once, on_disk, write_keys
from benchmarks.http import request
from benchmarks.load import complete, other_core, requests
from benchmarks.native import Load, Server, build, load, python_server, start_load
from benchmarks.report import Report, Row
from benchmarks.servers import client_id
from benchmarks.store import make_file
from benchmarks.udp_protocols import on_another_core
from rendezvous.storage.client_file import space_taken

__all__ = ["run"]

#: Pulses a second: a million clients, each every 25 seconds.
PULSES, LOOK_UPS, REGISTRATIONS = 40_000, 500, 200
SECONDS = 25.0
#: Connections that share each kind of the requests that are sent at a steady rate.
CONNECTIONS = 4
#: Clients that may register while it is measured.
ROOM = 100_000


def run(report: Report) -> None:
    """Start it, have all clients pulse, then measure under load."""
    clients = report.clients
    report.section(f"A server with {clients:,} clients in a file")
    reason = build()
    if reason:
        report.add(Row("many clients", f"not measured: {reason}"))
        return
    with on_another_core() as core, tempfile.TemporaryDirectory(dir=on_disk()) as made:
        directory = Path(made).resolve()
        path = directory / "many.sqlite3"
        make_file(str(path), clients)
        keys = write_keys(directory, clients)
        settings = {"max_clients": clients + ROOM, **PATIENT}
        with _started(core, store="memory:", **settings) as (empty, empty_start):
            empty_size = empty.resident()
        with _started(core, store=f"sqlite:{path}", **settings) as (server, _):
            each_once(server, core, keys, LATER)
        size = sum(space_taken(str(each)) for each in directory.glob(f"{path.name}*"))
        report.add(Row("bytes on disk a client", f"{size / clients:.0f} bytes"))
        with _started(core, store=f"sqlite:{path}", **settings) as (server, start):
            report.add(Row("start-up: time, CPU time", _seconds(start), f"without clients {_seconds(empty_start)}"))
            each_once(server, core, keys, LATER)
            growth = (server.resident() - empty_size) / clients
            report.add(Row("growth of the process a client, mapped pages counted", f"{growth:.0f} bytes"))
            _latencies(report, core, server, keys)
            _fairness(report, core, server, keys)


@contextlib.contextmanager
def _started(core: int, **settings: object) -> Iterator[tuple[Server, tuple[float, float]]]:
    """:returns: a server, and how long it took to start: seconds, and seconds of CPU time. It is stopped in order."""
    begin = time.perf_counter()
    with python_server("both", core, 0, **settings) as server:
        yield server, (time.perf_counter() - begin, server.cpu())
        os.kill(server.pid, signal.SIGTERM)
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            while server.state() != "Z":
                time.sleep(0.05)


def _seconds(start: tuple[float, float]) -> str:
    return f"{start[0]:.1f} s, {start[1]:.1f} s"


def _latencies(report: Report, core: int, server: Server, keys: Path) -> None:
    """Pulses at a steady rate, look-ups and registrations beside them; a Twisted echo under the same pulses."""
    wanted = ("-r", PULSES, "-t", SECONDS)
    with python_server("echo", core) as echo:
        alone = load(echo, other_core(core), *wanted, keys=keys, first_port=LATER)
    pulses = start_load(server, other_core(core), *wanted, keys=keys, first_port=LATER)
    look_up = request("GET", f"/peer/{client_id(2).hex()}/udp", 1)
    asked = _at_rates(server.http_port, {look_up: LOOK_UPS, request("POST", "/register"): REGISTRATIONS}, SECONDS)
    found = pulses.result()
    what = f"{PULSES:,} pulses/s, {LOOK_UPS} look-ups/s, {REGISTRATIONS} registrations/s"
    report.add(
        Row(f"{what}: p50 / p99 / p99.9 of a pulse", _times(found), f"Twisted echo, pulses alone {_times(alone)}")
    )
    for kind, times in zip(("look-up", "registration"), asked.values(), strict=True):
        report.add(Row(f"the same: p50 / p99 of a {kind}", _percentiles(times), f"{len(times) / SECONDS:,.0f}/s"))


def _fairness(report: Report, core: int, server: Server, keys: Path) -> None:
    """HTTP while UDP takes all it can, and UDP while HTTP does."""
    look_up = request("GET", f"/peer/{client_id(2).hex()}/udp", 1)
    pulses = start_load(server, other_core(core), "-t", 10, keys=keys, first_port=LATER)
    asked = _at_rates(server.http_port, {look_up: 100}, 9.0)
    report.add(
        Row(
            "full UDP load: p50 / p99 of a look-up",
            _percentiles(asked[look_up]),
            f"beside {pulses.result().rate:,.0f} pulses/s",
        )
    )
    pulses = start_load(server, other_core(core), "-r", 500, "-t", 10, keys=keys, first_port=LATER)
    rate = requests(server.http_port, look_up, 9.0)
    report.add(
        Row("full HTTP load: p50 / p99 / p99.9 of a pulse", _times(pulses.result()), f"beside {rate:,.0f} look-ups/s")
    )


def _times(found: Load) -> str:
    lost = f", {found.lost:.1%} lost" if found.lost else ""
    return f"{found.p50 / 1000:.2f} / {found.p99 / 1000:.2f} / {found.p999 / 1000:.2f} ms{lost}"


def _percentiles(times: list[float]) -> str:
    cuts = statistics.quantiles(times, n=100)
    return f"{cuts[49]:.1f} / {cuts[98]:.1f} ms"


def _at_rates(port: int, rates: dict[bytes, int], seconds: float) -> dict[bytes, list[float]]:
    """
    Send requests at steady rates.

    :param rates: how many a second, by request.
    :returns: how long the answers took, in milliseconds, by request.
    """
    times: dict[bytes, list[float]] = {asked: [] for asked in rates}
    threads = [
        threading.Thread(target=_ask, args=(port, asked, rate / CONNECTIONS, seconds, times[asked]))
        for asked, rate in rates.items()
        for _ in range(CONNECTIONS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def _ask(port: int, asked: bytes, rate: float, seconds: float, times: list[float]) -> None:
    """Ask on one connection. A time begins when its request was due, also if the one before was late."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begin = time.perf_counter()
        for number in itertools.count():
            due = begin + number / rate
            if due >= begin + seconds:
                return
            time.sleep(max(0.0, due - time.perf_counter()))
            sock.sendall(asked)
            buffer = bytearray()
            while not complete(buffer):
                received = sock.recv(65536)
                if not received:
                    raise RuntimeError("the server has closed the connection")
                buffer += received
            if not buffer.startswith(b"HTTP/1.1 2"):
                raise RuntimeError(buffer[:300].decode())
            times.append((time.perf_counter() - due) * 1000)
