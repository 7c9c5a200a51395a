"""Tests of :mod:`rendezvous.testing.reactor`."""

from __future__ import annotations

import socket
import struct
from random import Random

from twisted.internet.address import IPv4Address
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.testing import MemoryServer
from rendezvous.testing import translation as nat
from rendezvous.testing.nat import Nat
from rendezvous.testing.network import Address, Network
from rendezvous.testing.reactor import HostReactor, put_on
from rendezvous.wire.pulse import PulseCode, encode_reply


class _Echo(DatagramProtocol):
    """Answers each datagram with its source."""

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        assert self.transport is not None
        self.transport.write(f"{addr[0]} {addr[1]}".encode("ascii"), addr)


class _Keeper(DatagramProtocol):
    """Keeps what comes."""

    def __init__(self) -> None:
        self.received: list[bytes] = []

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        self.received.append(datagram)


class HostReactorTests(SynchronousTestCase):
    """Twisted's protocols run on simulated hosts."""

    def setUp(self) -> None:
        """Make a network, and a protocol that keeps what comes."""
        self.network = Network(Clock(), Random(1))
        self.keeper = _Keeper()

    def test_datagram_goes_there_and_back(self) -> None:
        """A protocol behind a NAT hears how it is seen."""
        HostReactor(self.network.host("203.0.113.1")).listenUDP(1000, _Echo())
        inside = Nat(self.network, "198.51.100.1", nat.PORT_RESTRICTED).host("192.168.1.2")
        port = HostReactor(inside).listenUDP(7000, self.keeper)
        self.assertEqual(port.getHost(), IPv4Address("UDP", "0.0.0.0", 7000))
        port.write(b"x", ("203.0.113.1", 1000))
        self.network.run(1.0)
        self.assertEqual(self.keeper.received, [b"198.51.100.1 7000"])

    def test_ttl_of_one_datagram(self) -> None:
        """``sendmsg`` takes the TTL as the kernel does."""
        HostReactor(self.network.host("203.0.113.1")).listenUDP(1000, self.keeper)
        port = HostReactor(self.network.host("203.0.113.2")).listenUDP(0, DatagramProtocol())
        for ttl in (3, 4):
            control = [(socket.IPPROTO_IP, socket.IP_TTL, struct.pack("i", ttl))]
            sent = port.getHandle().sendmsg([b"ttl ", b"%d" % ttl], control, 0, ("203.0.113.1", 1000))
            self.assertEqual(sent, 5)
        self.network.run(1.0)
        self.assertEqual(self.keeper.received, [b"ttl 4"])

    def test_ipv6(self) -> None:
        """The interface says the family."""
        HostReactor(self.network.host("2001:db8::1")).listenUDP(1000, _Echo(), interface="::")
        port = HostReactor(self.network.host("2001:db8::2")).listenUDP(7000, self.keeper, interface="::")
        port.write(b"x", ("2001:db8::1", 1000))
        self.network.run(1.0)
        self.assertEqual(self.keeper.received, [b"2001:db8::2 7000"])

    def test_closed_port(self) -> None:
        """It gets nothing, and its number is free again."""
        reactor = HostReactor(self.network.host("203.0.113.1"))
        port = reactor.listenUDP(1000, self.keeper)
        self.successResultOf(port.stopListening())
        self.network.host("203.0.113.2").bind().send(b"x", ("203.0.113.1", 1000))
        self.network.run(1.0)
        self.assertEqual(self.keeper.received, [])
        reactor.listenUDP(1000, DatagramProtocol())

    def test_time(self) -> None:
        """It is that of the network."""
        reactor, times = HostReactor(self.network.host("203.0.113.1")), list[float]()
        reactor.callLater(0.5, lambda: times.append(reactor.seconds()))
        self.assertEqual(len(reactor.getDelayedCalls()), 1)
        self.network.run(2.0)
        self.assertEqual(times, [0.5])

    def test_server_in_the_network(self) -> None:
        """A server in memory answers pulses that come through a NAT, and sees the address outside of it."""
        server = MemoryServer()
        self.addCleanup(server.stop)
        network = Network(server.reactor, Random(1))
        put_on(server, network.host("203.0.113.1"))
        _, key, headers = server.register()
        port = HostReactor(Nat(network, "198.51.100.1", nat.SYMMETRIC).host("192.168.1.2")).listenUDP(0, self.keeper)
        port.write(key, ("203.0.113.1", server.udp_ports[0].port))
        network.run(1.0)
        self.assertEqual(self.keeper.received, [encode_reply(PulseCode.ON_TIME)])
        self.assertEqual(len(headers), 1)
