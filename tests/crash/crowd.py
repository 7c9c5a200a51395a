"""
Very many clients pulse at full speed: a server is killed in the midst of it, and its file compared client by client.

:mod:`tests.crash.fleet` does the same with few pulses under way. Here a program in C (``crowd.c``) keeps as many under
way as the server decides together, and a million clients take part.
"""

from __future__ import annotations

import json
import random
import shutil
import struct
import subprocess
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

from rendezvous.core.identity import Keyring, Secret
from rendezvous.core.presence.clients import ClientColumns
from rendezvous.core.presence.record import ADDRESS, RECORD_SIZE, USED
from rendezvous.storage.client_file import client_file_path, look
from rendezvous.storage.database import open_database
from rendezvous.storage.inspection import read_only
from rendezvous.storage.rows import read_clients
from tests.crash.fleet import SECRET, START
from tests.crash.rounds import OPTIONS, WORKERS
from tests.crash.server import UNMEASURED, Server
from tests.crash.wire import Violation

__all__ = ["crash_crowd", "missing"]

SOURCE = Path(__file__).with_name("crowd.c")
#: Sockets, each with one pulse under way: as many as a server takes in one batch.
SOCKETS = 256
#: Seconds by which two clocks may differ that are read one after the other.
ROUNDING = 0.002
#: Where the pulse was sent from that was not acknowledged, if there were several.
ANYWHERE = 0xFFFFFFFF

#: A record of the file of clients: last seen, port, flags, client id.
_RECORD = struct.Struct("=d24xH2xH2x16s8x")
#: A record of ``crowd.c``: sent, acknowledged, port, the port of one that was not acknowledged.
_ACKNOWLEDGED = struct.Struct("=ddII8x")


def missing() -> str:
    """:returns: why the clients cannot be run here, or an empty text."""
    return "" if shutil.which("cc") else "there is no C compiler (cc)"


@attrs.frozen
class _Seen:
    """
    What the file says of a client, and what was acknowledged to it in the last life of the server.

    :ivar seen: server time of the last pulse.
    :ivar port: where it came from; 0 if there is no address.
    :ivar sent: when the last acknowledged pulse was sent; 0 if there was none.
    :ivar acked: when its reply was read.
    :ivar acked_port: where it came from.
    :ivar unsure: where a later one came from that has no reply; 0 if there is none.
    """

    slot: int
    seen: float
    port: int
    sent: float
    acked: float
    acked_port: int
    unsure: int


