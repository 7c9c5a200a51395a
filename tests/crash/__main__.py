"""
``python -m tests.crash [ROUNDS [SEED [CLIENTS]]]``: as many crashes as one likes.

With CLIENTS that many clients pulse at full speed, and nothing else happens (:mod:`tests.crash.crowd`).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.arguments import at_least_one
from rendezvous.storage.client_file import space_taken
from tests.crash.crowd import crash_crowd, missing
from tests.crash.rounds import crash


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run, and say what was done."""
    parser = argparse.ArgumentParser(prog="crash", description="Kill a server under load, restart it and compare.")
    parser.add_argument("rounds", nargs="?", type=at_least_one, default=300, help="how often (default: 300)")
    parser.add_argument("seed", nargs="?", type=int, default=1, help="of all that is drawn (default: 1)")
    parser.add_argument("clients", nargs="?", type=at_least_one, help="how many pulse at full speed")
    given = parser.parse_args()
    if given.clients and missing():
        raise SystemExit(missing())
    with tempfile.TemporaryDirectory(prefix="rendezvous-crash-") as name:
        directory = Path(name)
        if given.clients:
            total = crash_crowd(directory, given.rounds, given.clients, given.seed, say)
        else:
            total = crash(directory, given.rounds, given.seed, say)
        size = sum(space_taken(str(path)) for path in directory.glob("rendezvous.sqlite3*"))
    for name, count in sorted(total.items()):
        say(f"{count:9d}  {name}")
    say(f"{size:9d}  bytes on disk at the end; nothing was lost, and nothing that was ended came back")


if __name__ == "__main__":
    main()
