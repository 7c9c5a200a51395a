"""``python -m tests.crash [ROUNDS [SEED]]``: as many crashes as one likes."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.crash.rounds import crash


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(rounds: str = "300", seed: str = "1") -> None:
    """Run, and say what was done."""
    with tempfile.TemporaryDirectory(prefix="rendezvous-crash-") as directory:
        total = crash(Path(directory), int(rounds), int(seed), say)
        size = sum(path.stat().st_size for path in Path(directory).glob("rendezvous.sqlite3*"))
    for name, count in sorted(total.items()):
        say(f"{count:9d}  {name}")
    say(f"{size:9d}  bytes on disk at the end; nothing was lost, and nothing that was ended came back")


if __name__ == "__main__":
    main(*sys.argv[1:])
