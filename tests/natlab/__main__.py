"""``python -m tests.natlab``: connect two hosts through every pair of NATs, and print what came of it as a table."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from fnmatch import fnmatch
from pathlib import Path

from tests.natlab.cells import CELLS, QUICK
from tests.natlab.measuring import Result, Run, measure
from tests.natlab.namespaces import LaboratoryError, missing
from tests.natlab.report import lines, long_table, row_faults, rows, table


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def measured(name: str, runs: int, others: int) -> Result:
    """:returns: the result of a cell, also if it could not even be set up."""
    try:
        return measure(CELLS[name], runs, others)
    except LaboratoryError as error:
        return Result(CELLS[name], [Run("clear", 0.0, note=str(error))])


def results(names: list[str], runs: int, others: int, jobs: int) -> Iterator[Result]:
    """Measure cells, some at the same time, each in a process of its own."""
    # Ctrl-C ends these processes, too. Otherwise each would go on with the next cell.
    pool = ProcessPoolExecutor(jobs, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_DFL))
    try:
        for done in as_completed([pool.submit(measured, name, runs, others) for name in names]):
            yield done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def selected(patterns: list[str]) -> list[str]:
    """:returns: the names of the cells that match any of the patterns; ``quick`` stands for those that CI runs."""
    return [
        name
        for name in CELLS
        if any(fnmatch(name, pattern) or (pattern == "quick" and name in QUICK) for pattern in patterns)
    ]


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="natlab", description="Connect two hosts through every pair of NATs.")
    parser.add_argument("--cells", nargs="+", default=["*"], metavar="PATTERN", help="which cells; quick: those of CI")
    parser.add_argument("--list", action="store_true", help="list the cells")
    parser.add_argument("--runs", type=int, default=20, help="runs of a cell without loss and skew (default: 20)")
    parser.add_argument("--others", type=int, default=5, help="runs each with skew, loss, and bursts (default: 5)")
    parser.add_argument("--jobs", type=int, default=1, help="cells at the same time (default: 1)")
    parser.add_argument("--save", metavar="FILE", type=Path, help="write the tables here")
    options = parser.parse_args()
    names = selected(options.cells)
    if not names:
        parser.error("no such cell")
    if options.list:
        say("\n".join(names))
        return
    reason = missing("turnserver", "miniupnpd")
    if reason:
        say(f"skipped: {reason}")
        sys.exit(os.environ.get("CI") == "true")
    found: dict[str, Result] = {}
    for result in results(names, options.runs, options.others, options.jobs):
        found[result.cell.name] = result
        say("\n".join(lines(result)))
    # In the order of the cells, whichever ended first.
    ordered = [found[name] for name in names]
    if options.save:
        options.save.write_text(f"{table(ordered)}\n{long_table(ordered)}", encoding="utf-8")
    say(table(ordered))
    failed = [result.cell.name for result in ordered if result.faults]
    for row, group in rows(ordered).items():
        for fault in row_faults(group):
            say(f"FAILED  {row}: {fault}")
            failed.append(row)
    say(f"{len(ordered)} cells, {len(failed)} failed{': ' if failed else ''}{', '.join(failed)}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
