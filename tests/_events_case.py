"""A stream of events, and how a browser reads it."""

from __future__ import annotations

import json
from typing import Any

import attrs

from rendezvous.testing import Connection
from tests._web_case import Headers, WebTestCase


@attrs.frozen
class Frame:
    """
    One event as a browser dispatches it.

    :ivar last_id: what the browser would send as Last-Event-ID after it.
    """

    event: str
    data: Any
    last_id: str


def frames(text: str) -> tuple[list[Frame], str]:
    """
    Read a stream as the HTML Standard says (section 9.2.6).

    :returns: the events, and the last event id at the end.
    """
    found: list[Frame] = []
    last_id = ""
    *blocks, rest = text.split("\n\n")
    assert rest == "", rest
    for block in blocks:
        event, data = "message", []
        for line in block.split("\n"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "id":
                last_id = value
            elif field == "event":
                event = value
            elif field == "data":
                data.append(value)
            else:
                assert field == "", line
        if data:
            found.append(Frame(event, json.loads("\n".join(data)), last_id))
    return found, last_id


class EventsTestCase(WebTestCase):
    """Streams."""

    def listen(self, headers: Headers | None = None, last_id: str | None = None) -> Connection:
        """Open a stream."""
        headers = dict(self.alice if headers is None else headers)
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        stream = self.start("GET", "/events", headers=headers)
        head = stream.transport.value().partition(b"\r\n\r\n")[0]
        self.assertTrue(head.startswith(b"HTTP/1.1 200 OK\r\n"), stream.transport.value())
        return stream

    def text(self, stream: Connection) -> str:
        """What was streamed so far, without the chunks that carry it."""
        rest = stream.transport.value().partition(b"\r\n\r\n")[2]
        body = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        return body.decode("utf-8")

    def heard(self, stream: Connection) -> list[tuple[str, Any]]:
        """The events so far: what kind, and what it was about."""
        told = []
        for frame in frames(self.text(stream))[0]:
            told.append((frame.event, frame.data.get("candidate", frame.data.get("offerId"))))
        return told

    def last_id(self, stream: Connection) -> str:
        """What a browser would come back with."""
        return frames(self.text(stream))[1]

    def leave(self, stream: Connection) -> str:
        """Lose the connection; give the id to come back with."""
        last_id = self.last_id(stream)
        stream.lose()
        self.open.remove(stream)
        return last_id

    def pause(self, stream: Connection) -> None:
        """The buffer of the transport is full."""
        assert stream.transport.producer is not None
        stream.transport.producer.pauseProducing()

    def resume(self, stream: Connection) -> None:
        """The client has read everything."""
        assert stream.transport.producer is not None
        stream.transport.producer.resumeProducing()

    def fill(self, stream: Connection, size: int) -> None:
        """The client reads everything once; then the transport has room for so many bytes until it is full again."""
        transport: Any = stream.transport
        room = size
        write = transport.write

        def limited(data: bytes) -> None:
            nonlocal room
            room -= len(data)
            write(data)
            if room < 0:
                transport.producer.pauseProducing()

        transport.write = limited
        transport.writeSequence = lambda pieces: limited(b"".join(pieces))
        try:
            self.resume(stream)
        finally:
            del transport.write, transport.writeSequence

    def ended(self, stream: Connection) -> bool:
        """Whether the server has ended the stream properly."""
        return bool(stream.transport.value().endswith(b"\r\n0\r\n\r\n"))
