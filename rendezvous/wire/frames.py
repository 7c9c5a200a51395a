"""
Frames of WebSockets to messages and back (RFC 6455, section 5).

Nearly all frames that come from browsers are whole text messages and pongs. These two are read here, and the messages
of the server are written here. wsproto does everything else: fragments, other control frames, the closing handshake,
and frames that break the rules. The reason is time: to read a message of 300 bytes, wsproto needs 10 microseconds, and
this module 2 (``make bench BENCH=sockets`` shows what that means for a server).
"""

from __future__ import annotations

from collections.abc import Iterator

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import CloseConnection, Event, Ping, Pong

__all__ = ["PING", "Frames", "span", "text_frame", "whole_pong", "whole_text"]

#: A ping of a server, with nothing in it (RFC 6455, section 5.5.2).
PING = b"\x89\x00"

#: The first byte of a whole text message: the last frame, no reserved bit, opcode 1.
_TEXT = 0x81
#: That of a pong.
_PONG = 0x8A
#: In the second byte: what is sent by a client is masked.
_MASKED = 0x80
#: A length in the second byte that says that the length comes behind it in two bytes. 127: in eight.
_TWO = 126

#: The payload of a pong is not used, as the pings of a server have none.
_A_PONG = Pong()
_READABLE = (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING)


def text_frame(data: bytes) -> bytes:
    """
    Write a text message of a server. It is the same for all of its readers.

    :param data: the text in UTF-8.
    """
    size = len(data)
    if size < _TWO:
        return b"\x81%c%b" % (size, data)
    if size < 1 << 16:
        return b"\x81\x7e%b%b" % (size.to_bytes(2, "big"), data)
    return b"\x81\x7f%b%b" % (size.to_bytes(8, "big"), data)


def whole_text(data: bytes, at: int) -> tuple[str, int] | None:
    """
    Read a text message of a client that is one frame of less than 64 KiB, all of which is there.

    :param at: where the frame begins.
    :returns: the text, and where the next frame begins; ``None`` if there is anything else.
    """
    if len(data) < at + 6 or data[at] != _TEXT:
        return None
    size = data[at + 1] - _MASKED
    start = at + 6
    if size == _TWO:
        start += 2
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        if size < _TWO:  # It has to be as short as it can be.
            return None
    elif not 0 <= size < _TWO:
        return None
    end = start + size
    if end > len(data):
        return None
    key = data[start - 4 : start] * (size // 4 + 1)
    # As two numbers, which takes a tenth of the time of byte by byte.
    plain = int.from_bytes(data[start:end], "little") ^ int.from_bytes(key[:size], "little")
    try:
        return plain.to_bytes(size, "little").decode(), end
    except UnicodeDecodeError:
        return None


def whole_pong(data: bytes, at: int) -> int | None:
    """
    Pass over a pong of a client, all of which is there.

    :returns: where the next frame begins; ``None`` if there is anything else.
    """
    if len(data) < at + 6 or data[at] != _PONG or not _MASKED <= data[at + 1] < _MASKED + _TWO:
        return None
    end = at + 6 + data[at + 1] - _MASKED
    return end if end <= len(data) else None


def span(data: bytes, at: int) -> int | None:
    """
    Find how long a frame is, whatever it is.

    :param at: where it begins.
    :returns: the bytes of its header and of its payload; ``None`` if too little of the header is there to know.
    """
    if len(data) < at + 2:
        return None
    second = data[at + 1]
    size, header = second & ~_MASKED, 6 if second & _MASKED else 2
    if size >= _TWO:
        width = 2 if size == _TWO else 8
        if len(data) < at + 2 + width:
            return None
        header += width
        size = int.from_bytes(data[at + 2 : at + 2 + width], "big")
    return header + size


class Frames:
    """
    The frames of one connection, from the server's side.

    wsproto gets one frame at a time, so that it is known where the next one begins. Most connections do without it to
    their end, and save 1.4 KB.
    """

    def __init__(self) -> None:
        self._made: Connection | None = None
        self._rest = b""
        self._at = 0
        # Bytes that are left of the frame that wsproto reads.
        self._left = 0
        # Whether further frames belong to the message that wsproto reads.
        self._is_within = False
        # Whether wsproto may have events that were not taken yet.
        self._is_behind = False

    @property
    def _wire(self) -> Connection:
        if self._made is None:
            self._made = Connection(ConnectionType.SERVER)
        return self._made

    @property
    def _state(self) -> ConnectionState:
        return ConnectionState.OPEN if self._made is None else self._made.state

    @property
    def is_closed(self) -> bool:
        """:returns: whether both sides have done their half of the closing handshake."""
        return self._made is not None and self._made.state is ConnectionState.CLOSED

    def close(self, code: int, reason: str) -> bytes:
        """
        Do the server's half of the closing handshake (RFC 6455, section 7.1.2).

        :param reason: at most 123 bytes of UTF-8.
        :returns: what is to be sent; nothing, if that was done already.
        """
        if self._state not in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
            return b""
        return self._wire.send(CloseConnection(code, reason))

    def pong(self, ping: Ping) -> bytes:
        """:returns: the answer to a ping. It is to be sent only before :meth:`close`."""
        return self._wire.send(ping.response())

    def receive(self, data: bytes) -> None:
        """Take what has arrived. It is dropped if the other side has nothing more to say."""
        if self._state in _READABLE:
            self._rest = self._rest[self._at :] + data
            self._at = 0

    def events(self) -> Iterator[str | Event]:
        """
        Read what has arrived. A further call goes on where the last one has ended.

        :returns: whole texts, and events of wsproto. A frame that breaks the rules is a ``CloseConnection`` with the
            close code for it, and does not close anything by itself.
        """
        if self._is_behind:
            yield from self._wire.events()
            self._is_behind = False
        while self._at < len(self._rest) and self._state in _READABLE:
            found = None if self._left or self._is_within else whole_text(self._rest, self._at)
            if found is not None:
                text, self._at = found
                yield text
            elif not self._left and (end := whole_pong(self._rest, self._at)) is not None:
                self._at = end
                yield _A_PONG
            elif self._pass_on():
                self._is_behind = True
                yield from self._wire.events()
                self._is_behind = False
            else:
                return
        # An idle connection would keep what it has received last.
        self._rest, self._at = b"", 0

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
        self._wire.receive_data(piece)
        return True
