"""What comes in on a WebSocket, frame by frame, and what goes out in one turn of the reactor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import Event, Pong

from rendezvous.wire.frames import span, whole_pong, whole_text

__all__ = ["Batch", "Frames", "Receiver"]

#: What is in a pong is of no interest: no ping of this server has anything in it.
_A_PONG = Pong()
_READABLE = (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING)


class Frames:
    """
    The frames of one connection.

    Whole text messages are what pages send, and pongs what their browsers send; both are read here. All else is left to
    wsproto, which needs ten times as long for a frame: fragments, other control frames, and what RFC 6455 does not
    allow. It gets one frame at a time, so that it is known where the next one begins. Most sockets do without it to
    their end, and save 1.4 KB.
    """

    def __init__(self) -> None:
        self._wire: Connection | None = None
        self._rest = b""
        self._at = 0
        # Bytes of the frame that wsproto reads.
        self._left = 0
        # Whether further frames belong to the message that wsproto reads.
        self._is_within = False
        # Whether wsproto may have events that nobody has asked for.
        self._is_behind = False

    @property
    def wire(self) -> Connection:
        """:returns: wsproto's connection."""
        if self._wire is None:
            self._wire = Connection(ConnectionType.SERVER)
        return self._wire

    @property
    def state(self) -> ConnectionState:
        """:returns: how much of the closing handshake was done."""
        return ConnectionState.OPEN if self._wire is None else self._wire.state

    def receive(self, data: bytes) -> None:
        """Take what has arrived. It is dropped if the other side has nothing more to say."""
        if self.state in _READABLE:
            self._rest = self._rest[self._at :] + data
            self._at = 0

    def events(self) -> Iterator[str | Event]:
        """:returns: what has arrived: whole texts, and events of wsproto. It goes on where the last call has ended."""
        if self._is_behind:
            yield from self.wire.events()
            self._is_behind = False
        while self._at < len(self._rest) and self.state in _READABLE:
            found = None if self._left or self._is_within else whole_text(self._rest, self._at)
            if found is not None:
                text, self._at = found
                yield text
            elif not self._left and (end := whole_pong(self._rest, self._at)) is not None:
                self._at = end
                yield _A_PONG
            elif self._pass_on():
                self._is_behind = True
                yield from self.wire.events()
                self._is_behind = False
            else:
                return

    def _pass_on(self) -> bool:
        """
        Give wsproto the rest of a frame, or as much of it as is there.

        :returns: whether there was something to give.
        """
        if not self._left:
            size = span(self._rest, self._at)
            if size is None:
                return False
            self._left = size
            first = self._rest[self._at]
            if not first & 0x08:  # Control frames may come between those of a message.
                self._is_within = not first & 0x80
        piece = self._rest[self._at : self._at + self._left]
        self._at += len(piece)
        self._left -= len(piece)
        self.wire.receive_data(piece)
        return True


class Receiver(Protocol):
    """A socket that has something to send."""

    def flush(self) -> None:
        """Send it."""


class Batch:
    """
    Collects what is sent while messages are read, so that several frames to one socket take one system call.

    It is shared by all sockets.
    """

    def __init__(self) -> None:
        self._is_open = False
        self._waiting: list[Receiver] = []

    @property
    def is_open(self) -> bool:
        """:returns: whether messages are read now."""
        return self._is_open

    def add(self, receiver: Receiver) -> None:
        """Have a socket flushed at the end."""
        self._waiting.append(receiver)

    def __enter__(self) -> None:
        """Begin to collect."""
        self._is_open = True

    def __exit__(self, *_: object) -> None:
        """Send all that was collected."""
        self._is_open = False
        waiting, self._waiting = self._waiting, []
        for receiver in waiting:
            receiver.flush()
