"""``python -m rendezvous.commands.admin`` is the same as ``rendezvous-admin``."""

from __future__ import annotations

from rendezvous.commands.admin.main import run

if __name__ == "__main__":
    run()
