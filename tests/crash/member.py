"""One client of a pair: its credential, its sockets, its stream, its entry in the tracker."""

from __future__ import annotations

import socket

from tests.crash.server import Server
from tests.crash.wire import Stream, udp_socket

__all__ = ["Member"]


class Member:
    """
    :ivar client_id: 32 hex digits.
    :ivar auth: the two-part credential, which needs no pulse.
    :ivar sockets: where its pulses come from, by port; while a move is in flight there are two.
    :ivar at: the port that its last acknowledged pulse came from; ``None`` before the first.
    :ivar tracked: the socket that the tracker knows it by.
    :ivar share_id: its name in the tracker, or ``None`` when it is not known.
    """

    def __init__(
        self, server: Server, client_id: str, key: str, heritage: tuple[socket.socket, str | None] | None
    ) -> None:
        self.client_id = client_id
        self.key = bytes.fromhex(key)
        self.auth = f"{client_id}:{key}"
        self.sockets: dict[int, socket.socket] = {}
        self.at: int | None = None
        self.tracked, self.share_id = heritage or (udp_socket(server), None)
        self.stream = Stream(server, self.auth)

    def new_socket(self, server: Server) -> int:
        """:returns: the port of one more socket."""
        made = udp_socket(server)
        port: int = made.getsockname()[1]
        self.sockets[port] = made
        return port

    def stay(self, port: int | None) -> None:
        """Be at one port, and nowhere else."""
        self.at = port
        for other in [each for each in self.sockets if each != port]:
            self.sockets.pop(other).close()

    def drain(self) -> None:
        """Throw away what came for requests that are no longer waited for."""
        for sock in (*self.sockets.values(), self.tracked):
            sock.setblocking(False)
            while True:
                try:
                    sock.recv(2048)
                except BlockingIOError:
                    break
                except OSError:
                    continue  # An event of the time when no stream was open.
            sock.settimeout(0.05)

    def close(self) -> None:
        """Close all but the socket of the tracker: another process that got its port would be taken for us there."""
        self.stream.close()
        self.stay(None)
