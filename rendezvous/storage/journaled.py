"""
Durability by a SQLite file, which is a journal of the tables in memory, and a mapped file of clients.

The database holds what exists: registrations, logouts, signaling, tracker peers. The mapped file holds when clients
were last seen, and their addresses. It needs no commit.
"""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import attrs

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from rendezvous.core.attempts.attempt import Attempt
from rendezvous.core.notes import Key, Removed
from rendezvous.core.presence.client import Client
from rendezvous.core.tracker import TrackerPeer
from rendezvous.model import Restored, Saving
from rendezvous.storage.attempt_rows import read_attempts
from rendezvous.storage.batchtimer import Later
from rendezvous.storage.client_file import ClientFile, client_file_path, space_taken
from rendezvous.storage.clients import Clients
from rendezvous.storage.database import Lock, open_database, readable, schema_steps, target
from rendezvous.storage.journal import Journal, RunBlocking
from rendezvous.storage.rows import (
    read_bans,
    read_events,
    read_offers,
    read_revocations,
    read_tracker_peers,
    statements,
)
from rendezvous.storage.seen import LastSeen
from rendezvous.storage.tables import Tables
from rendezvous.storage.writer import Writer

__all__ = ["FLUSH_INTERVAL", "Journaled"]

#: Seconds of server time between two flushes of the clients. A power cut costs no client its place, however long this
#: is: server time goes on from the last flush. It only costs that time.
FLUSH_INTERVAL = 30.0


#: Numbers of events, in microseconds, that are reserved beyond the latest in the file. The reservation is renewed every
#: second, so it covers what is drawn while a commit takes up to 28 seconds.
RESERVED = 30_000_000


