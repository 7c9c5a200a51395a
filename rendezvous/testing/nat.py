"""NATs for the simulated network, and the firewall of an IPv6 network."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from rendezvous.testing.network import Address, Host, Link, Network, Node, Packet, Segment, Wire
from rendezvous.testing.translation import TIMEOUT, Behaviour, Masquerade

__all__ = ["Firewall", "Nat"]


@attrs.define(eq=False)
class _Incoming:
    """
    Packets that have come to another port than the one that outgoing packets to their source leave from.

    :ivar port: the external port that they came to; answers leave from it.
    :ivar remote: where they really come from.
    """

    port: int
    remote: Address
    used: float


class Nat:
    """
    A NAT with one external address. Hosts, and other NATs, are attached to its inside.

    :param outside: the Internet, or the inside of another NAT, such as that of a carrier.
    :param address: the external address.
    :param hairpin: whether hosts inside reach each other by their external addresses (RFC 4787, section 6).
    :param blocked: whether all UDP is dropped.
    :ivar drop: a function that says which packets are dropped, as they are inside.
    """

    def __init__(
        self,
        outside: Segment,
        address: str,
        behaviour: Behaviour | Masquerade,
        link: Link | None = None,
        *,
        hairpin: bool = False,
        blocked: bool = False,
    ) -> None:
        self.network: Network = outside.network
        self.address, self.hairpin, self.blocked = address, hairpin, blocked
        self.drop: Callable[[Packet], bool] = lambda packet: False
        self._outside = outside
        self._wire = Wire(self.network)
        self._behaviour = behaviour
        self._forwarded: dict[int, Address] = {}
        self.restart()
        outside.attach(address, self, Link() if link is None else link)

    def restart(self) -> None:
        """Forget all mappings, as after a power cut."""
        self._table = self._behaviour.table(self.network.random)
        # By the internal address and the source that it sees.
        self._incoming: dict[tuple[Address, Address], _Incoming] = {}

    def host(self, address: str, link: Link | None = None) -> Host:
        """:returns: a new host inside."""
        return Host(self.network).connect(self, address, link)

    def attach(self, address: str, node: Node, link: Link) -> None:
        """Give an address of the inside to a node."""
        self._wire.attach(address, node, link)

    def detach(self, address: str) -> None:
        """Take an address of the inside from its node."""
        self._wire.detach(address)

    def forward_port(self, port: int, internal: Address) -> Address:
        """
        Forward an external port to an address inside, as NAT-PMP or PCP asks for.

        An answer to a packet that has come this way leaves from this port. Other packets of the internal address are
        translated as if there was no forwarding.

        :returns: the external address.
        """
        self._forwarded[port] = internal
        return self.address, port

    def forward(self, packet: Packet, node: Node) -> None:
        """Take a packet from the inside."""
        if self.drop(packet):
            return
        host = packet.destination[0]
        link = self._wire.link(node)
        if host in self._wire:
            self._wire.carry(packet, link)
        elif not self.blocked and (routed := packet.hop()) is not None:
            translated = self._translate_out(routed)
            delay = link.cross(self.network.clock.seconds(), self.network.random)
            if host != self.address:
                if delay is not None:
                    self.network.clock.callLater(delay, self._outside.forward, translated, self)
            elif self.hairpin and (inside := self._translate_in(translated)) is not None:
                self._wire.carry(inside, link)

    def receive(self, packet: Packet) -> None:
        """Take a packet from the outside."""
        if self.blocked:
            return
        inside = self._translate_in(packet)
        arriving = None if inside is None else inside.hop()
        if arriving is not None and not self.drop(arriving):
            self._wire.carry(arriving, Link())

    def _translate_out(self, packet: Packet) -> Packet:
        now = self.network.clock.seconds()
        incoming = self._incoming.get((packet.source, packet.destination))
        if incoming is not None and now - incoming.used <= self._behaviour.timeout:
            incoming.used = now
            return attrs.evolve(packet, source=(self.address, incoming.port), destination=incoming.remote)
        port = self._table.outbound(now, packet.source, packet.destination)
        return attrs.evolve(packet, source=(self.address, port))

    def _translate_in(self, packet: Packet) -> Packet | None:
        now = self.network.clock.seconds()
        port, remote = packet.destination[1], packet.source
        internal = self._forwarded.get(port) or self._table.inbound(now, port, remote)
        if internal is None:
            return None
        leaving = self._table.known(now, internal, remote)
        if leaving == port:
            return attrs.evolve(packet, destination=internal)
        return attrs.evolve(packet, destination=internal, source=self._enter(now, internal, remote, port, leaving))

    def _enter(self, now: float, internal: Address, remote: Address, port: int, leaving: int | None) -> Address:
        """
        Take note of a packet to a port that outgoing packets to its source do not leave from.

        If such packets have gone out, Linux shows another source port inside, so that both can be told apart.

        :returns: the source that is seen inside.
        """
        for (inside, shown), incoming in self._incoming.items():
            if (inside, incoming.remote, incoming.port) == (internal, remote, port):
                incoming.used = now
                return shown
        shown = remote if leaving is None else (remote[0], self.network.random.randint(1024, 65535))
        self._incoming[internal, shown] = _Incoming(port, remote, now)
        return shown


class Firewall:
    """
    A router of IPv6 that translates nothing, and lets in only what answers a packet that went out (RFC 6092).

    :param outside: the Internet.
    :param timeout: seconds without an outgoing packet after which nothing is let in.
    """

    def __init__(self, outside: Segment, link: Link | None = None, timeout: float = TIMEOUT) -> None:
        self.network: Network = outside.network
        self._outside, self._link, self._timeout = outside, Link() if link is None else link, timeout
        self._wire = Wire(self.network)
        self._open: dict[tuple[Address, Address], float] = {}

    def host(self, address: str, link: Link | None = None) -> Host:
        """:returns: a new host inside."""
        return Host(self.network).connect(self, address, link)

    def attach(self, address: str, node: Node, link: Link) -> None:
        """Give an address to a node inside; it is routed here from the outside."""
        self._wire.attach(address, node, link)
        self._outside.attach(address, self, self._link)

    def detach(self, address: str) -> None:
        """Take an address from its node."""
        self._wire.detach(address)
        self._outside.detach(address)

    def forward(self, packet: Packet, node: Node) -> None:
        """Take a packet from the inside."""
        if packet.destination[0] in self._wire:
            self._wire.carry(packet, self._wire.link(node))
        elif (routed := packet.hop()) is not None:
            self._open[packet.source, packet.destination] = self.network.clock.seconds()
            self._outside.forward(routed, self)

    def receive(self, packet: Packet) -> None:
        """Take a packet from the outside."""
        opened = self._open.get((packet.destination, packet.source))
        arriving = packet.hop()
        if opened is not None and arriving is not None and self.network.clock.seconds() - opened <= self._timeout:
            self._wire.carry(arriving, Link())
