"""
The command line of ``rendezvous-admin``.

A mistake is one plain line and status 1. No secret and no key is ever printed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from rendezvous._version import __version__
from rendezvous.commands.admin.arguments import add_server_commands
from rendezvous.commands.admin.errors import OperatorError
from rendezvous.commands.admin.files import add_file_commands
from rendezvous.commands.admin.tables import plain
from rendezvous.errors import StartupError

__all__ = ["main", "run"]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(1, f"{self.prog}: {message} (see {self.prog} --help)\n")


def run() -> NoReturn:
    """Do what the command line says, and end the process."""
    raise SystemExit(main(sys.argv[1:]))


def main(
    words: Sequence[str], *, clock: Callable[[], float] = time.time, environ: Mapping[str, str] = os.environ
) -> int:
    """
    Do what a command line says.

    :param words: without the name of the program.
    :param clock: seconds since the epoch.
    :param environ: the environment.
    :returns: the exit status.
    """
    given = _parser(environ).parse_args(words)
    try:
        said: str | Iterator[str] = given.command(given, clock)
        for text in (said,) if isinstance(said, str) else said:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
    except (StartupError, OperatorError) as e:
        sys.stderr.write(f"rendezvous-admin: {plain(e)}\n")
        return 1
    except (KeyError, TypeError, AttributeError) as e:
        if not hasattr(given, "admin"):
            raise
        sys.stderr.write(
            f"rendezvous-admin: the answer of the server is not as expected ({e!r}); is it of this version?\n"
        )
        return 1
    except BrokenPipeError:
        # The reader has closed the pipe. Buffered output must not be written when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    about = "Looks after a rendezvous server: its files, and the server while it runs."
    parser = _Parser(prog="rendezvous-admin", description=about)
    parser.add_argument("--version", action="version", version=f"rendezvous {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, do: Callable[[Any, Callable[[], float]], Any], help: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help)
        added.set_defaults(command=do)
        return added

    add_file_commands(command)
    add_server_commands(command, environ)
    return parser
