"""How attempts end, and what is left then: closing, giving up, further rounds, late mappings, overlapping moves."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from twisted.internet.defer import CancelledError, succeed
from twisted.internet.error import CannotListenError

from rendezvous.client import ConnectFailed, Path
from rendezvous.client.portmap import PortMapping
from rendezvous.testing import translation
from rendezvous.testing.nat import Nat
from rendezvous.testing.network import Packet
from tests._connect_world import Party
from tests._connecting_case import ConnectCase, RelayedCase


class EndingTests(ConnectCase):
    """Attempts that do not come to a path."""

    def blocked(self) -> tuple[Party, Party]:
        """:returns: two clients behind NATs of which each drops what the other sends."""
        alice, bob = self.pair()
        hosts = {"198.51.100.1", "198.51.100.2"}
        self.world.network.drop = lambda packet: {packet.source[0], packet.destination[0]} == hosts
        return alice, bob

    def test_closing_gives_up_attempts(self) -> None:
        """Whenever it comes: the caller of ``connect()`` learns it, and no socket is left."""
        for after in (0.0, 0.05, 0.15, 0.25, 0.4):
            self.begin()
            alice, bob = self.blocked()
            result = alice.connector.connect(bob.identity.client_id)
            self.run_for(after)
            closed = alice.connector.close()
            self.failureResultOf(result, CancelledError)
            self.run_for(1)
            self.successResultOf(closed)
            self.assertEqual((alice.machine._sockets, bob.paths), ({}, []))
            self.close()

    def test_failure_of_the_peer_ends_the_attempt(self) -> None:
        """The peer has found no path and says so to the server: this side does not go on for all its rounds."""
        alice, bob = self.blocked()
        result = alice.connector.connect(bob.identity.client_id)
        self.run_for(1)
        [attempt] = bob.connector._attempts
        assert attempt._requests.attempt is not None
        bob.client.attempts.done(bob.identity, attempt._requests.attempt.id, ok=False, code="no-path")
        self.run_for(0.5)
        error: Any = self.failureResultOf(result, ConnectFailed).value
        self.assertEqual(error.code, "no-path")

    def test_further_round_has_sockets_of_its_own(self) -> None:
        """Those of the round before are closed, so that rounds do not add up."""
        alice, bob = self.blocked()
        result = alice.connector.connect(bob.identity.client_id)
        self.run_for(1)
        first = set(alice.machine._sockets)
        self.run_for(1.5)
        second = set(alice.machine._sockets)
        self.assertEqual((len(first & second), len(second)), (0, len(first)))
        result.cancel()
        self.failureResultOf(result, CancelledError)

    def test_host_without_sockets_for_a_further_round(self) -> None:
        """The attempt ends, and says why."""
        alice, bob = self.blocked()
        result = alice.connector.connect(bob.identity.client_id)
        self.run_for(1)

        def refuse(port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192) -> Any:
            raise CannotListenError(interface, port, OSError("too many open files"))

        with patch.object(alice.connector._host.reactor, "listenUDP", refuse):
            self.run_for(2)
        error: Any = self.failureResultOf(result, ConnectFailed).value
        self.assertEqual(error.code, "no-socket")

    def test_error_of_the_application_in_on_path_is_logged(self) -> None:
        """The path is open nevertheless."""
        alice, bob = self.pair()
        bob.connector.listen(lambda path: 1 // 0)
        path = self.world.connect(alice, bob)
        self.assertIsInstance(path, Path, str(path))
        self.run_for(0.3)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(len(bob.connector.paths), 1)


class CandidateTests(RelayedCase):
    """What a side says of itself."""

    def watch_candidates(self, party: Party) -> list[list[Any]]:
        """:returns: the lists of candidates that a party gives after its first request, as they come."""
        named: list[list[Any]] = []
        name = party.client.attempts.candidates

        def candidates(identity: Any, attempt: bytes, candidates: Any) -> Any:
            named.append(list(candidates))
            return name(identity, attempt, candidates)

        party.client.attempts.candidates = candidates  # type: ignore[method-assign]
        return named

    def test_addresses_of_the_host_go_with_the_first_request(self) -> None:
        """Nothing is sent again that the server has: without a mapping and a relay, no further request is needed."""
        alice, bob = self.pair(relay="never")
        alices, bobs = self.watch_candidates(alice), self.watch_candidates(bob)
        self.connected(alice, bob)
        self.assertEqual(alices, [])
        self.assertEqual([[each.kind for each in named] for named in bobs], [["host", "relayed"]])

    def test_many_interfaces_leave_room_for_a_mapping_and_a_relay(self) -> None:
        """A host with twenty bridges connects: the server takes ten candidates."""
        alice, bob = self.pair(translation.SYMMETRIC, translation.SYMMETRIC)
        alice.connector._host.find_addresses = lambda: [f"172.{number}.0.1" for number in range(17, 37)]
        router: Any = alice.machine._segments[False]

        def forward(port: int) -> PortMapping:
            host, public = router.forward_port(port, ("192.168.1.2", port))
            return PortMapping(port, host, public, "pcp", lambda: succeed(None))

        alice.mapper.mapping = forward
        named = self.watch_candidates(alice)
        self.assertEqual(self.connected(alice, bob).via, "mapped")
        self.assertEqual([each.kind for each in named[-1]], [*["host"] * 8, "mapped", "relayed"])

    def test_relay_that_is_being_allocated_is_closed_with_the_attempt(self) -> None:
        """Nothing is left of it at the TURN server."""
        alice, bob = self.pair(translation.SYMMETRIC, translation.SYMMETRIC)
        result = alice.connector.connect(bob.identity.client_id)
        self.world.network.run(2, lambda: bool(self.world.relays))
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.run_for(1)
        self.assertIsNone(self.world.relays[0].relayed_address)


class LateMappingTests(ConnectCase):
    """What the router does after it was asked."""

    def test_mapping_that_comes_later_is_used(self) -> None:
        """The router answers when the attempt has begun: the path goes to the mapped port."""
        alice, bob = self.pair(translation.SYMMETRIC, translation.SYMMETRIC)
        router: Any = alice.machine._segments[False]
        result = alice.connector.connect(bob.identity.client_id)
        self.run_for(0.1)
        [port] = alice.mapper.asked
        host, public = router.forward_port(port, ("192.168.1.2", port))
        alice.mapper.changes_of[port](PortMapping(port, host, public, "pcp", lambda: succeed(None)))
        self.run_for(2)
        self.assertEqual(self.successResultOf(result).via, "mapped")

    def test_change_of_a_mapping_that_was_released_is_ignored(self) -> None:
        """The router may answer after the attempt has ended."""
        alice, bob = self.pair()
        result = alice.connector.connect(bob.identity.client_id)
        self.run_for(0.1)
        [port] = alice.mapper.asked
        result.cancel()
        self.failureResultOf(result, CancelledError)
        alice.mapper.changes_of[port](PortMapping(port, "198.51.100.1", port, "pcp", lambda: succeed(None)))
        self.run_for(1)
        self.assertEqual(alice.machine._sockets, {})


class OverlapTests(ConnectCase):
    """Changes of the network at the wrong moment."""

    def move(self, party: Party, number: int) -> None:
        """Have a client be in another network."""
        router = Nat(self.world.network, f"198.51.100.{number}", translation.PORT_RESTRICTED)
        party.machine.connect(router, f"192.168.{number}.2")
        party.uplink.changed()

    def test_change_during_a_move_begins_anew(self) -> None:
        """The attempt of the network in between is given up, there is one at a time, and the path moves within 2 s."""
        alice, bob = self.pair()
        path = self.connected(alice, bob)
        for number, after in ((7, 0.1), (8, 0.2), (9, 2.0)):
            self.move(alice, number)
            self.assertLessEqual(len(alice.connector._renewals), 1)
            self.run_for(after)
        path.send(b"here")
        self.run_for(0.1)
        self.assertEqual(bob.received, [b"here"])
        self.assertEqual((bob.paths[0].address[0], len(alice.paths), len(bob.paths)), ("198.51.100.9", 1, 1))
        self.assertEqual((alice.connector._renewals, alice.connector._attempts), ({}, set()))

    def test_change_after_the_last_path_does_nothing(self) -> None:
        """A client that neither listens nor has a path sends nothing when its network changes."""
        alice, bob = self.pair()
        path = self.connected(alice, bob)
        path.close()
        self.run_for(1)
        sent: list[Packet] = []

        def watch(packet: Packet) -> bool:
            if packet.source[0] == "198.51.100.7":
                sent.append(packet)
            return False

        self.world.network.drop = watch
        self.move(alice, 7)
        self.run_for(2)
        self.assertEqual((sent, alice.machine._sockets), ([], {}))

    def test_path_that_the_peer_has_forgotten_is_lost(self) -> None:
        """The peer was started anew and takes the move for a new path: that one is closed, and the old one ends."""
        alice, bob = self.pair()
        self.connected(alice, bob)
        [forgotten] = bob.connector._paths.values()
        bob.connector._paths.clear()
        self.move(alice, 7)
        self.run_for(3)
        self.assertEqual((len(bob.paths), bob.events), (2, [("closed",)]))
        self.assertEqual(alice.events, [("lost", "The peer was started anew and does not know this path any more.")])
        self.assertEqual((alice.connector.paths, bob.connector.paths), ([], []))
        self.assertEqual(alice.machine._sockets, {})
        forgotten.close()
        self.run_for(1)
