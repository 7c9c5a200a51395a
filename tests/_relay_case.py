"""A relay's client, and a TURN server in memory for it."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.client.relay import Relay
from tests._turn_case import SERVER, MemoryTurn, TurnReactor, ice_servers

Address = tuple[str, int]

PEER: Address = ("203.0.113.9", 40001)
OTHER: Address = ("203.0.113.10", 40002)
UDP, TCP = f"turn:{SERVER[0]}", f"turn:{SERVER[0]}?transport=tcp"


class RelayCase(SynchronousTestCase):
    """A reactor with one TURN server, on UDP and TCP."""

    def setUp(self) -> None:
        """Make it."""
        self.reactor, self.server = TurnReactor(), MemoryTurn()
        self.reactor.datagrams[SERVER] = self.reactor.streams[SERVER] = self.server
        self.reactor.nameResolver.known[SERVER[0]] = [SERVER[0]]
        self.heard: list[tuple[bytes, Address]] = []
        self.lost: list[str] = []

    def relay(self, *urls: str, **options: Any) -> Relay:
        """Make a relay."""
        options.setdefault("on_datagram", lambda datagram, source: self.heard.append((datagram, source)))
        return Relay(ice_servers(*urls), self.reactor, on_lost=self.lost.append, random=Random(1), **options)

    def allocated(self, *urls: str, **options: Any) -> Relay:
        """Make a relay that has an address."""
        relay = self.relay(*urls, **options)
        result = relay.allocate()
        self.reactor.until(lambda: result.called)
        self.assertEqual(self.successResultOf(result), relay.relayed_address)
        return relay

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps."""
        for _ in range(round(seconds * 100)):
            self.reactor.advance(0.01)

    def assertQuiet(self) -> None:
        """Check that nothing is to happen any more."""
        self.pass_time(1.5)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertFalse(any(socket.open for socket in self.reactor.sockets))
        self.assertFalse(any(connection.open for connection in self.reactor.connections))
