"""The UDP half of :mod:`benchmarks.against`: pulses of all clients in turn, STUN Bindings, the tracker."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from benchmarks import native
from benchmarks.datagrams import AT_FIRST, LATER
from benchmarks.load import datagrams, other_core, pid, server
from benchmarks.report import Report, Row
from benchmarks.revisions import REPOSITORY, Rate, beside, compare
from benchmarks.servers import KEYRING, client_id
from benchmarks.udp_protocols import on_another_core

__all__ = ["run"]

SECONDS = 2.0
PULSING = 100_000
ANNOUNCE, TRACKER_PULSE = b'{"action":"announce"}', b'{"action":"pulse"}'


def run(report: Report, name: str, other: Path, directory: Path) -> None:
    """
    Compare.

    :param other: the other revision's code.
    :param directory: where the stores are kept.
    """
    clients = min(PULSING, report.clients)
    report.section(f"This revision beside {name}, UDP, source limits off, {clients:,} clients in turn")
    with on_another_core() as core:
        reason = native.build()
        if reason:
            report.add(Row("pulses and STUN", f"not measured: {reason}"))
        else:
            _pulses(report, name, other, _Pulses.prepare(directory, clients, core))
            _bindings(report, name, other, core)
        _tracker(report, name, other, core)


@attrs.frozen
class _Pulses:
    """
    The datagrams of clients that pulse, and where to keep their stores.

    :ivar core: where servers run.
    """

    directory: Path
    clients: int
    core: int
    keys: Path
    in_hex: Path
    unknown: Path

    @classmethod
    def prepare(cls, directory: Path, clients: int, core: int) -> _Pulses:
        """Write them."""
        keys = [KEYRING.key(client_id(number)) for number in range(clients)]
        files = {
            "keys": keys,
            "in_hex": [key.hex().encode() for key in keys],
            "unknown": [bytes([key[0] ^ 255]) + key[1:] for key in keys],
        }
        paths = {kind: native.write_datagrams(directory / kind, found) for kind, found in files.items()}
        return cls(directory, clients, core, **paths)

    def each_once(self, port: int, first_port: int) -> Rate:
        """Have each client pulse once; what is written afterwards counts as well."""
        return self._load(port, "-c", self.clients, "-t", 300, keys=self.keys, first_port=first_port, at_rest=True)

    def steady(self, port: int) -> Rate:
        """Have all clients that have pulsed before pulse in turn."""
        return self._load(port, "-t", SECONDS, keys=self.keys, first_port=LATER)

    def steady_in_hex(self, port: int) -> Rate:
        """Do the same with keys in hexadecimal."""
        return self._load(port, "-t", SECONDS, "-l", 64, keys=self.in_hex, first_port=LATER)

    def with_unknown_keys(self, port: int) -> Rate:
        """Pulse with keys that no client has."""
        return self._load(port, "-t", SECONDS, keys=self.unknown, code="1060")

    def _load(self, port: int, *options: object, code: str = "1020", **parts: Any) -> Rate:
        found = native.load(native.Server(port, pid(port)), other_core(self.core), *options, **parts)
        if found.other_than(code):
            raise RuntimeError(f"pulses were answered with {found.codes}")
        return Rate(found.rate, 1e6 / found.cpu)


def _pulses(report: Report, name: str, other: Path, pulses: _Pulses) -> None:
    """First pulses, moves, steady pulses: each life of a server begins with a store of clients that never pulsed."""
    prepared = {checkout: _never_pulsed(checkout, pulses) for checkout in (None, other)}
    lives: dict[Path | None, list[dict[str, Rate]]] = {None: [], other: []}
    for number in range(report.rounds):
        for checkout in (other, None):
            store = pulses.directory / f"life-{number}-{checkout is None}.sqlite3"
            shutil.copy(prepared[checkout], store)
            lives[checkout].append(_life(checkout, store, pulses))
    for what in lives[None][0]:
        beside(report, what, [each[what] for each in lives[None]], name, [each[what] for each in lives[other]])


def _never_pulsed(checkout: Path | None, pulses: _Pulses) -> Path:
    """:returns: a store, made by this revision's code, of clients that have registered and not pulsed yet."""
    path = pulses.directory / f"prepared-{checkout is None}.sqlite3"
    code = f"from benchmarks.store import make_file; make_file({str(path)!r}, {pulses.clients})"
    subprocess.run([sys.executable, "-c", code], cwd=checkout or REPOSITORY, check=True)
    with contextlib.closing(sqlite3.connect(path)) as database:
        # Addresses are in a table of their own since version 3.
        (version,) = database.execute("PRAGMA user_version").fetchone()
        table = "clients" if version < 3 else "client_snapshot"
        database.execute(f"UPDATE {table} SET host = NULL, port = 0")  # noqa: S608
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def _life(checkout: Path | None, store: Path, pulses: _Pulses) -> dict[str, Rate]:
    """:returns: pulses a second by kind."""
    measured = {}
    with server("datagrams", 0, pulses.core, checkout, store=f"sqlite:{store}") as port:
        native.Server(port, pid(port)).settle()
        measured["first pulses, SQLite"] = pulses.each_once(port, AT_FIRST)
        measured["moves to another port, SQLite"] = pulses.each_once(port, LATER)
        measured["steady pulses, SQLite"] = pulses.steady(port)
        measured["steady pulses in hex, SQLite"] = pulses.steady_in_hex(port)
    with server("datagrams", pulses.clients, pulses.core, checkout, store="memory:") as port:
        measured["moves to another port, memory"] = pulses.each_once(port, LATER)
        measured["steady pulses, memory"] = pulses.steady(port)
        measured["pulses with unknown keys, memory"] = pulses.with_unknown_keys(port)
    return measured


def _bindings(report: Report, name: str, other: Path, core: int) -> None:
    def asked(port: int) -> Rate:
        found = native.load(native.Server(port, pid(port)), other_core(core), "-t", SECONDS)
        return Rate(found.rate, 1e6 / found.cpu)

    with server("datagrams", 0, core, udp_rate=0) as ours, server("datagrams", 0, core, other, udp_rate=0) as theirs:
        pairs = [(asked(theirs), asked(ours)) for _ in range(report.rounds)]
    beside(report, "STUN bindings", [pair[1] for pair in pairs], name, [pair[0] for pair in pairs])


def _tracker(report: Report, name: str, other: Path, core: int) -> None:
    with server("datagrams", 0, core, udp_rate=0) as ours, server("datagrams", 0, core, other, udp_rate=0) as theirs:
        for what, payload in (("announces of a known peer", ANNOUNCE), ("tracker pulses", TRACKER_PULSE)):
            compare(report, what, partial(datagrams, payloads=[payload], seconds=SECONDS), ours, name, theirs)
