"""Pulses a second over loopback, beside a bare echo."""

from __future__ import annotations

import random

from benchmarks.load import datagrams, server
from benchmarks.presence import SIZES
from benchmarks.report import Report
from benchmarks.servers import KEYRING, client_id

SECONDS = 2.0


def run(report: Report) -> None:
    """Pulse clients drawn at random from tables of three sizes."""
    report.section("Pulses over UDP")
    for size in SIZES:
        drawn = [KEYRING.key(client_id(number)) for number in random.Random(1).sample(range(size), min(size, 20_000))]
        with server("echo") as echo, server("datagrams", size) as ours:
            datagrams(ours, drawn, SECONDS)  # The first pulse of each from here moves it; those that follow are timed.
            report.compare(
                f"pulses, {size:,} clients live",
                "/s",
                lambda port=ours, keys=drawn: datagrams(port, keys, SECONDS),
                "echo",
                lambda port=echo, keys=drawn: datagrams(port, keys, SECONDS),
            )
