"""
A reactor for each host of the simulated network, so that Twisted's protocols run there; a server in memory on a host.

For example, a client and a server in one network::

    server = MemoryServer()
    network = Network(server.reactor, random.Random(1))
    put_on(server, network.host("203.0.113.1"))
    reactor = HostReactor(Nat(network, "198.51.100.1", PORT_RESTRICTED).host("192.168.1.2"))
    port = reactor.listenUDP(0, protocol)
    network.run(1.0)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from socket import IPPROTO_IP, IPPROTO_IPV6
from typing import Any, cast

from zope.interface import implementer

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IReactorTime, IReactorUDP
from twisted.internet.protocol import DatagramProtocol

from rendezvous.testing.memory import MemoryServer
from rendezvous.testing.names import MemoryResolver
from rendezvous.testing.network import Address, Host

__all__ = ["HostPort", "HostReactor", "put_on"]


@implementer(IListeningPort)
class HostPort:
    """
    A UDP port of a simulated host.

    :ivar listening: whether it is open.
    """

    def __init__(self, host: Host, port: int, protocol: DatagramProtocol, interface: str) -> None:
        self.protocol, self.interface = protocol, interface
        self.listening = True
        self._socket = host.bind(port, self._received, ipv6=":" in interface)
        protocol.makeConnection(cast(Any, self))

    def _received(self, datagram: bytes, source: Address) -> None:
        self.protocol.datagramReceived(datagram, source)

    def write(self, datagram: bytes, addr: Address | None = None) -> None:
        """Send a datagram."""
        assert addr is not None, "this port is not connected"
        self._socket.send(datagram, addr)

    def getHandle(self) -> HostPort:
        """:returns: what has :meth:`sendmsg`, as the socket of a real port has it."""
        return self

    def sendmsg(
        self, buffers: Sequence[bytes], ancdata: Sequence[tuple[int, int, bytes]] = (), flags: int = 0,
        address: Address | None = None,
    ) -> int:  # fmt: skip
        """
        Send a datagram, as :meth:`socket.socket.sendmsg` does.

        :param ancdata: a TTL or a hop limit, as four bytes in the order of the machine; nothing else is understood.
        :returns: how many bytes were sent.
        """
        assert address is not None, "this port is not connected"
        ttl = None
        for level, _, value in ancdata:
            assert level in (IPPROTO_IP, IPPROTO_IPV6), level
            ttl = memoryview(value).cast("i")[0]
        datagram = b"".join(buffers)
        self._socket.send(datagram, address, ttl)
        return len(datagram)

    def getHost(self) -> IPv4Address | IPv6Address:
        """:returns: the port's own address."""
        if self._socket.ipv6:
            return IPv6Address("UDP", self.interface, self._socket.port)
        return IPv4Address("UDP", self.interface or "0.0.0.0", self._socket.port)  # noqa: S104 - there is no network here

    def startListening(self) -> None:
        """Do nothing: it listens from the start."""

    def stopListening(self) -> Deferred[None]:
        """Close."""
        if self.listening:
            self.listening = False
            self._socket.close()
            self.protocol.doStop()
        return succeed(None)


@implementer(IReactorTime, IReactorUDP)
class HostReactor:
    """
    The reactor of a simulated host: its UDP, and the time of the network.

    :ivar ports: every UDP port that was ever opened, in order.
    :ivar nameResolver: knows the names that the test gives it.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self.ports: list[HostPort] = []
        self.nameResolver = MemoryResolver()

    def listenUDP(
        self, port: int, protocol: DatagramProtocol, interface: str = "", maxPacketSize: int = 8192
    ) -> HostPort:
        """
        Open a port.

        :param interface: any IPv6 address, such as ``::``, for a port of this family.
        """
        opened = HostPort(self.host, port, protocol, interface)
        self.ports.append(opened)
        return opened

    def seconds(self) -> float:
        """:returns: the time of the network."""
        return self.host.network.clock.seconds()

    def callLater(self, delay: float, callable: Callable[..., object], *args: Any, **kwargs: Any) -> IDelayedCall:
        """Call later, in the time of the network."""
        return self.host.network.clock.callLater(delay, callable, *args, **kwargs)

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        """:returns: all calls of the network that are still to come, of whichever host."""
        return self.host.network.clock.getDelayedCalls()


def put_on(server: MemoryServer, host: Host) -> None:
    """
    Have the UDP ports of a server in memory be ports of a simulated host.

    :param host: of a network whose clock is the reactor of the server.
    """
    for port in server.udp_ports:
        socket = host.bind(port.port, port.protocol.datagramReceived)
        port.on_write = socket.send
