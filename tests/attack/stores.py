"""
Stores with very many rows, made by copying one row that a server wrote itself.

So nothing here knows the schema but the names of the columns that have to differ from row to row, and how a store says
which clients there are.
"""

from __future__ import annotations

import json
import socket
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.attack.load import ONE, fetch, request
from tests.crash.server import Server

__all__ = ["Row", "clients_in", "copies", "put_clients", "sooner", "store_with"]

STORE = "rendezvous.sqlite3"
Row = Mapping[str, Any]


def store_with(directory: Path, prefix: Sequence[str]) -> None:
    """Run a server until it keeps a client, an offer of 20 topics, a session and a tracker peer, and stop it."""
    server = Server(directory, prefix=prefix)
    server.start()
    try:
        made = fetch(server.http_port, request("POST", "/register"), ONE[0]).json
        auth = f"{made['client_id']}:{made['private_id']}"
        offer = {"sdp": "v=0", "topics": [f"topic-{number}" for number in range(20)], "ttl": 3_600_000}
        fetch(server.http_port, request("POST", "/offers", json.dumps({"offers": [offer]}).encode(), auth), ONE[0])
        session = request("POST", "/t/offer", b'{"info": "", "offer": "v=0"}', Origin="https://ends.test")
        fetch(server.http_port, session, ONE[0])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5.0)
            sock.connect(("127.0.0.1", server.udp_port))
            sock.send(b'{"action":"announce"}')
            sock.recv(2048)
    finally:
        server.stop()


def copies(directory: Path, table: str, where: str, changed: Callable[[Row], Iterable[Row]]) -> None:
    """
    Put copies of a row into its place.

    :param where: which row.
    :param changed: the copies, each with only the columns that are not as in the row.
    """
    database = sqlite3.connect(directory / STORE)
    database.row_factory = sqlite3.Row
    with database:
        row = dict(database.execute(f"SELECT * FROM {table} WHERE {where}").fetchone())  # noqa: S608
        database.execute(f"DELETE FROM {table} WHERE {where}")  # noqa: S608
        names, marks = ", ".join(row), ", ".join("?" * len(row))
        database.executemany(
            f"INSERT INTO {table} ({names}) VALUES ({marks})",  # noqa: S608
            ([*{**row, **each}.values()] for each in changed(row)),
        )
    database.close()


def put_clients(directory: Path, ids: Iterable[bytes]) -> None:
    """
    Put clients that have never pulsed into the place of those of a store, all seen last when the store was.

    The file of clients is removed: the server makes it anew, as after a restore.

    :param ids: of 16 bytes each.
    """
    database = sqlite3.connect(directory / STORE)
    with database:
        database.execute("DELETE FROM meta WHERE name = 'client_file'")
        database.execute("DELETE FROM clients")
        database.executemany("INSERT INTO clients (slot, client_id) VALUES (?, ?)", enumerate(ids, 1))
    database.close()
    (directory / f"{STORE}.clients").unlink()


def clients_in(directory: Path) -> int:
    """:returns: how many clients a store has, which a server may have open."""
    database = sqlite3.connect(f"file:{directory / STORE}?mode=ro", uri=True)
    try:
        return int(database.execute("SELECT count(*) FROM clients").fetchone()[0])
    finally:
        database.close()


def sooner(row: Row, column: str, seconds: float) -> Row:
    """:returns: the column that begins so, moved to an earlier time, in its own unit."""
    [name] = [each for each in row if each.startswith(column)]
    return {name: row[name] - (int(seconds * 1000) if name.endswith("_ms") else seconds)}
