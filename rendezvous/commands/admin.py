"""
``rendezvous-admin``: what an operator does with a server's files.

A mistake is one plain line and status 1. No secret and no key is ever printed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

import attrs

from rendezvous._version import __version__
from rendezvous.errors import StartupError
from rendezvous.secret import rotate_secret
from rendezvous.settings import Settings, default_text, environment_name, option_name, read_settings
from rendezvous.storage import inspection

__all__ = ["main", "run"]

#: Settings that decide what state a client is in.
_TIMERS = ("pulse_interval", "pulse_grace", "error_time", "registration_time")

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
#: Ten years: a secret that is kept for longer was not worth replacing.
_LONGEST_KEEP = 3660 * 86400


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(1, f"{self.prog}: {message} (see {self.prog} --help)\n")


def run() -> NoReturn:
    """Do what the command line says, and end the process."""
    raise SystemExit(main(sys.argv[1:]))


def main(words: Sequence[str], *, clock: Callable[[], float] = time.time) -> int:
    """
    Do what a command line says.

    :param words: without the name of the program.
    :param clock: seconds since the epoch.
    :returns: the exit status.
    """
    given = _parser().parse_args(words)
    try:
        sys.stdout.write(given.command(given, clock) + "\n")
        sys.stdout.flush()
    except StartupError as e:
        sys.stderr.write(f"rendezvous-admin: {e}\n")
        return 1
    except BrokenPipeError:
        # The reader has closed the pipe. Buffered output must not be written when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="rendezvous-admin", description="Looks after the files of a rendezvous server.")
    parser.add_argument("--version", action="version", version=f"rendezvous {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, do: Callable[[Any, Callable[[], float]], str], help: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help)
        added.set_defaults(command=do)
        return added

    store: dict[str, Any] = {"type": _store, "metavar": "STORE", "help": "the store's file, or sqlite:PATH"}
    added = command("check", _check, "Say whether a store is whole and can be read back. A server may be running.")
    added.add_argument("store", **store)
    added = command("backup", _backup, "Copy a store. A server may be running.")
    added.add_argument("store", **store)
    added.add_argument("destination", type=_store, metavar="DEST", help="the copy; it must not be there yet")
    added = command("restore", _restore, "Put a copy where a server that is stopped shall find its store.")
    added.add_argument("copy", type=_store, metavar="COPY", help="what backup has made")
    added.add_argument(
        "store",
        type=_store,
        metavar="STORE",
        help="the store's file; it must not be there: move an old one away together with its -wal, -shm and .clients",
    )
    added = command("stats", _stats, "Count what is in a store. A server may be running.")
    added.add_argument("store", **store)
    added.add_argument("--json", action="store_true", help="as one JSON object")
    for field in (getattr(attrs.fields(Settings), name) for name in _TIMERS):
        help = f"as the server has it; else from {environment_name(field)} [default: {default_text(field)}]"
        added.add_argument(f"--{option_name(field)}", dest=field.name, metavar="X", help=help.replace("%", "%%"))
    added = command("rotate-secret", _rotate, "Put a new secret into a server's secret file.")
    added.add_argument("file", metavar="FILE", help="the secret file")
    keep = "how long the old secret is honoured still: seconds, or a number with m, h or d behind it"
    added.add_argument("--keep", type=_duration, required=True, metavar="TIME", help=keep)
    return parser


def _store(text: str) -> str:
    path = text.removeprefix("sqlite:")
    if text == "memory:" or not path or "\0" in path:
        raise argparse.ArgumentTypeError("must be a file, or sqlite:PATH")
    return path


def _duration(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,12})([smhd]?)", text)
    if match is None or (duration := int(match[1]) * _UNITS[match[2]]) > _LONGEST_KEEP:
        raise argparse.ArgumentTypeError("must be seconds or such as 12h or 30d, and at most 3660d")
    return duration


def _check(given: argparse.Namespace, clock: Callable[[], float]) -> str:
    found = inspection.check(given.store)
    about = f"the store {given.store!r} is whole: version {found['version']}"
    if found["version"] < found["newest"]:
        return f"{about}, which a server upgrades to {found['newest']} when it starts"
    without = found["without_record"]
    lost = f"; {without} clients have no address until their next pulse" if without else ""
    return f"{about}, the newest that this server knows; {found['records']} records can be read{lost}"


def _backup(given: argparse.Namespace, clock: Callable[[], float]) -> str:
    size = inspection.backup(given.store, given.destination)
    return f"copied {size} bytes to {given.destination!r}; keep the server's secret with it"


def _restore(given: argparse.Namespace, clock: Callable[[], float]) -> str:
    inspection.restore(given.copy, given.store)
    return f"put {given.copy!r} at {given.store!r}; a server that starts with the same secret goes on from there"


def _stats(given: argparse.Namespace, clock: Callable[[], float]) -> str:
    words = {name: getattr(given, name) for name in _TIMERS}
    fields = attrs.fields_dict(Settings)
    texts = {option_name(fields[name]): [text] for name, text in words.items() if text is not None}
    found = inspection.stats(given.store, read_settings(texts).timers)
    if given.json:
        return json.dumps(found)
    shown = found | {"alive": _moment(found["alive"])}
    width = max(map(len, shown))
    return "\n".join(
        f"{name.replace('_', ' '):{width}}  {'-' if value is None else value}" for name, value in shown.items()
    )


def _rotate(given: argparse.Namespace, clock: Callable[[], float]) -> str:
    now = clock()
    rotate_secret(given.file, os.urandom, given.keep, now)
    return (
        f"{given.file!r} has a new secret; the old one is honoured until {_moment(now + given.keep)}."
        " A running server takes this up when it is restarted."
    )


def _moment(when: float | None) -> str | None:
    return None if when is None else datetime.fromtimestamp(int(when), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


if __name__ == "__main__":
    run()
