"""UDP ports in memory before which a worker stands, in the same process: it takes every datagram first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from twisted.internet.protocol import DatagramProtocol

from rendezvous.core.presence import Presence
from rendezvous.testing import MemoryServer
from rendezvous.udp.control import Control, control_size
from rendezvous.udp.handing import messages, unpacked
from rendezvous.udp.mmsg import Batch
from rendezvous.udp.worker import Port, decide_on
from tests._memory_fast import FastMemoryPort, FastMemoryReactor, fast_server, name

__all__ = ["WorkerMemoryPort", "WorkerMemoryReactor", "worker_server"]

Address = tuple[str, int]


class WorkerMemoryPort(FastMemoryPort):
    """
    A UDP port in memory whose datagrams come to a worker.

    :ivar handed_over: how many datagrams the worker has left to the server.
    """

    handed_over = 0
    _table: object = None

    def deliver_all(self, datagrams: Iterable[tuple[bytes, Address]]) -> None:
        """Have datagrams arrive before the worker's socket is read again; what is sent is in :attr:`sent`."""
        protocol: Any = self.protocol
        presence, clock = protocol.shared.store.live, protocol.shared.clock
        assert isinstance(presence, Presence)
        if presence.index.table is not self._table:
            self._start(presence, protocol.number)
        for _ in range(2):
            # Where server time has moved against the reactor's, the first call only says so.
            self.control.publish(self._reactor.seconds(), clock.seconds(), presence.timers.on_time)
        if not protocol.shared.is_running:
            self.control.withdraw()
        queue = self._reactor.system.waiting.setdefault(self.worker.fd, deque())
        for datagram, source in datagrams:
            packed = name(source, self.handle.family)
            self.given[packed] = source
            queue.append((datagram, packed))
        while queue:
            self.worker.read()
            self.take_sent()

    def _start(self, presence: Presence, number: int) -> None:
        self._table, fd = presence.index.table, self.handle.fileno() + 1000
        batch = Batch(self._reactor.system, self.handle.family)
        self.control = Control(memoryview(bytearray(control_size(1))))
        decide = decide_on(batch, number, presence.index, presence.columns.memory)
        line, seconds = self.control.line(0), self._reactor.seconds
        self.worker = Port(fd, batch, decide, self.control, line, self._hand_over, seconds)

    def _hand_over(self, batch: Batch, rows: Sequence[int]) -> None:
        self.handed_over += len(rows)
        self.take_sent()
        for message, _ in messages(0, batch, rows):
            self._own.port.take(*unpacked(message)[1:])

    def take_sent(self) -> None:
        """Move what the worker and the server have sent to :attr:`sent`."""
        sent = self._reactor.system.sent
        sent.setdefault(self.handle.fileno(), []).extend(sent.pop(self.handle.fileno() + 1000, ()))
        super().take_sent()


class WorkerMemoryReactor(FastMemoryReactor):
    """A reactor in memory with such ports."""

    def listenUDP(
        self, port: int, protocol: DatagramProtocol, interface: str = "", maxPacketSize: int = 8192
    ) -> WorkerMemoryPort:
        """Open a port in memory."""
        opened = WorkerMemoryPort(self, port or 49152 + len(self.udp_ports), protocol, interface)
        self.udp_ports.append(opened)
        return opened


def worker_server(reactor: WorkerMemoryReactor | None = None, **settings: Any) -> MemoryServer:
    """:returns: a server in memory before whose UDP ports a worker stands."""
    return fast_server(WorkerMemoryReactor() if reactor is None else reactor, **settings)
