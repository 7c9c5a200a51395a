"""``python -m tests.attack [NAME ...]``: run attacks, all of them unless some are named."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tests.attack import bodies, clock, datagrams, disk, ends, floods, slow  # noqa: F401 - each enters its attacks
from tests.attack.field import ATTACKS
from tests.attack.run import Result, run
from tests.attack.shim import missing


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def tried(name: str, seconds: float, checkout: Path | None) -> Result | None:
    """
    Run an attack, once more if the machine was too slow even before it, or busy with something else.

    :returns: the result; ``None`` if it was skipped.
    """
    attack = ATTACKS[name]
    if attack.shim and missing():
        if os.environ.get("CI") == "true":
            raise SystemExit(missing())
        say(f"skipped {name}: {missing()}")
        return None
    result = run(attack, seconds, checkout)
    if result.faults and not result.was_quiet:
        say("\n".join(result.lines()))
        say(f"        {name}: the machine was slow before the attack, or busy with other programs; once more")
        result = run(attack, seconds, checkout)
    say("\n".join(result.lines()))
    return result


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="attack", description="Attacks beside an innocent client.")
    parser.add_argument("names", metavar="NAME", nargs="*", help="attacks to run (default: all of them)")
    parser.add_argument("--list", action="store_true", help="list the attacks")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each lasts (default: 10)")
    parser.add_argument("--quick", action="store_true", help="run only those that CI runs")
    parser.add_argument("--checkout", type=Path, help="run the server from this directory's code")
    options = parser.parse_args()
    if options.list:
        for each in ATTACKS.values():
            say(f"{each.name:<22} {each.what}")
        return
    unknown = set(options.names) - set(ATTACKS)
    if unknown:
        parser.error(f"no such attack: {', '.join(sorted(unknown))}")
    names = options.names or [n for n, each in ATTACKS.items() if each.quick or not options.quick]
    failed = [name for name in names if (result := tried(name, options.seconds, options.checkout)) and result.faults]
    say(f"{len(names)} attacks, {len(failed)} failed{': ' if failed else ''}{', '.join(failed)}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
