"""A real server on a machine whose wall clock is set forward and back, while it runs and while it is down."""

from __future__ import annotations

import http.client
import json
import re
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.clock import wall_clock
from tests._process_case import ON_TIME, PATIENCE, Client
from tests.attack.shim import Shim, missing
from tests.crash.server import Server
from tests.test_peers_process import require

DAY = 86_400.0
#: Seconds by which times that are shown may be off: pulses of the test, and a machine that is busy.
NEAR = 10.0


class MovedClockTests(SynchronousTestCase):
    """Nothing expires because of the wall clock, and what is shown is the time on it."""

    def setUp(self) -> None:
        """Start a server with an operators' port."""
        require(not missing(), missing())
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="clock-")))
        self.shim = Shim(self.directory)
        self.server = Server(self.directory, "--admin=tcp:0:interface=127.0.0.1", prefix=self.shim.prefix)
        self.server.start()
        self.addCleanup(self.server.kill)
        self.shifted = 0.0

    def client(self) -> Client:
        """:returns: a client that is online."""
        made = Client("127.0.0.1", (self.server.http_port, self.server.udp_port))
        self.addCleanup(made.close)
        made.register()
        self.assertEqual(made.pulse(), ON_TIME)
        return made

    def shift(self, seconds: float) -> None:
        """Set the wall clock of the server."""
        self.shim.shift(seconds)
        self.shifted = seconds

    def ask(self, method: str, path: str, body: Any = None, authorization: str = "", port: int = 0) -> Any:
        """:returns: the JSON of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.server.http_port, timeout=20)
        try:
            data = None if body is None else json.dumps(body)
            headers = {"Authorization": authorization, "Content-Type": "application/json"}
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            found = json.loads(response.read())
            self.assertEqual(response.status, 200, found)
            return found
        finally:
            connection.close()

    def ask_operators_port(self, path: str) -> Any:
        """:returns: the JSON of an answer of the operators' port."""
        token = (self.directory / "rendezvous.admin-token").read_text().strip()
        port = re.search(r"operators on \S+:(\d+)", self.server.log())
        assert port is not None, self.server.log()
        return self.ask("GET", path, authorization=f"Bearer {token}", port=int(port[1]))

    def assert_shown(self, seconds: float, expected: float) -> None:
        """Check a time on the moved wall clock."""
        self.assertLess(abs(seconds - self.shifted - expected), NEAR)

    def assert_untouched(self, clients: list[Client], offer: str, end: float) -> None:
        """
        Check that all clients are online, and that an offer is there.

        :param end: of the offer, in seconds since the epoch on a clock that was never set.
        """
        for client in clients:
            self.assertEqual(client.pulse(), ON_TIME)
            self.assertEqual(client.status(), "ONLINE")
        found = self.ask("GET", "/offers/by-topic/t")["offers"]
        self.assertEqual([each["id"] for each in found], [offer])
        self.assert_shown(found[0]["expiresAt"] / 1000, end)
        # Clients are counted every few seconds.
        late = time.monotonic() + PATIENCE
        while (overview := self.ask_operators_port("/overview"))["clients"]["online"] != len(clients):
            self.assertLess(time.monotonic(), late, overview)
            time.sleep(0.2)
        now = wall_clock()
        self.assert_shown(overview["time"], now)
        for shown in self.ask_operators_port("/clients")["clients"]:
            self.assert_shown(shown["last_seen"], now)
        self.assertNotIn("Traceback", self.server.log())

    def test_nobody_expires(self) -> None:
        """A day forward, two days back and right again: clients stay online, offers keep the rest of their time."""
        clients = [self.client() for _ in range(3)]
        made = self.ask(
            "POST", "/offers", {"offers": [{"sdp": "v=0", "topics": ["t"], "ttl": 300_000}]}, clients[0].credential
        )
        offer, end = made["offers"][0]["id"], wall_clock() + 300
        for seconds in (DAY, -DAY, 0.0):
            self.shift(seconds)
            # The sweep that runs each second sees the new time.
            time.sleep(1.5)
            self.assert_untouched(clients, offer, end)
        # The log has the time of the machine, whatever that is.
        self.assertNotIn("swept: clients", self.server.log())
        for seconds in (DAY, -DAY):
            self.server.stop()
            self.shift(seconds)
            self.server.start()
            for client in clients:
                client.http_port, client.udp_port = self.server.http_port, self.server.udp_port
            # Downtime does not count, so that the offer ends later by as much.
            self.assert_untouched(clients, offer, end)
        self.client()
