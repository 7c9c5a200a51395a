"""A server in memory with both of the tracker's dialects, and what the tests of its UDP ports ask it."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.counters import DROPPED_DATAGRAMS
from rendezvous.settings import UDPPort
from rendezvous.testing import MemoryServer
from rendezvous.wire.tracker import Dialect

__all__ = ["ALICE", "BOB", "BOTH", "CAROL", "DEPLOYED", "DOCUMENTED", "UDPTestCase", "error"]

ALICE = ("192.0.2.1", 4000)
BOB = ("198.51.100.2", 5000)
CAROL = ("2001:db8::3", 6000)

BOTH = (UDPPort(5024), UDPPort(3000, Dialect.DEPLOYED))
#: The ports by position.
DOCUMENTED, DEPLOYED = 0, 1


def error(sentence: str) -> list[dict[str, Any]]:
    """:returns: the only thing that the tracker says, if it says that it cannot."""
    return [{"action": "error", "data": {"error": sentence}}]


class UDPTestCase(SynchronousTestCase):
    """
    A server with two UDP ports, one for each of the tracker's dialects.

    :cvar options: more of its settings.
    """

    options: ClassVar[dict[str, Any]] = {}

    def setUp(self) -> None:
        """Start it."""
        self.start()

    def start(self, **options: Any) -> None:
        """Start a server, with these settings beside the case's own; it takes the place of one that was there."""
        self.server = MemoryServer(**{"udp_port": BOTH, "no_source_limits": False, **self.options, **options})
        self.addCleanup(self.server.stop)

    def later(self, seconds: float) -> None:
        """Let time pass."""
        self.server.reactor.advance(seconds)

    def ask(self, source: tuple[str, int], action: str, at: int = DOCUMENTED, /, **fields: Any) -> list[dict[str, Any]]:
        """:returns: what the tracker says to the source of a request."""
        datagram = json.dumps({"action": action, **fields}).encode()
        return [json.loads(reply) for reply in self.server.deliver(datagram, source, at)]

    def announce(self, source: tuple[str, int], port: int = DOCUMENTED) -> str:
        """:returns: the shareId of a peer that announces itself."""
        [reply] = self.ask(source, "announce", port)
        share_id = reply["data"]["shareId"]
        assert isinstance(share_id, str)
        return share_id

    def sent(self, port: int) -> list[tuple[dict[str, Any], tuple[str, int]]]:
        """:returns: all that the tracker has said from one port, and to whom."""
        return [(json.loads(datagram), address) for datagram, address in self.server.udp_ports[port].sent]

    def dropped(self) -> dict[str, int]:
        """:returns: how many datagrams were dropped since the server started, by reason."""
        return dict(self.server.rendezvous.counters.totals()[DROPPED_DATAGRAMS])
