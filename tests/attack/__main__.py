"""``python -m tests.attack [NAME ...]``: run attacks, all of them unless some are named."""

from __future__ import annotations

import argparse
import math
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.attack import bodies, clock, datagrams, disk, ends, floods, operators, slow, sockets, storms  # noqa: F401 - each enters its attacks
from tests.attack.field import ATTACKS
from tests.attack.innocent import KINDS
from tests.attack.run import Result, run
from tests.attack.shim import missing


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def tried(name: str, options: argparse.Namespace) -> Result | None:
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
    result = run(attack, options.seconds, options.checkout)
    if result.faults and not result.was_quiet and not options.once:
        say("\n".join(result.lines()))
        say(f"        {name}: the machine was slow before the attack, or busy with other programs; once more")
        result = run(attack, options.seconds, options.checkout)
    say("\n".join(result.lines()))
    return result


def table(results: Sequence[Result]) -> str:
    """:returns: the results as a table of reStructuredText."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 30 12 12 12 12 14 8 10 8", ""]
    heading = ("attack", *(f"{kind}, p99/max" for kind in KINDS), "MiB before/peak", "CPU", "recovery", "passed")
    for row in (heading, *map(cells, results)):
        lines += [f"   {'*' if number == 0 else ' '} - {cell}" for number, cell in enumerate(row)]
    return "\n".join([*lines, ""])


def cells(result: Result) -> list[str]:
    """:returns: a row of the table."""
    under = [
        f"{each.p99:.0f}/{each.most:.0f}" if math.isfinite(each.p99) else f"{each.failed} of {each.count} failed"
        for each in map(result.under.__getitem__, KINDS)
    ]
    before, peak, _ = (size >> 20 for size in result.memory)
    recovery = f"{result.recovery:.1f} s"
    passed = "no" if result.faults else "yes"
    return [f"``{result.name}``", *under, f"{before}/{peak}", f"{result.cpu:.0%}", recovery, passed]


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="attack", description="Attacks beside an innocent client.")
    parser.add_argument(
        "names", metavar="NAME", nargs="*", help="attacks to run, or quick for those that CI runs (default: all)"
    )
    parser.add_argument("--list", action="store_true", help="list the attacks")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each lasts (default: 10)")
    parser.add_argument("--checkout", type=Path, help="run the server from this directory's code")
    parser.add_argument("--once", action="store_true", help="run none of them again, however busy the machine is")
    parser.add_argument("--save", metavar="FILE", type=Path, help="write a table of the results here")
    options = parser.parse_args()
    if options.list:
        for each in ATTACKS.values():
            say(f"{each.name:<22} {each.what}")
        return
    unknown = set(options.names) - {*ATTACKS, "quick"}
    if unknown:
        parser.error(f"no such attack: {', '.join(sorted(unknown))}")
    asked = set(options.names or ATTACKS)
    names = [name for name, each in ATTACKS.items() if name in asked or (each.quick and "quick" in asked)]
    results: list[Result] = []
    failed: list[str] = []
    for name in names:
        try:
            result = tried(name, options)
        except Exception:
            # An attack that cannot even be made keeps no other from being measured.
            traceback.print_exc()
            failed.append(name)
            continue
        if result is not None:
            results.append(result)
            failed += [name] if result.faults else []
        if options.save:
            options.save.write_text(table(results), encoding="utf-8")
    say(f"{len(names)} attacks, {len(failed)} failed{': ' if failed else ''}{', '.join(failed)}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
