"""
Looking into a store's file from another process: what is in it, whether it is whole, and a copy of it.

Nothing here writes to the file, makes a file beside it that a stopped server did not leave, or takes the server's lock.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import quote

import attrs

from rendezvous.core.presence.client import Client
from rendezvous.core.presence.clients import ClientColumns
from rendezvous.core.presence.states import PresenceState, Timers, state_of
from rendezvous.errors import StartupError
from rendezvous.storage.attempt_rows import read_attempts
from rendezvous.storage.client_file import client_file_path, look, space_taken
from rendezvous.storage.clients import FIRST_WITH_CLIENT_FILE, GENERATION
from rendezvous.storage.database import (
    APPLICATION_ID,
    Progress,
    copy_database,
    damaged,
    draft_beside,
    explained,
    no_progress,
    readable,
    schema_steps,
    stored_version,
    sync_directory,
    target,
)
from rendezvous.storage.rows import (
    PUT_SNAPSHOT,
    read_bans,
    read_clients,
    read_events,
    read_offers,
    read_revocations,
    read_snapshot,
    read_tracker_peers,
    snapshot_row,
)

__all__ = ["backup", "check", "read_only", "restore", "stats"]

T = TypeVar("T")

#: Steps of SQLite, and records, after each of which it is said how far a check is: some milliseconds.
STEPS, REPORTED = 100_000, 5_000

_COUNTS = {
    "logouts": "SELECT count(*) FROM revocations",
    "offers_unanswered": "SELECT count(*) FROM offers WHERE namespace = '' AND answerer IS NULL",
    "offers_answered": "SELECT count(*) FROM offers WHERE namespace = '' AND answerer IS NOT NULL",
    "sessions": "SELECT count(*) FROM offers WHERE namespace <> ''",
    "candidates": "SELECT count(*) FROM candidates",
    "tracker_peers": "SELECT count(*) FROM tracker_peers",
    "events": "SELECT count(*) FROM events",
    # Those that have ended since the last sweep included.
    "bans": "SELECT count(*) FROM bans",
}
_FIRST_WITH_BANS = 5

# The states of rendezvous.core.presence.states, of all clients in one walk, in a store of before the file of clients.
_OLD_CLIENTS = """
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
    path = target(path)
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


def check(path: str, progress: Progress = no_progress) -> dict[str, Any]:
    """
    Look whether a file is one of ours and whole, and whether all that is in it can be read back.

    :param progress: is called now and then with how far it is.
    :returns: ``version``, the newest one that this server knows, how many records were read, and
        ``without_record``, of how many clients nothing whole is recorded: they have no address until their next pulse.
    :raises StartupError: it is not, in one line.
    """
    newest = max(schema_steps())

    def look(database: sqlite3.Connection) -> dict[str, Any]:
        version = _our_version(path, database)

        def report() -> int:
            progress("looking through the file", None)
            return 0  # Go on.

        database.set_progress_handler(report, STEPS)
        _whole(path, database, "integrity_check")
        database.set_progress_handler(None, 0)
        # One of an earlier version is read once it is upgraded.
        records = _read_all(path, database, progress) if version == newest else 0
        without = _count_without_record(path, database) if version == newest else 0
        return {"version": version, "newest": newest, "records": records, "without_record": without}

    return read_only(path, look)


def stats(path: str, timers: Timers) -> dict[str, Any]:
    """
    Count what is in a file.

    :param timers: those of the server: they decide which client is in what state.
    :returns: numbers by name, ready for JSON; states are as of ``alive``, the last time that the file knows of, in
        seconds since the epoch. ``bytes`` is what the database takes, with what is still in its log, and what the file
        of clients takes on the disk.
    :raises StartupError: the file cannot be read.
    """

    def look(database: sqlite3.Connection) -> dict[str, Any]:
        version = _our_version(path, database)
        alive = dict(database.execute("SELECT name, value FROM meta")).get("alive")
        size = database.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()[0]
        size += space_taken(client_file_path(path))
        clients, online, pending, new = _count_clients(path, database, alive or 0.0, timers)
        found = {
            "version": version,
            "alive": alive,
            "clients": clients,
            "clients_online": online,
            "clients_pending": pending,
            "clients_never_pulsed": new,
            "clients_gone": clients - online - pending - new,
        }
        counts = _COUNTS if version >= _FIRST_WITH_BANS else {**_COUNTS, "bans": "SELECT 0"}
        found |= {name: database.execute(sql).fetchone()[0] for name, sql in counts.items()}
        return found | {"bytes": size, "bytes_per_client": round(size / clients) if clients else None}

    return read_only(path, look)


def _count_clients(path: str, database: sqlite3.Connection, alive: float, timers: Timers) -> tuple[int, int, int, int]:
    """:returns: how many clients there are, are online, are late, and have never pulsed."""
    if stored_version(database) < FIRST_WITH_CLIENT_FILE:
        times = (alive, timers.on_time, timers.kept, timers.registration_time)
        every, online, pending, new = database.execute(_OLD_CLIENTS, times).fetchone()
        return every, online, pending, new
    now = _server_time(path, database)
    states = Counter(
        state_of(timers, each.last_seen, each.host is not None, now) if each else PresenceState.NEW
        for each in _clients(path, database)
    )
    return states.total(), states[PresenceState.ONLINE], states[PresenceState.PENDING], states[PresenceState.NEW]


def _server_time(path: str, database: sqlite3.Connection) -> float:
    meta = dict(database.execute("SELECT name, value FROM meta"))
    times: list[float] = [meta.get("server_time", 0.0)]
    if GENERATION in meta:
        with suppress(FileNotFoundError):
            times.append(look(client_file_path(path))[0].time)
    return max(times)


