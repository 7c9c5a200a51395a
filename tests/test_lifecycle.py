"""Tests of a server's life: started, stopped, started again, in any order, with the thread that it really uses."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.server import make_service
from rendezvous.service import Rendezvous
from rendezvous.settings import Settings
from rendezvous.storage.batchtimer import GATHER
from rendezvous.testing import SECRET, Connection, MemoryReactor, Response
from tests._service_case import clocks

ENVIRON = {"RENDEZVOUS_SECRET": SECRET.hex()}
HOME = ("198.51.100.7", 40000)
ON_TIME = (1020).to_bytes(4, "big")

#: Seconds within which the thread must have done what it is asked.
PATIENCE = 20.0


class ThreadedReactor(MemoryReactor):
    """A reactor in memory, to which threads can hand calls."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: queue.Queue[Callable[[], object]] = queue.Queue()

    def callFromThread(self, callable: Any, *args: Any, **kwargs: Any) -> None:
        """Keep a call for the thread of the test."""
        self._calls.put(lambda: callable(*args, **kwargs))

    def run_until(self, is_done: Callable[[], object]) -> None:
        """Do what is due and what threads hand over, until something is true."""
        deadline = time.monotonic() + PATIENCE
        self.advance(0)
        while not is_done():
            self._calls.get(timeout=max(0.0, deadline - time.monotonic()))()
            self.advance(GATHER)


