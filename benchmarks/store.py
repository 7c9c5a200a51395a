"""What it costs to keep state: SQLite beside memory, and how it does with a million clients."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial

from benchmarks.http import request
from benchmarks.load import datagrams, own_socket, requests, server
from benchmarks.report import Report, Row
from benchmarks.servers import KEYRING, client_id
from rendezvous.core.clients import Client
from rendezvous.storage.database import open_database
from rendezvous.storage.rows import PUT_SNAPSHOT, snapshot_row, statements

SECONDS = 3.0
#: As many requests at once share a commit, in a server that has many clients.
CONNECTIONS = 256
MANY = 1_000_000
PULSES = 20_000
#: Pulses a second, one after the other, whose answers are timed; the rest of the clients pulse beside them.
TIMED_RATE = 500


def make_file(path: str, clients: int) -> None:
    """Make a store that holds so many clients, all online."""
    database = open_database(path)
    now = time.time()
    database.execute("BEGIN")
    for number in range(clients):
        host = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        client = Client(client_id(number), now, host=host, port=1024 + number % 60_000, slot=number + 1)
        for sql, parameters in (*statements(client), (PUT_SNAPSHOT, snapshot_row(client))):
            database.execute(sql, parameters)
    database.execute("INSERT OR REPLACE INTO meta VALUES ('alive', ?)", (now,))
    database.execute("COMMIT")
    database.close()


def writes(report: Report, directory: str) -> None:
    """Registrations, publications and pulses beside those of a server that keeps nothing."""
    body = json.dumps({"offers": [{"sdp": "v" * 2000, "topics": ["bench"], "id": "one"}]}).encode()
    kept = {"store": f"sqlite:{directory}/writes.sqlite3"}
    with server("http", 1000) as memory, server("http", 1000, **kept) as sqlite:
        for what, asked in (
            ("register", request("POST", "/register")),
            ("publish an offer of 2 KB", request("POST", "/offers", 1, body)),
        ):
            report.compare(
                f"{what}, SQLite",
                "/s",
                partial(requests, sqlite, asked, SECONDS, CONNECTIONS),
                "memory",
                partial(requests, memory, asked, SECONDS, CONNECTIONS),
            )
    keys = [KEYRING.key(client_id(number)) for number in range(PULSES)]
    kept = {"store": f"sqlite:{directory}/pulses.sqlite3"}
    with server("datagrams", PULSES) as memory, server("datagrams", PULSES, **kept) as sqlite:
        for port in (memory, sqlite):
            datagrams(port, keys, SECONDS)  # The first pulse of each from here moves it.
        report.compare(
            f"pulses of {PULSES:,} clients, SQLite",
            "/s",
            partial(datagrams, sqlite, keys, SECONDS),
            "memory",
            partial(datagrams, memory, keys, SECONDS),
        )


def many(report: Report, directory: str) -> None:
    """A million clients: the file, the start, and a pulse's answer while others pulse and register."""
    path = os.path.join(directory, "many.sqlite3")
    make_file(path, MANY)
    report.add(Row(f"{MANY:,} clients: bytes on disk a client", f"{os.path.getsize(path) / MANY:.0f} bytes"))
    start = time.perf_counter()
    command = [
        sys.executable,
        "-m",
        "benchmarks.servers",
        "both",
        "0",
        json.dumps({"store": f"sqlite:{path}", "max_clients": 2 * MANY}),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        http_port, udp_port = map(int, process.stdout.readline().split())
        report.add(Row(f"{MANY:,} clients: start-up", f"{time.perf_counter() - start:.1f} s"))
        _latency(report, http_port, udp_port)
    finally:
        process.kill()
        process.wait()


def _latency(report: Report, http_port: int, udp_port: int) -> None:
    drawn = [KEYRING.key(client_id(number)) for number in random.Random(1).sample(range(MANY), 50_100)]
    background, timed = drawn[:50_000], drawn[50_000:]
    seconds = 20.0
    moved = 0.0
    while moved < len(background):  # The first pulse of each moves it here, which is not what is timed.
        moved += datagrams(udp_port, background[int(moved) :], 1.0)
    done: list[float] = []
    beside = [
        threading.Thread(target=lambda: done.append(_paced(udp_port, background, seconds))),
        threading.Thread(
            target=lambda: done.append(requests(http_port, request("POST", "/register"), seconds, 16, pause=0.02))
        ),
    ]
    for thread in beside:
        thread.start()
    latencies = _timed(udp_port, timed, seconds)
    for thread in beside:
        thread.join()
    cuts = statistics.quantiles(latencies, n=1000)
    report.add(
        Row(
            f"{MANY:,} clients: p50 / p99 / p99.9 of a pulse's answer",
            f"{cuts[499]:.1f} / {cuts[989]:.1f} / {cuts[998]:.1f} ms",
            f"beside {' and '.join(f'{rate:,.0f}/s' for rate in sorted(done, reverse=True))} others",
        )
    )


def _paced(port: int, keys: list[bytes], seconds: float) -> float:
    """Pulse without waiting for answers, five thousand times a second: each client once in ten seconds."""
    sent = 0
    start = time.perf_counter()
    sock = own_socket(port)
    while (now := time.perf_counter()) < start + seconds:
        if sent < (now - start) * 5000:
            for _ in range(25):
                sock.send(keys[sent % len(keys)])
                sent += 1
        time.sleep(0.002)
    return sent / seconds


def _timed(port: int, keys: list[bytes], seconds: float) -> list[float]:
    """:returns: milliseconds from a pulse to its answer, one after the other at a steady rate."""
    latencies = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        sock.settimeout(1)  # A datagram that is lost counts as one second.
        for key in keys:
            _answered(sock, key)
        start = time.perf_counter()
        number = 0
        while time.perf_counter() < start + seconds:
            sent = time.perf_counter()
            _answered(sock, keys[number % len(keys)])
            latencies.append((time.perf_counter() - sent) * 1000)
            number += 1
            time.sleep(max(0.0, start + number / TIMED_RATE - time.perf_counter()))
    return latencies


def _answered(sock: socket.socket, key: bytes) -> None:
    sock.send(key)
    with contextlib.suppress(TimeoutError):
        sock.recv(64)


def run(report: Report) -> None:
    """All of it, in files of a temporary directory on the disk of the working directory."""
    report.section("State in SQLite")
    os.makedirs("build", exist_ok=True)
    with tempfile.TemporaryDirectory(dir="build") as directory:
        writes(report, directory)
        many(report, directory)
