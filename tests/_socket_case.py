"""A server in memory, and WebSockets to it."""

from __future__ import annotations

import json
from typing import Any

from rendezvous.testing import MemorySocket
from tests._web_case import Headers, WebTestCase

HOME = ("198.51.100.7", 50000)


class SocketTestCase(WebTestCase):
    """Sockets are lost at the end of a test."""

    def socket(self, target: str = "/signal", headers: Headers | None = None, host: str = HOME[0]) -> MemorySocket:
        """Open one."""
        socket = MemorySocket(self.server.connect((host, HOME[1])), target, headers)
        self.open.append(socket.connection)
        return socket

    def say(self, socket: MemorySocket, **message: Any) -> None:
        """Send an object."""
        socket.say(json.dumps(message))

    def heard(self, socket: MemorySocket) -> list[Any]:
        """:returns: the objects that have come."""
        return [json.loads(text) for text in socket.take()]
