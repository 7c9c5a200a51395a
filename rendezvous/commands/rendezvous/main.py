"""The entry point of ``rendezvous``, which says what is missing if the client library cannot be imported."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

__all__ = ["run"]

#: What the extra ``client`` installs.
_EXTRA = ("treq", "ifaddr")


def run() -> NoReturn:
    """Do what the command line says, and end the process."""
    try:
        from rendezvous.commands.rendezvous.program import main
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in _EXTRA:
            raise
        sys.stderr.write("rendezvous: the extra 'client' is missing: pip install 'twisted-rendezvous[client]'\n")
        raise SystemExit(1) from None
    raise SystemExit(main(sys.argv[1:], os.environ, sys.stdout, sys.stderr))
