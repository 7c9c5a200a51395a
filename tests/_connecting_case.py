"""Clients that connect on a simulated network; at the end nothing may be left of them."""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.python.failure import Failure
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.client import Path
from rendezvous.testing import translation
from rendezvous.testing.nat import Nat
from tests._connect_world import TURN, ConnectWorld, Party


class ConnectCase(SynchronousTestCase):
    """A network with a server; at the end nothing may be left of the clients."""

    settings: ClassVar[dict[str, Any]] = {}

    def setUp(self) -> None:
        """Make the network."""
        self.begin()
        self.addCleanup(self.close)

    def begin(self) -> None:
        """Make a new network."""
        self.world = ConnectWorld(**self.settings)
        self.parties: list[Party] = []

    def behind(self, behaviour: Any, number: int, **options: Any) -> Party:
        """:returns: a client behind a NAT of its own."""
        router = Nat(self.world.network, f"198.51.100.{number}", behaviour)
        party = self.world.peer(router, f"192.168.{number}.2", number, **options)
        self.parties.append(party)
        return party

    def pair(self, first: Any = translation.PORT_RESTRICTED, second: Any = None, **options: Any) -> tuple[Party, Party]:
        """:returns: Alice, and Bob, who listens."""
        alice = self.behind(first, 1, **options)
        bob = self.behind(translation.PORT_RESTRICTED if second is None else second, 2)
        bob.listen()
        self.run_for(0.5)
        return alice, bob

    def run_for(self, seconds: float) -> None:
        """Let time pass."""
        self.world.network.run(seconds)

    def connected(self, alice: Party, bob: Party) -> Path:
        """:returns: Alice's path to Bob."""
        path = self.world.connect(alice, bob)
        self.assertIsInstance(path, Path, str(path))
        self.run_for(0.3)
        self.assertEqual(len(bob.paths), 1)
        return path  # type: ignore[no-any-return]

    def refused(self, alice: Party, bob: Party) -> Any:
        """:returns: the error that Alice gets."""
        failure = self.world.connect(alice, bob, 70.0)
        self.assertIsInstance(failure, Failure)
        return failure.value

    def close(self) -> None:
        """Close all clients, and look for what they left behind."""
        closing = [party.connector.close() for party in self.parties]
        self.run_for(2.0)
        for each in closing:
            self.successResultOf(each)
        for party in self.parties:
            self.assertEqual(party.machine._sockets, {})
            self.assertFalse(party.uplink.watching)
        self.world.stop()  # It fails if anything is to happen later.


class RelayedCase(ConnectCase):
    """The server names a TURN server."""

    def setUp(self) -> None:
        """Have the server name a TURN server."""
        secret = FilePath(self.mktemp())
        secret.setContent(b"north\n")
        secret.chmod(0o600)
        self.settings = {"turn_uri": (f"turn:{TURN}:3478",), "turn_secret_file": secret.path}  # type: ignore[misc]
        super().setUp()
