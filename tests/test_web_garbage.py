"""What is left of a request when it is over, without any help by the garbage collector."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

from rendezvous.testing import Connection
from tests._web_case import ORIGIN, WebTestCase


class GarbageTests(WebTestCase):
    """Large answers must not wait for a collection."""

    def test_a_transport_goes_with_its_connection(self) -> None:
        """Answered or refused: nothing keeps the transport, which has what was not read."""
        for _ in range(3):
            self.open_session(offer="\x01" * 60_000)
        was_enabled = gc.isenabled()
        gc.collect()
        gc.disable()
        try:
            for method, path, body, headers in (
                ("GET", "/chess/sessions", None, ORIGIN),
                ("GET", "/offers/mine", None, self.alice),
                ("GET", "/nothing/here", None, ORIGIN),
                ("POST", "/poll", {}, ORIGIN),
            ):
                connection = self.server.start_request(method, path, body, headers)
                self.server._connections.remove(connection)
                transport = weakref.ref(connection.transport)
                connection.lose()
                connection.transport.producer = None  # As a socket does when its connection is lost.
                del connection
                self.assertIsNone(transport(), path)
        finally:
            if was_enabled:
                gc.enable()

    def begun(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Connection:
        """Send a request on a connection that the server in memory does not keep."""
        connection = self.server.start_request(method, path, body, {**self.alice, **(headers or {})})
        self.server._connections.remove(connection)
        return connection

    def left(self, connection: Connection) -> None:
        """Lose a connection as a socket does."""
        connection.lose()
        connection.transport.producer = None

    def test_requests_leave_no_cycles(self) -> None:
        """A flood of any of these requests gives the garbage collector nothing to do."""

        def timed_out() -> None:
            connection = self.begun("GET", "/offers/answers?wait=1")
            self.advance(1)
            self.assertIsNotNone(connection.response())
            self.left(connection)

        ways: dict[str, Callable[[], None]] = {
            "a look-up": lambda: self.left(self.begun("GET", f"/peer/{self.bob_id}/udp")),
            "a session": lambda: self.left(self.begun("POST", "/t/offer", {"info": "", "offer": "v=0"}, ORIGIN)),
            "a long answer": lambda: self.left(self.begun("GET", "/openapi.json")),
            "a refused body": lambda: self.left(self.begun("POST", "/poll", b"x" * 10_000)),
            "a body that stops": lambda: self.left(self._sending(b"POST /poll HTTP/1.1\r\nContent-Length: 9\r\n\r\n1")),
            "a request that is not HTTP": lambda: self.left(self._sending(b"GET\r\n\r\n")),
            "a refused credential": lambda: self.left(self.begun("GET", "/offers/mine", None, {"Authorization": "x"})),
            "a client that leaves while it waits": lambda: self.left(self.begun("GET", "/offers/answers?wait=20")),
            "a wait without news": timed_out,
            "a stream": lambda: self.left(self.begun("GET", "/events")),
            "a connection without a request": lambda: self.left(self._connection()),
        }
        was_enabled = gc.isenabled()
        try:
            for name, way in ways.items():
                way()
                gc.collect()
                gc.disable()
                for _ in range(5):
                    way()
                self.assertEqual(gc.collect(), 0, name)
        finally:
            if was_enabled:
                gc.enable()

    def _sending(self, data: bytes) -> Connection:
        connection = self._connection()
        connection.send(data)
        return connection

    def _connection(self) -> Connection:
        connection = self.server.connect()
        self.server._connections.remove(connection)
        return connection
