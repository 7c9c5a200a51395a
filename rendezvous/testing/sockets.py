"""A WebSocket to a server in memory, from the client's side."""

from __future__ import annotations

from collections.abc import Mapping

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

from rendezvous.testing.memory import Connection

__all__ = ["MemorySocket"]


class MemorySocket:
    """
    One WebSocket. It answers pings and the closing handshake when it is read.

    :param connection: a new connection to the server.
    :param target: the path, with its query.
    :param headers: further ones of the handshake, for example ``Origin``.
    :ivar connection: as given.
    :ivar status: of the answer to the handshake: 101 if the socket was opened.
    :ivar body: of an answer with another status.
    :ivar pings: how many pings have come.
    :ivar answers_pings: whether they are answered; true at first.
    :ivar close_code: the server's close code, or ``None``.
    :ivar close_reason: its words.
    """

    def __init__(self, connection: Connection, target: str, headers: Mapping[str, str] | None = None) -> None:
        self.connection = connection
        self.status = 0
        self.body = b""
        self.pings = 0
        self.close_code: int | None = None
        self.close_reason = ""
        self.answers_pings = True
        self._read = 0
        self._text = ""
        self._messages: list[str] = []
        self._wire = WSConnection(ConnectionType.CLIENT)
        fields = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        connection.send(self._wire.send(Request(host="server.example", target=target, extra_headers=fields)))
        self.read()

    def say(self, text: str) -> None:
        """Send a message."""
        self.send(TextMessage(text))

    def send(self, event: Event) -> None:
        """Send any frame."""
        self.connection.send(self._wire.send(event))

    def take(self) -> list[str]:
        """:returns: the messages that have come since the last call."""
        self.read()
        messages, self._messages = self._messages, []
        return messages

    def read(self) -> None:
        """Read what the server has sent."""
        sent = self.connection.transport.value()
        data, self._read = sent[self._read :], len(sent)
        if not data:
            return
        self._wire.receive_data(data)
        for event in self._wire.events():
            self._take(event)

    def lose(self) -> None:
        """Lose the connection."""
        self.connection.lose()

    def _take(self, event: Event) -> None:
        if isinstance(event, AcceptConnection | RejectConnection):
            self.status = getattr(event, "status_code", 101)
        elif isinstance(event, RejectData):
            self.body += event.data
        elif isinstance(event, Ping):
            self.pings += 1
            if self.answers_pings:
                self.send(event.response())
        elif isinstance(event, TextMessage):
            self._text += event.data
            if event.message_finished:
                self._messages.append(self._text)
                self._text = ""
        elif isinstance(event, CloseConnection):
            self.close_code, self.close_reason = int(event.code), event.reason or ""
            if self._wire.state is ConnectionState.REMOTE_CLOSING:
                self.send(event.response())
