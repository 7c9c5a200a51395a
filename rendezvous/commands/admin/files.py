"""The commands for files of state and secrets. They need no server that runs."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import attrs

from rendezvous.commands.admin.arguments import duration
from rendezvous.commands.admin.progress import ProgressLine
from rendezvous.commands.admin.tables import moment
from rendezvous.secret import rotate_secret
from rendezvous.settings import Settings, default_text, environment_name, option_name, read_settings
from rendezvous.storage import inspection

__all__ = ["add_file_commands"]

#: Settings that decide what state a client is in.
_TIMERS = ("pulse_interval", "pulse_grace", "error_time", "registration_time")


def add_file_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """
    Add the commands to those of the program.

    :param command: makes a command, of its name, what does it, and its help.
    """
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
    added.add_argument("--keep", type=duration, required=True, metavar="TIME", help=keep)


def _store(text: str) -> str:
    path = text.removeprefix("sqlite:")
    if text == "memory:" or not path or "\0" in path:
        raise argparse.ArgumentTypeError("must be a file, or sqlite:PATH")
    return path


def _progress() -> ProgressLine:
    return ProgressLine(sys.stderr, time.monotonic)


def _check(given: argparse.Namespace, clock: Callable[[], float]) -> str:
    with _progress() as progress:
        found = inspection.check(given.store, progress)
    about = f"the store {given.store!r} is whole: version {found['version']}"
    if found["version"] < found["newest"]:
        return f"{about}, which a server upgrades to {found['newest']} when it starts"
    without = found["without_record"]
    lost = f"; {without} clients have no address until their next pulse" if without else ""
    return f"{about}, the newest that this server knows; {found['records']} records can be read{lost}"


def _backup(given: argparse.Namespace, clock: Callable[[], float]) -> str:
    with _progress() as progress:
        size = inspection.backup(given.store, given.destination, progress)
    return f"copied {size} bytes to {given.destination!r}; keep the server's secret with it"


def _restore(given: argparse.Namespace, clock: Callable[[], float]) -> str:
    with _progress() as progress:
        inspection.restore(given.copy, given.store, progress)
    return f"put {given.copy!r} at {given.store!r}; a server that starts with the same secret goes on from there"


def _stats(given: argparse.Namespace, clock: Callable[[], float]) -> str:
    words = {name: getattr(given, name) for name in _TIMERS}
    fields = attrs.fields_dict(Settings)
    texts = {option_name(fields[name]): [text] for name, text in words.items() if text is not None}
    found = inspection.stats(given.store, read_settings(texts).timers)
    if given.json:
        return json.dumps(found)
    shown = found | {"alive": moment(found["alive"])}
    width = max(map(len, shown))
    return "\n".join(
        f"{name.replace('_', ' '):{width}}  {'-' if value is None else value}" for name, value in shown.items()
    )


def _rotate(given: argparse.Namespace, clock: Callable[[], float]) -> str:
    now = clock()
    rotate_secret(given.file, os.urandom, given.keep, now)
    return (
        f"{given.file!r} has a new secret; the old one is honoured until {moment(now + given.keep)}."
        " A running server takes this up when it is restarted."
    )
