"""
Writing down what changed, off the reactor's thread, many changes to one commit.

While one batch is being written the next one gathers, so the disk sets the size of the batches and nobody waits for a
timer. When a batch cannot be written, those who wait for it are told, what it held is kept, and every second it is
tried again: memory stays the truth, and the file catches up.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable
from itertools import chain, groupby, islice
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from rendezvous.errors import Unavailable
from rendezvous.storage.rows import Statement, statements, touches

__all__ = ["Journal", "RunBlocking"]

#: Calls a function where blocking is allowed; one call at a time.
RunBlocking = Callable[[Callable[[], None]], Deferred[None]]

_PUT_FACT = "INSERT OR REPLACE INTO meta VALUES (?, ?)"

#: Values that one statement may have: SQLite's own limit (SQLITE_MAX_VARIABLE_NUMBER) since 3.32.
MAX_VARIABLES = 32766

#: Signs of life written with one batch: more would keep those who wait for theirs waiting longer.
TOUCHES_PER_BATCH = 5000


class Journal:
    """
    What is to be written, and what is being written.

    :param path: the file that the connection has open.
    :param run: where to write.
    """

    log = Logger()

    def __init__(self, path: str, database: sqlite3.Connection, run: RunBlocking) -> None:
        self._path = path
        self._database = database
        self._inode = os.stat(path).st_ino
        self._run = run
        self._statements: list[Statement] = []
        self._waiting: list[Deferred[None]] = []
        self._changed: dict[object, None] = {}
        self._touched: dict[object, None] = {}
        self._in_flight: dict[object, None] = {}
        self._facts: dict[str, object] = {}
        self._writing: Deferred[None] | None = None
        self.failing = False

    @property
    def is_behind(self) -> bool:
        """:returns: whether there is something that somebody should wait for."""
        return bool(self._statements or self._changed)

    def is_writing(self, record: object) -> bool:
        """:returns: whether the batch under way has this record in it."""
        return record in self._in_flight

    # What is to be written

    def add(self, made: Iterable[Statement]) -> None:
        """Write this, after all that was added before."""
        self._statements.extend(made)

    def change(self, record: object) -> None:
        """Write a record as it will be when the next batch is written; nobody waits longer for many changes of one."""
        self._changed[record] = None

    def touch(self, records: Iterable[object]) -> None:
        """Write these too, but let nobody wait for it."""
        for record in records:
            self._touched[record] = None

    def drop(self, record: object) -> None:
        """Do not write a record after all: it has ended."""
        for records in (self._changed, self._touched, self._in_flight):
            records.pop(record, None)

    def know(self, name: str, value: object) -> None:
        """Write a fact about the file itself, in the place of the last one of that name."""
        self._facts[name] = value

    # Writing

    def check(self) -> None:
        """:raises Unavailable: nothing can be written now, so nothing should be begun that has to be."""
        if self.failing:
            raise Unavailable("The server cannot save anything now; it keeps trying.", code="unsaved")

    def commit(self) -> Deferred[None]:
        """
        Write what there is.

        :returns: fires when all that has been added until now is on the disk; fails with
            :exc:`~rendezvous.errors.Unavailable` if it could not be written. Cancelling it cancels only the wait.
        """
        done: Deferred[None] = Deferred(self._waiting_no_longer)
        self._waiting.append(done)
        self.flush()
        return done

    def flush(self) -> Deferred[None] | None:
        """
        Begin to write, unless that is under way, or there is nothing.

        :returns: what is under way now.
        """
        if self._writing is None and (self.is_behind or self._waiting or self._touched or self._facts):
            self._begin()
        return self._writing

    def _waiting_no_longer(self, done: Deferred[None]) -> None:
        if done in self._waiting:
            self._waiting.remove(done)

    def _begin(self) -> None:
        # The rows are made here, on the reactor's thread, where nothing changes meanwhile.
        made, facts, waiting = self._statements, self._facts, self._waiting
        self._statements, self._facts, self._waiting = [], {}, []
        touched = list(islice(self._touched, TOUCHES_PER_BATCH))
        for record in touched:
            del self._touched[record]
        batch = [*made, *(statement for record in self._changed for statement in statements(record)), *touches(touched)]
        self._in_flight = self._changed | dict.fromkeys(touched)
        self._changed = {}
        batch += [(_PUT_FACT, item) for item in facts.items()]
        ended: Deferred[None] = Deferred()
        self._writing = ended
        self._run(lambda: self._write(batch)).addCallbacks(
            lambda _: self._written(waiting), lambda failure: self._failed(failure, made, facts, waiting)
        ).addErrback(lambda failure: self.log.failure("the journal has a fault", failure)).addCallback(
            lambda _: self._end(ended)
        )

    def _end(self, ended: Deferred[None]) -> None:
        self._writing = None
        self._in_flight = {}
        if not self.failing:
            self.flush()
        ended.callback(None)

    def _written(self, waiting: list[Deferred[None]]) -> None:
        if self.failing:
            self.failing = False
            self.log.info("the store {path} can be written again", path=self._path)
        for done in waiting:
            if not done.called:
                done.callback(None)

    def _failed(
        self, failure: Failure, made: list[Statement], facts: dict[str, object], waiting: list[Deferred[None]]
    ) -> None:
        if not self.failing:
            self.failing = True
            self.log.error(
                "the store {path} cannot be written: {reason}; writes are refused until it can",
                path=self._path,
                reason=failure.getErrorMessage(),
            )
        # Statements are kept as they are; records will be written as they are then, so that nothing piles up.
        self._statements[:0] = made
        self._changed = self._in_flight | self._changed
        self._facts = facts | self._facts
        for done in waiting:
            if not done.called:
                done.errback(Unavailable("The server could not save this; it keeps trying.", code="unsaved"))

    # In the other thread

    def _write(self, batch: list[Statement]) -> None:
        self._database_in_place()
        database = self._database
        database.execute("BEGIN IMMEDIATE")
        try:
            for sql, group in groupby(batch, _sql):
                _execute(database, sql, list(map(_parameters, group)))
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise

    def _database_in_place(self) -> None:
        """If somebody has deleted the file, write it anew from the one that we still hold open."""
        try:
            if os.stat(self._path).st_ino == self._inode:
                return
        except FileNotFoundError:
            pass
        else:
            raise sqlite3.OperationalError("another file has been put in its place")
        for suffix in ("-wal", "-shm"):
            if os.path.exists(self._path + suffix):
                os.unlink(self._path + suffix)
        os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        copy = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            self._database.backup(copy)
            copy.execute("PRAGMA journal_mode = WAL")
            copy.execute("PRAGMA synchronous = FULL")
        except BaseException:
            copy.close()
            os.unlink(self._path)
            raise
        self._database.close()
        self._database, self._inode = copy, os.stat(self._path).st_ino
        self.log.warn("the store {path} had been deleted; it has been written anew", path=self._path)

    def close(self) -> None:
        """Close the file. Blocks."""
        self._database.close()


def _execute(database: sqlite3.Connection, sql: str, rows: list[tuple[Any, ...]]) -> None:
    """
    Execute a statement for each row, inserts many at a time.

    Each step of SQLite hands the interpreter's lock over and takes it back, for which the reactor's thread waits. So
    many rows go into one step: as many as there are, in powers of two, that the connection's cache may know the text.
    """
    head, values, row = sql.rpartition(" VALUES ")
    if not values:
        database.executemany(sql, rows)
        return
    done, most = 0, MAX_VARIABLES // len(rows[0])
    while done < len(rows):
        count = 1 << (min(len(rows) - done, most).bit_length() - 1)
        piece = rows[done : done + count]
        database.execute(f"{head} VALUES {', '.join([row] * count)}", list(chain.from_iterable(piece)))
        done += count


def _sql(statement: Statement) -> str:
    return statement[0]


def _parameters(statement: Statement) -> tuple[Any, ...]:
    return statement[1]
