"""Run one attack beside the innocent client, and judge it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from tests.attack.field import Attack, Field
from tests.attack.innocent import KINDS
from tests.attack.shim import Shim
from tests.crash.server import Server
from tests.real_server import environment

__all__ = ["Result", "run"]

#: Milliseconds that one in a hundred requests of the innocent client may take, whatever happens.
BOUND = 50.0
#: Seconds after an attack within which everything is as before.
RECOVERY = 5.0
#: Seconds after an attack for which the innocent client goes on at most, if it is not served well.
PATIENCE = 10.0
#: Of one core: what other programs may use before the machine counts as too busy to measure anything.
BUSY = 0.4
#: Seconds before the attack in which the machine is measured.
IDLE = 2.0


@attrs.frozen
class Latency:
    """
    Milliseconds of one kind of request: the median, one in a hundred, the worst; how many failed, and why.

    :ivar when: seconds from the beginning to the worst.
    """

    p50: float
    p99: float
    most: float
    count: int
    failed: int
    reasons: tuple[str, ...]
    when: float

    def __str__(self) -> str:
        failed = f", {self.failed} of {self.count} failed" if self.failed else ""
        when = f" at {self.when:.1f} s" if self.p99 >= BOUND else ""
        return f"{self.p50:.1f}/{self.p99:.0f}/{self.most:.0f}{when}{failed}"


@attrs.frozen
class Result:
    """
    How an attack went.

    :ivar idle: latencies before, by kind.
    :ivar under: latencies during the attack.
    :ivar memory: bytes resident before, at the most, and at the end.
    :ivar cpu: of one core, by the server, during the attack.
    :ivar others: of one core, by programs that have nothing to do with the attack, before and during it.
    :ivar recovery: seconds from the end of the attack to the end of the last request that was slow or failed.
    :ivar faults: what should not have been; empty if it passed.
    """

    name: str
    idle: dict[str, Latency]
    under: dict[str, Latency]
    memory: tuple[int, int, int]
    cpu: float
    others: float
    recovery: float
    logged: int
    seconds: float
    faults: list[str]
    notes: list[str]

    @property
    def was_quiet(self) -> bool:
        """:returns: whether the machine was quick before the attack, and was not busy with something else meanwhile."""
        return self.others < BUSY and all(each.p99 < BOUND / 2 and not each.failed for each in self.idle.values())

    def lines(self) -> list[str]:
        """:returns: the result for people."""
        before, most, after = (size >> 20 for size in self.memory)
        under = "  ".join(f"{kind} {self.under[kind]}" for kind in KINDS)
        idle = "  ".join(f"{kind} {self.idle[kind]}" for kind in KINDS)
        return [
            f"{'FAILED' if self.faults else 'passed'}  {self.name}, {self.seconds:.1f} s",
            f"    under attack  {under}",
            f"    idle before   {idle}   (ms, p50/p99/max)",
            f"    server: {before} MiB, {most} at the most, {after} after; {self.cpu:.0%} CPU, {self.logged} bytes"
            f" logged, recovered in {self.recovery:.1f} s; other programs: {self.others:.0%} CPU",
            *(f"    note: {note}" for note in self.notes),
            *(f"    fault: {fault}" for fault in self.faults),
        ]


def run(attack: Attack, seconds: float, checkout: Path | None = None, patience: float = PATIENCE) -> Result:
    """
    Run an attack.

    :param seconds: how long it lasts, if it does not need longer.
    :param checkout: another revision's code for the server.
    :param patience: seconds after the attack for which it waits at most until all is well again.
    """
    with tempfile.TemporaryDirectory(prefix="rendezvous-attack-") as name:
        directory = Path(name)
        shim = Shim(directory) if attack.shim else None
        prefix: list[str] = [] if checkout is None else ["env", f"PYTHONPATH={checkout}"]
        if attack.descriptors:
            prefix += ["sh", "-c", f'ulimit -n {attack.descriptors}; exec "$@"', "sh"]
        if shim is not None:
            prefix += shim.prefix
        if attack.prepare is not None:
            attack.prepare(directory, prefix)
        server = Server(directory, *attack.options, prefix=prefix)
        server.start()
        try:
            return _beside(attack, server, max(seconds, attack.least), shim, patience)
        finally:
            if shim is not None:
                shim.stall(False)
            server.kill()


def _beside(attack: Attack, server: Server, seconds: float, shim: Shim | None, patience: float) -> Result:
    words = map(str, (server.http_port, server.udp_port, server.pid, patience))
    innocent = subprocess.Popen(
        [sys.executable, "-m", "tests.attack.innocent", *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(), cwd=os.getcwd(), text=True,
    )  # fmt: skip
    assert innocent.stdout is not None
    try:
        if innocent.stdout.readline() != "ready\n":
            raise AssertionError(f"the innocent client could not begin; the server's log:\n{server.log()}")
        field = Field(server, seconds, shim)
        time.sleep(IDLE)
        logged = field.log_size()
        begun = time.monotonic()
        try:
            attack.run(field)
        except Exception as e:
            field.expect(f"the attack could not go on: {e!r}", holds=False)
        ended = time.monotonic()
        field.end()
        output, _ = innocent.communicate(timeout=60)
        measured = json.loads(output)
    finally:
        innocent.kill()
        innocent.wait()
    return _judged(attack, field, measured, begun, ended, field.log_size() - logged)


def _judged(attack: Attack, field: Field, measured: dict[str, Any], begun: float, ended: float, logged: int) -> Result:
    samples = measured["samples"]
    idle = {kind: _latency(kind, samples, samples[0][1], begun) for kind in KINDS}
    under = {kind: _latency(kind, samples, begun, ended) for kind in KINDS}
    sizes = [size for at, size, *_ in measured["process"] if at >= begun - 0.2]
    whole = [each for each in measured["process"] if each[0] <= ended + 0.2]
    during = [each for each in whole if each[0] >= begun - 0.2]
    late = [
        start + (took or 0) / 1000 - ended
        for _, start, took, _ in samples
        if start > ended and (took or BOUND) >= BOUND
    ]
    result = Result(
        attack.name, idle, under,
        memory=(sizes[0], max(sizes), sizes[-1]),
        cpu=_rate(during, 2), others=_rate(whole, 3),
        recovery=max([0.0, *late]),
        logged=logged, seconds=ended - begun, faults=field.faults, notes=field.notes,
    )  # fmt: skip
    for kind, found in under.items():
        field.expect(f"{kind}: p99 {found.p99:.0f} ms, and {BOUND:.0f} is allowed", holds=found.p99 < BOUND)
        field.expect(f"{kind}: {found.failed} failed: {', '.join(found.reasons)}", holds=not found.failed)
    grown, allowed = (result.memory[1] - result.memory[0]) >> 20, attack.memory >> 20
    field.expect(f"memory grew by {grown} MiB, and {allowed} are allowed", holds=grown <= allowed)
    field.expect(f"{logged} bytes logged, and {attack.log} are allowed", holds=logged <= attack.log)
    field.expect(f"not recovered within {RECOVERY:.0f} s", holds=result.recovery <= RECOVERY)
    return result


def _rate(measured: Sequence[Any], column: int) -> float:
    return float((measured[-1][column] - measured[0][column]) / max(measured[-1][0] - measured[0][0], 0.001))


def _latency(kind: str, samples: Sequence[Any], since: float, before: float) -> Latency:
    """:returns: what requests of this kind took that began in that time; a failed one took for ever."""
    own = [each for each in samples if each[0] == kind and since <= each[1] < before]
    slowness = [math.inf if each[2] is None else each[2] for each in own] or [math.inf]
    took = sorted(slowness)
    reasons = sorted({each[3] for each in own if each[2] is None})
    failed = sum(each[2] is None for each in own)
    p99 = took[math.ceil(len(took) * 0.99) - 1]
    when = own[slowness.index(took[-1])][1] - since if own else 0.0
    return Latency(took[len(took) // 2], p99, took[-1], len(own), failed, tuple(reasons), when)
