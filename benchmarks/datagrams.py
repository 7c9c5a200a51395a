"""
What a reply over UDP costs: pulses of all clients in turn, signed pulses, and STUN Bindings, beside echoes and coturn.

Servers run on one core and the load, a program in C, on another. Each client sends from one address all the time. The
results are CPU time a reply by the kernel's accounting, all threads of the server counted, with the rate beside it.
The load may be the limit of a rate, but it takes none of the server's CPU time. Ratios are of CPU time: above 1, ours
is cheaper.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.chart import Bar
from benchmarks.load import other_core
from benchmarks.native import SIGNED, Load, Server, build, c_echo, coturn, load, python_server, write_datagrams
from benchmarks.presence import SIZES
from benchmarks.report import Report, Row
from benchmarks.servers import KEYRING, PATHS, client_id
from benchmarks.udp_protocols import on_another_core
from rendezvous.core.macs import datagram_key

__all__ = ["AT_FIRST", "LATER", "ON_TIME", "PATIENT", "each_once", "on_disk", "run", "shown", "write_keys"]

SECONDS = 2.0
#: The part of the clients whose first pulses and moves are timed.
MOVING = 0.3
#: Where clients send from at first, and where they are from then on.
AT_FIRST, LATER = 21_000, 22_000
#: Clients whose pulses a worker shares; the sockets that they send from, which the kernel spreads over the processes;
#: the port of the first of these sockets.
SHARED, SOCKETS, SPREAD = 100_000, 50, 23_000
ON_TIME, SIGNED_ON_TIME = "1020", "signed 1020"
ECHO, C_ECHO = "Twisted echo", "C echo"
STORES = ("memory", "SQLite")
#: So long that no client is late while the others are timed.
PATIENT = {"pulse_interval": 3000, "error_time": 6000, "registration_time": 6000, "udp_rate": 0}


def run(report: Report) -> None:
    """Steady pulses at three sizes, first pulses and moves, STUN, then a worker."""
    reason = build()
    if reason:
        report.section("Pulses and STUN over UDP")
        report.add(Row("pulses and STUN", f"not measured: {reason}"))
        return
    with on_another_core() as core, tempfile.TemporaryDirectory(dir=on_disk()) as made:
        directory = Path(made).resolve()
        report.section("Steady pulses, all clients in turn: CPU time a reply")
        bars: list[Bar] = []
        sizes = sorted({min(size, report.clients) for size in SIZES})
        for size in sizes:
            bars += _steady(report, core, size, sizes[0], directory)
        report.chart("pulses", "CPU time for a steady pulse", "µs", bars)
        report.section("Signed pulses, all clients in turn: CPU time a reply")
        _signed(report, core, sizes[-1], directory)
        moving = max(1, int(report.clients * MOVING))
        report.section(f"First pulses and moves of {moving:,} clients: CPU time a reply")
        _moving(report, core, moving, directory)
        report.section("STUN Bindings, rate limit off: CPU time a reply")
        _stun(report, core)
    with tempfile.TemporaryDirectory(dir=on_disk()) as made:
        shared = max(SOCKETS, min(report.clients, SHARED) // SOCKETS * SOCKETS)
        _workers(report, shared, Path(made).resolve())


def on_disk() -> str:
    """:returns: the directory ``build``, made if it is not there. Unlike ``/tmp``, it is usually no tmpfs."""
    Path("build").mkdir(exist_ok=True)
    return "build"


def write_keys(directory: Path, clients: int) -> Path:
    """Write the keys of the clients of :mod:`benchmarks.servers`, for the load generator."""
    path = directory / f"{clients}.keys"
    return write_datagrams(path, (KEYRING.key(client_id(number)) for number in range(clients)))


def write_signers(directory: Path, clients: int) -> Path:
    """Write the ids and datagram keys of the same clients, for the load generator."""
    ids = map(client_id, range(clients))
    path = directory / f"{clients}{SIGNED}"
    return write_datagrams(path, (each + datagram_key(KEYRING.key(each)) for each in ids))


@contextlib.contextmanager
def _servers(core: int, clients: int, directory: Path) -> Iterator[dict[str, Server]]:
    """Run the server by each path with each store, their clients not pulsed yet."""
    with contextlib.ExitStack() as running:
        yield {
            f"{path}, {store}": running.enter_context(
                python_server(path, core, clients, store=_store(store, directory), max_clients=clients + 1, **PATIENT)
            )
            for path in PATHS
            for store in STORES
        }


def _store(store: str, directory: Path) -> str:
    return "memory:" if store == "memory" else f"sqlite:{tempfile.mkdtemp(dir=directory)}/store.sqlite3"


def each_once(server: Server, core: int, keys: Path, first_port: int) -> Load:
    """Have each client pulse once. What is written afterwards counts as well."""
    clients = keys.stat().st_size // 32
    found = load(server, other_core(core), "-c", clients, "-t", 600, keys=keys, first_port=first_port, at_rest=True)
    if found.other_than(ON_TIME):
        raise RuntimeError(f"pulses were answered with {found.codes}")
    return found


def _steady(report: Report, core: int, size: int, smallest: int, directory: Path) -> list[Bar]:
    keys, what = write_keys(directory, size), f"{size:,} clients"
    with contextlib.ExitStack() as running:
        ours = running.enter_context(_servers(core, size, directory))
        servers = {name: (server, keys) for name, server in ours.items()}
        few = {}
        if size > smallest:  # What a pulse costs at this size beside the smallest is of one run as well.
            few_keys = write_keys(directory, smallest)
            few = running.enter_context(_servers(core, smallest, directory))
            servers |= {f"{smallest:,} clients, {name}": (server, few_keys) for name, server in few.items()}
        for server, its_keys in servers.values():
            server.settle()
            each_once(server, core, its_keys, LATER)
        servers[C_ECHO] = running.enter_context(c_echo(core)), keys
        servers[ECHO] = running.enter_context(python_server("echo", core)), keys
        found = _in_turn(report, core, servers)
    for name in ours:
        for reference in (ECHO, C_ECHO):
            _row(report, f"{what}, {name}", found, name, reference)
        if few:
            _row(report, f"{what}, {name}", found, name, f"{smallest:,} clients, {name}")
    for path in PATHS:
        _row(report, f"{what}, {path}, SQLite", found, f"{path}, SQLite", f"{path}, memory")
    references = [Bar(name, _cpu(found[name]), is_reference=True) for name in (ECHO, C_ECHO)]
    return [*(references if size == smallest else ()), *(Bar(f"{name}, {what}", _cpu(found[name])) for name in ours)]


def _signed(report: Report, core: int, clients: int, directory: Path) -> None:
    """Signed pulses beside plain ones of the same clients, in the same run."""
    kinds = {"plain pulses": write_keys(directory, clients), "signed pulses": write_signers(directory, clients)}
    with _servers(core, clients, directory) as servers:
        for name, server in servers.items():
            server.settle()
            each_once(server, core, kinds["plain pulses"], LATER)
            found: dict[str, list[Load]] = {kind: [] for kind in kinds}
            for _ in range(report.rounds):
                for kind, keys in kinds.items():
                    found[kind].append(load(server, other_core(core), "-t", SECONDS, keys=keys, first_port=LATER))
            if any(each.other_than(SIGNED_ON_TIME) for each in found["signed pulses"]):
                raise RuntimeError(f"signed pulses were answered with {found['signed pulses'][-1].codes}")
            _row(report, f"signed pulses, {clients:,} clients, {name}", found, "signed pulses", "plain pulses")


def _in_turn(report: Report, core: int, servers: Mapping[str, tuple[Server, Path | None]]) -> dict[str, list[Load]]:
    """Load the servers in turn, as often as there are rounds."""
    found: dict[str, list[Load]] = {name: [] for name in servers}
    for _ in range(report.rounds):
        for name, (server, keys) in servers.items():
            found[name].append(load(server, other_core(core), "-t", SECONDS, keys=keys, first_port=LATER))
    return found


def _cpu(found: list[Load]) -> float:
    return statistics.median(each.cpu for each in found)


def shown(found: list[Load]) -> str:
    """:returns: the CPU time a reply, and the rate."""
    return f"{_cpu(found):.2f} µs ({statistics.median(each.rate for each in found):,.0f}/s)"


def _row(report: Report, what: str, found: Mapping[str, list[Load]], name: str, reference: str) -> None:
    ratio = statistics.median(theirs.cpu / ours.cpu for ours, theirs in zip(found[name], found[reference], strict=True))
    report.add(Row(what, shown(found[name]), f"{reference} {shown(found[reference])}", f"{ratio:.2f}"))


def _moving(report: Report, core: int, clients: int, directory: Path) -> None:
    """Each round is a life of its own, since a client has one first pulse."""
    keys = write_keys(directory, clients)
    kinds = ("first pulses", "moves", "steady pulses")
    found: dict[str, dict[str, list[Load]]] = {}
    for _ in range(report.rounds):
        with _servers(core, clients, directory) as servers:
            for name, server in servers.items():
                server.settle()
                lives = found.setdefault(name, {kind: [] for kind in kinds})
                for kind, first_port in zip(kinds, (AT_FIRST, LATER, LATER), strict=True):
                    lives[kind].append(each_once(server, core, keys, first_port))
    for name, lives in found.items():
        for kind in kinds[:2]:
            _row(report, f"{kind}, {name}", lives, kind, kinds[2])


def _stun(report: Report, core: int) -> None:
    with contextlib.ExitStack() as running:
        servers = {path: running.enter_context(python_server(path, core, **PATIENT)) for path in PATHS}
        servers[ECHO] = running.enter_context(python_server("echo", core))
        theirs = running.enter_context(coturn(core))
        if theirs is not None:
            servers["coturn"] = theirs
        found = _in_turn(report, core, {name: (server, None) for name, server in servers.items()})
    for path in PATHS:
        for reference in ("coturn", ECHO):
            if reference in found:
                _row(report, f"STUN Bindings, {path}", found, path, reference)
    if theirs is None:
        report.add(Row("STUN Bindings beside coturn", "not measured: turnserver is not installed"))
    bars = [Bar(name, _cpu(each), is_reference=name not in PATHS) for name, each in found.items()]
    report.chart("stun", "CPU time for a STUN Binding", "µs", bars)


def _workers(report: Report, clients: int, directory: Path) -> None:
    """
    Compare a server that has a worker with one that has none.

    The servers and the load may use all cores, because a worker is of use only where a core is free for it.
    """
    title = f"Steady pulses of {clients:,} clients, SQLite, server and load on any of {os.cpu_count()} cores"
    report.section(f"{title}: CPU time a reply of all processes")
    keys, options = write_keys(directory, clients), ("-s", SOCKETS)
    found: dict[int, list[Load]] = {0: [], 1: []}
    with contextlib.ExitStack() as running:
        servers: dict[int, Server] = {}
        for count in found:
            settings = {
                "store": _store("SQLite", directory),
                "max_clients": clients + 1,
                "udp_workers": count,
                **PATIENT,
            }
            servers[count] = running.enter_context(python_server("fast", None, clients, **settings))
            servers[count].settle()
            load(servers[count], None, *options, "-c", clients, "-t", 600, keys=keys, first_port=SPREAD, at_rest=True)
        for _ in range(report.rounds):
            for count, server in servers.items():
                found[count].append(load(server, None, *options, "-t", SECONDS, keys=keys, first_port=SPREAD))
    if any(each.workers_cpu < each.cpu / 20 for each in found[1]):
        raise RuntimeError("the worker has answered nothing")
    theirs = statistics.median(each.workers_cpu for each in found[1])
    ratio = statistics.median(alone.cpu / shared.cpu for alone, shared in zip(found[0], found[1], strict=True))
    value = f"{shown(found[1])}, of which the worker {theirs:.2f} µs"
    report.add(Row("--udp-workers 1", value, f"no worker {shown(found[0])}", f"{ratio:.2f}"))
