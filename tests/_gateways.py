"""A router in memory that makes mappings by NAT-PMP (RFC 6886) and PCP (RFC 6887), written from the RFCs."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address, ip_address

from rendezvous.testing import MemoryReactor, MemoryUDPPort

ROUTER = "192.168.1.1"
HOST = "192.168.1.20"
OUTSIDE = "11.8.1.10"


def packed(host: str) -> bytes:
    """:returns: an address as PCP writes it."""
    address = ip_address(host)
    return address.packed if address.version == 6 else b"\0" * 10 + b"\xff\xff" + address.packed


class FakeRouter:
    """
    Answers what a port in memory has sent to it.

    :ivar protocols: what it can do, of "pcp" and "nat-pmp".
    :ivar silent: whether it drops what it cannot do, instead of refusing it.
    :ivar address: its external address.
    :ivar started: when it started, which is its epoch.
    :ivar refusal: a result code for every request of PCP for a mapping.
    :ivar natpmp_refusal: the same of NAT-PMP, also for the address.
    :ivar pcp_delay: seconds until it answers PCP.
    :ivar granted: seconds that a mapping lasts at most.
    :ivar mappings: external port by protocol and internal port.
    :ivar seen: the datagrams that came, and when.
    """

    def __init__(self, reactor: MemoryReactor, *protocols: str, host: str = ROUTER) -> None:
        self.reactor = reactor
        self.protocols = set(protocols)
        self.host = host
        self.silent = False
        self.is_on = True
        self.address = OUTSIDE
        self.started = reactor.seconds() - 1000
        self.refusal = self.natpmp_refusal = 0
        self.pcp_delay = 0.0
        self.granted = 100_000
        self.offset = 0
        self.mappings: dict[tuple[str, int], int] = {}
        self.nonces: dict[int, bytes] = {}
        self.seen: list[tuple[float, bytes]] = []
        self._read: dict[MemoryUDPPort, int] = {}

    def restart(self) -> None:
        """Lose all mappings."""
        self.mappings.clear()
        self.nonces.clear()
        self.started = self.reactor.seconds()

    def pump(self) -> None:
        """Answer all that was sent since the last time, and what is sent then."""
        for port in self.reactor.udp_ports:
            at = self._read.get(port, 0)
            while at < len(port.sent):  # An answer may make it send more.
                datagram, (host, number) = port.sent[at]
                at = self._read[port] = at + 1
                if (host.partition("%")[0], number) == (self.host.partition("%")[0], 5351) and self.is_on:
                    self._take(port, datagram)

    def advance(self, seconds: float) -> None:
        """Let time pass in small steps, and answer at each."""
        until = self.reactor.seconds() + seconds
        self.pump()
        while self.reactor.seconds() < until - 1e-9:
            calls = [call.getTime() for call in self.reactor.getDelayedCalls()]
            step = min([until, *(time for time in calls if time > self.reactor.seconds())])
            self.reactor.advance(max(step - self.reactor.seconds(), 0))
            self.pump()

    def _take(self, port: MemoryUDPPort, datagram: bytes) -> None:
        self.seen.append((self.reactor.seconds(), datagram))
        if datagram[0] == 2 and "pcp" in self.protocols:
            reply = self._pcp(port, datagram)
            self.reactor.callLater(self.pcp_delay, self.answer, port, reply) if self.pcp_delay else self.answer(
                port, reply
            )
        elif datagram[0] == 0 and "nat-pmp" in self.protocols:
            self.answer(port, self._natpmp(datagram))
        elif not self.silent and self.protocols and datagram[0] == 2:
            self.answer(port, struct.pack("!BBHI", 0, 0x80 | datagram[1], 1, self.epoch))

    def answer(self, port: MemoryUDPPort, reply: bytes) -> None:
        """Send a reply to where a port is, if it is still open."""
        if port.listening:
            port.deliver(reply, (self.host.partition("%")[0], 5351))

    @property
    def epoch(self) -> int:
        """:returns: seconds since it started."""
        return int(self.reactor.seconds() - self.started)

    def _natpmp(self, datagram: bytes) -> bytes:
        opcode = datagram[1]
        if self.natpmp_refusal:
            return struct.pack("!BBHI", 0, 0x80 | opcode, self.natpmp_refusal, self.epoch) + bytes(
                4 if opcode == 0 else 8
            )
        if opcode == 0:
            return struct.pack("!BBHI", 0, 0x80, 0, self.epoch) + ip_address(self.address).packed
        internal, wanted, lifetime = struct.unpack("!HHI", datagram[4:])
        external = self._map("nat-pmp", internal, wanted, lifetime)
        return struct.pack(
            "!BBHIHHI", 0, 0x81, 0, self.epoch, internal, external if lifetime else 0, min(lifetime, self.granted)
        )

    def _pcp(self, port: MemoryUDPPort, datagram: bytes) -> bytes:
        opcode, lifetime = datagram[1], int.from_bytes(datagram[4:8], "big")
        if datagram[8:24] != packed(port.interface):
            return struct.pack("!BBBBII12x", 2, 0x80 | opcode, 0, 12, 30, self.epoch) + datagram[24:]
        if opcode == 0:
            return struct.pack("!BBBBII12x", 2, 0x80, 0, 0, 0, self.epoch)
        nonce, internal, wanted = datagram[24:36], *struct.unpack("!HH", datagram[40:44])
        refusal = self.refusal
        if self.nonces.get(internal, nonce) != nonce and ("pcp", internal) in self.mappings:
            refusal = 2
        if refusal:
            return (
                struct.pack("!BBBBII12x", 2, 0x81, 0, refusal, 30, self.epoch) + datagram[24:44] + packed(self.address)
            )
        external = self._map("pcp", internal, wanted, lifetime)
        self.nonces[internal] = nonce
        address = str(IPv6Address(datagram[8:24])) if ":" in port.interface else self.address
        head = struct.pack("!BBBBII12x", 2, 0x81, 0, 0, min(lifetime, self.granted), self.epoch)
        return head + datagram[24:42] + struct.pack("!H", external) + packed(address)

    def _map(self, protocol: str, internal: int, wanted: int, lifetime: int) -> int:
        if lifetime == 0:
            return self.mappings.pop((protocol, internal), wanted)
        if internal == wanted:
            wanted += self.offset
        return self.mappings.setdefault((protocol, internal), wanted)
