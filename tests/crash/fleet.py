"""
Many clients that only pulse: a server is killed in the midst of it, and its file is compared client by client.

The rounds of :mod:`tests.crash.rounds` ask a restarted server by its API, which shows little of when a client was last
seen. Here the file itself is read before the restart.
"""

from __future__ import annotations

import random
import selectors
import socket
import threading
import time
from collections import Counter
from pathlib import Path

import attrs

from rendezvous.core.identity import Keyring, Secret
from rendezvous.core.presence.client import Client
from rendezvous.storage.client_file import client_file_path, look
from rendezvous.storage.database import open_database
from rendezvous.storage.inspection import read_only
from rendezvous.storage.rows import PUT_SNAPSHOT, read_clients, snapshot_row, statements
from tests.crash.pair import ON_TIME
from tests.crash.rounds import OPTIONS, WORKERS
from tests.crash.server import UNMEASURED, Server
from tests.crash.wire import Violation, ask, udp_socket

__all__ = ["crash_fleet"]

SECRET = bytes(range(32))
#: Server time at first.
START = 1_700_000_000.0
#: Sockets, each with one pulse in flight, so that a reply belongs to a pulse.
SOCKETS = 64
#: The part of the pulses that come from another socket than the one before.
MOVING = 0.2
#: Seconds by which two clocks may differ that are read one after the other.
ROUNDING = 0.002
#: Seconds for which a reply is waited for; a client that moves often has pulses dropped.
PATIENCE = 0.5


@attrs.define
class _Client:
    """
    :ivar at: the port of its last acknowledged pulse; ``None`` before the first.
    :ivar sent: when that was sent, on the monotonic clock.
    :ivar unsure: ports of pulses that were sent later and not acknowledged.
    """

    client_id: bytes
    key: bytes
    slot: int = 0
    at: int | None = None
    sent: float = 0.0
    unsure: set[int] = attrs.field(factory=set)


