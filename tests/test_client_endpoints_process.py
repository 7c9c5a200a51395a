"""The socket that probes go through, on a real one: the TTL of one datagram, and what the system refuses."""

from __future__ import annotations

import socket
import struct
from unittest.mock import patch

from twisted.internet import reactor as global_reactor  # noqa: TID251 - trial runs these tests on it
from twisted.trial.unittest import TestCase

from rendezvous.client.connecting._endpoints import SocketEndpoint
from rendezvous.core.punching.pairs import Local

#: Of Linux; the standard library does not name it.
IP_RECVTTL = 12

#: Families: whether IPv6, the address of loopback, and the options that say with which TTL a datagram has arrived.
FAMILIES = (
    (False, "127.0.0.1", socket.AF_INET, (socket.IPPROTO_IP, IP_RECVTTL)),
    (True, "::1", socket.AF_INET6, (socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT)),
)


class TTLTests(TestCase):
    """Openers die on their way; what follows them must not."""

    timeout = 10

    def open(self, *, ipv6: bool = False) -> None:
        """Open the socket."""
        self.endpoint = SocketEndpoint(global_reactor, Local("a", ipv6), lambda *_: None)
        self.addCleanup(self.endpoint.close)

    def exchange(self, ipv6: bool, host: str, family: int, option: tuple[int, int]) -> None:
        """Send with a TTL and without one."""
        with socket.socket(family, socket.SOCK_DGRAM) as peer:
            peer.bind((host, 0))
            peer.settimeout(5)
            peer.setsockopt(*option, 1)
            address = (host, peer.getsockname()[1])
            self.open(ipv6=ipv6)
            usual = int(self.endpoint._listening.getHandle().getsockopt(*self.endpoint.ttl_option))
            for ttl, expected in ((3, 3), (None, usual), (2, 2)):
                self.endpoint.send(b"probe", address, ttl)
                datagram, ancillary, _, source = peer.recvmsg(100, 100)
                self.assertEqual((datagram, source[1]), (b"probe", self.endpoint.port))
                [(_, _, data)] = ancillary
                self.assertEqual(struct.unpack("@i", data)[0], expected)

    def test_ttl_of_one_datagram_over_ipv4(self) -> None:
        """The next one has the usual TTL again."""
        self.exchange(*FAMILIES[0])

    def test_hop_limit_of_one_datagram_over_ipv6(self) -> None:
        """The next one has the usual hop limit again."""
        self.exchange(*FAMILIES[1])

    def test_systems_without_control_data(self) -> None:
        """The option of the socket is set for one datagram, and set back."""
        with patch("rendezvous.client.connecting._endpoints.sys.platform", "darwin"):
            self.exchange(*FAMILIES[0])

    def test_what_the_system_refuses_is_lost(self) -> None:
        """A broadcast, and an address of the other family: nothing is raised, with a TTL and without."""
        self.open()
        for ttl in (None, 2):
            self.endpoint.send(b"probe", ("255.255.255.255", 9), ttl)
            self.endpoint.send(b"probe", ("127.0.0.1", 0), ttl)