class Journaled:
    """
    Keeps what is decided in a file, so that it is there again after a restart, a crash, or ``kill -9``.

    :param path: the database; the file of clients lies beside it.
    :param run: calls what blocks elsewhere; up to two calls at a time.
    :param seconds: tells the time that commits are measured on; without it they are not.
    :param later: calls something after a time; see :class:`~rendezvous.storage.batchtimer.BatchTimer`.
    """

    log = Logger()

    def __init__(
        self,
        path: str,
        run: RunBlocking,
        later: Later | None = None,
        seconds: Callable[[], float] | None = None,
    ) -> None:
        self._path = target(path)
        self._run = run
        self._later = later
        self._seconds = seconds
        self._journal: Journal | None = None
        self._restored: Restored | None = None
        # Read here and not in open(), which may run as a user that cannot read the files of this package.
        self._steps = schema_steps()

    # Opening and closing

    def open(self, tables: Tables, wall: float, notify: Callable[[Collection[Key]], None]) -> float:
        """Read the file back into the tables, which are emptied first."""
        lock = Lock(self._path)
        try:
            database = open_database(self._path, self._steps)
            try:
                with readable(self._path):
                    tables.clear()
                    clients = self._read_back(database, tables, wall)
            except BaseException:
                # What was not committed is undone: a file that cannot be read is left as it was.
                tables.clear()
                if database.in_transaction:
                    database.execute("ROLLBACK")
                database.close()
                raise
            writer = Writer(self._path, database)
        except BaseException:
            lock.release()
            raise
        self._lock = lock
        self._writer = writer
        self._tables = tables
        self._clients, now = clients, clients.now
        self._seen = LastSeen()
        self._flushing: Deferred[None] | None = None
        self._flush_at = now + FLUSH_INTERVAL
        self._flush_failed = False
        self._journal = Journal(
            self._path, writer.write, self._run, notify, self._seen, now, self._later, self._seconds
        )
        tables.presence.frees_later = True
        self._horizon = tables.offers.events.horizon
        self._dropped = tables.offers.events.dropped
        return now

    async def close(self, now: float) -> None:
        """Write everything and close the file. Closing it again does nothing."""
        journal, self._journal = self._journal, None
        if journal is None:
            return
        journal.begin(now)
        self._note_events(journal)
        if self._tables:
            journal.set_meta("alive", self._tables.wall(now))
        # Nothing is lost in a clean stop, so no number has to be passed over.
        journal.set_meta("numbered_until", self._tables.offers.events.latest)
        await journal.drain()
        if self._flushing is not None:
            await self._flushing
        # A stopped server must not answer for clients whose file another process may have opened.
        try:
            self._tables.clear()
        finally:
            self._tables.presence.frees_later = False
            await self._flush(self._clients.file, now)
            self._clients.file.close()
            await self._run(self._writer.close)
            self._lock.release()

    # What decisions report

    def note(self, record: object) -> None:
        """Have it written."""
        journal = self._journal
        if journal is None:
            return
        if isinstance(record, Attempt):
            journal.mark_changed(record)
        elif isinstance(record, TrackerPeer):
            journal.mark_changed(record)
            journal.mark_unsettled(record)
        else:
            if isinstance(record, Removed):
                if isinstance(record.record, TrackerPeer | Attempt):
                    journal.forget(record.record)
                elif isinstance(record.record, Client):
                    # A crash before the commit undoes the end, and finds the record as it was.
                    journal.after(partial(self._free, record.record.slot))
            journal.add(statements(record))

    def _free(self, slot: int) -> None:
        # UDP workers may have come or gone since the client ended.
        self._tables.presence.free(slot)

    def touch(self, record: object) -> None:
        """
        Have it written without a wait: an attempt soon, the time of a tracker peer some time.

        A tracker peer whose address is still on its way to the disk waits for that.
        """
        if self._journal is None:
            return
        if isinstance(record, Attempt):
            self._journal.mark_behind(record)
        else:
            self._journal.need(record)
            self._seen.add(record)

    @property
    def failing(self) -> bool:
        return self._journal is not None and self._journal.failing

    @property
    def is_behind(self) -> bool:
        return self._journal is not None and self._journal.is_behind

    def raise_if_refusing(self) -> None:
        if self._journal is not None:
            self._journal.raise_if_failing()

    def figures(self) -> Saving | None:
        if self._journal is None:
            return None
        files = self._path, f"{self._path}-wal", client_file_path(self._path)
        saving = self._journal.figures(sum(map(space_taken, files)))
        return attrs.evolve(saving, restored=self._restored)

    def begin(self, now: float) -> None:
        if self._journal is not None:
            self._journal.begin(now)

    def end(self, keys: Collection[Key]) -> int:
        return 0 if self._journal is None else self._journal.end(keys)

    def saved(self, position: int) -> Deferred[None] | None:
        return None if self._journal is None else self._journal.saved(position)

    def write_behind(self, now: float) -> None:
        journal = self._journal
        if journal is None:
            return
        journal.begin(now)
        self._note_events(journal)
        journal.end()
        if self._tables:
            # For people. Every batch has the server time besides.
            journal.set_meta("alive", self._tables.wall(now))
            journal.set_meta("numbered_until", self._tables.offers.events.latest + RESERVED)
        journal.flush()
        self._clients.file.renew(now)
        if now >= self._flush_at and self._flushing is None:
            self._flush_at = now + FLUSH_INTERVAL
            # A call that blocks may have returned already, as in a test.
            self._flushing = flushing = self._flush(self._clients.file, now)
            flushing.addCallback(self._flushed)

    def _flush(self, file: ClientFile, now: float) -> Deferred[None]:
        """Have what is recorded of clients on the disk; a failure is logged, and the next time it is tried again."""
        return self._run(partial(file.flush, now)).addCallbacks(self._can_flush, self._cannot_flush)

    def _can_flush(self, _: None) -> None:
        if self._flush_failed:
            self._flush_failed = False
            self.log.info("the clients of {path} can be flushed again", path=self._path, event="clients_flushable")

    def _cannot_flush(self, failure: Failure) -> None:
        if not self._flush_failed:
            self._flush_failed = True
            self.log.error(
                "the clients of {path} cannot be flushed: {reason}; a power cut would set server time back",
                path=self._path,
                reason=failure.getErrorMessage(),
                event="clients_unflushable",
            )

    def _flushed(self, _: None) -> None:
        self._flushing = None

    def _note_events(self, journal: Journal) -> None:
        """Have the file forget the events that are too old."""
        log = self._tables.offers.events
        if log.horizon != self._horizon:
            self._horizon = log.horizon
            journal.set_meta("horizon", self._horizon)
        if log.dropped != self._dropped:
            self._dropped = log.dropped
            journal.add([("DELETE FROM events WHERE seq <= ?", (self._dropped,))])

    # Reading back

    def _read_back(self, database: sqlite3.Connection, tables: Tables, wall: float) -> Clients:
        meta = dict(database.execute("SELECT name, value FROM meta"))
        fingerprints = tables.keyring.fingerprints()
        database.execute("BEGIN IMMEDIATE")
        database.execute("INSERT OR REPLACE INTO meta VALUES ('secret', ?)", (fingerprints[0],))
        with _no_collection(), ExitStack() as undo:
            clients = Clients.open(self._path, database, meta, tables.presence, wall)
            undo.callback(clients.file.close)
            # Server time does not run while there is no server, so downtime counts towards no timeout.
            now = clients.now
            for revocation in read_revocations(database):
                tables.presence.logouts.restore(revocation)
            tables.presence.logouts.restore_live_only(meta.get("live_only_until", 0.0))
            for ban in read_bans(database):
                tables.restore_ban(ban)
            tables.offers.restore(read_offers(database), now)
            tables.offers.restore_events(read_events(database), meta.get("horizon", -1), now)
            # After a crash the file lacks the last events, which a stream may have sent nevertheless. Their numbers are
            # passed over, so that a stream that resumes from one of them misses none of the new events.
            events = tables.offers.events
            events.draw(max(now, meta.get("numbered_until", 0) / 1_000_000))
            for peer in read_tracker_peers(database):
                tables.tracker.restore(peer)
            tables.restore_attempts(read_attempts(database), now, meta.get("secret"))
            database.execute("INSERT OR REPLACE INTO meta VALUES ('numbered_until', ?)", (events.latest + RESERVED,))
            database.execute("COMMIT")
            undo.pop_all()
        restored = Restored(
            pause=max(0.0, wall - meta.get("alive", wall)),
            clients=len(tables.presence),
            offers=len(tables.offers),
            tracker_peers=len(tables.tracker),
        )
        # A file that was made now has no time.
        self._restored = restored if "alive" in meta else None
        if tables:
            self.log.info(
                "read back from {path}: {clients} clients, {offers} offers, {tracker_peers} tracker peers, after"
                " {pause:.1f} s",
                path=self._path,
                pause=restored.pause,
                clients=restored.clients,
                offers=restored.offers,
                tracker_peers=restored.tracker_peers,
                event="store_read",
            )
        is_of_other_secret = meta.get("secret") not in (None, *fingerprints) and restored.clients > 0
        self._warn(clients.damaged, is_of_other_secret=is_of_other_secret)
        return clients

    def _warn(self, damaged: int, *, is_of_other_secret: bool) -> None:
        """Log which clients that were read back are not as they were."""
        if damaged:
            self.log.warn(
                "{damaged} clients in {path} have no address until their next pulse: what was recorded of them is not"
                " whole",
                damaged=damaged,
                path=self._path,
                event="clients_damaged",
            )
        if is_of_other_secret:
            self.log.warn(
                "the secret is not the one that the clients in {path} were registered under: none of them can be"
                " recognised, and all must register again",
                path=self._path,
                event="secret_of_other_store",
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
