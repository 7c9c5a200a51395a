"""
A client that names addresses of somebody else as its own.

``python -m tests.natlab.hostile ADDRESS[,ADDRESS...] SUBCOMMAND ...`` is the command ``rendezvous``, but for the
candidates that it gives the server: each of these addresses as each kind that a client can name.
"""

from __future__ import annotations

import os
import sys

from rendezvous.client import Candidate, CandidateKind
from rendezvous.client.connecting._gathering import Gathering
from rendezvous.commands.rendezvous.program import main

#: The port of the victim that is named.
PORT = 7777


def lie(addresses: list[str]) -> None:
    """Have this process name these addresses."""
    kinds = (CandidateKind.HOST, CandidateKind.MAPPED, CandidateKind.RELAYED)
    candidates = [Candidate(kind, (each, PORT)) for kind in kinds for each in addresses]
    Gathering.candidates = lambda self: candidates  # type: ignore[method-assign]


if __name__ == "__main__":
    lie(sys.argv[1].split(","))
    sys.exit(main(sys.argv[2:], os.environ, sys.stdout, sys.stderr))
