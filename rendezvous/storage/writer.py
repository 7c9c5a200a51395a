"""Batches to transactions: what runs in the store's thread, where blocking is allowed."""

from __future__ import annotations

import os
import re
import sqlite3
from functools import cache
from itertools import chain, groupby
from operator import itemgetter
from typing import Any

from twisted.logger import Logger

from rendezvous.storage.batch import Batch
from rendezvous.storage.database import in_place
from rendezvous.storage.rows import Statement, seen_peers

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
            self.log.warn(
                "the store {path} had been deleted; it has been written anew", path=self._path, event="store_deleted"
            )
        # Made here, as the reactor's thread has other things to do.
        seen = [] if batch.seen is None else seen_peers(batch.seen.peers)
        database.execute("BEGIN IMMEDIATE")
        try:
            # Each table for itself, in order: then more statements of one kind stand together.
            for sql, group in groupby(sorted([*batch.statements, *seen], key=_table), itemgetter(0)):
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
    Execute a statement for each row, many at a time if it has a list of ``VALUES``.

    Each step of SQLite hands the interpreter's lock over and takes it back, for which the reactor's thread waits. So
    many rows go into one step: as many as there are, in powers of two, that the connection's cache may know the text.
    """
    head, row, tail, keys = _shape(sql)
    if not row:
        database.executemany(sql, rows)
        return
    if keys:
        # One step changes a row of the file once, so only the last of its changes may be in the list.
        rows = list({values[:keys]: values for values in rows}.values())
    done, most = 0, MAX_VARIABLES // len(rows[0])
    while done < len(rows):
        count = 1 << (min(len(rows) - done, most).bit_length() - 1)
        piece = rows[done : done + count]
        database.execute(f"{head}{', '.join([row] * count)}{tail}", list(chain.from_iterable(piece)))
        done += count


@cache
def _shape(sql: str) -> tuple[str, str, str, int]:
    """
    Take a statement apart.

    :returns: what stands before the list of values, one row of the list, and what stands behind; then how many of the
        first values say which row an ``UPDATE`` changes. The row is empty if there is no list.
    """
    found = re.fullmatch(r"(.* ?\(?VALUES )(\([?, ]+\))(.*)", sql)
    if found is None:
        return sql, "", "", 0
    head, row, tail = found.groups()
    return head, row, tail, tail.count("new.column")


def _table(statement: Statement) -> str:
    return _table_of(statement[0])


@cache
def _table_of(sql: str) -> str:
    """:returns: which table a statement changes."""
    found = re.match(r"(?:INSERT(?: OR REPLACE)? INTO|UPDATE|DELETE FROM) (\w+)", sql)
    return found[1] if found else ""
