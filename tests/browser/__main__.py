"""``python -m tests.browser [NAME ...]``: run the tests of pages, all of them unless some are named."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.npm import installed

__all__ = ["chromium", "main", "run"]

HERE = Path(__file__).parent
SUFFIX = ".test.js"
#: Seconds for all tests. It only ends those that hang; a busy machine takes minutes.
SECONDS = 360.0
#: Seconds that the browsers have to end after that.
END_SECONDS = 5.0
#: Files of tests that run at the same time. Most of their time they wait until a browser gives up a lost path.
TOGETHER = 4
#: Those that run one after the other: they hold pages to seconds.
ALONE = ("dashboard", "demo", "operators", "rendezvous", "tutorial")


def chromium() -> str:
    """:returns: the path of the browser; an empty string if there is none."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or ""


def missing() -> str:
    """:returns: why the tests cannot be run, with all installed that can be; an empty string if they can."""
    if not chromium():
        return "there is no chromium (Debian: chromium)"
    return installed(HERE)


def files(names: Sequence[str]) -> list[str]:
    """
    :param names: of files of tests without their suffix; all of them if there are none.
    :raises ValueError: there is no such file.
    """
    found = {path.name.removesuffix(SUFFIX): str(path) for path in sorted(HERE.glob(f"*{SUFFIX}"))}
    unknown = set(names) - set(found)
    if unknown:
        raise ValueError(f"there are no such tests: {', '.join(sorted(unknown))}; there are {', '.join(found)}")
    return [path for name, path in found.items() if not names or name in names]


def commands(names: Sequence[str]) -> list[list[str]]:
    """:returns: what is run, one after the other, for files of these names."""
    node = ["node", "--test", "--test-reporter=spec"]
    asked = files(names)
    alone = [path for path in asked if Path(path).name.removesuffix(SUFFIX) in ALONE]
    together = [path for path in asked if path not in alone]
    both = ([*node, f"--test-concurrency={TOGETHER}", *together], [*node, "--test-concurrency=1", *alone])
    return [command for command, paths in zip(both, (together, alone), strict=True) if paths]


def run(command: Sequence[str], seconds: float) -> int:
    """
    Run a command, with all that it starts, for a bounded time.

    :returns: its exit status; 1 if it has taken too long.
    """
    environment = {**os.environ, "PYTHON": sys.executable, "CHROMIUM": chromium()}
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        sys.stderr.write(f"The tests of pages took longer than they may; {seconds:.0f} s were left for these.\n")
        return 1
    finally:
        if process.returncode is None:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it has started. Playwright closes its browsers when it is asked to end."""
    os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(END_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def main(words: Sequence[str]) -> int:
    """:returns: the exit status."""
    parser = argparse.ArgumentParser(prog="browser", description="Pages of other origins in a real browser.")
    parser.add_argument("names", metavar="NAME", nargs="*", help="files of tests to run (default: all)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all of them (default: %(default)s)")
    options = parser.parse_args(words)
    try:
        planned = commands(options.names)
    except ValueError as error:
        parser.error(str(error))
    reason = missing()
    if reason:
        is_ci = os.environ.get("CI") == "true"
        sys.stderr.write(f"The tests of pages {'cannot be run' if is_ci else 'were skipped'}: {reason}\n")
        return int(is_ci)
    late = time.monotonic() + options.seconds
    statuses = [run(command, late - time.monotonic()) for command in planned]
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
