"""A server, a router, a peer and an eavesdropper that mean harm: what they can make of a client is bounded."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import attrs

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.client import ConnectFailed, Path, ServerUnreachable
from rendezvous.client._server_time import ServerTime
from rendezvous.client.attempts import Attempt, AttemptState, Invitation, Peer
from rendezvous.client.connecting._attempt import LONGEST_HOLD
from rendezvous.client.connecting._endpoints import SocketEndpoint
from rendezvous.client.connecting.connector import MAX_INCOMING
from rendezvous.client.portmap import PortMapping
from rendezvous.core.addresses import Address
from rendezvous.core.connect import Candidate, CandidateKind, NatMapping, Strategy
from rendezvous.core.macs import datagram_key
from rendezvous.core.punching.kept import MAX_ATTEMPTS
from rendezvous.core.punching.pairs import Local
from rendezvous.testing.network import Packet
from rendezvous.wire.signed import Short, ShortKind, encode_short
from tests._connect_world import Party
from tests._connecting_case import ConnectCase

VICTIM = "203.0.113.77"


class ServerCase(ConnectCase):
    """A server that answers at once, and what it likes."""

    def lie(self, party: Party, **changes: Any) -> None:
        """Change each description of an attempt that a client reads."""
        attempts = party.client.attempts
        view = attempts.view

        def changed(*words: Any, **names: Any) -> Deferred[Attempt]:
            return view(*words, **names).addCallback(lambda attempt: attrs.evolve(attempt, **changes))

        self.patch(attempts, "view", changed)

    def test_attempt_that_never_ends(self) -> None:
        """A server that answers at once and says nothing new is asked twice a second, and not for ever."""
        alice, bob = self.pair()
        bob.connector.close()
        attempts = alice.client.attempts
        connect, known, asked = attempts.connect, list[Attempt](), list[bytes]()

        def remember(attempt: Attempt) -> Attempt:
            known.append(attempt)
            return attempt

        def view(identity: Any, attempt: bytes, **_: Any) -> Deferred[Attempt]:
            asked.append(attempt)
            return succeed(known[0])

        self.patch(attempts, "connect", lambda *words, **names: connect(*words, **names).addCallback(remember))
        self.patch(attempts, "view", view)
        found: list[Any] = []
        alice.connector.connect(bob.identity.client_id).addBoth(found.append)
        self.run_for(80)
        self.assertLess(len(asked), 200)
        [failure] = found
        self.assertIsInstance(failure.value, ConnectFailed)

    def test_hold_for_ever(self) -> None:
        """The first probe does not wait for years."""
        alice, bob = self.pair()
        self.lie(alice, hold=1e30)
        sent: list[Packet] = []

        def keep(packet: Packet) -> bool:
            if (packet.source[0], packet.destination[0]) == ("198.51.100.1", "198.51.100.2"):
                sent.append(packet)
            return False

        self.world.network.drop = keep
        alice.connector.connect(bob.identity.client_id).addErrback(lambda _: None)
        self.run_for(LONGEST_HOLD + 1.0)
        self.assertGreater(len(sent), 2)

    def birthday(self, own: NatMapping, theirs: NatMapping, **options: Any) -> tuple[set[Address], int]:
        """:returns: where a client sends to if the server wants birthday probing, and how many sockets it opens."""
        alice, bob = self.pair(**options)
        candidate = Candidate(CandidateKind.SERVER_REFLEXIVE, (VICTIM, 40000))
        peer = Peer(bob.identity.client_id, theirs, (candidate,))
        self.lie(
            alice, state=AttemptState.GO, strategy=Strategy.BIRTHDAY, mapping=own, key=bytes(32), peer=peer
        )  # fmt: skip
        sent: set[Address] = set()

        def keep(packet: Packet) -> bool:
            if packet.destination[0] == VICTIM:
                sent.add(packet.destination)
            return False

        self.world.network.drop = keep
        alice.connector.connect(bob.identity.client_id).addErrback(lambda _: None)
        most = 0
        for _ in range(20):
            self.run_for(1.0)
            most = max(most, len(alice.machine._sockets))
        self.close()
        self.begin()
        return sent, most

    def test_birthday_probing_needs_the_consent_of_the_application(self) -> None:
        """A server that wants it without the consent gets the probes of a usual round: one port, from one socket."""
        easy, hard = NatMapping.ENDPOINT_INDEPENDENT, NatMapping.ENDPOINT_DEPENDENT
        for own, theirs in ((easy, hard), (hard, easy)):
            sent, most = self.birthday(own, theirs)
            self.assertEqual(sent, {(VICTIM, 40000)})
            self.assertLess(most, 5)

    def test_birthday_probing_does_not_show_a_host_that_hides(self) -> None:
        """With ``relay=always``, no socket is opened for probes, whatever the server says."""
        easy, hard = NatMapping.ENDPOINT_INDEPENDENT, NatMapping.ENDPOINT_DEPENDENT
        for own, theirs in ((easy, hard), (hard, easy)):
            sent, most = self.birthday(own, theirs, birthday=True, relay="always")
            self.assertEqual(sent, set())
            self.assertLess(most, 2)

    def asked(self, party: Party, answer: Callable[[], tuple[Invitation, ...]]) -> list[float]:
        """:returns: a list that gets the time of each question for invitations, which are answered at once."""
        times: list[float] = []

        def invitations(*_: Any, **__: Any) -> Deferred[tuple[Invitation, ...]]:
            times.append(self.world.clock.seconds())
            return succeed(answer())

        self.patch(party.client.attempts, "invitations", invitations)
        return times

    def test_invitations_without_a_pause(self) -> None:
        """A server that answers at once is asked twice a second."""
        alice, _ = self.pair()
        times = self.asked(alice, lambda: ())
        alice.listen()
        self.run_for(60)
        self.assertLess(len(times), 150)
        self.assertGreater(len(times), 60)

    def test_flood_of_invitations(self) -> None:
        """Few are tried and few are declined at the same time; the others end by themselves."""
        alice, _ = self.pair()
        declined: list[bytes] = []
        numbers = count()

        def end(identity: Any, attempt: bytes) -> Deferred[Attempt]:
            declined.append(attempt)
            return Deferred()

        def answer() -> tuple[Invitation, ...]:
            return tuple(Invitation(next(numbers).to_bytes(8, "big"), "0" * 32, 1, 0) for _ in range(700))

        self.asked(alice, answer)
        self.patch(alice.client.attempts, "end", end)
        alice.listen(allow=lambda peer: False)
        self.run_for(20)
        self.assertEqual(len(declined), MAX_INCOMING)

    def test_copies_of_an_invitation(self) -> None:
        """An eavesdropper that repeats a datagram of the server does not make the client ask over HTTP each time."""
        alice, _ = self.pair()
        alice.listen()
        self.run_for(1)
        times: list[float] = []

        def unreachable(*_: Any, **__: Any) -> Deferred[tuple[Invitation, ...]]:
            times.append(self.world.clock.seconds())
            return fail(ServerUnreachable())

        self.patch(alice.client.attempts, "invitations", unreachable)
        for _ in range(600):
            alice.connector._invitations._hinted(b"recorded")
            self.run_for(0.1)
        self.assertLess(len(times), 60)
        self.assertGreater(len(times), 10)


class ServerTimeTests(SynchronousTestCase):
    """The time that a server tells."""

    def test_times_that_do_not_fit(self) -> None:
        """A time beyond the year 9999 is none: a signed request with it could not be written."""
        time = ServerTime(lambda: 0.0)
        for wrong in (1e300, 2**63, 253402300800000, float("inf"), float("nan"), -1, 0):
            time.learn(wrong, 0.0)
            self.assertFalse(time.known, wrong)
        time.learn(253402300799999, 0.0)
        self.assertTrue(time.known)
        self.assertEqual(time.milliseconds(), 253402300799999)


class RouterCase(ConnectCase):
    """A router that does not keep still."""

    def test_mapping_that_changes_without_end(self) -> None:
        """One request at a time names the new candidates to the server."""
        alice, bob = self.pair()
        changes: list[Any] = []
        open_now = most = 0

        def map_port(port: int, *, ipv6: bool = False, on_change: Any) -> Deferred[PortMapping | None]:
            changes.append((port, on_change))
            return succeed(None)

        self.patch(alice.mapper, "map", map_port)
        candidates = alice.client.attempts.candidates

        def name(*words: Any) -> Any:
            nonlocal open_now, most
            open_now += 1
            most = max(most, open_now)

            def over(result: Any) -> Any:
                nonlocal open_now
                open_now -= 1
                return result

            return candidates(*words).addBoth(over)

        self.patch(alice.client.attempts, "candidates", name)
        found: list[Any] = []
        alice.connector.connect(bob.identity.client_id).addCallback(alice.take).addBoth(found.append)
        for number in range(400):
            self.run_for(0.001)
            for port, on_change in changes:
                on_change(PortMapping(port, "198.51.100.1", 1024 + number, "nat-pmp", lambda: succeed(None)))
        self.run_for(5)
        self.assertEqual(most, 1)
        self.assertIsInstance(found[0], Path)


class EavesdropperCase(ConnectCase):
    """Copies of what the server has sent, from other addresses."""

    def test_copies_of_an_address_check(self) -> None:
        """The answers go to whoever the source is, but there are few, and none when the path is there."""
        alice, bob = self.pair()
        path = self.connected(alice, bob)
        attempt = alice.connector.paths[0]._attempts[0]
        self.assertIsNotNone(attempt.puncher)
        assert attempt._observer is not None
        check = Short(ShortKind.ADDRESS_CHECK, attempt._observer._attempt, bytes(4))
        datagram = encode_short(check, datagram_key(alice.identity.private_key))
        sent: list[Packet] = []

        def keep(packet: Packet) -> bool:
            if packet.destination[0] == VICTIM:
                sent.append(packet)
            return False

        self.world.network.drop = keep
        endpoint = next(iter(attempt.gathering.endpoints.values()))
        for _ in range(1000):
            attempt.is_servers(endpoint, datagram, (VICTIM, 53))
        self.run_for(0.1)
        self.assertEqual(sent, [])
        self.assertFalse(path.ended)
        attempt._observer._is_over = False
        for _ in range(1000):
            attempt.is_servers(endpoint, datagram, (VICTIM, 53))
        self.run_for(0.1)
        self.assertLessEqual(len(sent), 20)

    def test_other_family(self) -> None:
        """A socket for IPv6 may get IPv4: a peer must not seem to be reached over IPv6 by that."""
        taken: list[Any] = []

        class Reactor:
            def listenUDP(self, *_: Any, **__: Any) -> Any:
                class Port:
                    def getHost(self) -> Any:
                        return attrs.make_class("Address", {"port": attrs.field(default=1)})()

                return Port()

        endpoint = SocketEndpoint(Reactor(), Local("ipv6", ipv6=True), lambda *words: taken.append(words))
        endpoint.datagramReceived(b"probe", ("::ffff:198.51.100.1", 1))
        self.assertEqual(taken, [])
        endpoint.datagramReceived(b"probe", ("2001:db8::1", 1))
        self.assertEqual(len(taken), 1)


class PeerCase(ConnectCase):
    """A peer that has a path, and wants more."""

    def test_peer_cannot_open_a_path_to_a_client_that_does_not_listen(self) -> None:
        """The path of the client that has connected lets the peer move it, but not open further ones."""
        alice, bob = self.pair()
        path = self.connected(alice, bob)
        sockets = len(alice.machine._sockets)
        for _ in range(4):
            bob.connector.connect(alice.identity.client_id).addErrback(lambda _: None)
            self.run_for(10)
        self.assertEqual(alice.connector.paths, [path])
        self.assertLessEqual(len(alice.machine._sockets), sockets)

    def test_peer_that_is_no_longer_allowed(self) -> None:
        """A path that is there does not open the door for others."""
        alice, bob = self.pair()
        self.connected(alice, bob)
        bob.listen(allow=lambda peer: False)
        alice.connector.connect(bob.identity.client_id).addErrback(lambda _: None)
        self.run_for(10)
        self.assertEqual(len(bob.connector.paths), 1)

    def test_path_that_moves_for_days(self) -> None:
        """What earlier attempts have left behind is released."""
        alice, bob = self.pair()
        path = self.connected(alice, bob)
        for _ in range(20):
            alice.uplink.changed()
            self.run_for(40)
        self.assertFalse(path.ended)
        for each in (alice, bob):
            [open_path] = each.connector.paths
            self.assertLessEqual(len(open_path._attempts), MAX_ATTEMPTS)
            self.assertLessEqual(len(each.machine._sockets), MAX_ATTEMPTS + 1)
