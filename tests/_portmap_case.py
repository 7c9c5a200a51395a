"""A port mapper on a clock, and routers in memory for it."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.client.network.gateway import Gateway
from rendezvous.client.portmap import PortMapper, PortMapping
from rendezvous.testing import MemoryReactor
from tests._gateways import HOST, ROUTER, FakeRouter

LOCAL = 40000
HOST_IPV6 = "2a11:7:1::2"


class PortMapCase(SynchronousTestCase):
    """A mapper on a clock, which finds the routers that a test names."""

    def setUp(self) -> None:
        """Make the mapper."""
        self.reactor = MemoryReactor()
        self.gateways: dict[bool, Gateway | None] = {False: Gateway(ROUTER, HOST), True: None}
        self.mapper = PortMapper(
            self.reactor,
            find=lambda *, ipv6: self.gateways[ipv6],
            secret=bytes(range(32)),
            draw=lambda low, high: (low + high) / 2,
        )
        self.changes: list[tuple[str, int] | None] = []

    def router(self, *protocols: str) -> FakeRouter:
        """:returns: the router, which knows these protocols."""
        self.fake = FakeRouter(self.reactor, *protocols)
        return self.fake

    def map(self, local_port: int = LOCAL) -> Deferred[PortMapping | None]:
        """Ask for a mapping, and let the router answer."""
        result = self.mapper.map(local_port, on_change=self.changed)
        self.fake.pump()
        return result

    def mapped(self) -> PortMapping:
        """:returns: a mapping that was made."""
        mapping = self.successResultOf(self.map())
        assert mapping is not None
        return mapping

    def changed(self, mapping: PortMapping | None) -> None:
        """Keep a change."""
        self.changes.append(None if mapping is None else (mapping.host, mapping.port))

    def stop(self) -> None:
        """Stop the mapper; it leaves neither a timer nor an open socket."""
        stopped = self.mapper.stop()
        self.fake.advance(1)
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual([port for port in self.reactor.udp_ports if port.listening], [])

    def times(self, version: int, opcode: int) -> list[float]:
        """:returns: when requests of one kind came, in seconds since the start."""
        return [round(at, 3) for at, datagram in self.fake.seen if datagram[:2] == bytes((version, opcode))]
