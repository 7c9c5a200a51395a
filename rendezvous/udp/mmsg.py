"""
Many datagrams with one system call: ``recvmmsg`` and ``sendmmsg`` of Linux, over buffers that are made once.

Example: of a batch of two datagrams, the second is answered::

    batch = Batch(load_calls(), socket.AF_INET)
    assert batch.receive(fd) == 2
    batch.reply(fd, 1, b"pong")  # to batch.source(1)
    failed = batch.flush(fd)  # one sendmmsg for all replies
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import NoReturn, Protocol

from rendezvous.core.identity import KEY_SIZE
from rendezvous.errors import WireError
from rendezvous.wire import pulse

__all__ = [
    "LENGTH_OFFSET",
    "MAX_DATAGRAM",
    "MAX_REPLY",
    "MESSAGE_SIZE",
    "NAME_SIZE",
    "SIZE",
    "Batch",
    "Calls",
    "Message",
    "Rows",
    "Vector",
    "keys_in_hex",
    "load_calls",
]

#: Bytes that are read of a datagram. A longer one belongs to no protocol, and is cut off and dropped.
MAX_DATAGRAM = 2048
#: Datagrams of one batch.
SIZE = 256
#: Bytes that a reply in a batch may have.
MAX_REPLY = 512
#: Bytes from one source address to the next in :attr:`Batch.names`; ``sockaddr_in6`` takes 28 of them.
NAME_SIZE = 32
#: Bytes from one datagram to the next. They are not a power of two: the first bytes of all rows, which are what is
#: looked at, would share a few lines of the processor's cache.
ROOM = MAX_DATAGRAM + 64

_NAME_LENGTHS = {socket.AF_INET: 16, socket.AF_INET6: 28}
# Port and address of sockaddr_in and of sockaddr_in6, whose second field is the flow label.
_IPV4 = struct.Struct("!2xH4s")
_IPV6 = struct.Struct("!2xH4x16s")
# The error was waiting at the socket because of an earlier datagram, so this one deserves another try.
_TRY_AGAIN = frozenset({errno.EINTR, errno.ECONNREFUSED})
_NOTHING_TO_READ = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, *_TRY_AGAIN})


class Vector(ctypes.Structure):
    """``struct iovec``: where a buffer is, and how long it is."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class Header(ctypes.Structure):
    """``struct msghdr``: one datagram."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class Message(ctypes.Structure):
    """``struct mmsghdr``: one datagram, and how many bytes of it were transferred."""

    _anonymous_ = ("header",)
    _fields_ = (("header", Header), ("length", ctypes.c_uint32))


MESSAGE_SIZE = ctypes.sizeof(Message)
VECTOR_SIZE = ctypes.sizeof(Vector)
_WORDS = MESSAGE_SIZE // 4
#: Where in a packed :class:`Message` the length of a datagram is, 4 bytes in the machine's order.
LENGTH_OFFSET = Message.length.offset
_LENGTH = LENGTH_OFFSET // 4
_MESSAGE_POINTERS = MESSAGE_SIZE // ctypes.sizeof(ctypes.c_void_p)


# As a plain number: the enumeration's members are converted each time that they are passed on.
_DONTWAIT = int(getattr(socket, "MSG_DONTWAIT", 0))


class Calls(Protocol):
    """The two system calls."""

    def receive(self, fd: int, messages: int, count: int) -> int:
        """
        Fill messages with the datagrams that are waiting; it does not wait itself.

        :param messages: the address of the first of ``count`` :class:`Message` structures.
        :returns: how many were filled.
        :raises OSError: none was.
        """

    def send(self, fd: int, messages: int, count: int) -> int:
        """
        Send messages; it does not wait.

        :returns: how many were sent, from the first on, at least 1; fewer than ``count`` if the next could not be sent.
        :raises OSError: the first could not be sent.
        """


class LibcCalls:
    """
    The system calls by way of the C library.

    They are made without releasing Python's lock: they never wait, a batch takes some 100 us, and taking the lock back
    from a busy thread could take 5 ms each time. The types of their parameters are not declared, because checking them
    would take as long as a call: an ``int`` is passed as C's ``int``, and an address has to be a ``c_void_p``.

    :raises AttributeError: the C library has no such functions.
    """

    def __init__(self) -> None:
        libc = ctypes.PyDLL(None, use_errno=True)
        self._recvmmsg, self._sendmmsg = libc.recvmmsg, libc.sendmmsg

    def receive(self, fd: int, messages: int, count: int) -> int:
        """Call ``recvmmsg``."""
        received: int = self._recvmmsg(fd, ctypes.c_void_p(messages), count, _DONTWAIT, None)
        return received if received >= 0 else _fail()

    def send(self, fd: int, messages: int, count: int) -> int:
        """Call ``sendmmsg``."""
        sent: int = self._sendmmsg(fd, ctypes.c_void_p(messages), count, _DONTWAIT)
        return sent if sent >= 0 else _fail()


def _fail() -> NoReturn:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))


def load_calls() -> Calls | None:
    """:returns: the system calls, or ``None`` where there are none or where they are forbidden."""
    if sys.platform != "linux":
        return None
    try:
        calls = LibcCalls()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            # Transferring no message does nothing, but a filter of system calls refuses it all the same.
            calls.receive(sock.fileno(), 0, 0)
            calls.send(sock.fileno(), 0, 0)
    except (AttributeError, OSError):
        return None
    return calls


@lru_cache(16_384)
def _ipv6_text(host: bytes) -> str:
    """:returns: an IPv6 address as text, which takes the system several times as long as a look-up here."""
    return socket.inet_ntop(socket.AF_INET6, host)


def _address(buffer: bytearray) -> int:
    """:returns: where a buffer is in memory. It must not be resized from now on."""
    return ctypes.addressof((ctypes.c_char * len(buffer)).from_buffer(buffer))


class Rows:
    """
    A buffer for each row of a batch, and the :class:`Message` that transfers it from or to the row's address.

    :ivar room: bytes in the buffer of one row.
    :ivar buffers: one after the other.
    :ivar vectors: packed :class:`Vector` structures; the length in it is how much of its buffer a message transfers.
    :ivar messages: packed :class:`Message` structures.
    """

    def __init__(self, names: int, name_length: int, size: int, room: int, length: int) -> None:
        self.room = room
        self.buffers = bytearray(size * room)
        first = _address(self.buffers)
        self.vectors = bytearray().join(bytes(Vector(first + row * room, length)) for row in range(size))
        first = _address(self.vectors)
        self.messages = bytearray().join(
            bytes(Message(Header(names + row * NAME_SIZE, name_length, first + row * VECTOR_SIZE, 1)))
            for row in range(size)
        )


class Batch:
    """
    Buffers for one batch of datagrams and the replies to them. Its rows are numbered from 0.

    :param calls: the system calls.
    :param family: of the socket: ``AF_INET``, or ``AF_INET6`` for a socket of IPv6 or of both.
    :param size: how many datagrams a batch holds at most.
    :ivar names: the source addresses as the system has them (``sockaddr_in``, ``sockaddr_in6``), :data:`NAME_SIZE`
        bytes a row.
    :ivar received: the datagrams, at most :data:`MAX_DATAGRAM` bytes in :data:`ROOM` a row.
    """

    def __init__(self, calls: Calls, family: int, size: int = SIZE) -> None:
        self.size, self.family = size, family
        self._calls = calls
        self._name_length = _NAME_LENGTHS[socket.AddressFamily(family)]
        self.names = bytearray(size * NAME_SIZE)
        self._names = _address(self.names)
        self._kept: list[Rows] = []
        self.received = self.rows(ROOM, MAX_DATAGRAM)
        self._receiving = _address(self.received.messages)
        self._bytes, self._words = memoryview(self.received.buffers), memoryview(self.received.messages).cast("I")
        self._own = self.rows(MAX_REPLY, 0)
        self._own_vectors = memoryview(self._own.vectors).cast("P")
        self._own_messages = memoryview(self._own.messages).cast("P")
        self._queued: list[bytes | bytearray] = []
        self._outgoing = bytearray(2 * size * MESSAGE_SIZE)
        self._sending = _address(self._outgoing)
        self._sending_own = _address(self._own.messages)
        # Of the own messages, how many are filled, and how many of these are in the queue already.
        self._used = self._joined = self._failed = 0

    def rows(self, room: int, length: int) -> Rows:
        """
        Make a buffer for each row, for replies that are prepared together; see :meth:`queue`.

        :param length: how much of its buffer each message transfers, until that is changed.
        """
        rows = Rows(self._names, self._name_length, self.size, room, length)
        # Messages are copied, and the copies refer to the buffers by their addresses.
        self._kept.append(rows)
        return rows

    # What was received

    def receive(self, fd: int, most: int | None = None) -> int:
        """
        Take what is waiting, as much as there is room for. Replies to the batch before must have been flushed.

        :param most: take no more datagrams than these.
        :returns: how many rows are filled.
        :raises OSError: the system cannot receive; that nothing is waiting is no error.
        """
        try:
            # The system writes the length of each address, which for one socket is always the length that it was.
            return self._calls.receive(fd, self._receiving, self.size if most is None else most)
        except OSError as e:
            if e.errno in _NOTHING_TO_READ:
                return 0
            raise

    def datagram(self, row: int) -> bytes:
        """:returns: the row's datagram, as far as it was kept."""
        start = row * ROOM
        return bytes(self._bytes[start : start + self._words[row * _WORDS + _LENGTH]])

    def length(self, row: int) -> int:
        """:returns: how many bytes of the row's datagram were kept."""
        return self._words[row * _WORDS + _LENGTH]

    def source(self, row: int) -> tuple[str, int]:
        """:returns: host and port that the row's datagram came from, as Python's sockets show them, without a scope."""
        if self.family == socket.AF_INET:
            port, host = _IPV4.unpack_from(self.names, row * NAME_SIZE)
            return socket.inet_ntoa(host), port
        port, host = _IPV6.unpack_from(self.names, row * NAME_SIZE)
        return _ipv6_text(host), port

    def port(self, row: int) -> int:
        """:returns: the port that the row's datagram came from."""
        start = row * NAME_SIZE
        return self.names[start + 2] << 8 | self.names[start + 3]

    def raw_host(self, row: int) -> bytes:
        """:returns: the address that the row's datagram came from: 4 bytes on an IPv4 socket, otherwise 16."""
        start = row * NAME_SIZE
        if self.family == socket.AF_INET:
            return bytes(self.names[start + 4 : start + 8])
        return bytes(self.names[start + 8 : start + 24])

    def fill(self, names: bytes, datagrams: Sequence[bytes]) -> None:
        """
        Fill the first rows with datagrams that another socket has received.

        :param names: their source addresses, as in :attr:`names`.
        :param datagrams: at most :attr:`size`, of at most :data:`MAX_DATAGRAM` bytes each.
        """
        self.names[: len(names)] = names
        buffers, words, start, at = self._bytes, self._words, 0, _LENGTH
        for datagram in datagrams:
            buffers[start : start + len(datagram)] = datagram
            words[at] = len(datagram)
            start, at = start + ROOM, at + _WORDS

    # What is sent back

    def reply(self, fd: int, row: int, reply: bytes) -> None:
        """
        Have a reply sent to a row's source with the next :meth:`flush`. A row may be replied to more than once.

        :param fd: where to flush to if there is no more room.
        :raises ValueError: the reply is longer than :data:`MAX_REPLY`.
        """
        if len(reply) > MAX_REPLY:
            raise ValueError("this reply is too long for a batch")
        if self._used == self.size:
            self._send(fd)
        slot, self._used = self._used, self._used + 1
        start = slot * MAX_REPLY
        self._own.buffers[start : start + len(reply)] = reply
        # Of a vector the length is the second of two words; of a message the address is the first.
        self._own_vectors[2 * slot + 1] = len(reply)
        self._own_messages[slot * _MESSAGE_POINTERS] = self._names + row * NAME_SIZE

    def queue(self, messages: bytes | bytearray) -> None:
        """
        Have prepared messages sent with the next :meth:`flush`; in one batch at most as many as there are rows.

        :param messages: some of the :attr:`Rows.messages` that :meth:`rows` has made.
        """
        self._join_own()
        self._queued.append(messages)

    def _join_own(self) -> None:
        """Put the replies that are not in the queue yet behind what is there."""
        if self._joined < self._used:
            self._queued.append(self._own.messages[self._joined * MESSAGE_SIZE : self._used * MESSAGE_SIZE])
            self._joined = self._used

    def flush(self, fd: int) -> int:
        """
        Send every reply. One that cannot be sent does not keep back the others.

        :returns: how many could not be sent since the last call.
        """
        self._send(fd)
        failed, self._failed = self._failed, 0
        return failed

    def _send(self, fd: int) -> None:
        if self._queued:
            self._join_own()
            queued = b"".join(self._queued)
            self._queued.clear()
            self._outgoing[: len(queued)] = queued
            first, count = self._sending, len(queued) // MESSAGE_SIZE
        else:
            # They lie one after the other already.
            first, count = self._sending_own, self._used
        self._used = self._joined = 0
        sent, tried = 0, False
        while sent < count:
            try:
                sent += self._calls.send(fd, first + sent * MESSAGE_SIZE, count - sent)
                tried = False
            except OSError as e:
                tried = not tried and e.errno in _TRY_AGAIN
                if not tried:
                    sent, self._failed = sent + 1, self._failed + 1


def keys_in_hex(batch: Batch, rows: Sequence[int]) -> list[bytes]:
    """:returns: the keys that some rows hold as hex digits."""
    keys = []
    for row in rows:
        if batch.length(row) == 2 * KEY_SIZE:
            with suppress(WireError):
                keys.append(pulse.decode(batch.datagram(row)))
    return keys
