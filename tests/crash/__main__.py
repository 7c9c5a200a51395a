"""
``python -m tests.crash [ROUNDS [SEED [CLIENTS]]]``: as many crashes as one likes.

With CLIENTS that many clients pulse at full speed, and nothing else happens (:mod:`tests.crash.crowd`).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.crash.crowd import crash_crowd, missing
from tests.crash.rounds import crash


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(rounds: str = "300", seed: str = "1", clients: str = "0") -> None:
    """Run, and say what was done."""
    size = int(clients)
    if size and missing():
        raise SystemExit(missing())
    with tempfile.TemporaryDirectory(prefix="rendezvous-crash-") as name:
        directory = Path(name)
        if size:
            total = crash_crowd(directory, int(rounds), size, int(seed), say)
        else:
            total = crash(directory, int(rounds), int(seed), say)
        size = sum(path.stat().st_size for path in directory.glob("rendezvous.sqlite3*"))
    for name, count in sorted(total.items()):
        say(f"{count:9d}  {name}")
    say(f"{size:9d}  bytes on disk at the end; nothing was lost, and nothing that was ended came back")


if __name__ == "__main__":
    main(*sys.argv[1:])
