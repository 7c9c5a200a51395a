"""
When clients and tracker peers were last seen: what is written behind, and what no one waits for.

A pulse puts its client into one of 256 sets, by the first byte of the client's id. The sets are written in turn, all of
them once in a third of the pulse interval. Rows of one set are neighbours in the file, so one page takes many of them;
written as they come, each row would dirty a page of its own.

What is written late could make clients older after a crash than they were. So the file also holds the server time up to
which all was written (``seen_until``), and every client is taken to have been seen that much later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import attrs

from rendezvous.core.client import Client
from rendezvous.core.tracker import Source, TrackerPeer

__all__ = ["RANGES", "LastSeen", "Taken"]

#: Sets of clients, one for each first byte of an id.
RANGES = 256


@attrs.frozen
class Taken:
    """
    What one batch takes.

    :ivar clients: ids and when they were last seen.
    :ivar peers: sources of tracker peers and when they were last seen.
    :ivar sets: the clients again, by range, with the time since which the range had been collecting.
    :ivar records: the tracker peers again.
    """

    clients: list[tuple[bytes, float]]
    peers: list[tuple[Source, float]]
    sets: list[tuple[int, set[Client], float]]
    records: list[TrackerPeer]


class LastSeen:
    """
    Clients and tracker peers that have been seen since they were last written.

    :param period: seconds in which each range is written once.
    :param now: server time.
    :ivar ranges: the sets that pulses put clients into (:attr:`~rendezvous.core.presence.Presence.touched`).
    """

    def __init__(self, period: float, now: float) -> None:
        self._period = period
        self.ranges: list[set[Client]] = [set() for _ in range(RANGES)]
        # Since when each set has been collecting: whatever was seen before that is written.
        self._since = [now] * RANGES
        self._due: deque[int] = deque()
        self._turned_at = now
        self._next = 0
        self._peers: dict[TrackerPeer, None] = {}
        self._peers_since = now
        self._peers_due = False

    @property
    def is_due(self) -> bool:
        """:returns: whether :meth:`take` would give something, or might."""
        return bool(self._due or (self._peers_due and self._peers))

    def add(self, record: object) -> None:
        """Take a client or a tracker peer that has just been seen."""
        if isinstance(record, Client):
            self.ranges[record.client_id[0]].add(record)
        elif isinstance(record, TrackerPeer):
            self._peers[record] = None

    def forget(self, record: object) -> None:
        """Leave out one that has ended."""
        if isinstance(record, Client):
            self.ranges[record.client_id[0]].discard(record)
        elif isinstance(record, TrackerPeer):
            self._peers.pop(record, None)

    def turn(self, now: float) -> None:
        """Have those ranges written whose turn it is by now, and all tracker peers."""
        self._peers_due = True
        due = int((now - self._turned_at) * RANGES / self._period)
        if due >= RANGES:
            due, self._turned_at = RANGES, now
        else:
            self._turned_at += due * self._period / RANGES
        self._make_due((self._next + offset) % RANGES for offset in range(due))
        self._next = (self._next + due) % RANGES

    def hurry(self) -> None:
        """Have all of them written."""
        self._make_due(range(RANGES))
        self._peers_due = True

    def _make_due(self, ranges: Iterable[int]) -> None:
        waiting = set(self._due)
        self._due.extend(number for number in ranges if self.ranges[number] and number not in waiting)

    def take(self, room: int, now: float) -> Taken:
        """
        Take what is due.

        :param room: rows at most.
        """
        taken = Taken([], [], [], [])
        while self._due and room > 0:
            number = self._due[0]
            clients, since = self.ranges[number], self._since[number]
            if len(clients) <= room:
                self._due.popleft()
                self.ranges[number] = set()
                self._since[number] = now
            else:
                clients = {clients.pop() for _ in range(room)}
            room -= len(clients)
            taken.sets.append((number, clients, since))
            # Of one that has verified since its pulse, the whole row is written.
            taken.clients.extend((c.client_id, c.last_seen) for c in clients if c.pulse_before_verify is None)
        while self._peers_due and self._peers and room > 0:
            peer, _ = self._peers.popitem()
            room -= 1
            taken.records.append(peer)
            taken.peers.append((peer.source, peer.last_seen))
        if not self._peers:
            self._peers_since, self._peers_due = now, False
        return taken

    def put_back(self, taken: Taken) -> None:
        """Take back what could not be written; it comes with its range's next turn."""
        for number, clients, since in taken.sets:
            self.ranges[number] |= clients
            self._since[number] = min(since, self._since[number])
        for peer in taken.records:
            self._peers.setdefault(peer)

    def meta(self, now: float) -> dict[str, object]:
        """:returns: what the file has to say about the time when this is written, after :meth:`take`."""
        since = [since for clients, since in zip(self.ranges, self._since, strict=True) if clients]
        if self._peers:
            since.append(self._peers_since)
        return {"server_time": now, "seen_until": min([now, *since])}