class LifeCase(SynchronousTestCase):
    """A server with ports, on a reactor in memory, whose store has a real thread."""

    def setUp(self) -> None:
        """Make the server, not started."""
        self.threads = set(threading.enumerate())
        self.reactor = ThreadedReactor()
        self.reactor.advance(1_800_000_000)
        self.connections: list[Connection] = []

    def make(self, store: str, **settings: Any) -> MultiService:
        """:returns: a server that is stopped after the test, if it runs then."""
        service = make_service(
            Settings(store=store, **settings),
            self.reactor,
            environ=ENVIRON,
            **clocks(self.reactor),
        )
        self.addCleanup(self.stop, service)
        return service

    def embed(self, store: str) -> Rendezvous:
        """:returns: a server without ports, as another application embeds it."""
        return Rendezvous(Settings(store=store), self.reactor, environ=ENVIRON, **clocks(self.reactor))

    def stores(self) -> list[str]:
        """:returns: one of each kind."""
        path = Path(self.mktemp())
        path.mkdir(parents=True)
        return ["memory:", f"sqlite:{path}/rendezvous.sqlite3"]

    def start(self, service: MultiService) -> None:
        """Start as an application does."""
        service.privilegedStartService()
        service.startService()

    def stop(self, service: MultiService, times: int = 1) -> None:
        """Stop, and wait until nothing is left."""
        while self.connections:
            self.connections.pop().lose()
        self.wait_for(*(service.stopService() for _ in range(times)))

    def wait_for(self, *stopping: Deferred[Any]) -> None:
        """Wait until the server has stopped."""
        stopped: list[object] = []
        for each in stopping:
            each.addBoth(stopped.append)
        self.reactor.run_until(lambda: len(stopped) == len(stopping))
        self.assertEqual([end for end in stopped if isinstance(end, Failure)], [])

    def assert_nothing_is_left(self) -> None:
        """Check ports, delayed calls, threads and the log."""
        ports: list[Any] = [*self.reactor.udp_ports, *self.reactor.tcp_ports]
        self.assertEqual([port for port in ports if port.listening], [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(set(threading.enumerate()) - self.threads, set())
        self.assertEqual(self.flushLoggedErrors(), [])

    def begin(self, method: str, path: str, key: str = "", body: bytes = b"") -> Connection:
        """:returns: the connection of a request that may be held."""
        connection = Connection(self.reactor.tcp_ports[-1].factory, HOME)
        self.connections.append(connection)
        headers = {"Host": "a", **({"Authorization": f"Bearer {key}"} if key else {})}
        if body:
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        connection.request(method, path, headers, body)
        return connection

    def ask(self, method: str, path: str, key: str = "", body: bytes = b"") -> Response:
        """:returns: the answer to a request, which may take a trip to the disk."""
        connection = self.begin(method, path, key, body)
        self.reactor.run_until(connection.response)
        response = connection.response()
        assert response is not None
        return response

    def good(self, method: str, path: str, key: str = "", body: bytes = b"") -> Any:
        """:returns: the body of the answer to a request that is served."""
        response = self.ask(method, path, key, body)
        self.assertEqual(response.status, 200, response.body)
        return response.json()

    def pulse(self, key: str) -> bytes:
        """:returns: the answer to a pulse."""
        port = self.reactor.udp_ports[-1]
        before = len(port.sent)
        port.deliver(bytes.fromhex(key), HOME)
        self.reactor.run_until(lambda: len(port.sent) > before)
        return port.sent[-1][0]


class LifeTests(LifeCase):
    """Tests of starting and stopping, in every order."""

    def test_stopped_service_can_start_again(self) -> None:
        """In its second life it registers, lets a request wait, knows a client of the first, and answers its pulse."""
        for store in self.stores():
            service = self.make(store)
            self.start(service)
            first = self.good("POST", "/register")
            self.assertEqual(self.pulse(first["private_id"]), ON_TIME)
            self.stop(service)
            self.assert_nothing_is_left()
            self.reactor.advance(5)

            self.start(service)
            second = self.good("POST", "/register")
            found = self.good("GET", f"/peer/{first['client_id']}/udp", second["private_id"])
            self.assertEqual((found["host"], found["port"]), HOME)
            self.assertEqual(self.pulse(first["private_id"]), ON_TIME)
            self.check_waiting(second["private_id"], first["private_id"])
            self.stop(service)
            self.assert_nothing_is_left()

    def check_waiting(self, owner: str, answerer: str) -> None:
        """Publish, let the owner wait for an answer, and answer."""
        published = self.good("POST", "/offers", owner, b'{"offers":[{"sdp":"v=0","topics":["chess"]}]}')
        held = self.begin("GET", "/offers/answers?wait=20", owner)
        self.assertIsNone(held.response())
        self.good("POST", f"/offers/{published['offers'][0]['id']}/answer", answerer, b'{"sdp":"v=1"}')
        self.reactor.run_until(held.response)
        response = held.response()
        assert response is not None
        self.assertEqual((response.status, response.json()["answers"][0]["sdp"]), (200, "v=1"))

    def test_stored_state_is_the_same_in_every_life(self) -> None:
        """Reading the file back into a server that has lived already doubles nothing."""
        for store in self.stores():
            service = self.make(store)
            keys: list[str] = []
            for life in range(1, 4):
                self.start(service)
                keys.append(self.good("POST", "/register")["private_id"])
                offer = b'{"offers":[{"sdp":"v=%d","topics":["chess"]}]}' % life
                self.good("POST", "/offers", keys[-1], offer)
                page = self.good("GET", "/offers/by-topic/chess")
                self.assertEqual(len(page["offers"]), life, store)
                self.assertEqual(sum(len(self.good("GET", "/offers/mine", key)["offers"]) for key in keys), life)
                self.stop(service)
            self.assert_nothing_is_left()

    def test_stop_twice_is_a_stop(self) -> None:
        """The second one waits for the first, and finds nothing to do."""
        for store in self.stores():
            service = self.make(store)
            self.start(service)
            self.good("POST", "/register")
            self.stop(service, times=2)
            self.assert_nothing_is_left()
            self.stop(service)
            self.assert_nothing_is_left()

    def test_stop_without_a_start_does_nothing(self) -> None:
        """Once or twice; a start after it works."""
        for store in self.stores():
            service = self.make(store)
            self.stop(service)
            self.stop(service)
            self.assert_nothing_is_left()
            self.start(service)
            self.good("POST", "/register")
            self.stop(service)
            self.assert_nothing_is_left()

    def test_start_twice_is_a_start(self) -> None:
        """Everything is open once."""
        for store in self.stores():
            service = self.make(store)
            self.start(service)
            service.startService()
            self.good("POST", "/register")
            ports: list[Any] = [*self.reactor.udp_ports, *self.reactor.tcp_ports]
            self.assertEqual(len([port for port in ports if port.listening]), 3)
            self.stop(service)
            self.assert_nothing_is_left()

    def test_stop_closes_connections(self) -> None:
        """One that is kept alive, at once; one whose request is held, when that has been answered."""
        for store in self.stores():
            service = self.make(store)
            self.start(service)
            key = self.good("POST", "/register")["private_id"]
            idle, fresh = self.connections[-1], Connection(self.reactor.tcp_ports[-1].factory, HOME)
            held = self.begin("GET", "/offers/answers?wait=20", key)
            stopping = service.stopService()
            self.assertEqual([idle.closed, fresh.closed], [True, True])
            self.wait_for(stopping)
            response = held.response()
            assert response is not None
            self.assertEqual((response.status, held.closed), (503, True))
            for connection in (idle, fresh, held):
                connection.lose()
            self.connections.clear()
            self.assert_nothing_is_left()
            self.start(service)
            again = self.begin("GET", "/health")
            self.assertEqual((again.response() is not None, again.closed), (True, False))
            self.stop(service)

    def test_start_while_stopping_is_refused(self) -> None:
        """It says what to wait for, and does not disturb the stop."""
        _, store = self.stores()
        rendezvous = self.embed(store)
        rendezvous.startService()
        stopped: list[object] = []
        rendezvous.stopService().addCallback(stopped.append)
        self.assertEqual(stopped, [])
        self.assertIn("still stopping", str(self.assertRaises(RuntimeError, rendezvous.startService)))
        self.reactor.run_until(lambda: stopped)
        self.assert_nothing_is_left()

    def test_file_is_free_after_a_stop(self) -> None:
        """Another server can open it, in the same process or elsewhere; SQLite's own files are gone."""
        _, store = self.stores()
        first, second = self.make(store), self.make(store)
        self.start(first)
        client = self.good("POST", "/register")
        self.stop(first)
        directory = Path(store.removeprefix("sqlite:")).parent
        self.assertEqual(
            sorted(path.name for path in directory.iterdir()),
            ["rendezvous.sqlite3", "rendezvous.sqlite3.clients", "rendezvous.sqlite3.lock"],
        )
        self.start(second)
        self.good("POST", "/verify", client["private_id"])
        self.stop(second)
        self.assert_nothing_is_left()

    def test_failed_start_leaves_nothing(self) -> None:
        """The file is in use; once it is free the same service starts."""
        _, store = self.stores()
        first, second = self.make(store), self.make(store)
        self.start(first)
        self.assertRaises(ValueError, second.startService)
        self.stop(second)
        self.stop(first)
        self.assert_nothing_is_left()
        self.start(second)
        self.good("POST", "/register")
        self.stop(second)
        self.assert_nothing_is_left()


class NotRunningTests(LifeCase):
    """Tests of a server that does not run: its parts are mounted, and it was never started, or it was stopped."""

    def assert_not_running(self, rendezvous: Rendezvous, site: Any) -> None:
        """Check that what needs the state is refused, and that what does not is served."""
        requests = {"/register": "POST", "/verify": "POST", "/topics": "GET", "/offers/by-topic/x": "GET"}
        for path, method in [*requests.items(), (f"/peer/{'0' * 32}/udp", "GET"), ("/offers/mine?wait=5", "GET")]:
            connection = Connection(site, HOME)
            connection.request(method, path, {"Host": "a"})
            response = connection.response()
            connection.lose()
            assert response is not None
            self.assertEqual((response.status, response.json()["code"]), (503, "unavailable"), path)
            self.assertIn("The server is not running", response.json()["error"])
            self.assertIn("retry-after", response.headers)
        for path in ("/", "/health", "/openapi.json"):
            connection = Connection(site, HOME)
            connection.request("GET", path, {"Host": "a"})
            response = connection.response()
            connection.lose()
            self.assertEqual(response and response.status, 200, path)

    def test_server_that_was_never_started_says_so(self) -> None:
        """Every request that needs its state is answered 503 with a plain sentence; a pulse gets no answer."""
        for store in self.stores():
            rendezvous = self.embed(store)
            site = rendezvous.site()
            self.assert_not_running(rendezvous, site)
            port = self.reactor.listenUDP(9999, rendezvous.datagrams())
            self.assertEqual(port.deliver(bytes(range(32)), HOME), [])
            port.stopListening()
            self.reactor.advance(120)
            self.assert_nothing_is_left()

    def test_server_that_was_stopped_says_so(self) -> None:
        """On a site that goes on without it."""
        for store in self.stores():
            rendezvous = self.embed(store)
            site = rendezvous.site()
            port = self.reactor.listenUDP(9999, rendezvous.datagrams())
            rendezvous.startService()
            connection = Connection(site, HOME)
            connection.request("POST", "/register", {"Host": "a"})
            self.reactor.run_until(connection.response)
            response = connection.response()
            assert response is not None
            key = bytes.fromhex(response.json()["private_id"])
            connection.lose()
            port.deliver(key, HOME)
            self.reactor.run_until(lambda: self.reactor.udp_ports[-1].sent)
            self.stop(rendezvous)
            self.assertEqual(port.deliver(key, HOME), [])
            self.assert_not_running(rendezvous, site)
            port.stopListening()
            self.reactor.advance(120)
            self.assert_nothing_is_left()
