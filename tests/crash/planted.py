"""
Bugs to plant in a server, to show that the rounds notice them.

Each function is called in the server's process before it starts, and breaks one promise of ``docs/storage.rst``.
"""

from __future__ import annotations

from collections.abc import Callable
from mmap import MAP_PRIVATE, mmap
from typing import Any

from rendezvous.core.bans import Ban, Bans
from rendezvous.core.notes import ignore_changes
from rendezvous.core.presence.batch import PulseBatch
from rendezvous.core.presence.presence import Presence
from rendezvous.core.presence.record import WORDS
from rendezvous.storage import client_file
from rendezvous.storage.journal import Journal

__all__ = [
    "bans_end_with_the_process",
    "one_pulse_of_a_batch_is_recorded_late",
    "pulses_are_recorded_late",
    "records_never_reach_the_file",
    "slots_are_freed_early",
]


def records_never_reach_the_file() -> None:
    """Map the file of clients privately: addresses and times end with the process."""

    def private(descriptor: int, size: int) -> mmap:
        return mmap(descriptor, size, flags=MAP_PRIVATE)

    patched: Any = client_file
    patched.SharedMemory = private


def bans_end_with_the_process() -> None:
    """Let a new ban hold, and do not write it down."""
    plain = Bans.add

    def forgetful(self: Bans, ban: Ban) -> Ban:
        note, self._note = self._note, ignore_changes
        try:
            return plain(self, ban)
        finally:
            self._note = note

    patched: Any = Bans
    patched.add = forgetful


def slots_are_freed_early() -> None:
    """Empty the record of a client that ends before its end is on the disk, which a crash then undoes."""
    patched: Any = Journal
    patched.after = _at_once


def _at_once(journal: Journal, call: Callable[[], None]) -> None:
    call()


def pulses_are_recorded_late() -> None:
    """Answer pulses, decided one by one or together, and leave the times of earlier ones in the file."""
    plain, together = Presence.keep_alive, PulseBatch.take

    def forgetful(self: Presence, key: bytes, *arguments: Any) -> bool:
        slot = self.index.find(key)
        before = self.columns.seen[slot * WORDS]
        taken = plain(self, key, *arguments)
        if taken:
            self.columns.seen[slot * WORDS] = before
        return taken

    def forgetful_together(self: PulseBatch, keys: Any, *arguments: Any) -> Any:
        seen = self._presence.columns.seen
        before = {slot: seen[slot * WORDS] for slot in (self._presence.index.find(key.tobytes()) for key in keys)}
        codes = together(self, keys, *arguments)
        for slot, time in before.items():
            seen[slot * WORDS] = time
        return codes

    patched: Any = Presence
    patched.keep_alive = forgetful
    patched = PulseBatch
    patched.take = forgetful_together


def one_pulse_of_a_batch_is_recorded_late() -> None:
    """Answer all pulses that are decided together, and leave the time of the last one in the file for one of them."""
    plain = PulseBatch.take

    def forgetful(self: PulseBatch, keys: Any, *arguments: Any) -> Any:
        slot = self._presence.index.find(keys[0].tobytes())
        before = self._presence.columns.seen[slot * WORDS]
        codes = plain(self, keys, *arguments)
        self._presence.columns.seen[slot * WORDS] = before
        return codes

    patched: Any = PulseBatch
    patched.take = forgetful
