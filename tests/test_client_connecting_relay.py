"""Connecting through a relay: when it is used, and when the path leaves it."""

from __future__ import annotations

from typing import Any

import attrs

from rendezvous.client import ConnectFailed
from rendezvous.client.connecting._host import RelayUse
from rendezvous.client.relay import RelayUnavailable
from rendezvous.testing import translation
from rendezvous.testing.network import Packet
from tests._connecting_case import RelayedCase


class RelayTests(RelayedCase):
    """Paths through a relay."""

    def test_relay_is_used_when_there_is_no_direct_path(self) -> None:
        """Two endpoint-dependent NATs: within 2 s, with the credentials of the server; it is given back at the end."""
        alice, bob = self.pair(translation.SYMMETRIC, translation.SYMMETRIC)
        path = self.connected(alice, bob)
        self.assertEqual((path.via, bob.paths[0].via), ("relay", "relay"))
        self.assertLess(path.ms, 2000)
        [entry] = self.world.relays[0].servers
        self.assertEqual((entry.urls, len(entry.credential)), (("turn:203.0.113.3:3478",), 28))
        path.send(b"through the relay")
        self.run_for(0.5)
        self.assertEqual(bob.received, [b"through the relay"])
        path.close()
        self.run_for(0.5)
        self.assertEqual([relay.relayed_address for relay in self.world.relays], [None, None])

    def test_relay_that_fails_is_in_the_reason(self) -> None:
        """The operator of the server can change that; a peer that declines cannot be helped by a relay."""
        self.world.has_turn = False
        alice, bob = self.pair(translation.SYMMETRIC, translation.SYMMETRIC)
        error = self.refused(alice, bob)
        self.assertEqual(error.code, "symmetric-pair")
        self.assertIn(f". This host has got no relay: {RelayUnavailable()}.", error.reason)
        bob.listen(lambda peer_id: False)
        self.assertEqual(
            self.refused(alice, bob).reason, "The peer has declined: it may be busy, or not admit this client."
        )

    def test_direct_path_is_preferred(self) -> None:
        """The relay is kept, for when the direct path does not work any more."""
        alice, bob = self.pair()
        self.assertEqual(self.connected(alice, bob).via, "direct")

    def test_other_word_is_refused(self) -> None:
        """There are three, and a mistake is not taken for one of them."""
        wrong: Any = "sometimes"
        self.assertRaises(ValueError, self.pair, relay=wrong)

    def test_never_means_never(self) -> None:
        """No address is allocated."""
        alice, bob = self.pair(translation.SYMMETRIC, relay="never")
        bob.connector._host.options = attrs.evolve(bob.connector._host.options, relay=RelayUse.NEVER)
        self.assertIsInstance(self.refused(alice, bob), ConnectFailed)
        self.assertEqual(self.world.relays, [])

    def test_always_hides_the_host(self) -> None:
        """The peer learns no address but the relayed one, and no socket sends to it."""
        alice, bob = self.pair(relay="always")
        seen: list[str] = []

        def watch(packet: Packet) -> bool:
            if packet.destination[0] == "198.51.100.2":
                seen.append(packet.source[0])
            return False

        self.world.network.drop = watch
        self.assertEqual(self.connected(alice, bob).via, "relay")
        self.assertNotIn("198.51.100.1", seen)

    def test_relayed_path_becomes_direct(self) -> None:
        """A path that began on the relay moves when a direct one works, without a gap and without a repetition."""
        alice, bob = self.pair()
        blocked = True
        self.world.network.drop = lambda packet: (
            blocked and packet.source[0].startswith("198.51.100.") and packet.destination[0].startswith("198.51.100.")
        )
        path = self.connected(alice, bob)
        self.assertEqual(path.via, "relay")
        blocked = False
        sent = [str(number).encode() for number in range(400)]
        for payload in sent:
            path.send(payload)
            self.run_for(0.05)
        self.run_for(1)
        self.assertEqual((path.via, bob.paths[0].via), ("direct", "direct"))
        self.assertEqual(sorted(bob.received, key=int), sent)

    def test_direct_path_that_dies_falls_back_to_the_relay(self) -> None:
        """Within 2 s, and the same path goes on."""
        alice, bob = self.pair()
        path = self.connected(alice, bob)
        self.assertEqual(path.via, "direct")
        self.world.network.drop = lambda packet: (
            packet.source[0].startswith("198.51.100.") and packet.destination[0].startswith("198.51.100.")
        )
        for number in range(100):
            path.send(str(number).encode())
            self.run_for(0.05)
        self.run_for(0.5)
        self.assertEqual(path.via, "relay")
        self.assertEqual(bob.received[-60:], [str(number).encode() for number in range(40, 100)])
        self.assertEqual(len(bob.received), len(set(bob.received)))
