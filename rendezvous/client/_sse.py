"""Server-Sent Events (HTML Standard, section 9.2.6): from the bytes of a stream to its events."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

__all__ = ["MAX_EVENT", "Parser", "ServerSentEvent"]

MAX_EVENT = 2 * 1024 * 1024
"""Bytes of an event that are read at most. The server's longest has a session description of 64 KiB, as JSON."""


@attrs.frozen
class ServerSentEvent:
    """
    One event.

    :ivar kind: its type; ``message`` if the stream does not say.
    :ivar data: its data.
    """

    kind: str
    data: str


class Parser:
    """
    Reads a stream, in pieces of any length.

    :ivar last_id: the last id of a block that was read, also of one without data; ``None`` before the first.
    """

    def __init__(self) -> None:
        self.last_id: str | None = None
        self._rest = bytearray()
        self._size = 0
        self._id: str | None = None
        self._kind = ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> Iterator[ServerSentEvent]:
        """
        Take the next bytes. The server ends its lines with a line feed; one with a carriage return is read as well.

        :param data: of any number.
        :returns: the events that are whole with them, each read when it is asked for.
        :raises ValueError: when an event is longer than :data:`MAX_EVENT`, or not UTF-8.
        """
        self._rest += data
        if b"\n" not in data:
            self._check(len(self._rest))
            return
        *lines, rest = self._rest.split(b"\n")
        self._rest = rest
        for line in lines:
            self._size += len(line)
            self._check(0)
            if (event := self._line(line.removesuffix(b"\r").decode())) is not None:
                yield event
        self._check(len(rest))

    def _check(self, more: int) -> None:
        if self._size + more > MAX_EVENT:
            raise ValueError(f"an event is longer than {MAX_EVENT} bytes")

    def _line(self, line: str) -> ServerSentEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._kind = value
        elif name == "id" and "\0" not in value:
            self._id = value
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        kind, data, self._kind, self._data, self._size = self._kind, self._data, "", [], 0
        if self._id is not None:
            self.last_id = self._id
        return ServerSentEvent(kind or "message", "\n".join(data)) if data else None
