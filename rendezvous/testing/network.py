"""
A network of hosts and NATs in memory, on a clock: delay, jitter, loss, hops, and the TTL of each datagram.

For example, a host behind a NAT sends to a public one::

    network = Network(Clock(), random.Random(1))
    server = network.host("203.0.113.1")
    router = Nat(network, "198.51.100.1", translation.PORT_RESTRICTED)
    client = router.host("192.168.1.2")
    server.bind(5024, lambda datagram, source: print(source))
    client.bind().send(b"hello", ("203.0.113.1", 5024))
    network.run(1.0)

This prints ``('198.51.100.1', 49152)``. The NATs are in :mod:`rendezvous.testing.nat`, and what they do in
:mod:`rendezvous.testing.translation`.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Protocol

import attrs

from twisted.internet.task import Clock

from rendezvous.core.addresses import Address

__all__ = [
    "DEFAULT_TTL", "Address", "Burst", "Host", "Link", "Network", "Node", "Packet", "Segment", "Socket",
]  # fmt: skip

DEFAULT_TTL = 64
"""The TTL of a datagram for which none is asked."""

FIRST_PORT = 49152
"""The first port that a host gives to a socket that asks for none."""


@attrs.frozen
class Packet:
    """A UDP datagram on its way."""

    source: Address
    destination: Address
    payload: bytes
    ttl: int = DEFAULT_TTL

    def hop(self, routers: int = 1) -> Packet | None:
        """:returns: the packet after so many routers, or ``None`` if it has died at one of them."""
        return attrs.evolve(self, ttl=self.ttl - routers) if self.ttl > routers else None


@attrs.define
class Burst:
    """
    Loss in bursts, by the model of Gilbert and Elliott in continuous time: a link is in a good or a bad state.

    For example, ``Burst(0.9, 0.1)`` loses a tenth of all packets, and all that are sent within some 100 ms.

    :ivar good: mean seconds of a good state.
    :ivar bad: mean seconds of a bad state.
    :ivar loss: probability that a packet is lost in a bad state.
    """

    good: float
    bad: float
    loss: float = 1.0
    _is_bad: bool = attrs.field(default=True, init=False)
    _until: float = attrs.field(default=float("-inf"), init=False)

    def loses(self, now: float, random: Random) -> bool:
        """:returns: whether a packet is lost now; ``now`` never goes back."""
        if self._until == float("-inf"):
            self._until = now
        while now >= self._until:
            self._is_bad = not self._is_bad
            self._until += random.expovariate(1 / (self.bad if self._is_bad else self.good))
        return self._is_bad and random.random() < self.loss


@attrs.define
class Link:
    """
    What happens between a node and the segment that it is attached to, in each direction.

    :ivar delay: seconds.
    :ivar jitter: seconds that are added at random, uniformly from zero to this; packets may change their order.
    :ivar loss: probability that a packet is lost.
    :ivar burst: loss in bursts, beside that.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    burst: Burst | None = None

    def cross(self, now: float, random: Random) -> float | None:
        """:returns: the seconds that one packet takes; ``None`` if it is lost."""
        if (self.loss and random.random() < self.loss) or (self.burst is not None and self.burst.loses(now, random)):
            return None
        return self.delay + (random.random() * self.jitter if self.jitter else 0.0)


class Node(Protocol):
    """What can be attached to a segment."""

    def receive(self, packet: Packet) -> None:
        """Take a packet that has arrived from the segment."""


class Segment(Protocol):
    """What nodes are attached to: the Internet, or the inside of a NAT."""

    network: Network

    def attach(self, address: str, node: Node, link: Link) -> None:
        """Have packets to an address delivered to a node."""

    def detach(self, address: str) -> None:
        """Have packets to an address dropped."""

    def forward(self, packet: Packet, node: Node) -> None:
        """Take a packet from a node that is attached."""


