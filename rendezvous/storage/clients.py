"""The clients of a store that lasts: which there are says the database, when and where they were the file beside it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from typing import Any

import attrs

from twisted.logger import Logger

from rendezvous.core.presence.clients import slots_for
from rendezvous.core.presence.presence import Presence
from rendezvous.errors import StartupError, Unavailable
from rendezvous.storage.client_file import ClientFile, client_file_path, lock_client_file, open_to_read
from rendezvous.storage.client_header import MAGIC
from rendezvous.storage.rows import read_clients, read_snapshot

__all__ = ["FIRST_WITH_CLIENT_FILE", "GENERATION", "Clients"]

#: Name of the fact that ties the database and the file together: the file's generation, in hex.
GENERATION = "client_file"

#: Seconds of server time within which the time in the file of a running server is renewed: every second, and later if
#: the sweep has much to do.
RENEWED = 10.0

#: Version of the first database that has such a file.
FIRST_WITH_CLIENT_FILE = 3

_log = Logger()


@attrs.frozen
class Clients:
    """
    The clients of a store that is open.

    :ivar file: the file.
    :ivar now: the server time to go on from.
    :ivar damaged: how many clients have lost their address.
    """

    file: ClientFile
    now: float
    damaged: int

    @classmethod
    def open(
        cls, store: str, database: sqlite3.Connection, meta: dict[str, Any], presence: Presence, wall: float
    ) -> Clients:
        """
        Bring the clients of a database into a live table, which is emptied first.

        What is written to the database belongs to the transaction that is open; the file agrees with it before.

        :param store: the name of the database.
        :param meta: the facts in the database.
        :raises StartupError: the file cannot be used.
        """
        now: float = meta.get("server_time", wall)
        last: int | None = database.execute("SELECT max(slot) FROM clients").fetchone()[0]
        capacity = max(slots_for(presence.max_clients), (last or 0) + 1)
        path, generation = client_file_path(store), meta.get(GENERATION)
        fill = _adopt if generation else _fill_from_snapshot
        file = (
            _opened(path, capacity, bytes.fromhex(generation), now, last is not None)
            if generation
            else _made(path, capacity, os.urandom(16), now)
        )
        try:
            presence.clear(file.columns)
            now = max(now, file.header.survived)
            damaged = fill(file, database, meta, presence, now, wall)
            if last is not None and not _is_current(file, now):
                presence.signed.freshness.refuse_until(wall)
            file.begin(now)
            database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (GENERATION, file.header.generation.hex()))
        except Unavailable as e:
            file.close()
            raise StartupError(f"the table of clients {path!r} cannot be used: {e.message}") from None
        except BaseException:
            file.close()
            raise
        return cls(file, now, damaged)


def _opened(path: str, capacity: int, generation: bytes, now: float, is_needed: bool) -> ClientFile:
    try:
        return ClientFile.open(path, capacity, generation)
    except FileNotFoundError:
        if is_needed:
            _log.warn("the table of clients {path} is missing", path=path, event="clients_missing")
        return ClientFile.create(path, capacity, generation, now)


def _made(path: str, capacity: int, generation: bytes, now: float) -> ClientFile:
    _check_replaceable(path)
    return ClientFile.create(path, capacity, generation, now)


def _adopt(
    file: ClientFile, database: sqlite3.Connection, meta: dict[str, Any], presence: Presence, now: float, wall: float
) -> int:
    lost = 0.0 if _is_current(file, now) else now - file.header.survived
    return presence.adopt(read_clients(database), lost, now, wall)


def _is_current(file: ClientFile, now: float) -> bool:
    """:returns: whether nothing is missing that was ever written to the file."""
    # The database may know a later server time than a complete file, by a second or little more. That makes no record
    # older. If it knows a much later one, this is not the file that the server wrote to: an older copy of it, say.
    return file.header.is_complete and now - file.header.survived <= RENEWED


def _fill_from_snapshot(
    file: ClientFile, database: sqlite3.Connection, meta: dict[str, Any], presence: Presence, now: float, wall: float
) -> int:
    # A store of an earlier version may say less than was true when its server crashed, by as much as this.
    late = max(0.0, now - meta.get("seen_until", now))
    columns = file.columns

    def put() -> Iterator[tuple[int, bytes]]:
        for client in read_snapshot(database, now):
            columns.ready(client.slot)
            columns.put(client)
            yield client.slot, client.client_id

    presence.adopt(put(), late, now, wall)
    database.execute("DELETE FROM client_snapshot")
    database.execute("DELETE FROM meta WHERE name = 'seen_until'")
    return 0


def _check_replaceable(path: str) -> None:
    """See that what a new file would take the place of is one of ours, and that no server uses it."""
    try:
        with open(open_to_read(path), "rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise StartupError(f"the file {path!r} is no table of clients: move it away")
            lock_client_file(path, file.fileno())
    except FileNotFoundError:
        return
    except OSError as e:
        raise StartupError(f"the table of clients {path!r} cannot be used: {e.strerror}") from None