class _Crowd:
    """The clients, and where each was when it last pulsed."""

    def __init__(self, directory: Path, size: int) -> None:
        self.size = size
        self.done: Counter[str] = Counter()
        self._program = directory / "crowd"
        subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-o", self._program, SOURCE], check=True)
        self._record = directory / "acknowledged"
        self._keys = directory / "keys"
        key = Keyring([Secret(SECRET)]).key
        with self._keys.open("wb") as file:
            file.writelines(key(its_id) for _, its_id in self._clients())
        self._path = str(directory / "rendezvous.sqlite3")
        secret = directory / "rendezvous.secret"
        secret.write_text(SECRET.hex() + "\n")
        secret.chmod(0o600)
        database = open_database(self._path)
        database.execute("BEGIN")
        database.execute("INSERT OR REPLACE INTO meta VALUES ('server_time', ?)", (START,))
        database.executemany("INSERT INTO clients (slot, client_id) VALUES (?, ?)", self._clients())
        database.execute("COMMIT")
        database.close()
        self._ports = array("H", bytes(2 * size))
        # The server's clock has this time when the server is ready, or a later one.
        self._server_time = START

    def _clients(self) -> Iterator[tuple[int, bytes]]:
        return ((slot, _client_id(slot)) for slot in range(1, self.size + 1))

    def live(self, server: Server, replies: int) -> None:
        """
        Start the server, pulse, kill it, and compare its file.

        :param replies: how many pulses are acknowledged before it is killed, in the midst of the load; 0 for one to
            each client.
        :raises Violation: a client on time was refused, or an acknowledged pulse is not in the file.
        """
        server.start()
        ready = time.monotonic()
        self._record.write_bytes(b"")
        with self._record.open("r+b") as file:
            file.truncate(self.size * _ACKNOWLEDGED.size)
        words = [self._program, server.udp_port, self._keys, self._record, SOCKETS, replies, server.pid]
        output = subprocess.run(list(map(str, words)), check=True, capture_output=True, text=True).stdout
        server.kill()
        self._judge(json.loads(output), replies or self.size)
        self._compare(self._server_time - ready)

    def _judge(self, found: dict[str, Any], wanted: int) -> None:
        if found["others"]:
            who = _client_id(found["other_client"] + 1).hex()
            raise Violation(f"{found['others']} pulses on time were refused, as that of {who} by {found['other_code']}")
        kinds = {kind: found[kind] for kind in ("first", "steady", "move")}
        if sum(kinds.values()) < wanted:
            raise Violation(f"of {wanted} pulses {sum(kinds.values())} were acknowledged, and the server had ended")
        self.done.update(kinds, lost=found["lost"])

    def _compare(self, earliest: float) -> None:
        """
        Compare each client.

        :param earliest: server time at 0 on the monotonic clock, or an earlier one.
        """
        header, columns = look(client_file_path(self._path))
        rows = read_only(self._path, lambda database: list(read_clients(database)))
        if rows != list(self._clients()):
            raise Violation("the database has not the clients that it had")
        # A pulse was taken between the moments when it was sent and when its reply was read. So each acknowledged pulse
        # says how late server time may at most have been, and how late at least.
        sure = (each for each in self._seen(columns) if each.sent and not each.unsure)
        earliest = max(earliest, max((each.seen - each.acked for each in sure), default=earliest)) - ROUNDING
        for each in self._seen(columns):
            self._check(each, earliest)
            self._ports[each.slot - 1] = each.port
            self.done["compared"] += 1
        self._server_time = header.time

    def _check(self, each: _Seen, earliest: float) -> None:
        name = f"the client in slot {each.slot}"
        if each.sent and each.seen < each.sent + earliest:
            late = each.sent + earliest - each.seen
            raise Violation(f"the last pulse of {name} is not in the file, but one that was {late:.3f} s earlier")
        port = each.acked_port or self._ports[each.slot - 1]
        if each.port == port:
            return
        # A move that was under way may have been taken, or cut in two; then there is no address.
        if not each.unsure or (each.port not in (0, each.unsure) and each.unsure != ANYWHERE):
            raise Violation(f"{name} pulsed from {port}, and the file says {each.port}")

    def _seen(self, columns: ClientColumns) -> Iterator[_Seen]:
        """
        Yield what is to be compared.

        :raises Violation: a slot does not hold its client.
        """
        records = _RECORD.iter_unpack(columns.memory[RECORD_SIZE : (self.size + 1) * RECORD_SIZE])
        acknowledged = _ACKNOWLEDGED.iter_unpack(self._record.read_bytes())
        for slot, ((seen, port, flags, its_id), acked) in enumerate(zip(records, acknowledged, strict=True), 1):
            if not flags & USED or its_id != _client_id(slot):
                raise Violation(f"the record in slot {slot} is not that of its client")
            has_address = flags & ADDRESS and columns.is_whole(slot)
            yield _Seen(slot, seen, port if has_address else 0, *acked)


def _client_id(slot: int) -> bytes:
    return slot.to_bytes(16, "big")


def crash_crowd(
    directory: Path, rounds: int, size: int, seed: int, say: Callable[[str], None], plant: str = ""
) -> Counter[str]:
    """
    Kill a server that many times while all clients pulse in turn, restart it, and have each client pulse once more.

    In every second round the server has UDP workers. After every life of the server its file is compared with what was
    acknowledged, client by client.

    :param size: clients.
    :param say: called with a line about each round.
    :param plant: the name of a bug to plant in the server; see :mod:`tests.crash.planted`.
    :returns: how many pulses were acknowledged, by kind, and how many records were compared.
    :raises Violation: an acknowledged pulse is lost, or a client that was on time is refused.
    """
    chance = random.Random(seed)
    crowd = _Crowd(directory, size)
    server = Server(directory, *OPTIONS, f"--max-clients={size}", prefix=UNMEASURED, plant=plant)
    try:
        for number in range(1, rounds + 1):
            before = crowd.done.copy()
            server.workers = WORKERS * (number % 2 == 0)
            # In the first lap of a life all clients are new or come from elsewhere. Later ones have steady pulses too.
            replies = max(1, int(size * ((number - 1) % 3 + chance.uniform(0.1, 0.9))))
            crowd.live(server, replies)
            crowd.live(server, 0)
            done = crowd.done - before
            say(f"round {number}: killed after {replies} replies; {', '.join(f'{done[k]} {k}' for k in sorted(done))}")
    finally:
        server.kill()
    return crowd.done
