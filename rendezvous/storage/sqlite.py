"""State that survives: memory is what is read, and a SQLite file is the journal."""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from zope.interface import implementer

from twisted.logger import Logger

from rendezvous.core.notes import Removed
from rendezvous.core.presence import Client, PulseCode
from rendezvous.core.tracker import Replies, Source, TrackerPeer
from rendezvous.errors import Unavailable
from rendezvous.interfaces import IStore
from rendezvous.model import Swept
from rendezvous.storage.database import Lock, open_database, readable
from rendezvous.storage.journal import Journal, RunBlocking
from rendezvous.storage.memory import MemoryStore
from rendezvous.storage.rows import (
    read_clients,
    read_events,
    read_offers,
    read_revocations,
    read_tracker_peers,
    shift,
    statements,
)

__all__ = ["SqliteStore"]

T = TypeVar("T")


@implementer(IStore)
class SqliteStore(MemoryStore):
    """
    A store whose state is there again after a restart, a crash, or ``kill -9``.

    Verbs that change something return once the change is committed. Signs of life follow within a second.

    :param path: the file.
    :param run: where to write; see :mod:`rendezvous.storage.journal`.
    :param parts: as for :class:`~rendezvous.storage.memory.MemoryStore`.
    """

    log = Logger()

    def __init__(self, path: str, run: RunBlocking, **parts: Any) -> None:
        super().__init__(**parts)
        self._path = path
        self._run = run
        self._fingerprints = self._keyring.fingerprints()
        self._journal: Journal | None = None
        self._lock: Lock | None = None
        self._horizon = -1
        self._dropped = -1

    def open(self, now: float) -> None:
        self._lock = Lock(self._path)
        try:
            database = open_database(self._path)
            try:
                with readable(self._path):
                    self._read_back(database, now)
            except BaseException:
                # What was not committed is undone: a file that cannot be read is left as it was.
                database.close()
                raise
        except BaseException:
            self._lock.release()
            raise
        self.presence.touched = set()
        self._journal = Journal(self._path, database, self._run)

    async def close(self, now: float) -> None:
        self._notifier.close()
        if self._journal is None:
            return
        journal, self._journal = self._journal, None
        self._hand_over(journal, now)
        while (writing := journal.flush()) is not None:
            await writing
            if journal.failing:
                break
        await self._run(journal.close)
        if self._lock is not None:
            self._lock.release()

    async def pulse(self, key: bytes, address: tuple[str, int], now: float) -> PulseCode:
        return await self._sign_of_life(lambda: self.presence.pulse(key, address, now), now)

    async def tracker_pulse(self, source: Source, now: float, **request: Any) -> Replies:
        if request["override"] or request["multiaddr"] is not None or request["renew_share_id"]:
            return await super().tracker_pulse(source, now, **request)
        return await self._sign_of_life(lambda: self._tracker.pulse(source, now), now)

    async def alive(self, source: Source, now: float) -> Replies:
        return await self._sign_of_life(lambda: self._tracker.alive(source, now), now)

    async def push(self, source: Source, now: float, share_id: str) -> Replies:
        return await self._sign_of_life(lambda: self._tracker.push(source, now, share_id), now)

    async def sweep(self, now: float) -> Swept:
        swept = await super().sweep(now)
        if self._journal is not None:
            self._hand_over(self._journal, now)
            self._journal.flush()
        return swept

    def _note(self, record: object) -> None:
        journal = self._journal
        if journal is None:
            return
        if isinstance(record, (Client, TrackerPeer)):
            journal.change(record)
            return
        if isinstance(record, Removed):
            journal.drop(record.record)
            if self.presence.touched and isinstance(record.record, Client):
                self.presence.touched.discard(record.record)
        journal.add(statements(record))

    def _touch(self, record: object) -> None:
        if self._journal is None:
            return
        if self._journal.is_writing(record):
            # Whoever asks again while the answer to the first request is on its way to the disk waits like the first.
            self._journal.change(record)
        else:
            self._journal.touch([record])

    async def _sign_of_life(self, decide: Callable[[], T], now: float) -> T:
        """These go on while nothing can be written: what they record is kept, and written when it can be."""
        if self._journal is not None and self._journal.failing:
            return decide()
        return await self._write(decide, now)

    async def _write(self, decide: Callable[[], T], now: float) -> T:
        journal = self._journal
        if journal is None:
            raise Unavailable("The server is stopping.", code="unsaved")
        journal.check()
        decided = decide()
        if journal.is_behind:
            journal.know("alive", now)
            await journal.commit()
        return decided

    def _hand_over(self, journal: Journal, now: float) -> None:
        """Give the journal what nobody waits for: signs of life, the time, and which events are too old."""
        touched, self.presence.touched = self.presence.touched, set()
        journal.touch(touched or ())
        if len(self.presence) or len(self._signaling) or len(self._tracker):
            journal.know("alive", now)
        horizon = self._signaling.horizon
        if horizon != self._horizon:
            self._horizon = horizon
            journal.know("horizon", horizon)
        dropped = self._signaling.dropped
        if dropped != self._dropped:
            self._dropped = dropped
            journal.add([("DELETE FROM events WHERE seq <= ?", (dropped,))])

    def _read_back(self, database: sqlite3.Connection, now: float) -> None:
        facts = dict(database.execute("SELECT name, value FROM meta"))
        # While the server was down nobody could reach it, so that time counts against nobody.
        pause = max(0.0, now - facts.get("alive", now))
        self._horizon = facts.get("horizon", -1)
        database.execute("BEGIN IMMEDIATE")
        if pause:
            shift(database, pause)
            database.execute("INSERT OR REPLACE INTO meta VALUES ('alive', ?)", (now,))
        database.execute("INSERT OR REPLACE INTO meta VALUES ('secret', ?)", (self._fingerprints[0],))
        with _no_collection():
            for client in read_clients(database):
                self.presence.restore(client, now)
            for revocation in read_revocations(database):
                self.presence.restore_revocation(revocation)
            self._signaling.restore(read_offers(database))
            self._signaling.restore_events(read_events(database), self._horizon, pause, now)
            for peer in read_tracker_peers(database):
                self._tracker.restore(peer)
        database.execute("COMMIT")
        if len(self.presence) or len(self._signaling) or len(self._tracker):
            self.log.info(
                "read back from {path}: {clients} clients, {offers} offers, {tracker_peers} tracker peers, after"
                " {pause:.1f} s",
                path=self._path,
                clients=len(self.presence),
                offers=len(self._signaling),
                tracker_peers=len(self._tracker),
                pause=pause,
            )
        known = facts.get("secret")
        if known not in (None, *self._fingerprints) and len(self.presence):
            self.log.warn(
                "the secret is not the one that the clients in {path} were registered under: none of them can be"
                " recognised, and all must register again",
                path=self._path,
            )


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector from walking, again and again, a million records that are all here to stay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
