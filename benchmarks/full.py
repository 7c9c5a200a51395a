"""Fills the tables of a server, and measures the turns of its reactor, for the benchmark of scrapes."""

from __future__ import annotations

import mmap
import struct
import time
from pathlib import Path
from typing import Any

from rendezvous.core.bans import MAX_BANS
from rendezvous.core.notes import PeerEvents
from rendezvous.core.signaling.specs import OfferSpec
from rendezvous.core.sources import UNKNOWN

__all__ = ["TURNS", "Turns", "fill", "read_turns", "reset_turns"]

#: What is measured of turns: the longest, all of them together, how many; and the public TCP port of the server.
TURNS = struct.Struct("4d")

SDP = "v=0" + "x" * 500

#: Entries of the table of logouts.
LOGOUTS = 100_000


def fill(made: Any, now: float) -> None:
    """
    Fill all tables but that of clients, which is filled already, and that of attempts, which end within seconds.

    :param made: a :class:`~rendezvous.service.Rendezvous`.
    """
    settings, tables, store = made.settings, made.store.tables, made.store
    limits = store.limits
    for number in range(settings.max_offers // 2):
        owner, code = (number // settings.offers_per_peer).to_bytes(16, "big").hex(), f"session-{number}"
        topic = f"topic-{number % 1000}"
        spec = OfferSpec.check(limits, "offer", sdp=SDP, topics=[topic], id=f"{number}")
        tables.signaling.publish(owner, [spec], now, UNKNOWN)
        tables.sessions.open("https://app.example", topic, "", SDP, code, now, UNKNOWN)
    for number in range(settings.max_tracker_peers):
        tables.tracker.announce((f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1024, 5026), now)
    for number in range(MAX_BANS):
        store.bans.begin(f"198.18.{number >> 8}.{number & 255}", 86400.0, "a flood", now)
    for number in range(settings.max_waiting):
        store.subscribe(PeerEvents(f"{number}"))
    for number in range(LOGOUTS):
        tables.presence.logout((2**64 + number).to_bytes(16, "big"), now)


class Turns:
    """
    Stands where the reactor has its poller, and measures each turn: from the end of a wait to the next one.

    What is measured is the CPU time of the reactor's thread, so that other programs of the machine do not count.

    :param poller: that of Twisted's reactor for epoll.
    :param path: a file for the results, in which the benchmark reads.
    """

    def __init__(self, poller: Any, path: str, port: int) -> None:
        self._poller = poller
        with Path(path).open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), TURNS.size)
        self._shared[:] = TURNS.pack(0.0, 0.0, 0.0, port)
        self._since = time.thread_time()

    def poll(self, *arguments: Any) -> Any:
        """Wait, as the poller does."""
        took = time.thread_time() - self._since
        longest, total, turns, port = TURNS.unpack(self._shared)
        self._shared[:] = TURNS.pack(max(longest, took), total + took, turns + 1, port)
        ready = self._poller.poll(*arguments)
        self._since = time.thread_time()
        return ready

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poller, name)


def read_turns(path: Path) -> tuple[float, float, float, float]:
    """:returns: seconds of the longest turn and of all turns, how many there were, and the server's public port."""
    found: tuple[float, float, float, float] = TURNS.unpack(path.read_bytes())
    return found


def reset_turns(path: Path) -> None:
    """Begin anew."""
    *_, port = read_turns(path)
    with path.open("r+b") as file:
        file.write(TURNS.pack(0.0, 0.0, 0.0, port))
