"""
This revision beside another one in the same run: ``python -m benchmarks --against REV``.

The other revision's code is taken from git into a temporary directory. Its servers run from there, in the same
environment; the load is always this revision's. Both servers run in turn, so that a slow moment of the machine hits
both, and a ratio above 1 means that this revision is faster. Beside the ratio of answers a second there is that of
answers for each second of the server's CPU, which is steadier on a machine that has other work.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection
from functools import partial
from pathlib import Path

from benchmarks import against_udp
from benchmarks.http import SDP, publish, request, send
from benchmarks.load import requests, server
from benchmarks.report import Report
from benchmarks.revisions import compare, revision
from benchmarks.servers import client_id

__all__ = ["SUITES", "run"]

SECONDS = 2.0
#: HTTP connections where requests share a commit, and where they do not.
MANY, SOME = 256, 16
#: The suites that have a comparison.
SUITES = ("http", "datagrams")


def run(report: Report, name: str, suites: Collection[str] = SUITES) -> None:
    """Compare registrations, publishes, look-ups (``http``), pulses and the other datagrams (``datagrams``)."""
    with revision(name) as other, tempfile.TemporaryDirectory(dir=_build()) as made:
        directory = Path(made).resolve()
        if "http" in suites:
            report.section(f"This revision beside {name}, HTTP, source limits off")
            _http(report, name, other, directory)
            report.section("Source limits on beside off, this revision, memory")
            _limits(report)
        if "datagrams" in suites:
            against_udp.run(report, name, other, directory)


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
                compare(report, f"{what}, {'SQLite' if kept else 'memory'}", load, ours, name, theirs)


def _limits(report: Report) -> None:
    """Compare this revision with its own source limits on and off; each of many sources stays within its limits."""
    sources = [f"127.{7 + number // 250}.{number % 250}.1" for number in range(500)]
    register, look_up = request("POST", "/register"), request("GET", f"/peer/{client_id(2).hex()}/udp", 1)
    with server("http", 1000, no_source_limits=False) as limited, server("http", 1000) as free:
        for what, asked in (("register", register), ("look up an address", look_up)):
            load = partial(requests, request=asked, seconds=SECONDS, connections_open=len(sources), sources=sources)
            compare(report, f"{what}, {len(sources)} sources", load, limited, "without limits", free)
