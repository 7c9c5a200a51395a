"""Attempts and relays whose server goes away for a while: the client on a simulated network."""

from __future__ import annotations

from typing import Any

from rendezvous.client import Path
from rendezvous.testing import translation
from tests._connect_world import Party
from tests._connecting_case import RelayedCase


class ServerTests(RelayedCase):
    """The server is restarted in the middle of an attempt."""

    def connect(self, alice: Party, bob: Party) -> list[Any]:
        """:returns: to which the result is added."""
        found: list[Any] = []
        alice.connector.connect(bob.identity.client_id).addCallback(alice.take).addBoth(found.append)
        return found

    def restart(self, seconds: float) -> None:
        """Refuse requests for a while."""
        self.world.wire.up = False
        for end in self.world.wire.ends:
            end.end()
            end.other.end()
        self.run_for(seconds)
        self.world.wire.up = True

    def test_invitation_is_accepted_after_a_restart(self) -> None:
        """The invited client has the invitation, and its requests are refused for three seconds."""
        alice, bob = self.pair()
        found = self.connect(alice, bob)
        self.world.network.run(2, lambda: bool(bob.connector._attempts))
        self.restart(3)
        self.run_for(3)
        self.assertEqual([type(each) for each in found], [Path])
        self.assertEqual(len(bob.paths), 1)

    def test_candidate_is_named_after_a_restart(self) -> None:
        """Relays are allocated while there is no server; both clients give it their relayed addresses later."""
        alice, bob = self.pair(translation.SYMMETRIC, translation.SYMMETRIC)
        found = self.connect(alice, bob)
        self.world.network.run(2, lambda: len(self.world.relays) == 2)
        self.restart(0.6)
        self.run_for(3)
        self.assertEqual([each.via for each in found], ["relay"])


class PathTests(RelayedCase):
    """A path is lost because nothing gets through for long."""

    def test_peer_is_connected_to_again(self) -> None:
        """Both sides lose the path; then the same connectors open another one, which carries."""
        alice, bob = self.pair()
        self.connected(alice, bob)
        self.world.network.drop = lambda packet: True
        self.world.wire.up = False
        self.run_for(60)
        lost = ("lost", "Nothing was heard from the peer for 30 s.")
        self.assertEqual((alice.events[-1], bob.events[-1]), (lost, lost))
        self.world.network.drop = lambda packet: False
        self.world.wire.up = True
        bob.paths.clear()
        self.connected(alice, bob).send(b"again")
        self.run_for(0.2)
        self.assertEqual(bob.received, [b"again"])


class StandbyTests(RelayedCase):
    """The relay that a direct path keeps as a reserve."""

    def cut(self) -> None:
        """Have nothing get from one NAT to the other, and nothing to the server."""
        self.world.wire.up = False
        self.world.network.drop = lambda packet: (
            (packet.source[0].startswith("198.51.100.") and not packet.destination[0].startswith("203.0.113.3"))
            and not packet.source[0].startswith("203.0.113.3")
        )

    def assertFallsBack(self, path: Path, bob: Party) -> None:
        """Without the server and without a direct way, the path is on a relay within 2 s."""
        self.assertEqual(path.via, "direct")
        self.cut()
        for number in range(60):
            path.send(str(number).encode())
            self.run_for(0.05)
        self.run_for(0.5)
        self.assertEqual((path.via, bob.paths[0].via), ("relay", "relay"))
        self.assertIn(b"40", bob.received)

    def open_relays(self) -> int:
        """:returns: how many relayed addresses there are."""
        return sum(relay.relayed_address is not None for relay in self.world.relays)

    def test_relay_is_there_for_a_path_that_dies(self) -> None:
        """The relays were allocated while the direct path was found."""
        alice, bob = self.pair()
        path = self.connected(alice, bob)
        self.run_for(2)
        self.assertFallsBack(path, bob)
        self.world.wire.up = True

    def test_lost_relay_is_replaced(self) -> None:
        """Whichever side has lost it, and on both: within 10 s, while the same path goes on without a gap."""
        for lost in ((0,), (1,), (0, 1)):
            self.begin()
            alice, bob = self.pair()
            path = self.connected(alice, bob)
            self.run_for(2)
            for number in lost:
                self.world.relays[number].lose()
            self.run_for(10)
            self.assertEqual((path.ended, len(alice.paths), len(bob.paths)), (False, 1, 1))
            self.assertFallsBack(path, bob)
            self.world.wire.up = True
            self.close()

    def test_relay_in_use_is_replaced(self) -> None:
        """The path is silent for less than 5 s."""
        alice, bob = self.pair(translation.SYMMETRIC, translation.SYMMETRIC)
        path = self.connected(alice, bob)
        self.run_for(2)
        for relay in self.world.relays[:2]:
            relay.lose()
        self.run_for(5)
        path.send(b"here")
        self.run_for(0.5)
        self.assertEqual((path.via, bob.received), ("relay", [b"here"]))

    def test_turn_server_that_stays_away(self) -> None:
        """It is asked less and less often, at the end every ten minutes; it is found when it is there again."""
        alice, bob = self.pair()
        path = self.connected(alice, bob)
        self.run_for(2)
        self.world.has_turn = False
        for relay in self.world.relays[:2]:
            relay.lose()
        self.run_for(3600)
        asked = len(self.world.relays)
        self.assertEqual((self.open_relays(), path.ended), (0, False))
        self.run_for(3600)
        # Two sides, each of which may ask, and each attempt asks for two.
        self.assertLessEqual(len(self.world.relays) - asked, 4 * 7)
        self.assertLessEqual(asked, 80)
        self.world.has_turn = True
        self.run_for(800)
        self.assertEqual(self.open_relays(), 2)
        asked = len(self.world.relays)
        self.run_for(3600)
        self.assertEqual(len(self.world.relays), asked)
        self.assertFallsBack(path, bob)
        self.world.wire.up = True

    def test_path_without_a_relay_asks_for_none(self) -> None:
        """A TURN server that has never given an address is not asked again."""
        self.world.has_turn = False
        alice, bob = self.pair()
        self.connected(alice, bob)
        self.run_for(600)
        self.assertEqual(len(self.world.relays), 2)
