"""How a client of the crash tests talks: HTTP that stays open, datagrams, and a stream of events."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from typing import Any

from tests.crash.server import Server

__all__ = ["Connection", "Gone", "Stream", "Violation", "ask", "ask_tracker", "udp_socket"]

#: Seconds within which a server that runs must have answered.
PATIENCE = 20.0


class Gone(Exception):
    """The server has been killed, so it is not known what became of this request."""


class Violation(AssertionError):
    """The server has not kept what it promised."""


class Connection:
    """
    One connection that is used again and again.

    :param port: another one than that of clients.
    """

    def __init__(self, server: Server, port: int | None = None) -> None:
        self._server = server
        self._http = http.client.HTTPConnection(
            "127.0.0.1", server.http_port if port is None else port, timeout=PATIENCE
        )

    def send(self, method: str, path: str, auth: str | None, body: Any, **headers: str) -> tuple[int, Any]:
        """
        :returns: status and JSON of the answer.
        :raises Gone: the server was killed meanwhile.
        """
        if auth is not None:
            headers["Authorization"] = f"Bearer {auth}"
        try:
            self._http.request(method, path, None if body is None else json.dumps(body), headers)
            response = self._http.getresponse()
            return response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as e:
            if self._server.down.wait(2.0):
                raise Gone from e
            raise Violation(f"{method} {path} was not answered by a running server: {e!r}") from e

    def expect(self, method: str, path: str, auth: str | None = None, body: Any = None, **headers: str) -> Any:
        """
        :returns: the JSON of an answer with 200 or 201.
        :raises Violation: it was answered otherwise.
        """
        status, answer = self.send(method, path, auth, body, **headers)
        if status not in (200, 201):
            raise Violation(f"{method} {path} was answered {status} {answer}")
        return answer

    def close(self) -> None:
        """Hang up."""
        self._http.close()


def udp_socket(server: Server) -> socket.socket:
    """:returns: a socket on a port of its own, connected to the server."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.connect(("127.0.0.1", server.udp_port))
    made.settimeout(0.05)
    return made


def ask(server: Server, sock: socket.socket, datagram: bytes, times: int = 1) -> bytes:
    """
    Send, and wait for the first reply.

    :param times: how often to send it, one after the other at once.
    :raises Gone: the server was killed meanwhile.
    :raises Violation: a running server did not reply.
    """
    late = time.monotonic() + PATIENCE
    try:
        for _ in range(times):
            sock.send(datagram)
        while time.monotonic() < late:
            try:
                return sock.recv(2048)
            except TimeoutError:
                if server.down.is_set():
                    raise Gone from None
    except OSError as e:
        if server.down.wait(2.0):
            raise Gone from e
        raise Violation(f"a running server refuses datagrams: {e!r}") from e
    raise Violation(f"a running server did not reply to {datagram[:60]!r}")


def ask_tracker(server: Server, sock: socket.socket, **request: Any) -> Any:
    """:returns: the tracker's reply."""
    return json.loads(ask(server, sock, json.dumps(request).encode()))


class Stream:
    """
    A peer's events, read by a thread until the server is killed, and on from there.

    :ivar seen: (number, kind, data) of each event, over all lives.
    """

    def __init__(self, server: Server, auth: str) -> None:
        self.seen: list[tuple[int, str, Any]] = []
        self._auth = auth
        self._cursor: str | None = None
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self.resume(server)

    def resume(self, server: Server) -> None:
        """Begin, or go on after what was read last; returns once the stream is open and its first block is here."""
        headers = {"Authorization": f"Bearer {self._auth}"}
        if self._cursor is not None:
            headers["Last-Event-ID"] = self._cursor
        connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=PATIENCE)
        try:
            connection.request("GET", "/events", None, headers)
            self._socket = connection.sock
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as e:
            if server.down.wait(2.0):
                raise Gone from e
            raise
        if response.status != 200:
            raise Violation(f"/events was answered {response.status}")
        begun = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(response, begun), daemon=True)
        self._thread.start()
        if not begun.wait(PATIENCE) and not server.down.is_set():
            raise Violation("/events said nothing")

    def _read(self, response: http.client.HTTPResponse, begun: threading.Event) -> None:
        block: dict[str, str] = {}
        try:
            for line in response:
                name, _, value = line.decode().rstrip("\n").partition(":")
                if line != b"\n":
                    block[name] = value.removeprefix(" ")
                    continue
                # The id counts only now: a block that was cut short is sent again.
                self._cursor = block.get("id", self._cursor)
                if "event" in block:
                    self.seen.append((int(block.get("id", 0)), block["event"], json.loads(block["data"])))
                block = {}
                begun.set()
        except (OSError, http.client.HTTPException, ValueError):
            pass
        finally:
            response.close()
            begun.set()

    def join(self) -> None:
        """Wait until the stream has ended, as it does when the server is killed."""
        if self._thread is not None:
            self._thread.join(PATIENCE)
            if self._thread.is_alive():
                raise Violation("a stream outlived its server")

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                return
