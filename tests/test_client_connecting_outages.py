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
