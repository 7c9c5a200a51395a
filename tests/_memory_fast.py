"""A reactor in memory whose UDP ports take the fast path, and the system calls of those."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import DatagramProtocol

from rendezvous.testing import MemoryReactor, MemoryServer, MemoryUDPPort
from rendezvous.udp.mmsg import MESSAGE_SIZE, Message, Vector

__all__ = ["FastMemoryPort", "FastMemoryReactor", "MemoryCalls", "fast_server", "name", "shown"]

Address = tuple[str, int]


def name(address: Address, family: int) -> bytes:
    """:returns: an address as ``sockaddr_in``, or as ``sockaddr_in6`` (IPv4 mapped) for a socket of that family."""
    host, port = address
    if family == socket.AF_INET:
        return struct.pack("=H", family) + struct.pack("!H4s8x", port, socket.inet_aton(host))
    host, _, scope = host.partition("%")
    if ":" not in host:
        host = f"::ffff:{host}"
    packed = socket.inet_pton(socket.AF_INET6, host)
    return struct.pack("=H", family) + struct.pack("!HI16s", port, 0, packed) + struct.pack("=I", 7 if scope else 0)


def shown(name: bytes) -> Address:
    """:returns: host and port of a ``sockaddr_in`` or ``sockaddr_in6``."""
    [family] = struct.unpack_from("=H", name)
    [port] = struct.unpack_from("!H", name, 2)
    packed = name[4:8] if family == socket.AF_INET else name[8:24]
    return socket.inet_ntop(family, packed), port


class MemoryCalls:
    """
    The system calls.

    :ivar waiting: by socket, the datagrams that will be received, each with the packed address of its source.
    :ivar sent: by socket, the datagrams that were sent, each with the packed address of its receiver.
    :ivar errors: what the next messages meet, one each, whether received or sent: an error number, or 0 for none.
    :ivar batches: how many messages each successful call transferred.
    """

    def __init__(self) -> None:
        self.waiting: dict[int, deque[tuple[bytes, bytes]]] = {}
        self.sent: dict[int, list[tuple[bytes, bytes]]] = {}
        self.errors: deque[int] = deque()
        self.batches: list[int] = []

    def receive(self, fd: int, messages: int, count: int) -> int:
        """Fill messages from the queue."""
        queue = self.waiting.setdefault(fd, deque())
        done = 0
        for message, vector in self._messages(messages, count):
            if self._failed(done) or not queue:
                break
            datagram, source = queue.popleft()
            assert message.name_length >= len(source), "the system would cut this address"
            ctypes.memmove(message.name, source, len(source))
            message.name_length = len(source)
            message.length = min(len(datagram), vector.length)
            message.flags = socket.MSG_TRUNC if len(datagram) > vector.length else 0
            ctypes.memmove(vector.base, datagram, message.length)
            done += 1
        return self._done(done, errno.EAGAIN)

    def send(self, fd: int, messages: int, count: int) -> int:
        """Keep what the messages hold."""
        sent = self.sent.setdefault(fd, [])
        done = 0
        for message, vector in self._messages(messages, count):
            if self._failed(done):
                break
            datagram = ctypes.string_at(vector.base, vector.length)
            sent.append((datagram, ctypes.string_at(message.name, message.name_length)))
            message.length = len(datagram)
            done += 1
        return self._done(done, errno.EIO)

    def _messages(self, first: int, count: int) -> Iterator[tuple[Message, Vector]]:
        for number in range(count):
            message = Message.from_address(first + number * MESSAGE_SIZE)
            assert message.vector_count == 1
            assert message.control is None
            yield message, Vector.from_address(message.vectors)

    def _failed(self, done: int) -> bool:
        """Meet the next error; as the system does, report it only if nothing was transferred before."""
        number = self.errors[0] if self.errors else 0
        if not number or not done:
            if self.errors:
                self.errors.popleft()
            if number:
                raise OSError(number, os.strerror(number))
        return bool(number)

    def _done(self, done: int, otherwise: int) -> int:
        if not done:
            raise OSError(otherwise, os.strerror(otherwise))
        self.batches.append(done)
        return done


class _Handle:
    """The socket of a port in memory."""

    def __init__(self, port: FastMemoryPort, number: int, family: int) -> None:
        self._port, self._number, self.family = port, number, family
        self.options: dict[tuple[int, int], int] = {}
        # The options that were set while each datagram of its own was sent.
        self.sent_with: list[tuple[bytes, dict[tuple[int, int], int]]] = []

    def fileno(self) -> int:
        return self._number

    def setsockopt(self, level: int, option: int, value: int) -> None:
        self.options[level, option] = value

    def sendto(self, datagram: bytes, address: Address) -> None:
        self.sent_with.append((datagram, dict(self.options)))
        self._port.take_sent()
        # As with a real socket, the address has lost its scope on its way through the protocol.
        known = {shown(packed): source for packed, source in self._port.given.items()}
        self._port.write(datagram, known.get(address, address))


class FastMemoryPort(MemoryUDPPort):
    """
    A UDP port in memory that something else may read from.

    :ivar given: the sources of what was delivered, by their packed form.
    """

    def __init__(self, reactor: FastMemoryReactor, port: int, protocol: DatagramProtocol, interface: str) -> None:
        self._reactor = reactor
        self.handle = _Handle(self, 1000 + len(reactor.udp_ports), reactor.family)
        self.given: dict[bytes, Address] = {}
        super().__init__(port, protocol, interface)

    @property
    def protocol(self) -> Any:
        """:returns: what takes the datagrams in the end: on the fast path, the protocol behind the port's own."""
        return self._own.port.protocol if hasattr(self._own, "port") else self._own

    @protocol.setter
    def protocol(self, own: Any) -> None:
        self._own = own

    def getHandle(self) -> _Handle:
        """:returns: the socket."""
        return self.handle

    def stopReading(self) -> None:
        """Do nothing: this port never reads by itself."""

    def stopListening(self) -> Deferred[None]:
        """Close, as Twisted's port does: its own protocol learns of it."""
        if self.listening:
            self.listening = False
            self._own.doStop()
        return succeed(None)

    def deliver(self, datagram: bytes, source: Address) -> list[bytes]:
        """
        Have a datagram arrive.

        :returns: what was sent back to its source meanwhile.
        """
        before = len(self.sent)
        self.deliver_all([(datagram, source)])
        return [reply for reply, address in self.sent[before:] if address == source]

    def deliver_all(self, datagrams: Iterable[tuple[bytes, Address]]) -> None:
        """Have datagrams arrive before the port is read again; what is sent is in :attr:`sent`."""
        calls, number = self._reactor.system, self.handle.fileno()
        queue = calls.waiting.setdefault(number, deque())
        for datagram, source in datagrams:
            packed = name(source, self.handle.family)
            self.given[packed] = source
            queue.append((datagram, packed))
        while queue:
            [reader] = [reader for reader in self._reactor.getReaders() if reader.fileno() == number]
            reader.doRead()
            self.take_sent()

    def take_sent(self) -> None:
        """Move what the system calls have sent to :attr:`sent`."""
        sent = self._reactor.system.sent.setdefault(self.handle.fileno(), [])
        self.sent += [(reply, self.given.get(to) or shown(to)) for reply, to in sent]
        sent.clear()


class FastMemoryReactor(MemoryReactor):
    """
    Twisted's reactor in memory, with UDP ports that take the fast path.

    :param family: of their sockets; one of IPv6 shows IPv4 sources as IPv4-mapped ones.
    """

    def __init__(self, family: int = socket.AF_INET6) -> None:
        super().__init__()
        self.family = family
        self.system = MemoryCalls()

    def listenUDP(
        self, port: int, protocol: DatagramProtocol, interface: str = "", maxPacketSize: int = 8192
    ) -> FastMemoryPort:
        """Open a port in memory."""
        opened = FastMemoryPort(self, port or 49152 + len(self.udp_ports), protocol, interface)
        self.udp_ports.append(opened)
        return opened


def fast_server(reactor: FastMemoryReactor | None = None, **settings: Any) -> MemoryServer:
    """:returns: a server in memory that takes the fast path."""
    reactor = reactor or FastMemoryReactor()
    return MemoryServer(reactor, calls=reactor.system, **settings)
