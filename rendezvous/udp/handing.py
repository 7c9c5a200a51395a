"""
Datagrams that a UDP worker hands over to the main process: many in one message of a pair of sockets.

A message begins with two bytes, the number of the port. Each datagram follows with its source address as the system has
it (:data:`~rendezvous.udp.mmsg.NAME_SIZE` bytes) and its length in two bytes, in the byte order of the machine.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence

from rendezvous.udp.mmsg import MAX_DATAGRAM, NAME_SIZE, SIZE, Batch

__all__ = ["MAX_MESSAGE", "messages", "pair", "unpacked"]

#: Bytes of a message; a longer batch takes several.
MAX_MESSAGE = 32 * 1024

#: Bytes that the system keeps of messages that are not read yet, with its own records: a dozen batches of pulses.
_WAITING = 208 * 1024

_PORT = struct.Struct("=H")
_HEAD = struct.Struct(f"={NAME_SIZE}sH")


def pair() -> tuple[socket.socket, socket.socket]:
    """
    Make the pair of sockets: messages stay whole, and the end of one side is seen at the other.

    :returns: sockets that do not block.
    """
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for each in (one, other):
        each.setblocking(False)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _WAITING)
    return one, other


def messages(port: int, batch: Batch, rows: Sequence[int]) -> Iterator[tuple[bytes, int]]:
    """
    Pack rows of a batch.

    :param port: the number of the port.
    :returns: messages, and how many datagrams are in each.
    """
    first = _PORT.pack(port)
    parts, size, count = [first], len(first), 0
    for row in rows:
        datagram = batch.datagram(row)
        if size + _HEAD.size + len(datagram) > MAX_MESSAGE:
            yield b"".join(parts), count
            parts, size, count = [first], len(first), 0
        start = row * NAME_SIZE
        parts += _HEAD.pack(batch.names[start : start + NAME_SIZE], len(datagram)), datagram
        size += _HEAD.size + len(datagram)
        count += 1
    if count:
        yield b"".join(parts), count


def unpacked(message: bytes) -> tuple[int, list[tuple[bytes, bytes]]]:
    """
    Read a message.

    :returns: the number of the port; packed source addresses, and datagrams.
    :raises ValueError: its lengths do not agree.
    """
    if len(message) < _PORT.size:
        raise ValueError("a message with datagrams does not say of which port")
    [port] = _PORT.unpack_from(message)
    found, at = list[tuple[bytes, bytes]](), _PORT.size
    while at < len(message):
        if len(found) == SIZE or at + _HEAD.size > len(message):
            raise ValueError("a message with datagrams is too long, or cut off")
        name, length = _HEAD.unpack_from(message, at)
        at += _HEAD.size
        if length > MAX_DATAGRAM or at + length > len(message):
            raise ValueError("a message with datagrams has a length that cannot be")
        found.append((name, message[at : at + length]))
        at += length
    return port, found
