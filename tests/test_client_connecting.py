"""Connecting through NATs, refusing, giving up and moving: the whole client on a simulated network."""

from __future__ import annotations

from typing import Any, ClassVar, cast
from unittest.mock import patch

from twisted.internet.defer import CancelledError, succeed
from twisted.internet.error import CannotListenError

from rendezvous.client import ClientGone, ConnectFailed, NotOffered, Path, PeerNotFound, ServerUnreachable
from rendezvous.client.connecting.paths import MAX_EARLY
from rendezvous.client.portmap import PortMapping
from rendezvous.testing import translation
from rendezvous.testing.nat import Nat
from rendezvous.testing.network import Packet
from tests._connect_world import Party
from tests._connecting_case import ConnectCase

EASY = (
    translation.FULL_CONE,
    translation.ADDRESS_RESTRICTED,
    translation.PORT_RESTRICTED,
    translation.LINUX_NAIVE,
    translation.EIM_RANDOM,
)


class PathTests(ConnectCase):
    """Paths between two clients."""

    def test_easy_nats_are_passed(self) -> None:
        """Each with each: direct, within 0.7 s with 20 ms one way, on both sides."""
        for first in EASY:
            for second in EASY:
                self.begin()
                alice, bob = self.pair(first, second)
                path = self.connected(alice, bob)
                self.assertEqual((path.via, bob.paths[0].via), ("direct", "direct"))
                self.assertLess(max(path.ms, bob.paths[0].ms), 700)
                self.close()

    def test_endpoint_dependent_nat_needs_an_easy_one(self) -> None:
        """With an address-restricted NAT there is a path; with a port-restricted one there is a reason."""
        alice, bob = self.pair(translation.SYMMETRIC, translation.ADDRESS_RESTRICTED)
        self.assertEqual(self.connected(alice, bob).via, "direct")
        self.close()
        self.begin()
        alice, bob = self.pair(translation.SYMMETRIC)
        error = self.refused(alice, bob)
        self.assertIsInstance(error, ConnectFailed)
        self.assertEqual(error.code, "symmetric-nat")
        self.assertIn("gives every destination another port", error.reason)
        self.run_for(5)
        reports = alice.reports + bob.reports
        self.assertEqual([(report["ok"], report["code"]) for report in reports], [(False, "symmetric-nat")] * 2)

    def test_payloads_go_both_ways(self) -> None:
        """Each arrives once, and the largest one fits; a larger one is an error that says so."""
        alice, bob = self.pair()
        path = self.connected(alice, bob)
        path.send(b"x" * 1200)
        bob.paths[0].send(b"hello")
        self.run_for(0.1)
        self.assertEqual((alice.received, bob.received), ([b"hello"], [b"x" * 1200]))
        self.assertIn("at most 1200 bytes", str(self.assertRaises(ValueError, path.send, bytes(1201))))
        self.assertEqual((path.peer, path.address[0]), (bob.identity.client_id, "198.51.100.2"))
        self.assertAlmostEqual(path.round_trip, 0.04, delta=0.02)

    def test_payload_sent_at_once_arrives(self) -> None:
        """The other side may not have set its callbacks when the first datagram comes."""
        alice, bob = self.pair()
        alice.connector.connect(bob.identity.client_id).addCallback(lambda path: path.send(b"first"))
        self.run_for(2)
        self.assertEqual(bob.received, [b"first"])

    def test_payloads_wait_for_the_callback(self) -> None:
        """Code that runs later, as with asyncio, still gets what came early; not more than a path keeps."""
        alice, bob = self.pair()
        bob.connector.listen(bob.paths.append)
        path = self.world.connect(alice, bob)
        for number in range(MAX_EARLY + 1):
            path.send(str(number).encode())
        self.run_for(1)
        bob.paths[0].on_datagram = bob.received.append
        self.assertEqual(bob.received, [str(number).encode() for number in range(MAX_EARLY)])
        path.send(b"late")
        self.run_for(0.1)
        self.assertEqual(bob.received[-1], b"late")

    def test_outcome_is_reported_by_both(self) -> None:
        """With how the path goes and how long it took."""
        alice, bob = self.pair()
        self.connected(alice, bob)
        reports = alice.reports + bob.reports
        self.assertEqual([(report["ok"], report["via"]) for report in reports], [(True, "direct")] * 2)
        self.assertTrue(all(0.1 < report["seconds"] < 0.7 for report in reports))

    def test_either_side_closes(self) -> None:
        """The other one learns it at once, and what is sent afterwards is dropped."""
        alice, bob = self.pair()
        path = self.connected(alice, bob)
        closed = bob.paths[0].close()
        self.run_for(0.5)
        self.successResultOf(closed)
        self.assertEqual((alice.events, bob.events), ([("closed",)], [("closed",)]))
        path.send(b"late")
        self.assertTrue(path.ended)
        self.assertEqual(alice.connector.paths, [])

    def test_dead_path_is_lost(self) -> None:
        """After 30 s without a word, both sides say why."""
        alice, bob = self.pair()
        self.connected(alice, bob)
        self.world.network.drop = lambda packet: True
        self.run_for(60)
        lost = ("lost", "Nothing was heard from the peer for 30 s.")
        self.assertEqual((alice.events, bob.events), ([lost], [lost]))

    def test_quiet_path_stays_open(self) -> None:
        """Ten minutes of silence, behind NATs that forget after 30 s."""
        alice, bob = self.pair()
        path = self.connected(alice, bob)
        self.run_for(600)
        path.send(b"still here")
        self.run_for(0.1)
        self.assertEqual((bob.received, bob.events), ([b"still here"], []))

    def test_error_in_a_callback_is_logged(self) -> None:
        """The path goes on."""
        alice, bob = self.pair()
        path = self.connected(alice, bob)
        bob.paths[0].on_datagram = lambda datagram: 1 // 0
        path.send(b"one")
        path.send(b"two")
        self.run_for(0.1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_birthday_probing_passes_an_endpoint_dependent_nat(self) -> None:
        """If both sides have agreed to open many ports; afterwards only the sockets of the path are open."""
        alice, bob = (
            self.behind(each, number, birthday=True)
            for number, each in enumerate((translation.SYMMETRIC, translation.PORT_RESTRICTED), 1)
        )
        bob.listen()
        self.run_for(0.5)
        path = self.world.connect(alice, bob, 30.0)
        self.assertIsInstance(path, Path, str(path))
        self.assertEqual(path.via, "birthday")
        self.run_for(1)
        self.assertLess(len(alice.machine._sockets) + len(bob.machine._sockets), 10)
        path.send(b"hello")
        self.run_for(0.2)
        self.assertEqual(bob.received, [b"hello"])

    def test_same_network_is_found_inside(self) -> None:
        """Two clients behind one NAT that does not hairpin use their own network."""
        router = Nat(self.world.network, "198.51.100.9", translation.PORT_RESTRICTED)
        alice, bob = (self.world.peer(router, f"192.168.9.{number}", number) for number in (1, 2))
        self.parties = [alice, bob]
        bob.listen()
        self.run_for(0.5)
        self.assertEqual(self.connected(alice, bob).via, "lan")

    def test_mapped_side_is_reached_by_everyone(self) -> None:
        """Two endpoint-dependent NATs, one of which forwards a port."""
        alice, bob = self.pair(translation.SYMMETRIC, translation.SYMMETRIC)
        router = bob.machine._segments[False]

        def forward(port: int) -> PortMapping:
            host, public = router.forward_port(port, ("192.168.2.2", port))  # type: ignore[attr-defined]
            return PortMapping(port, host, public, "pcp", lambda: succeed(None))

        bob.mapper.mapping = forward
        self.assertEqual(self.connected(alice, bob).via, "mapped")
        self.assertEqual(bob.mapper.released, [])
        bob.paths[0].close()
        self.run_for(0.5)
        self.assertEqual(bob.mapper.released, bob.mapper.asked)

    def test_no_mapping_is_asked_for_if_the_application_does_not_want_it(self) -> None:
        """The router is left alone."""
        alice, bob = self.pair(port_mapping=False)
        self.connected(alice, bob)
        self.assertEqual((alice.mapper.asked, len(bob.mapper.asked)), ([], 1))


class ListenTests(ConnectCase):
    """When a client can be connected to."""

    def test_listening_means_that_a_pulse_was_taken(self) -> None:
        """Within a round trip, give or take the request for the time."""
        bob = self.behind(translation.PORT_RESTRICTED, 2)
        listening = bob.connector.listen(bob.take)
        self.run_for(0.3)
        self.successResultOf(listening)

    def test_client_whose_udp_is_blocked_listens_over_http(self) -> None:
        """Two seconds later, and a peer reaches it."""
        alice, bob = self.behind(translation.FULL_CONE, 1), self.behind(translation.FULL_CONE, 2)
        self.world.network.drop = lambda packet: "198.51.100.2" in (packet.source[0], packet.destination[0])
        listening = bob.connector.listen(bob.take)
        self.run_for(1.9)
        self.assertNoResult(listening)
        self.run_for(0.5)
        self.successResultOf(listening)
        self.assertEqual(self.refused(alice, bob).code, "udp-blocked")

    def test_client_that_is_gone_cannot_listen(self) -> None:
        """The error says so, and the application is informed once."""
        gone: list[Exception] = []
        bob = self.behind(translation.FULL_CONE, 2, on_gone=gone.append)
        self.run_for(400)  # Longer than a client may take to its first pulse.
        listening = bob.connector.listen(bob.take)
        self.run_for(3)
        self.failureResultOf(listening, ClientGone)
        self.assertEqual(len(gone), 1)

    def test_prepared_connection_is_faster(self) -> None:
        """What would be asked first is known."""
        alice, bob = self.pair()
        prepared = alice.connector.prepare()
        self.run_for(1)
        self.successResultOf(prepared)
        self.assertLess(self.connected(alice, bob).ms, 600)


class TurnedOffTests(ConnectCase):
    """A server with ``--without connect``."""

    settings: ClassVar[dict[str, Any]] = {"without": ("connect",)}

    def test_server_without_the_protocol(self) -> None:
        """Both sides say so, and do not wait for peers or for pulses; the error is not one about the peer."""
        alice, bob = self.behind(translation.FULL_CONE, 1), self.behind(translation.FULL_CONE, 2)
        listening = bob.connector.listen(bob.take)
        connecting = alice.connector.connect(bob.identity.client_id)
        self.run_for(3)
        self.failureResultOf(listening, NotOffered)
        self.failureResultOf(connecting, NotOffered)


class LossTests(ConnectCase):
    """Requests and answers that are lost."""

    def test_request_without_an_answer_is_repeated(self) -> None:
        """Over another connection, after 2 s."""
        alice, bob = self.pair()
        self.world.wire.silent = 1
        self.assertLess(self.connected(alice, bob).ms, 3000)

    def test_invitation_by_datagram_replaces_one_that_was_lost(self) -> None:
        """The connection of the request that waits has lost everything: the datagram makes it be begun anew."""
        alice, bob = self.pair()
        for end in self.world.wire.ends:
            end.mute = end.other.mute = True
        self.assertLess(self.connected(alice, bob).ms, 1200)

    def test_view_without_an_answer_is_repeated(self) -> None:
        """The answer to the request for a change is lost for both; the path is there within 5 s nevertheless."""
        alice, bob = self.pair()
        result = alice.connector.connect(bob.identity.client_id).addCallback(alice.take)
        self.run_for(0.16)
        for end in self.world.wire.ends:
            end.mute = end.other.mute = True
        self.run_for(5)
        self.assertLess(self.successResultOf(result).ms, 5000)
        self.run_for(3)
        self.assertEqual(len(bob.paths), 1)


class RefusalTests(ConnectCase):
    """No path, and why."""

    def test_allow_decides_before_anything_is_shown(self) -> None:
        """A peer that is not allowed is declined; no socket is opened and nothing is sent to it."""
        alice, bob = self.behind(translation.FULL_CONE, 1), self.behind(translation.FULL_CONE, 2)
        asked: list[str] = []

        def refuse(peer_id: str) -> bool:
            asked.append(peer_id)
            return False

        bob.listen(refuse)
        self.run_for(0.5)
        sockets = set(bob.machine._sockets)
        error = self.refused(alice, bob)
        self.assertEqual(
            (error.code, error.reason), ("declined", "The peer has declined: it may be busy, or not admit this client.")
        )
        self.assertEqual(asked, [alice.identity.client_id])
        self.assertEqual(set(bob.machine._sockets), sockets)

    def test_failing_allow_refuses(self) -> None:
        """A bug in the application opens nothing."""
        alice, bob = self.behind(translation.FULL_CONE, 1), self.behind(translation.FULL_CONE, 2)
        bob.listen(lambda peer_id: 1 // 0 > 0)
        self.run_for(0.5)
        self.assertEqual(self.refused(alice, bob).code, "declined")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_unknown_peer(self) -> None:
        """The server's error is that of the connection."""
        alice = self.behind(translation.FULL_CONE, 1)
        result = alice.connector.connect("ab" * 16)
        self.run_for(1)
        self.failureResultOf(result, PeerNotFound)

    def test_server_says_why(self) -> None:
        """Two NATs that give every destination another port: within 2 s, with words, and not one probe is sent."""
        alice, bob = self.pair(translation.SYMMETRIC, translation.SYMMETRIC)
        between: list[Packet] = []

        def watch(packet: Packet) -> bool:
            if {packet.source[0], packet.destination[0]} == {"198.51.100.1", "198.51.100.2"}:
                between.append(packet)
            return False

        self.world.network.drop = watch
        began = self.world.clock.seconds()
        error = self.refused(alice, bob)
        self.assertLess(self.world.clock.seconds() - began, 2.0)
        self.assertEqual(error.code, "symmetric-pair")
        self.assertIn("every destination another port", error.reason)
        self.assertEqual(between, [])

    def test_host_without_sockets(self) -> None:
        """The system allows none: both sides say so."""
        alice, bob = self.pair()

        def refuse(port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192) -> Any:
            raise CannotListenError(interface, port, OSError("too many open files"))

        with patch.object(alice.connector._host.reactor, "listenUDP", refuse):
            result = alice.connector.connect(bob.identity.client_id)
        self.assertEqual(cast(Any, self.failureResultOf(result, ConnectFailed).value).code, "no-socket")

    def test_server_that_goes_away_in_the_middle(self) -> None:
        """The attempt is read again for as long as it may last, and then given up."""
        alice, bob = self.pair(translation.SYMMETRIC, translation.SYMMETRIC)
        result = alice.connector.connect(bob.identity.client_id)
        self.world.network.run(2, lambda: bool(alice.connector._attempts) and self.has_begun(alice))
        self.world.wire.up = False
        for end in self.world.wire.ends:
            end.end()
            end.other.end()
        self.run_for(60)
        self.assertNoResult(result)
        self.run_for(15)
        self.failureResultOf(result, ServerUnreachable)
        self.world.wire.up = True

    def has_begun(self, party: Party) -> bool:
        """:returns: whether the server has answered the request for an attempt."""
        return any(attempt._requests.attempt is not None for attempt in party.connector._attempts)

    def test_cancelled_connection_leaves_nothing(self) -> None:
        """The attempt is given up at the server, and the peer gives it up too."""
        alice, bob = self.pair()
        for after in (0.0, 0.05, 0.2):
            result = alice.connector.connect(bob.identity.client_id)
            self.run_for(after)
            result.cancel()
            self.failureResultOf(result, CancelledError)
            self.run_for(5)
            self.assertEqual(alice.machine._sockets, {})
        self.assertEqual(bob.paths, [])


class MovingTests(ConnectCase):
    """Paths whose network changes."""

    def move(self, party: Party, number: int) -> None:
        """Have a client be in another network."""
        router = Nat(self.world.network, f"198.51.100.{number}", translation.PORT_RESTRICTED)
        party.machine.connect(router, f"192.168.{number}.2")
        party.uplink.changed()

    def test_path_moves_with_either_side(self) -> None:
        """The same path goes on from another network within 2 s, and no payload is delivered twice."""
        for moves_connector in (True, False):
            self.begin()
            alice, bob = self.pair()
            path = self.connected(alice, bob)
            sent = [str(number).encode() for number in range(100)]
            for number, payload in enumerate(sent):
                if number == 20:
                    self.move(alice if moves_connector else bob, 7)
                path.send(payload)
                self.run_for(0.05)
            self.run_for(0.5)
            self.assertEqual(len(bob.received), len(set(bob.received)))
            self.assertEqual(bob.received[:20], sent[:20])
            # After 2 s, which are 40 payloads, everything arrives again.
            self.assertEqual(bob.received[-40:], sent[-40:])
            self.assertEqual((len(alice.paths), len(bob.paths)), (1, 1))
            self.assertIn(("path", "direct"), alice.events + bob.events)
            self.close()

    def test_network_that_is_there_in_part_only_is_tried_again(self) -> None:
        """At first there is no route to the server; a second change follows, and the path moves within 2 s of it."""
        alice, bob = self.pair()
        path = self.connected(alice, bob)
        alice.machine.disconnect()
        self.world.wire.up = False
        alice.uplink.changed()
        self.run_for(0.5)
        self.world.wire.up = True
        self.move(alice, 7)
        self.run_for(2)
        path.send(b"here")
        self.run_for(0.1)
        self.assertEqual(bob.received, [b"here"])
        self.assertEqual((len(alice.paths), len(bob.paths)), (1, 1))

    def test_attempt_to_move_is_repeated(self) -> None:
        """The server cannot be reached for 2.5 s after the change, and no further change is reported."""
        alice, bob = self.pair()
        path = self.connected(alice, bob)
        self.world.wire.up = False
        self.move(alice, 7)
        self.run_for(2.5)
        self.world.wire.up = True
        self.run_for(2)
        path.send(b"here")
        self.run_for(0.1)
        self.assertEqual(bob.received, [b"here"])

    def test_silence_begins_a_new_attempt(self) -> None:
        """A NAT that has restarted is passed again, although there was no sign that the network changed."""
        alice, bob = self.pair()
        path = self.connected(alice, bob)
        router: Any = alice.machine._segments[False]
        router.restart()
        self.world.network.drop = lambda packet: False
        old = path.address
        blocked = {("198.51.100.2", old[1])}
        self.world.network.drop = lambda packet: packet.destination in blocked or packet.source in blocked
        path.send(b"lost")
        for _ in range(200):
            path.send(b"more")
            self.run_for(0.05)
        bob.received.clear()
        path.send(b"again")
        self.run_for(0.2)
        self.assertEqual(bob.received, [b"again"])
        self.assertEqual((len(alice.paths), len(bob.paths)), (1, 1))
