"""The entry point of ``rendezvous``: it prepares the process, and says which extra is missing."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

__all__ = ["run"]

#: What the extra ``client`` installs.
_EXTRA = ("treq", "ifaddr")


def run() -> NoReturn:
    """Do what the command line says, and end the process."""
    _replace_closed_files()
    try:
        status = _main()
    except KeyboardInterrupt:
        # Ctrl-C while libraries are imported. A running reactor has a handler of its own.
        sys.stderr.write("rendezvous: interrupted\n")
        status = 1
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise SystemExit(status)


def _main() -> int:
    try:
        from rendezvous.commands.rendezvous.program import main
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in _EXTRA:
            raise
        sys.stderr.write("rendezvous: the extra 'client' is missing: pip install 'twisted-rendezvous[client]'\n")
        return 1
    return main(sys.argv[1:], os.environ, sys.stdout, sys.stderr)


def _replace_closed_files() -> None:
    """Open ``/dev/null`` in the place of each standard file that is closed: a socket would get its number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
