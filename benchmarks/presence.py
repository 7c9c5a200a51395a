"""What a client costs: its memory, its pulse, its end, at three sizes of the live table."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import time

from benchmarks.report import Report, Row

SIZES = (1_000, 100_000, 1_000_000)
EXPIRING = 1_000
PULSES = 500_000


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _address(number: int) -> tuple[str, int]:
    return f"203.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 1024 + number % 60_000


def measure(size: int) -> None:
    """Fill one table in this process, and print bytes a client, ns a pulse, µs of an idle sweep, µs an expiry."""
    from rendezvous.core.identity import Keyring, Secret
    from rendezvous.core.presence.presence import Presence
    from rendezvous.core.presence.states import Timers
    from rendezvous.storage.tables import pack

    keyring = Keyring([Secret(bytes(32))])
    table = Presence(Timers(), keyring, max_clients=size, pack=pack)
    gc.collect()
    before = _resident()
    for number in range(size):
        # All but the last thousand are heard of late, so that a sweep can be timed with just these due.
        now = 0.0 if number >= size - EXPIRING else 200.0
        key = keyring.key(number.to_bytes(16, "big"))
        table.register(number.to_bytes(16, "big"), key, now)
        table.pulse(key, _address(number), now)
    memory = (_resident() - before) / size
    gc.freeze()
    # Fresh copies, each used once, as datagrams are: neither the hash nor the identity of a key is known beforehand.
    drawn = random.Random(1).choices(range(size - EXPIRING // 2), k=PULSES)
    pulses = [(keyring.key(number.to_bytes(16, "big")), _address(number)) for number in drawn]
    start = time.perf_counter()
    for key, address in pulses:
        table.keep_alive(key, address, 200.5)
    pulse = (time.perf_counter() - start) / PULSES * 1e9
    start = time.perf_counter()
    for _ in range(1000):
        table.sweep(205.0, 20_000)
    idle = (time.perf_counter() - start) / 1000 * 1e6
    # The bucket of second 211 comes due: those who have been silent from the beginning.
    start = time.perf_counter()
    removed = table.sweep(212.0, 20_000)
    expiry = (time.perf_counter() - start) * 1e6
    print(memory, pulse, idle, expiry, removed)


def run(report: Report) -> None:
    """Measure each size in a process of its own."""
    report.section("The live table in one process, by number of clients")
    first: float | None = None
    for size in SIZES:
        output = subprocess.run(
            [sys.executable, "-m", "benchmarks.presence", str(size)], capture_output=True, text=True, check=True
        ).stdout
        memory, pulse, idle, expiry, removed = map(float, output.split())
        first = first or pulse
        name = f"{size:,} clients"
        report.add(Row(f"{name}: memory a client", f"{memory:.0f} bytes"))
        report.add(Row(f"{name}: a pulse", f"{pulse:.0f} ns", f"at 1,000 clients {first:.0f}", f"{first / pulse:.2f}"))
        report.add(Row(f"{name}: a sweep with nothing due", f"{idle:.1f} µs"))
        report.add(Row(f"{name}: a sweep that removes {removed:.0f}", f"{expiry:.0f} µs"))


if __name__ == "__main__":
    measure(int(sys.argv[1]))
