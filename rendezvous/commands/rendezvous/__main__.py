"""``python -m rendezvous.commands.rendezvous`` is the same as ``rendezvous``."""

from __future__ import annotations

from rendezvous.commands.rendezvous.main import run

if __name__ == "__main__":
    run()
