"""What it takes to measure this revision beside another one."""

from __future__ import annotations

import contextlib
import io
import statistics
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from benchmarks.load import cpu
from benchmarks.report import Report

__all__ = ["REPOSITORY", "Rate", "beside", "compare", "rate", "revision"]

REPOSITORY = Path(__file__).parents[1]


@attrs.frozen
class Rate:
    """
    What a server did.

    :ivar a_second: answers a second.
    :ivar by_cpu: answers for each second of the server's CPU, which other programs disturb less.
    """

    a_second: float
    by_cpu: float


@contextlib.contextmanager
def revision(name: str) -> Iterator[Path]:
    """
    Take a revision's code out of git.

    :returns: a directory that lasts as long as the context.
    """
    packed = subprocess.run(["git", "-C", str(REPOSITORY), "archive", name], stdout=subprocess.PIPE, check=True)  # noqa: S607
    with tempfile.TemporaryDirectory(prefix="rendezvous-revision-") as directory:
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
            archive.extractall(directory, filter="data")
        yield Path(directory)


def rate(load: Callable[[int], float], port: int) -> Rate:
    """:returns: what a load gets out of a server, and for how much of its CPU time."""
    start, used = time.perf_counter(), cpu(port)
    a_second = load(port)
    return Rate(a_second, a_second * (time.perf_counter() - start) / max(cpu(port) - used, 0.01))


def compare(report: Report, what: str, load: Callable[[int], float], ours: int, name: str, theirs: int) -> None:
    """Run both in turn, as often as there are rounds, and add a row."""
    pairs = [(rate(load, theirs), rate(load, ours)) for _ in range(report.rounds)]
    beside(report, what, [pair[1] for pair in pairs], name, [pair[0] for pair in pairs])


def beside(report: Report, what: str, ours: list[Rate], name: str, theirs: list[Rate]) -> None:
    """Add a row with the medians of what was measured in turn."""
    by_cpu = statistics.median(one.by_cpu / other.by_cpu for one, other in zip(ours, theirs, strict=True))
    note = f", by CPU {by_cpu:.2f}"
    report.beside(what, "/s", [each.a_second for each in ours], name, [each.a_second for each in theirs], note)