class _Fleet:
    """The clients, and what was acknowledged to them in the present life of the server."""

    def __init__(self, directory: Path, size: int, seed: int) -> None:
        self.chance = random.Random(seed)
        keyring = Keyring([Secret(SECRET)])
        ids = [self.chance.randbytes(16) for _ in range(size)]
        self.clients = [_Client(client_id, keyring.key(client_id)) for client_id in ids]
        self.path = str(directory / "rendezvous.sqlite3")
        secret = directory / "rendezvous.secret"
        secret.write_text(SECRET.hex() + "\n")
        secret.chmod(0o600)
        database = open_database(self.path)
        now = START
        database.execute("BEGIN")
        database.execute("INSERT OR REPLACE INTO meta VALUES ('server_time', ?)", (now,))
        for slot, each in enumerate(self.clients, 1):
            each.slot = slot
            record = Client(each.client_id, now, slot=slot)
            for sql, parameters in (*statements(record), (PUT_SNAPSHOT, snapshot_row(record))):
                database.execute(sql, parameters)
        database.execute("COMMIT")
        database.close()
        # The server's clock has this time when the server is ready, or a later one.
        self.server_time = now
        self.done: Counter[str] = Counter()
        self._waiting: dict[int, tuple[_Client, float]] = {}
        self._busy: set[bytes] = set()

    def load(self, server: Server, sockets: dict[int, socket.socket], seconds: float) -> None:
        """Pulse until the server is dead."""
        self.ready = time.monotonic()
        selector = selectors.DefaultSelector()
        self._waiting.clear()
        self._busy.clear()
        for port, each in sockets.items():
            each.setblocking(False)
            selector.register(each, selectors.EVENT_READ, port)
        threading.Timer(seconds, server.kill).start()
        while not server.down.is_set():
            for port in sockets.keys() - self._waiting.keys():
                self._send(sockets[port], port)
            for found, _ in selector.select(0.01):
                self._receive(sockets[found.data], found.data)
            for port, (client, sent) in list(self._waiting.items()):
                if time.monotonic() > sent + PATIENCE:
                    # Its reply may come yet, and belong to no other: this socket is not used again.
                    sockets.pop(port)
                    del self._waiting[port]
                    self._busy.discard(client.client_id)
        selector.close()

    def _send(self, sock: socket.socket, port: int) -> None:
        client = self.chance.choice(self.clients)
        if client.client_id in self._busy or (client.at not in (None, port) and self.chance.random() > MOVING):
            return
        try:
            # What is sent may be taken, whatever comes of it here.
            client.unsure.add(port)
            self._waiting[port] = (client, time.monotonic())
            self._busy.add(client.client_id)
            sock.send(client.key)
        except OSError:
            return  # The server is gone, which the loop will see.

    def _receive(self, sock: socket.socket, port: int) -> None:
        try:
            reply = sock.recv(64)
        except OSError:
            return
        client, sent = self._waiting.pop(port)
        self._busy.discard(client.client_id)
        if reply != ON_TIME:
            raise Violation(f"{client.client_id.hex()} pulsed on time and got {reply.hex()}")
        self.done["first" if client.at is None else "steady" if client.at == port else "move"] += 1
        client.at, client.sent = port, sent
        client.unsure.clear()

    def compare(self) -> None:
        """
        Read the file of a dead server.

        :raises Violation: an acknowledged pulse is not in it.
        """
        header, columns = look(client_file_path(self.path))
        slots = read_only(self.path, lambda database: {client_id: slot for slot, client_id in read_clients(database)})
        for each in self.clients:
            record = columns.whole_client(slots[each.client_id], each.client_id)
            if record is None:
                raise Violation(f"the record of {each.client_id.hex()} is not whole")
            if each.sent and record.last_seen < self.server_time + (each.sent - self.ready) - ROUNDING:
                raise Violation(f"the last pulse of {each.client_id.hex()} is not in the file, but an earlier one")
            # A move that was in flight may have been cut in two, and then there is no address.
            port = record.port if record.host is not None else None
            if port != each.at and port not in each.unsure and not (port is None and each.unsure):
                raise Violation(f"{each.client_id.hex()} pulsed from {each.at}, and the file says {port}")
            each.at, each.sent = port, 0.0
            each.unsure.clear()
            self.done["compared"] += 1
        self.server_time = header.time

    def pulse_all(self, server: Server) -> None:
        """
        Pulse once with each client, from where the file says that it is.

        :raises Violation: one is refused.
        """
        elsewhere = udp_socket(server)
        for each in self.clients:
            code = ask(server, elsewhere, each.key)
            if code != ON_TIME:
                raise Violation(f"{each.client_id.hex()} was on time, and got {code.hex()} after the restart")
            each.at, each.sent = elsewhere.getsockname()[1], 0.0
        elsewhere.close()


def crash_fleet(directory: Path, rounds: int, size: int, seed: int, plant: str = "") -> Counter[str]:
    """
    Kill a server that many times while a fleet pulses, and compare each time. Every second one has UDP workers.

    :param size: clients.
    :param plant: the name of a bug to plant in the server; see :mod:`tests.crash.planted`.
    :returns: how many pulses were acknowledged, by kind, and how many records were compared.
    :raises Violation: an acknowledged pulse is lost, or a client that was on time is refused.
    """
    fleet = _Fleet(directory, size, seed)
    server = Server(directory, *OPTIONS, prefix=UNMEASURED, plant=plant)
    try:
        for number in range(rounds):
            server.workers = WORKERS * (number % 2)
            server.start()
            sockets = {each.getsockname()[1]: each for each in [udp_socket(server) for _ in range(SOCKETS)]}
            every = list(sockets.values())
            fleet.load(server, sockets, fleet.chance.uniform(0.3, 0.8))
            fleet.compare()
            server.start()
            fleet.pulse_all(server)
            server.kill()
            fleet.server_time = look(client_file_path(fleet.path))[0].time
            for each in every:
                each.close()
    finally:
        server.kill()
    return fleet.done