def _clients(path: str, database: sqlite3.Connection) -> Iterator[Client | None]:
    """
    Yield each client as it is now, or ``None`` for one of which nothing whole is recorded.

    :raises StartupError: the file of clients is not whole, or belongs to another store.
    """
    meta = dict(database.execute("SELECT name, value FROM meta"))
    generation = meta.get(GENERATION)
    if generation is None:
        yield from read_snapshot(database, meta.get("server_time", 0.0))
        return
    name = client_file_path(path)
    try:
        header, columns = look(name)
    except FileNotFoundError:
        for _ in read_clients(database):
            yield None
        return
    if header.generation.hex() != generation:
        raise StartupError(f"the table of clients {name!r} belongs to another store than the one beside it")
    for slot, client_id in read_clients(database):
        yield columns.whole_client(slot, client_id)


def _count_without_record(path: str, database: sqlite3.Connection) -> int:
    """
    Count the clients of which nothing whole is recorded, and see that the others can be put into records.

    :raises StartupError: one of them cannot.
    """
    without, columns = 0, ClientColumns(1)
    with readable(path):
        for client in _clients(path, database):
            if client is None:
                without += 1
            else:
                columns.put(attrs.evolve(client, slot=1))
    return without


def backup(path: str, destination: str, progress: Progress = no_progress) -> int:
    """
    Copy a file as it is at one moment, whether or not a server is writing to it.

    The copy is whole, or there is none; it is readable by its owner alone, and nothing is overwritten.

    :param progress: is called now and then with how far it is, also by another thread.
    :returns: its size in bytes.
    :raises StartupError: there is no copy, and why.
    """
    taken = f"{destination!r} is there already: give another name"
    if os.path.lexists(destination):
        raise StartupError(taken)
    try:
        with draft_beside(destination) as draft:
            read_only(path, lambda database: _fill(path, database, destination, draft, progress))
            # Unlike renaming, this never takes the place of another file.
            os.link(draft, destination)
        sync_directory(destination)
        return os.stat(destination).st_size
    except FileExistsError:
        raise StartupError(taken) from None
    except OSError as e:
        raise StartupError(f"the copy {destination!r} cannot be made: {e.strerror}") from None


def restore(copy: str, path: str, progress: Progress = no_progress) -> None:
    """
    Put a copy where a server shall find its store. Times and addresses are in it; the server makes their file from it.

    :param progress: is called now and then with how far it is, also by another thread.
    :raises StartupError: there is a store, or something that belonged to one, or the copy is not whole.
    """
    for name in (path, path + "-wal", path + "-shm"):
        if os.path.lexists(name):
            raise StartupError(
                f"{name!r} is there already: stop the server, and move {path!r} away together with the files beside it"
                " whose names end in -wal, -shm and .clients"
            )
    check(copy, progress)
    backup(copy, path, progress)


def _fill(path: str, database: sqlite3.Connection, destination: str, draft: str, progress: Progress) -> None:
    _our_version(path, database)
    # SQLite does not copy within a transaction of the source; it keeps to one moment by itself.
    database.execute("COMMIT")
    try:
        copy_database(database, draft, progress)
        if stored_version(database) >= FIRST_WITH_CLIENT_FILE:
            _add_snapshot(path, draft)
    except sqlite3.OperationalError as e:
        if e.sqlite_errorcode != sqlite3.SQLITE_FULL:
            raise
        # Nothing is written but the copy.
        raise StartupError(f"the copy {destination!r} cannot be made: {e}") from None
    _look(draft, "immutable=1", lambda copy: _whole(path, copy, "quick_check"))


def _add_snapshot(path: str, draft: str) -> None:
    """Put what the file of clients says into a copy of the database, so that one file is all."""
    copy = sqlite3.connect(draft, isolation_level=None)
    try:
        copy.execute("BEGIN IMMEDIATE")
        now = _server_time(path, copy)
        if copy.execute("SELECT count(*) FROM client_snapshot").fetchone()[0] == 0:
            # One by one: a list of a million clients would take 450 MB.
            copy.executemany(PUT_SNAPSHOT, (snapshot_row(each) for each in _clients(path, copy) if each is not None))
        copy.execute("DELETE FROM meta WHERE name = ?", (GENERATION,))
        copy.execute("INSERT OR REPLACE INTO meta VALUES ('server_time', ?)", (now,))
        copy.execute("COMMIT")
    finally:
        copy.close()


def _our_version(path: str, database: sqlite3.Connection) -> int:
    """
    :returns: the version of the store.
    :raises StartupError: it is another program's file, or of a version that is not known here.
    """
    if database.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise StartupError(f"the file {path!r} is no store of this server")
    version, newest = stored_version(database), max(schema_steps())
    if version > newest:
        raise StartupError(
            f"the store {path!r} has version {version}, and this server knows {newest} at most: run a newer server"
        )
    return version


def _whole(path: str, database: sqlite3.Connection, how: str) -> None:
    found: str = database.execute(f"PRAGMA {how}(1)").fetchone()[0]
    if found != "ok":
        raise StartupError(damaged(path, found.splitlines()[-1]))


def _read_all(path: str, database: sqlite3.Connection, progress: Progress) -> int:
    every: tuple[Callable[[sqlite3.Connection], Iterator[object]], ...] = (
        read_clients,
        read_revocations,
        read_bans,
        read_offers,
        read_events,
        read_tracker_peers,
        read_attempts,
    )
    count = 0
    with readable(path):
        for read in every:
            for _ in read(database):
                count += 1
                if count % REPORTED == 0:
                    progress(f"reading records back: {count:,}", None)
    return count
