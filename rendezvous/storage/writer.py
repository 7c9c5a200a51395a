"""Batches to transactions: what runs in the store's thread, where blocking is allowed."""

from __future__ import annotations

import os
import sqlite3
from itertools import chain, groupby
from operator import itemgetter
from typing import Any

from twisted.logger import Logger

from rendezvous.storage.database import in_place
from rendezvous.storage.journal import Batch
from rendezvous.storage.rows import seen_peers

__all__ = ["Writer"]

_PUT_META = "INSERT OR REPLACE INTO meta VALUES (?, ?)"

#: Values that one statement may have: SQLite's own limit (SQLITE_MAX_VARIABLE_NUMBER) since 3.32.
MAX_VARIABLES = 32766


class Writer:
    """
    A file that is open for writing.

    :param path: the file that the connection has open.
    """

    log = Logger()

    def __init__(self, path: str, database: sqlite3.Connection) -> None:
        self._path = path
        self._database = database
        self._inode = os.stat(path).st_ino

    def write(self, batch: Batch) -> None:
        """
        Write a batch, all of it or nothing.

        :raises Exception: it could not be written.
        """
        database = in_place(self._path, self._database, self._inode)
        if database is not self._database:
            self._database, self._inode = database, os.stat(self._path).st_ino
            self.log.warn("the store {path} had been deleted; it has been written anew", path=self._path)
        # Made here, as the reactor's thread has other things to do.
        seen = [] if batch.seen is None else seen_peers(batch.seen.peers)
        database.execute("BEGIN IMMEDIATE")
        try:
            for sql, group in groupby(chain(batch.statements, seen), itemgetter(0)):
                execute_many(database, sql, [parameters for _, parameters in group])
            database.executemany(_PUT_META, batch.meta.items())
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def execute_many(database: sqlite3.Connection, sql: str, rows: list[tuple[Any, ...]]) -> None:
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
