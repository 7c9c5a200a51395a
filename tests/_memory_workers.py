"""UDP ports in memory with UDP workers, all in one process: a worker, or two of them, receive datagrams first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from twisted.internet.protocol import DatagramProtocol

from rendezvous.core.presence.presence import Presence
from rendezvous.testing import MemoryServer
from rendezvous.udp.control import Control, control_size
from rendezvous.udp.handing import batches, messages
from rendezvous.udp.mmsg import Batch
from rendezvous.udp.worker import Port, decide_on
from tests._memory_fast import FastMemoryPort, FastMemoryReactor, fast_server, name

__all__ = ["TwoWorkersMemoryReactor", "WorkerMemoryPort", "WorkerMemoryReactor", "worker_server"]

Address = tuple[str, int]


class WorkerMemoryPort(FastMemoryPort):
    """
    A UDP port in memory whose datagrams come to a worker.

    :cvar workers: how many there are.
    :ivar handed_over: how many datagrams they have left to the server.
    """

    workers = 1
    handed_over = 0
    _table: object = None

    def deliver_all(self, datagrams: Iterable[tuple[bytes, Address]]) -> None:
        """Deliver datagrams together, before a socket is read again; what is sent is in :attr:`sent`."""
        protocol: Any = self.protocol
        presence, clock = protocol.shared.store.live, protocol.shared.clock
        assert isinstance(presence, Presence)
        if presence.index.table is not self._table:
            self._start(presence, protocol.number)
        for _ in range(2):
            # Where server time has moved against the reactor's, the first call only says so.
            self.control.publish(self._reactor.seconds(), clock.seconds(), presence.timers.on_time)
        if not protocol.shared.is_running or protocol.shared.store.bans.has_networks:
            self.control.withdraw()
        waiting = self._reactor.system.waiting
        for datagram, source in datagrams:
            packed = name(source, self.handle.family)
            self.given[packed] = source
            waiting.setdefault(self._socket(source), deque()).append((datagram, packed))
        while any(waiting.get(fd) for fd in (*self._ports, self.handle.fileno())):
            self._read()

    def _socket(self, source: Address) -> int:
        """:returns: the descriptor of the socket to which the system gives datagrams from an address."""
        return self.worker.fd

    def _read(self) -> None:
        """Have each process read its socket."""
        self.worker.read()
        self.take_sent()

    def _start(self, presence: Presence, number: int) -> None:
        self._table = presence.index.table
        self.control = Control(memoryview(bytearray(control_size(self.workers))))
        self._ports = {}
        for worker in range(self.workers):
            batch, fd = Batch(self._reactor.system, self.handle.family), self.handle.fileno() + 1000 * (worker + 1)
            decide = decide_on(batch, number, presence.index, presence.columns.memory)
            line, seconds = self.control.line(worker), self._reactor.seconds
            self._ports[fd] = Port(fd, batch, decide, self.control, line, self._hand_over, seconds)
        self.worker = next(iter(self._ports.values()))

    def _hand_over(self, batch: Batch, rows: Sequence[int]) -> None:
        self.handed_over += len(rows)
        self.take_sent()
        self._take(message for message, _ in messages(0, batch, rows))

    def _take(self, handed: Iterable[bytes]) -> None:
        """Have the main process take what was handed over."""
        for _, names, datagrams in batches(handed, _unreadable):
            self._own.port.take(names, datagrams)

    def take_sent(self) -> None:
        """Move what the workers and the server have sent to :attr:`sent`."""
        sent = self._reactor.system.sent
        for fd in getattr(self, "_ports", ()):
            sent.setdefault(self.handle.fileno(), []).extend(sent.pop(fd, ()))
        super().take_sent()


class TwoWorkersMemoryPort(WorkerMemoryPort):
    """
    A UDP port in memory with two workers.

    A third of the ports of sources come to each worker and to the server itself. What is handed over waits until all of
    them have read their sockets.
    """

    workers = 2

    def __init__(self, *args: Any) -> None:
        self._handed: list[bytes] = []
        super().__init__(*args)

    def _socket(self, source: Address) -> int:
        return [self.handle.fileno(), *self._ports][source[1] % 3]

    def _read(self) -> None:
        for port in self._ports.values():
            port.read()
        self._own.port.doRead()
        handed, self._handed = self._handed, []
        self._take(handed)
        self.take_sent()

    def _hand_over(self, batch: Batch, rows: Sequence[int]) -> None:
        self.handed_over += len(rows)
        self._handed += [message for message, _ in messages(0, batch, rows)]


def _unreadable() -> None:
    raise AssertionError("what a worker has handed over cannot be read")


class WorkerMemoryReactor(FastMemoryReactor):
    """
    A reactor in memory with such ports.

    :cvar port: what makes a port.
    """

    port: type[WorkerMemoryPort] = WorkerMemoryPort

    def listenUDP(
        self, port: int, protocol: DatagramProtocol, interface: str = "", maxPacketSize: int = 8192
    ) -> WorkerMemoryPort:
        """Open a port in memory."""
        opened = self.port(self, port or 49152 + len(self.udp_ports), protocol, interface)
        self.udp_ports.append(opened)
        return opened


class TwoWorkersMemoryReactor(WorkerMemoryReactor):
    """The same, with two workers for each port."""

    port = TwoWorkersMemoryPort


def worker_server(reactor: WorkerMemoryReactor | None = None, **settings: Any) -> MemoryServer:
    """:returns: a server in memory before whose UDP ports a worker stands."""
    return fast_server(WorkerMemoryReactor() if reactor is None else reactor, **settings)
