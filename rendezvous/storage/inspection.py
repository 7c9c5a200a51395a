"""
Looking into a store's file from another process: what is in it, whether it is whole, and a copy of it.

Nothing here writes to the file, makes a file beside it that a stopped server did not leave, or takes the server's lock.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

from rendezvous.core.presence import Timers
from rendezvous.errors import StartupError
from rendezvous.storage.database import (
    APPLICATION_ID,
    copy_database,
    damaged,
    draft_beside,
    explained,
    readable,
    schema_steps,
    stored_version,
    sync_directory,
)
from rendezvous.storage.rows import read_clients, read_events, read_offers, read_revocations, read_tracker_peers

__all__ = ["backup", "check", "read_only", "stats"]

T = TypeVar("T")

_COUNTS = {
    "logouts": "SELECT count(*) FROM revocations",
    "offers_unanswered": "SELECT count(*) FROM offers WHERE namespace = '' AND answerer IS NULL",
    "offers_answered": "SELECT count(*) FROM offers WHERE namespace = '' AND answerer IS NOT NULL",
    "sessions": "SELECT count(*) FROM offers WHERE namespace <> ''",
    "candidates": "SELECT count(*) FROM candidates",
    "tracker_peers": "SELECT count(*) FROM tracker_peers",
    "events": "SELECT count(*) FROM events",
}

# The states of rendezvous.core.presence, of all clients in one walk.
_CLIENTS = """
    SELECT count(*),
        coalesce(sum(host IS NOT NULL AND ?1 <= last_seen + ?2), 0),
        coalesce(sum(host IS NOT NULL AND ?1 > last_seen + ?2 AND ?1 <= last_seen + ?3), 0),
        coalesce(sum(host IS NULL AND ?1 <= last_seen + ?4), 0)
    FROM clients
"""


def read_only(path: str, look: Callable[[sqlite3.Connection], T]) -> T:
    """
    Look into a file that a server may have open, or may not.

    :param look: it may be called twice: a server may start while it looks into the file of none.
    :raises StartupError: the file cannot be read.
    """
    with explained(path):
        os.stat(path)
        while True:
            # Without a log beside it the file is all there is. Then SQLite need not make one, which would stay behind,
            # and which it could not in a directory that it may only read.
            has_log = os.path.exists(path + "-wal")
            try:
                found = _look(path, "mode=ro" if has_log else "immutable=1", look)
            except sqlite3.Error:
                if has_log or not os.path.exists(path + "-wal"):
                    raise
            else:
                if has_log or not os.path.exists(path + "-wal"):
                    return found


def _look(path: str, how: str, look: Callable[[sqlite3.Connection], T]) -> T:
    database = sqlite3.connect(f"file:{quote(os.path.abspath(path))}?{how}", uri=True, isolation_level=None)
    try:
        # All of it is seen as it is at one moment.
        database.execute("BEGIN")
        return look(database)
    finally:
        database.close()


def check(path: str) -> dict[str, Any]:
    """
    Look whether a file is one of ours and whole, and whether all that is in it can be read back.

    :returns: ``version``, the newest one that this server knows, and how many records were read.
    :raises StartupError: it is not, in one line.
    """
    newest = max(schema_steps())

    def look(database: sqlite3.Connection) -> dict[str, Any]:
        version = _our_version(path, database)
        if version > newest:
            raise StartupError(
                f"the store {path!r} has version {version}, and this server knows {newest} at most: run a newer server"
            )
        _whole(path, database, "integrity_check")
        # One of an pulse_before_verify version is read once it is upgraded.
        records = _read_all(path, database) if version == newest else 0
        return {"version": version, "newest": newest, "records": records}

    return read_only(path, look)


def stats(path: str, timers: Timers) -> dict[str, Any]:
    """
    Count what is in a file.

    :param timers: those of the server: they decide which client is in what state.
    :returns: numbers by name, ready for JSON; states are as of ``alive``, the last time that the file knows of, in
        seconds since the epoch.
    :raises StartupError: the file cannot be read.
    """

    def look(database: sqlite3.Connection) -> dict[str, Any]:
        version = _our_version(path, database)
        alive = dict(database.execute("SELECT name, value FROM meta")).get("alive")
        size = database.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()[0]
        # Without that time nothing has ever been kept.
        times = (alive or 0.0, timers.on_time, timers.kept, timers.registration_time)
        clients, online, pending, new = database.execute(_CLIENTS, times).fetchone()
        found = {
            "version": version,
            "alive": alive,
            "clients": clients,
            "clients_online": online,
            "clients_pending": pending,
            "clients_never_pulsed": new,
            "clients_gone": clients - online - pending - new,
        }
        found |= {name: database.execute(sql).fetchone()[0] for name, sql in _COUNTS.items()}
        return found | {"bytes": size, "bytes_per_client": round(size / clients) if clients else None}

    return read_only(path, look)


def backup(path: str, destination: str) -> int:
    """
    Copy a file as it is at one moment, whether or not a server is writing to it.

    The copy is whole, or there is none; it is readable by its owner alone, and nothing is overwritten.

    :returns: its size in bytes.
    :raises StartupError: there is no copy, and why.
    """
    taken = f"{destination!r} is there already: give another name"
    if os.path.lexists(destination):
        raise StartupError(taken)
    try:
        with draft_beside(destination) as draft:
            read_only(path, lambda database: _fill(path, database, destination, draft))
            # Unlike renaming, this never takes the place of another file.
            os.link(draft, destination)
        sync_directory(destination)
        return os.stat(destination).st_size
    except FileExistsError:
        raise StartupError(taken) from None
    except OSError as e:
        raise StartupError(f"the copy {destination!r} cannot be made: {e.strerror}") from None


def _fill(path: str, database: sqlite3.Connection, destination: str, draft: str) -> None:
    _our_version(path, database)
    # SQLite does not copy within a transaction of the source; it keeps to one moment by itself.
    database.execute("COMMIT")
    try:
        copy_database(database, draft)
    except sqlite3.OperationalError as e:
        if e.sqlite_errorcode != sqlite3.SQLITE_FULL:
            raise
        # Nothing is written but the copy.
        raise StartupError(f"the copy {destination!r} cannot be made: {e}") from None
    _look(draft, "immutable=1", lambda copy: _whole(path, copy, "quick_check"))


def _our_version(path: str, database: sqlite3.Connection) -> int:
    if database.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise StartupError(f"the file {path!r} is no store of this server")
    return stored_version(database)


def _whole(path: str, database: sqlite3.Connection, how: str) -> None:
    found: str = database.execute(f"PRAGMA {how}(1)").fetchone()[0]
    if found != "ok":
        raise StartupError(damaged(path, found.splitlines()[-1]))


def _read_all(path: str, database: sqlite3.Connection) -> int:
    every = (read_clients, read_revocations, read_offers, read_events, read_tracker_peers)
    with readable(path):
        return sum(1 for read in every for _ in read(database))
