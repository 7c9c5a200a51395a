"""
When tracker peers were last seen: what is written behind, and what no one waits for.

Peers that were seen are written once a second, as far as there is room. When clients were last seen is not
written here: that stands in their records (:mod:`rendezvous.storage.client_file`).
"""

from __future__ import annotations

import attrs

from rendezvous.core.replies import Source
from rendezvous.core.tracker import TrackerPeer

__all__ = ["LastSeen", "Taken"]


@attrs.frozen
class Taken:
    """
    What one batch takes.

    :ivar peers: sources of tracker peers and when they were last seen.
    :ivar records: the same peers.
    """

    peers: list[tuple[Source, float]]
    records: list[TrackerPeer]


class LastSeen:
    """Tracker peers that have been seen since they were last written."""

    def __init__(self) -> None:
        self._peers: dict[TrackerPeer, None] = {}
        self._is_due = False

    @property
    def is_due(self) -> bool:
        """:returns: whether :meth:`take` would give something."""
        return bool(self._is_due and self._peers)

    def add(self, record: object) -> None:
        """Take a tracker peer that has just been seen."""
        if isinstance(record, TrackerPeer):
            self._peers[record] = None

    def forget(self, record: object) -> None:
        """Leave out one that has ended."""
        if isinstance(record, TrackerPeer):
            self._peers.pop(record, None)

    def turn(self) -> None:
        """Have those written that have been seen by now."""
        self._is_due = True

    def take(self, room: int) -> Taken:
        """
        Take what is due.

        :param room: rows at most.
        """
        taken = Taken([], [])
        while self.is_due and room > 0:
            peer, _ = self._peers.popitem()
            room -= 1
            taken.records.append(peer)
            taken.peers.append((peer.source, peer.last_seen))
        if not self._peers:
            self._is_due = False
        return taken

    def put_back(self, taken: Taken) -> None:
        """Take back what could not be written."""
        for peer in taken.records:
            self._peers.setdefault(peer)
