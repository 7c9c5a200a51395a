"""
Bugs to plant in a server, so that the rounds can be seen to notice them.

Each function is called in the server's process before it starts, and breaks one promise of ``docs/storage.rst``.
"""

from __future__ import annotations

from typing import Any

from rendezvous.core.notes import Moved
from rendezvous.storage.journaled import Journaled

__all__ = ["moves_are_not_written", "repeated_pulses_are_answered_early"]


def moves_are_not_written() -> None:
    """Answer a first pulse or a move, and write its address only when something else of the client changes."""
    note = Journaled.note

    def forgetful(self: Journaled, record: object) -> None:
        if not isinstance(record, Moved):
            note(self, record)

    patched: Any = Journaled
    patched.note = forgetful


def repeated_pulses_are_answered_early() -> None:
    """Answer the second of two pulses from a new address at once, while the first one waits for the disk."""
    opened = Journaled.open

    def hasty(self: Journaled, *arguments: object) -> float:
        now = opened(self, *arguments)  # type: ignore[arg-type]
        self._tables.presence.unsettled = frozenset()
        return now

    patched: Any = Journaled
    patched.open = hasty
