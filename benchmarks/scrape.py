"""
What a scrape of the metrics costs a server with a million clients, and whether pulses beside it notice.

The server runs on one core and the load on another. Its tables are full, and thousands of connections are open, so that
whatever grows with a table shows. The CPU time of each turn of the reactor is measured in the server, from the end of
one wait for events to the next wait.
"""

from __future__ import annotations

import contextlib
import http.client
import resource
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.datagrams import LATER, PATIENT, each_once, on_disk, write_keys
from benchmarks.full import TURNS, read_turns, reset_turns
from benchmarks.load import other_core
from benchmarks.native import Load, Server, build, load, python_server, start_load
from benchmarks.report import Report, Row
from benchmarks.udp_protocols import on_another_core

__all__ = ["TOKEN", "run", "scrape"]

TOKEN = "a-token-of-operators-for-benchmarks-0123"  # noqa: S105 - of a server that lives for minutes
#: What Prometheus asks for.
ACCEPT = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;q=0.5"

#: Pulses a second; seconds for which they are sent; scrapes meanwhile, where Prometheus makes one in 15 s.
PULSES, SECONDS, INTERVAL = 20_000, 15.0, 1.0
#: Idle connections, as far as files may be open.
CONNECTIONS = 5_000
#: Scrapes of a server that nothing else is asked of.
ALONE = 10


def run(report: Report) -> None:
    """A server with full tables is scraped, alone and among pulses."""
    clients = report.clients
    report.section(f"Scrapes of a server with {clients:,} clients and full tables")
    reason = build()
    if reason:
        report.add(Row("scrapes", f"not measured: {reason}"))
        return
    with on_another_core() as core, tempfile.TemporaryDirectory(dir=on_disk()) as made:
        directory = Path(made).resolve()
        keys, turns, token = write_keys(directory, clients), directory / "turns", directory / "token"
        turns.write_bytes(bytes(TURNS.size))
        token.touch(0o600)
        token.write_text(TOKEN, encoding="ascii")
        settings = {"turns": str(turns), "max_clients": clients + 1, "admin_token_file": str(token), **PATIENT}
        for state, pulsed in (("registered", 0), ("online", 1)):
            with python_server("scraped", core, clients, pulsed=pulsed, **settings) as server, _idle(turns):
                # What no client has pulsed yet takes the census longest.
                _alone(report, server, turns, state)
                if pulsed:
                    each_once(server, core, keys, LATER)
                    _among_pulses(report, core, server, keys)


@contextlib.contextmanager
def _idle(turns: Path) -> Iterator[None]:
    """Keep connections open that nothing is asked on."""
    *_, port = read_turns(turns)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.ExitStack() as opened:
        for _ in range(min(CONNECTIONS, hard - 1000)):
            opened.enter_context(socket.create_connection(("127.0.0.1", int(port))))
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _alone(report: Report, server: Server, turns: Path, state: str) -> None:
    """The turns of single scrapes, of a server that nothing else is asked of."""
    scrape(server)
    server.settle()
    found = []
    for _ in range(ALONE):
        reset_turns(turns)
        before, begin = server.cpu(), time.perf_counter()
        scraped = len(scrape(server))
        took = time.perf_counter() - begin
        time.sleep(0.05)
        longest, total, *_ = read_turns(turns)
        found.append((longest * 1000, total * 1000, (server.cpu() - before) * 1000, took * 1000, scraped))
    longest, total, cpu, took = (statistics.median(each[index] for each in found) for index in range(4))
    worst = max(each[0] for each in found), max(each[1] for each in found)
    what = f"all clients {state}"
    at_most, size = f"of {ALONE} scrapes at most", f"{found[0][4] / 1024:.0f} KiB"
    report.add(Row(f"{what}: longest turn of the reactor", f"{longest:.1f} ms", f"{at_most} {worst[0]:.1f} ms"))
    report.add(Row(f"{what}: all turns together", f"{total:.0f} ms", f"{at_most} {worst[1]:.0f} ms"))
    report.add(Row(f"{what}: CPU time, time to the answer", f"{cpu:.0f} ms, {took:.0f} ms", size))


def _among_pulses(report: Report, core: int, server: Server, keys: Path) -> None:
    """Pulses with a scrape each second, and without, in turn."""
    wanted = ("-r", PULSES, "-t", SECONDS)
    without, beside, scrapes = [], [], list[float]()
    for _ in range(report.rounds):
        without.append(load(server, other_core(core), *wanted, keys=keys, first_port=LATER))
        end = threading.Event()
        thread = threading.Thread(target=_scrapes, args=(server, scrapes, end))
        pulses = start_load(server, other_core(core), *wanted, keys=keys, first_port=LATER)
        thread.start()
        beside.append(pulses.result())
        end.set()
        thread.join()
    what = f"{PULSES:,} pulses/s, a scrape each second: p50 / p99 / p99.9, lost"
    report.add(Row(what, _times(beside), f"without scrapes {_times(without)}"))
    took = f"{statistics.median(scrapes) * 1000:.0f} ms"
    report.add(Row("the same: time to the answer of a scrape", took, f"of {len(scrapes)} scrapes"))


def _times(found: Sequence[Load]) -> str:
    """:returns: the medians of the rounds, and what was lost in all of them."""
    p50, p99, p999 = (
        statistics.median(getattr(each, name) for each in found) / 1000 for name in ("p50", "p99", "p999")
    )
    return f"{p50:.2f} / {p99:.2f} / {p999:.2f} ms, {statistics.mean(each.lost for each in found):.3%}"


def _scrapes(server: Server, times: list[float], end: threading.Event) -> None:
    """Scrape once an interval until it ends."""
    while not end.is_set():
        begin = time.perf_counter()
        scrape(server)
        times.append(time.perf_counter() - begin)
        end.wait(INTERVAL)


def scrape(server: Server) -> bytes:
    """:returns: the exposition."""
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {TOKEN}", "Accept": ACCEPT})
        response = connection.getresponse()
        body = response.read()
    if response.status != 200:
        raise RuntimeError(f"a scrape was answered {response.status}: {body[:200]!r}")
    return body
