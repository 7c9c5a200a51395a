"""Tests of :mod:`rendezvous.udp.protocol`: several sockets of one server, and which of them speaks."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.testing import MemoryServer, MemoryUDPPort
from rendezvous.wire.tracker import Dialect
from tests._udp_case import ALICE, BOB, CAROL


class SocketsOfOneNumberTests(SynchronousTestCase):
    """One port number on two addresses of IPv4 and on one of IPv6, as an application that embeds us may open it."""

    def setUp(self) -> None:
        """Open three sockets with the number 5024, the server's own port apart."""
        self.server = MemoryServer(udp_port=())
        self.addCleanup(self.server.stop)
        self.reactor = self.server.reactor
        self.ports = [self.open(interface) for interface in ("192.0.2.100", "203.0.113.100", "2001:db8::100")]

    def open(self, interface: str) -> MemoryUDPPort:
        """:returns: a port of the deployed dialect."""
        return self.reactor.listenUDP(5024, self.server.rendezvous.datagrams(Dialect.DEPLOYED), interface)

    def announce(self, at: int, source: tuple[str, int]) -> str:
        """:returns: the shareId of a peer that announces itself to one of them."""
        [reply] = self.ports[at].deliver(b'{"action":"announce"}', source)
        share_id = json.loads(reply)["data"]["shareId"]
        assert isinstance(share_id, str)
        return share_id

    def push(self, at: int, source: tuple[str, int], share_id: str) -> None:
        """Push."""
        self.ports[at].deliver(json.dumps({"action": "push", "shareId": share_id}).encode(), source)

    def incomes(self) -> list[list[Any]]:
        """:returns: to whom each socket has sent a notice."""
        return [[to for reply, to in each.sent if json.loads(reply)["action"] == "income"] for each in self.ports]

    def test_notice_leaves_by_the_socket_that_its_receiver_has_sent_to(self) -> None:
        """Whichever socket the caller has used, and although all have one port number."""
        names = [self.announce(at, source) for at, source in enumerate((ALICE, BOB, CAROL))]
        self.push(1, BOB, names[0])
        self.push(2, CAROL, names[1])
        self.push(0, ALICE, names[2])
        self.assertEqual(self.incomes(), [[ALICE], [BOB], [CAROL]])

    def test_pulses_are_answered_by_the_socket_that_they_came_to(self) -> None:
        """Whichever it is; a client may change from one to another."""
        _, key, _ = self.server.register()
        for port in (*self.ports, *self.ports):
            for _ in range(2):
                self.assertEqual(port.deliver(key, ALICE), [(1020).to_bytes(4, "big")])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_one_source_is_a_peer_at_each_socket(self) -> None:
        """A NAT may map each destination differently."""
        names = [self.announce(at, ALICE) for at in (0, 1)]
        self.assertNotEqual(*names)
        self.push(0, ALICE, names[1])
        self.assertEqual(self.incomes(), [[], [ALICE], []])

    def test_socket_that_is_closed_and_opened_again_is_the_same(self) -> None:
        """Its peers are reached again; while it was closed, nothing was sent by another socket in its place."""
        name = self.announce(1, BOB)
        self.announce(0, ALICE)
        self.successResultOf(self.ports[1].stopListening())
        self.push(0, ALICE, name)
        self.assertEqual(self.incomes(), [[], [], []])
        self.ports[1] = self.open("203.0.113.100")
        self.push(0, ALICE, name)
        self.assertEqual(self.incomes(), [[], [BOB], []])
