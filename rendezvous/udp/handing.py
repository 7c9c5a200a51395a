"""
Datagrams that a UDP worker hands over to the main process: many in one message of a pair of sockets.

A message begins with the number of the port and the number of datagrams. Then come the lengths of the datagrams, their
source addresses as the system has them (:data:`~rendezvous.udp.mmsg.NAME_SIZE` bytes each), and the datagrams. Numbers
have two bytes, in the byte order of the machine.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence

from rendezvous.udp.mmsg import MAX_DATAGRAM, NAME_SIZE, SIZE, Batch

__all__ = ["MAX_MESSAGE", "batches", "count", "messages", "pair", "unpacked"]

#: Bytes of a message; a longer batch takes several.
MAX_MESSAGE = 32 * 1024

#: Bytes that the system keeps of messages that are not read yet, with its own records: a dozen batches of pulses.
_WAITING = 208 * 1024

_HEAD = struct.Struct("=HH")


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
    Pack rows of a batch into messages of at most :data:`MAX_MESSAGE` bytes.

    :param port: the number of the port.
    :param rows: the numbers of the rows, in the order they came.
    :returns: each message, and how many datagrams are in it.
    """
    names, size, first = memoryview(batch.names), _HEAD.size, 0
    datagrams = [batch.datagram(row) for row in rows]
    for at, datagram in enumerate([*datagrams, None]):
        more = 0 if datagram is None else NAME_SIZE + 2 + len(datagram)
        if at > first and (datagram is None or size + more > MAX_MESSAGE):
            those, lengths = datagrams[first:at], list(map(len, datagrams[first:at]))
            sources = [names[row * NAME_SIZE : (row + 1) * NAME_SIZE] for row in rows[first:at]]
            head = _HEAD.pack(port, at - first) + struct.pack(f"={at - first}H", *lengths)
            yield b"".join([head, *sources, *those]), at - first
            size, first = _HEAD.size, at
        size += more


def count(message: bytes) -> int:
    """:returns: how many datagrams a message says that it holds; at least 1, so that each message counts."""
    return max(1, _HEAD.unpack_from(message)[1]) if len(message) >= _HEAD.size else 1


def unpacked(message: bytes) -> tuple[int, bytes, list[bytes]]:
    """
    Read a message.

    :returns: the number of the port, the source addresses one after the other, and the datagrams.
    :raises ValueError: its lengths do not agree.
    """
    if len(message) < _HEAD.size:
        raise ValueError("a message with datagrams does not say how many there are")
    port, rows = _HEAD.unpack_from(message)
    start = _HEAD.size + rows * (2 + NAME_SIZE)
    if rows > SIZE or start > len(message):
        raise ValueError("a message has too many datagrams, or is cut off")
    lengths = struct.unpack_from(f"={rows}H", message, _HEAD.size)
    if any(length > MAX_DATAGRAM for length in lengths) or start + sum(lengths) != len(message):
        raise ValueError("a message with datagrams has a length that cannot be")
    names = message[_HEAD.size + 2 * rows : start]
    datagrams = []
    for length in lengths:
        datagrams.append(message[start : start + length])
        start += length
    return port, names, datagrams


def batches(messages: Iterable[bytes], unreadable: Callable[[], None]) -> Iterator[tuple[int, bytes, list[bytes]]]:
    """
    Read messages, and put those of one port together: a larger batch costs less for each datagram.

    :param unreadable: called for each message that cannot be read, inside the ``except`` clause. The message is left
        out.
    :returns: batches of at most :data:`~rendezvous.udp.mmsg.SIZE` datagrams, in their order, each in the form that
        :func:`unpacked` returns.
    """
    port, names, datagrams = 0, b"", list[bytes]()
    for message in messages:
        try:
            at, more_names, more = unpacked(message)
        except ValueError:
            unreadable()
            continue
        if datagrams and (at != port or len(datagrams) + len(more) > SIZE):
            yield port, names, datagrams
            names, datagrams = b"", []
        port = at
        names += more_names
        datagrams += more
    if datagrams:
        yield port, names, datagrams
