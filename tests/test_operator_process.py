"""The operators' port of real processes: bans and kicks hold in UDP workers, last beyond a restart, and more."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest

from tests._process_case import ON_TIME, PATIENCE, UNKNOWN, Client
from tests.test_udp_workers_process import Load, WorkersCase

if sys.platform != "linux":
    raise SkipTest("other addresses of the loopback network, and workers, need Linux")

TOKEN = "a-token-of-operators-for-tests-0123456789"
#: Seconds after which a datagram on loopback is not answered any more.
SILENCE = 0.3
#: Where clients pulse from that are banned, and those that are not.
FLOODER, OTHER = "127.0.0.2", "127.0.0.1"


class UnixConnection(http.client.HTTPConnection):
    """HTTP on a UNIX socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        # The path of a socket has 107 bytes at most, and the directory of a test may be deeper.
        directory = os.open(self._path.parent, os.O_PATH)
        try:
            self.sock.connect(f"/proc/self/fd/{directory}/{self._path.name}")
        finally:
            os.close(directory)


class OperatorProcessCase(WorkersCase):
    """A server with a port for operators."""

    def setUp(self) -> None:
        """Write the token."""
        super().setUp()
        self.token_file = self.directory / "admin.token"
        with open(os.open(self.token_file, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write(TOKEN + "\n")
        self.admin = ("--admin=tcp:0:interface=127.0.0.1", f"--admin-token-file={self.token_file}")

    def connection(self) -> http.client.HTTPConnection:
        """:returns: a connection to the port of operators."""
        found = self.eventually(lambda: re.search(r"operators on 127\.0\.0\.1:([0-9]+)", self.log()), "the port")
        return http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=PATIENCE)

    def operate(self, method: str, path: str, body: Any = None, *, token: str = TOKEN) -> tuple[int, Any]:
        """:returns: status and body of an answer of the port of operators."""
        connection = self.connection()
        try:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def at(self, clients: list[Client], host: str) -> list[Client]:
        """Have clients pulse from an address of their own."""
        for client in clients:
            client.socket.close()
            client.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            client.socket.settimeout(PATIENCE)
            client.socket.bind((host, 0))
            self.assertEqual(client.pulse(), ON_TIME)
        return clients

    def answers(self, clients: list[Client]) -> list[bytes]:
        """:returns: what pulses of all clients at once are answered with, where they are."""
        for client in clients:
            client.socket.sendto(client.key, (client.host, client.udp_port))
        found = []
        for client in clients:
            client.socket.settimeout(SILENCE / len(clients))
            try:
                found.append(client.socket.recv(100))
            except TimeoutError:
                continue
            finally:
                client.socket.settimeout(PATIENCE)
        return found


class WorkerBansTests(OperatorProcessCase):
    """Two workers that answer pulses, and what an operator decides meanwhile."""

    def begin(self) -> tuple[list[Client], list[Client]]:
        """:returns: clients that pulse from the one address, and from the other; both workers answer some of each."""
        clients = self.serve("--store=memory:", *self.admin)
        flooders, others = self.at(clients[:20], FLOODER), clients[20:]
        self.both_answer(flooders)
        self.both_answer(others)
        return flooders, others

    def test_ban_of_a_network_holds_from_the_next_batch_on(self) -> None:
        """No pulse of it is answered once the ban was; all others are, and after its end the workers answer again."""
        flooders, others = self.begin()
        load = Load(others)
        load.thread.start()
        self.addCleanup(load.end)
        self.assertEqual(self.operate("POST", "/bans", {"target": f"{FLOODER}/32"})[0], 201)
        for _ in range(5):
            self.assertEqual(self.answers(flooders), [])
        self.eventually(lambda: load.replies[ON_TIME] > 200, "answers to others")
        replies = load.end()
        self.assertEqual(set(replies), {ON_TIME})
        # A busy server may drop the last of them a little later.
        self.eventually(lambda: self.operate("GET", "/limited")[1]["dropped"]["banned"] == 100, "100 that are dropped")
        self.assertEqual(self.operate("DELETE", f"/bans/{FLOODER}%2F32")[0], 200)
        self.assertEqual({client.pulse() for client in flooders}, {ON_TIME})
        self.both_answer(flooders)

    def test_ban_holds_in_a_worker_that_begins_later(self) -> None:
        """One that takes the place of another one that was killed."""
        flooders, others = self.begin()
        self.assertEqual(self.operate("POST", "/bans", {"target": FLOODER})[0], 201)
        worker = self.workers()[0]
        os.kill(worker, signal.SIGKILL)
        self.replaced(worker)
        self.assertEqual(self.answers(flooders), [])
        self.assertEqual({client.pulse() for client in others}, {ON_TIME})

    def test_kicked_client_is_unknown_at_once(self) -> None:
        """Its next pulse is answered 1060, whichever process it comes to; so is that of a banned client."""
        flooders, others = self.begin()
        load = Load(others)
        load.thread.start()
        self.addCleanup(load.end)
        for client in flooders[:10]:
            self.assertEqual(self.operate("POST", f"/clients/{client.client_id}/kick")[0], 200)
            self.assertEqual(client.pulse(), UNKNOWN)
        for client in flooders[10:]:
            self.assertEqual(self.operate("POST", "/bans", {"target": client.client_id})[0], 201)
            self.assertEqual(client.pulse(), UNKNOWN)
            self.assertEqual(client.ask("POST", "/verify")[1]["code"], "banned")
        self.eventually(lambda: load.replies[ON_TIME] > 200, "answers to others")
        self.assertEqual(set(load.end()), {ON_TIME})
        # The workers still answer: a ban of a client alone does not keep them from it.
        self.both_answer(others)


class DurableTests(OperatorProcessCase):
    """What an operator has decided holds after a restart."""

    def test_bans_and_kicks_last(self) -> None:
        """After a stop and after a crash; a ban that was lifted does not come back."""
        self.found_ports = self.start("--interface=127.0.0.1", "--no-source-limits", *self.admin)
        flooder, kicked, banned, other = (self.client(OTHER, self.found_ports) for _ in range(4))
        self.at([flooder], FLOODER)
        for client in (kicked, banned, other):
            self.assertEqual(client.pulse(), ON_TIME)
        self.operate("POST", "/bans", {"target": "192.0.2.0/24"})
        self.operate("DELETE", "/bans/192.0.2.0%2F24")
        self.operate("POST", "/bans", {"target": FLOODER, "seconds": 3600, "reason": "floods"})
        self.operate("POST", "/bans", {"target": banned.client_id})
        self.operate("POST", f"/clients/{kicked.client_id}/kick")
        bans = self.operate("GET", "/bans")[1]
        self.assertEqual({each["target"] for each in bans["bans"]}, {f"{FLOODER}/32", banned.client_id})
        for number in (signal.SIGKILL, signal.SIGTERM):
            self.process.send_signal(number)
            self.process.wait(PATIENCE)
            with open(self.directory / "out.log", "w") as out, open(self.directory / "err.log", "w") as err:
                words = (f"--http-port={self.found_ports[0]}", f"--udp-port={self.found_ports[1]}")
                self.process = self.launch_words(
                    out, err, *words, "--interface=127.0.0.1", "--no-source-limits", *self.admin
                )
            self.assertEqual(self.ports(), self.found_ports)
            self.assertEqual(self.operate("GET", "/bans")[1], bans)
            self.assertEqual(self.answers([flooder]), [])
            self.assertEqual([client.pulse() for client in (kicked, banned, other)], [UNKNOWN, UNKNOWN, ON_TIME])
            self.assertEqual(kicked.ask("POST", "/verify")[0], 401)
            self.assertEqual(banned.ask("POST", "/verify")[1]["code"], "banned")


class UnixTests(OperatorProcessCase):
    """The port of operators on a UNIX socket."""

    def connection(self) -> http.client.HTTPConnection:
        """:returns: a connection to it."""
        self.eventually(lambda: "operators on " in self.log(), "the port")
        return UnixConnection(self.directory / "admin.sock")

    def test_socket_of_a_server_that_was_killed_is_no_obstacle(self) -> None:
        """The next one takes its place."""
        options = ("--store=memory:", "--interface=127.0.0.1", "--admin=unix:admin.sock:mode=600", self.admin[1])
        self.start(*options)
        self.assertEqual(self.operate("GET", "/overview")[0], 200)
        self.process.kill()
        self.process.wait(PATIENCE)
        self.assertTrue((self.directory / "admin.sock").exists())
        self.start(*options)
        self.assertEqual(self.operate("GET", "/overview")[0], 200)

    def test_unix_socket(self) -> None:
        """Those who may open it still need the token; the log says what they are."""
        self.start("--store=memory:", "--interface=127.0.0.1", "--admin=unix:admin.sock:mode=600", self.admin[1])
        self.assertEqual(self.operate("GET", "/overview")[0], 200)
        self.assertEqual(self.operate("GET", "/overview", token="x" * 40)[0], 401)
        self.assertEqual((self.directory / "admin.sock").stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.operate("POST", "/drain"), (200, {"draining": True}))
        self.assertIn("operator a local socket: the server is draining", self.log())
        self.assertNotIn(TOKEN, self.log())
        self.stop(signal.SIGTERM)
        self.assertFalse((self.directory / "admin.sock").exists())
