"""``python -m benchmarks [--save FILE] [SUITE ...]``: run the suites, all of them unless some are named."""

from __future__ import annotations

import argparse
import datetime
import os
import pathlib
import platform

import twisted

from benchmarks import against, datagrams, http, many, presence, scrape, sockets, store, udp_protocols
from benchmarks.arguments import at_least_one
from benchmarks.report import Report

SUITES = {
    "presence": presence,
    "datagrams": datagrams,
    "udp_protocols": udp_protocols,
    "http": http,
    "sockets": sockets,
    "store": store,
    "many": many,
    "scrape": scrape,
}


def _machine() -> str:
    lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} cores of {models[0] if models else platform.machine()}"


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="benchmarks", description="Benchmarks beside yardsticks in the same run.")
    parser.add_argument("--save", metavar="FILE", type=pathlib.Path, help="write the tables here as well")
    parser.add_argument("suites", metavar="SUITE", nargs="*", help=f"of {', '.join(SUITES)} (default: all)")
    parser.add_argument("--rounds", type=at_least_one, default=5, help="how often each comparison is run (default: 5)")
    parser.add_argument(
        "--clients",
        type=at_least_one,
        default=1_000_000,
        help="how many clients are many (default: 1000000; fewer for a trial)",
    )
    parser.add_argument(
        "--against",
        metavar="REV",
        help=f"compare with this revision in the same run; the suites for that are {', '.join(against.SUITES)}",
    )
    options = parser.parse_args()
    unknown = set(options.suites) - set(against.SUITES if options.against else SUITES)
    if unknown:
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    report = Report(options.rounds, options.clients)
    if options.against:
        against.run(report, options.against, options.suites or against.SUITES)
    else:
        for name in options.suites or SUITES:
            SUITES[name].run(report)
    if options.save:
        today = datetime.datetime.now(tz=datetime.UTC).date()
        heading = (
            f"Measured on {today} on {_machine()}, {platform.system()} {platform.release()}, Python"
            f" {platform.python_version()}, Twisted {twisted.__version__}. Rounds:"
            f" {options.rounds}. Clients at most: {options.clients:,}.\n\n"
        )
        options.save.write_text(heading + report.as_text(), encoding="utf-8")
        for name, drawn in report.charts.items():
            (options.save.parent / name).write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main()
