"""WebSockets (RFC 6455) as plain bytes, so that they can be wrong, and a page that does everything right."""

from __future__ import annotations

import base64
import json
import os
import socket
from collections.abc import Iterator
from typing import Any

from tests.attack.load import request

__all__ = ["BINARY", "CLOSE", "CONTINUATION", "PING", "PONG", "TEXT", "Page", "frame", "handshake", "publish", "take"]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
PATIENCE = 10.0


def handshake(path: str = "/signal") -> bytes:
    """:returns: the request of a page of another origin."""
    key = base64.b64encode(os.urandom(16)).decode()
    return request(
        "GET", path, Connection="Upgrade", Upgrade="websocket", Origin="https://page.test",
        Sec_WebSocket_Version="13", Sec_WebSocket_Key=key,
    )  # fmt: skip


def frame(payload: bytes, opcode: int = TEXT, *, ends: bool = True, claimed: int | None = None) -> bytes:
    """
    Make a frame of a client.

    The key of the mask is zero, which is allowed and leaves the payload as it is.

    :param ends: whether it is the last one of its message.
    :param claimed: the length that it says it has, if that is not its own.
    """
    length = len(payload) if claimed is None else claimed
    head = bytes((opcode | (0x80 if ends else 0),))
    if length < 126:
        head += bytes((0x80 | length,))
    elif length < 1 << 16:
        head += b"\xfe" + length.to_bytes(2, "big")
    else:
        head += b"\xff" + length.to_bytes(8, "big")
    return head + bytes(4) + payload


def publish(topic: str, data: str) -> bytes:
    """:returns: the frame of a message of y-webrtc to a topic."""
    return frame(json.dumps({"type": "publish", "topic": topic, "data": data}).encode())


def take(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """Take all whole frames of a server off a buffer; gives the opcode and the payload of each."""
    while len(buffer) >= 2:
        length, at = buffer[1], 2
        if length >= 126:
            at = 4 if length == 126 else 10
            length = int.from_bytes(buffer[2:at], "big")
        if len(buffer) < at + length:
            return
        opcode, payload = buffer[0] & 15, bytes(buffer[at : at + length])
        del buffer[: at + length]
        yield opcode, payload


class Page:
    """
    One socket that behaves; it blocks.

    :raises OSError: it cannot be opened.
    """

    def __init__(self, port: int, source: str, path: str = "/signal") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE, source_address=(source, 0))
        self._buffer = bytearray()
        self._heard: list[Any] = []
        self._socket.sendall(handshake(path))
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if b" 101 " not in head.partition(b"\r\n")[0]:
            raise ConnectionError(f"no handshake: {head[:200]!r} {rest[:200]!r}")
        self._buffer[:] = rest

    def say(self, **message: Any) -> None:
        """Send an object."""
        self._socket.sendall(frame(json.dumps(message).encode()))

    def hear(self) -> Any:
        """
        Wait for the next object.

        :raises OSError: nothing comes in time, or the socket is closed.
        """
        while not self._heard:
            for opcode, payload in take(self._buffer):
                if opcode == TEXT:
                    self._heard.append(json.loads(payload))
                elif opcode == PING:
                    self._socket.sendall(frame(payload, PONG))
                elif opcode == CLOSE:
                    raise ConnectionError(f"closed: {payload!r}")
            if not self._heard:
                self._receive()
        return self._heard.pop(0)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _receive(self) -> None:
        piece = self._socket.recv(1 << 16)
        if not piece:
            raise ConnectionError("closed")
        self._buffer += piece