class Wire:
    """Which node has which address of a segment, and what lies between each node and the segment."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._nodes: dict[str, tuple[Node, Link]] = {}

    def __contains__(self, address: str) -> bool:
        """Tell whether a node has an address."""
        return address in self._nodes

    def attach(self, address: str, node: Node, link: Link) -> None:
        """Give an address to a node."""
        assert address not in self._nodes, f"{address} is taken"
        self._nodes[address] = (node, link)

    def detach(self, address: str) -> None:
        """Take an address from its node."""
        del self._nodes[address]

    def link(self, node: Node) -> Link:
        """:returns: what lies between a node and the segment."""
        return next((link for each, link in self._nodes.values() if each is node), _NO_LINK)

    def carry(self, packet: Packet, link: Link) -> None:
        """
        Bring a packet to the node that has its destination.

        :param link: over which it has come to the segment.
        """
        node, own = self._nodes.get(packet.destination[0], (None, _NO_LINK))
        now, random = self._network.clock.seconds(), self._network.random
        first, second = link.cross(now, random), own.cross(now, random)
        if node is not None and first is not None and second is not None:
            self._network.clock.callLater(first + second, node.receive, packet)


_NO_LINK = Link()


class Network:
    """
    The Internet: every public address, with the same number of routers between any two of them.

    :param clock: use :meth:`run` to let time pass, since :meth:`Clock.advance` lets all that happens meanwhile happen
        at the end.
    :param random: for loss, jitter and the ports of NATs; with one seed, everything happens in the same way again.
    :param hops: routers between two public addresses.
    :ivar drop: a function that says which packets get lost on the Internet, for example to cut a path silently.
    :ivar sent: packets that have come to the Internet.
    """

    def __init__(self, clock: Clock, random: Random, hops: int = 3) -> None:
        self.clock, self.random, self.hops = clock, random, hops
        self.network = self
        self.drop: Callable[[Packet], bool] = lambda packet: False
        self.sent = 0
        self._wire = Wire(self)

    def host(self, address: str, link: Link | None = None) -> Host:
        """:returns: a new host with a public address."""
        return Host(self).connect(self, address, link)

    def attach(self, address: str, node: Node, link: Link) -> None:
        """Give a public address to a node."""
        self._wire.attach(address, node, link)

    def detach(self, address: str) -> None:
        """Take a public address from its node."""
        self._wire.detach(address)

    def forward(self, packet: Packet, node: Node) -> None:
        """Carry a packet over the Internet."""
        self.sent += 1
        arriving = packet.hop(self.hops) if self.hops else packet
        if arriving is not None and not self.drop(packet):
            self._wire.carry(arriving, self._wire.link(node))

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """
        Let time pass, from one event to the next.

        :param until: asked after each event; time stops when it is true.
        :returns: whether it was.
        """
        end = self.clock.seconds() + seconds
        while not until():
            calls = self.clock.getDelayedCalls()
            following = min((call.getTime() for call in calls), default=end)
            if following >= end:
                self.clock.advance(max(end - self.clock.seconds(), 0.0))
                return until()
            self.clock.advance(max(following - self.clock.seconds(), 0.0))
        return True


class Host:
    """
    A computer with sockets. It has one address, or one of each family.

    :ivar addresses: by whether they are of IPv6.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.addresses: dict[bool, str] = {}
        self._segments: dict[bool, Segment] = {}
        self._sockets: dict[tuple[bool, int], Socket] = {}
        self._next_port = FIRST_PORT

    def connect(self, segment: Segment, address: str, link: Link | None = None) -> Host:
        """
        Attach the host to a segment. If it was attached with an address of this family, it is so no more.

        Sockets stay open, as those of a host that moves to another network.

        :returns: the same host.
        """
        ipv6 = ":" in address
        self.disconnect(ipv6)
        segment.attach(address, self, Link() if link is None else link)
        self.addresses[ipv6], self._segments[ipv6] = address, segment
        return self

    def disconnect(self, ipv6: bool = False) -> None:
        """Detach the host: what it sends is lost, and nothing arrives."""
        if ipv6 in self.addresses:
            self._segments.pop(ipv6).detach(self.addresses.pop(ipv6))

    def bind(
        self, port: int = 0, on_datagram: Callable[[bytes, Address], None] | None = None, ipv6: bool = False
    ) -> Socket:
        """
        Open a socket.

        :param port: 0 for one that is free.
        :param on_datagram: called with each datagram and its source.
        """
        while not port or (ipv6, port) in self._sockets:
            assert not port, f"port {port} is taken"
            port, self._next_port = self._next_port, self._next_port + 1
            port = port if (ipv6, port) not in self._sockets else 0
        socket = self._sockets[ipv6, port] = Socket(self, port, ipv6, on_datagram)
        return socket

    def close(self, socket: Socket) -> None:
        """Close a socket."""
        self._sockets.pop((socket.ipv6, socket.port), None)

    def send(self, packet: Packet) -> None:
        """Send a packet, if the host is attached to a segment of its family."""
        segment = self._segments.get(":" in packet.destination[0])
        if segment is not None:
            segment.forward(packet, self)

    def receive(self, packet: Packet) -> None:
        """Take a packet that has arrived: the socket of its port gets it."""
        host, port = packet.destination
        socket = self._sockets.get((":" in host, port))
        if socket is not None and socket.on_datagram is not None and self.addresses.get(":" in host) == host:
            socket.on_datagram(packet.payload, packet.source)


class Socket:
    """
    A UDP socket of a host.

    :ivar on_datagram: called with each datagram and its source; may be set later.
    """

    def __init__(self, host: Host, port: int, ipv6: bool, on_datagram: Callable[[bytes, Address], None] | None) -> None:
        self.host, self.port, self.ipv6, self.on_datagram = host, port, ipv6, on_datagram

    @property
    def address(self) -> Address:
        """:returns: the address of the host and the port."""
        return self.host.addresses[self.ipv6], self.port

    def send(self, datagram: bytes, address: Address, ttl: int | None = None) -> None:
        """Send a datagram; it is lost if the host has no address of this family now."""
        if self.ipv6 in self.host.addresses and (":" in address[0]) == self.ipv6:
            self.host.send(Packet(self.address, address, datagram, DEFAULT_TTL if ttl is None else ttl))

    def close(self) -> None:
        """Close the socket."""
        self.host.close(self)
