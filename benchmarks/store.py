"""What it costs to keep state: SQLite beside memory."""

from __future__ import annotations

import json
import os
import tempfile
import time
from functools import partial

from benchmarks.http import request
from benchmarks.load import requests, server
from benchmarks.report import Report
from benchmarks.servers import client_id
from rendezvous.core.presence.client import Client
from rendezvous.storage.database import open_database
from rendezvous.storage.rows import PUT_SNAPSHOT, snapshot_row, statements

SECONDS = 3.0
#: As many requests at once share a commit, in a server that has many clients.
CONNECTIONS = 256


def make_file(path: str, clients: int) -> None:
    """Make a store that holds so many clients, all online."""
    database = open_database(path)
    now = time.time()
    database.execute("BEGIN")
    for number in range(clients):
        host = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        client = Client(client_id(number), now, host=host, port=1024 + number % 60_000, slot=number + 1)
        for sql, parameters in (*statements(client), (PUT_SNAPSHOT, snapshot_row(client))):
            database.execute(sql, parameters)
    database.execute("INSERT OR REPLACE INTO meta VALUES ('alive', ?)", (now,))
    database.execute("COMMIT")
    database.close()


def writes(report: Report, directory: str) -> None:
    """Registrations and publications beside those of a server that keeps nothing."""
    body = json.dumps({"offers": [{"sdp": "v" * 2000, "topics": ["bench"], "id": "one"}]}).encode()
    kept = {"store": f"sqlite:{directory}/writes.sqlite3"}
    with server("http", 1000) as memory, server("http", 1000, **kept) as sqlite:
        for what, asked in (
            ("register", request("POST", "/register")),
            ("publish an offer of 2 KB", request("POST", "/offers", 1, body)),
        ):
            report.compare(
                f"{what}, SQLite",
                "/s",
                partial(requests, sqlite, asked, SECONDS, CONNECTIONS),
                "memory",
                partial(requests, memory, asked, SECONDS, CONNECTIONS),
            )


def run(report: Report) -> None:
    """All of it, in files of a temporary directory on the disk of the working directory."""
    report.section("State in SQLite")
    os.makedirs("build", exist_ok=True)
    with tempfile.TemporaryDirectory(dir="build") as directory:
        writes(report, directory)
