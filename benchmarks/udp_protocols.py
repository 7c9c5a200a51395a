"""
The protocols that share the UDP port with the pulses: STUN beside coturn's, the tracker, and what they cost the pulses.

Servers run on one core and the load on another. The limit on answers (``--udp-rate``) is off where answers of STUN and
of the tracker are counted, since all of the load has one address; the rows say so. Beside coturn the load, a program in
Python, is at the limit of its own core as well, so coturn may be quicker yet than its figure.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import partial

from benchmarks.load import BINDING, among, datagrams, server, strangers, turnserver
from benchmarks.report import Report, Row
from benchmarks.servers import KEYRING, client_id

SECONDS = 2.0
CLIENTS = 1_000
ANNOUNCE, PULSE = b'{"action":"announce"}', b'{"action":"pulse"}'
ON_TIME = (1020).to_bytes(4, "big")
OFF = ["stun", "tracker", "offers", "sessions"]
KEYS = [KEYRING.key(client_id(number)) for number in range(CLIENTS)]


@contextlib.contextmanager
def on_another_core() -> Iterator[int]:
    """Leave one core to the servers, and keep off it; gives that core."""
    before = os.sched_getaffinity(0)
    core = min(before)
    os.sched_setaffinity(0, (before - {core}) or before)
    try:
        yield core
    finally:
        os.sched_setaffinity(0, before)


def run(report: Report) -> None:
    """STUN, the tracker, then the pulses among them."""
    report.section("STUN and the tracker on the UDP port, servers on one core, load on another")
    with on_another_core() as core:
        _stun(report, core)
        _tracker(report, core)
        _pulses(report, core)


def _stun(report: Report, core: int) -> None:
    for threads in (0, 1):
        what = "STUN bindings, rate limit off"
        with server("datagrams", core=core, udp_rate=0) as ours, turnserver(core, threads) as theirs:
            bindings = partial(datagrams, ours, [BINDING], SECONDS)
            if theirs is None:
                report.add(Row(what, f"{bindings():,.0f} /s", "not measured: turnserver is not installed"))
                return
            beside = f"coturn, {threads or 'no'} relay thread{'s' if threads != 1 else ''}"
            report.compare(what, "/s", bindings, beside, partial(datagrams, theirs, [BINDING], SECONDS))


def _tracker(report: Report, core: int) -> None:
    with server("echo", core=core) as echo, server("datagrams", core=core, udp_rate=0) as ours:
        for what, payload, load in (
            ("STUN bindings, rate limit off", [BINDING], datagrams),
            ("announces of new peers, rate limit off", ANNOUNCE, strangers),
            ("announces of a known peer, rate limit off", [ANNOUNCE], datagrams),
            ("tracker pulses, rate limit off", [PULSE], datagrams),
        ):
            report.compare(
                what, "/s", partial(load, ours, payload, SECONDS), "echo", partial(load, echo, payload, SECONDS)
            )


def _pulses(report: Report, core: int) -> None:
    others = [BINDING, PULSE]
    for what, settings, load in (
        ("pulses", {}, lambda port: datagrams(port, KEYS, SECONDS)),
        ("pulses among STUN and tracker", {}, lambda port: among(port, KEYS, others, ON_TIME, SECONDS)),
        (
            "pulses among STUN and tracker, rate limit off",
            {"udp_rate": 0},
            lambda port: among(port, KEYS, others, ON_TIME, SECONDS),
        ),
    ):
        with (
            server("datagrams", CLIENTS, core, **settings) as every,
            server("datagrams", CLIENTS, core, without=OFF) as alone,
        ):
            for port in (every, alone):
                datagrams(port, KEYS, SECONDS)  # The first pulse of each from here moves it.
            report.compare(what, "/s", partial(load, every), "others switched off", partial(load, alone))
