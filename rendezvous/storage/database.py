"""The file: its lock, its permissions, its version, and its integrity."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import sqlite3
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.resources import files

from rendezvous.errors import StartupError

__all__ = [
    "APPLICATION_ID",
    "Lock",
    "Progress",
    "copy_database",
    "damaged",
    "draft_beside",
    "explained",
    "in_place",
    "no_progress",
    "open_database",
    "readable",
    "schema_steps",
    "stored_version",
    "sync_directory",
    "target",
]

#: Seconds between two looks at how large a copy is.
WATCH_INTERVAL = 0.2

#: ``PRAGMA application_id`` of our files: "RDVZ".
APPLICATION_ID = 0x5244565A


def schema_steps() -> dict[int, str]:
    """:returns: the SQL that leads to each version from the one before, by version."""
    steps = {}
    for file in files("rendezvous.storage").joinpath("schema").iterdir():
        match = re.fullmatch(r"([0-9]{4})\.sql", file.name)
        if match:
            steps[int(match[1])] = file.read_text(encoding="utf-8")
    return dict(sorted(steps.items()))


def target(path: str) -> str:
    """:returns: the file that a path leads to: what lies beside a store is named after the store, not after a link."""
    return os.path.realpath(path) if os.path.islink(path) else path


class Lock:
    """
    The right to write to a file, held by one process at a time and given back by the system if that process dies.

    It lies in a file of its own: SQLite's locks on the database would be lost if we opened and closed that ourselves.

    :raises StartupError: another process has it, or its file cannot be opened.
    """

    def __init__(self, path: str) -> None:
        try:
            # A link could lead to a file of somebody else.
            self._descriptor = os.open(path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as e:
            reason = "it is a symbolic link" if e.errno == errno.ELOOP else e.strerror
            raise StartupError(f"the lock file {path + '.lock'!r} cannot be opened: {reason}") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise StartupError(
                f"the store {path!r} is in use by another server: stop it, or give another --store"
            ) from None

    def release(self) -> None:
        """Give it back."""
        os.close(self._descriptor)


def open_database(path: str, steps: Mapping[int, str] | None = None) -> sqlite3.Connection:
    """
    Open the file, made or brought up to date if need be.

    An older one is upgraded in one transaction, after a copy beside it (``PATH.vN.backup``).

    :param steps: as :func:`schema_steps` gives them, which are read if they are not given.
    :returns: a connection that may be used from one thread at a time.
    :raises StartupError: the file cannot be used and was not touched; the message names it and says what to do.
    """
    steps = schema_steps() if steps is None else steps
    with explained(path):
        if not os.path.exists(path):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        elif not os.access(path, os.W_OK):
            raise StartupError(f"the store {path!r} cannot be written to: check its owner and its mode")
        database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
        try:
            database.create_function("from_hex", 1, bytes.fromhex, deterministic=True)
            version = _checked_version(path, database, max(steps))
            if os.stat(path).st_mode & 0o027:
                # Its group may read it, for copies.
                raise StartupError(f"the store {path!r} can be read or written by others: run chmod g-w,o-rwx on it")
            database.execute("PRAGMA journal_mode = WAL")
            # A commit is on the disk when it is answered for, whatever then happens to the machine.
            database.execute("PRAGMA synchronous = FULL")
            if version < max(steps):
                _upgrade(path, database, version, steps)
        except BaseException:
            database.close()
            raise
    return database


def in_place(path: str, database: sqlite3.Connection, inode: int) -> sqlite3.Connection:
    """
    See that a file is where it was opened; write it anew, from the one that is still open, if it has been deleted.

    :param inode: of the file that was opened.
    :returns: the database to go on with; the one that was given is closed if it is another.
    :raises sqlite3.OperationalError: another file is in its place.
    """
    try:
        if os.stat(path).st_ino == inode:
            return database
    except FileNotFoundError:
        pass
    else:
        raise sqlite3.OperationalError("another file has been put in its place")
    for suffix in ("-wal", "-shm"):
        if os.path.exists(path + suffix):
            os.unlink(path + suffix)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    copy = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        database.backup(copy)
        copy.execute("PRAGMA journal_mode = WAL")
        copy.execute("PRAGMA synchronous = FULL")
    except BaseException:
        copy.close()
        os.unlink(path)
        raise
    database.close()
    return copy


def stored_version(database: sqlite3.Connection) -> int:
    """:returns: the version of the schema in a file; 0 if it is new."""
    version: int = database.execute("PRAGMA user_version").fetchone()[0]
    return version


def _checked_version(path: str, database: sqlite3.Connection, newest: int) -> int:
    application = database.execute("PRAGMA application_id").fetchone()[0]
    is_empty = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    version = stored_version(database)
    if is_empty and application in (0, APPLICATION_ID):
        return 0
    if application != APPLICATION_ID:
        raise StartupError(f"the store {path!r} is another program's database: give another --store")
    if version > newest:
        raise StartupError(
            f"the store {path!r} has version {version}, and this server knows {newest} at most: run a newer server"
        )
    found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise StartupError(damaged(path, found.splitlines()[0]))
    return version


def _upgrade(path: str, database: sqlite3.Connection, version: int, steps: Mapping[int, str]) -> None:
    if version:
        backup = f"{path}.v{version}.backup"
        with draft_beside(backup) as draft:
            copy_database(database, draft)
            os.replace(draft, backup)
        sync_directory(backup)
    # executescript would commit whatever is open, so the transaction is part of the script.
    script = "".join(sql for step, sql in sorted(steps.items()) if step > version)
    try:
        database.executescript(
            f"BEGIN IMMEDIATE; {script}; PRAGMA application_id = {APPLICATION_ID};"
            f" PRAGMA user_version = {max(steps)}; COMMIT;"
        )
    except sqlite3.Error:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


Progress = Callable[[str, float | None], object]
"""Is called with what is being done, and with the share of it that is done, ``None`` if that is not known."""


def no_progress(what: str, share: float | None) -> None:
    """Do nothing: no one is waiting at a terminal."""


def copy_database(database: sqlite3.Connection, path: str, progress: Progress = no_progress) -> None:
    """
    Copy all of a database as it is at one moment; others may go on to write to it.

    :param path: a file, which is overwritten.
    :param progress: is called by a thread of its own.
    """
    copy = sqlite3.connect(path, isolation_level=None)
    try:
        with _watched(database, path, progress):
            # All in one step: a copy in several begins anew whenever another process writes.
            database.backup(copy)
    finally:
        copy.close()


@contextmanager
def _watched(database: sqlite3.Connection, path: str, progress: Progress) -> Iterator[None]:
    """Say how much of a copy there is while it is made: SQLite says nothing within one step."""
    size = database.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()[0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(WATCH_INTERVAL):
            with suppress(OSError):
                progress("copying", os.stat(path).st_size / max(1, size))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


@contextmanager
def draft_beside(path: str) -> Iterator[str]:
    """
    Keep an empty file, readable by its owner alone, from which a whole one is to be made by renaming or linking it.

    :returns: its name, of a file in the same directory; what is left of it at the end is removed.
    """
    descriptor, draft = tempfile.mkstemp(prefix=os.path.basename(path) + ".", dir=os.path.dirname(path) or os.curdir)
    os.close(descriptor)
    try:
        yield draft
    finally:
        for name in (draft, draft + "-journal"):
            if os.path.lexists(name):
                os.unlink(name)


def sync_directory(path: str) -> None:
    """Have the name of a file on the disk, not only its contents."""
    descriptor = os.open(os.path.dirname(path) or os.curdir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn what the system and SQLite say of a file into :exc:`~rendezvous.errors.StartupError`."""
    try:
        yield
    except OSError as e:
        raise StartupError(f"the store {path!r} cannot be used: {e.strerror}") from None
    except sqlite3.OperationalError as e:
        raise StartupError(f"the store {path!r} cannot be used: {e}") from None
    except sqlite3.DatabaseError as e:
        raise StartupError(damaged(path, str(e))) from None


@contextmanager
def readable(path: str) -> Iterator[None]:
    """
    Read records back.

    :raises StartupError: a record is not valid. The message does not show the record, which may contain a secret.
    """
    with explained(path):
        try:
            yield
        except StartupError:
            raise
        except (ArithmeticError, LookupError, TypeError, ValueError, struct.error) as e:
            raise StartupError(damaged(path, f"a record cannot be read: {type(e).__name__}")) from None


def damaged(path: str, found: str) -> str:
    """:returns: the error message for a damaged file."""
    return (
        f"the store {path!r} is damaged, or no store at all ({found}): put a backup in its place, or move it away to"
        " start anew"
    )
