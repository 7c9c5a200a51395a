"""Tests for :mod:`rendezvous.core.tracker`."""

from __future__ import annotations

import os
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.replies import Announced, Expired, PeerInfo, Pulsed, Pushed, PushNotice, Source, StillAlive
from rendezvous.core.shares import Shares
from rendezvous.core.tracker import MAX_MULTIADDR, Tracker, TrackerPeer
from rendezvous.errors import Full, Malformed, NotFound, RendezvousError, TooMany

NOW = 1_800_000_000.0
ALICE = ("192.0.2.1", 4000, 5024)
BOB = ("198.51.100.2", 5000, 5024)
CAROL = ("2001:db8::3", 6000, 5024)


def counting() -> Callable[[int], bytes]:
    """Give the bytes 0, 1, 2 and so on, over and over."""
    position = 0

    def random_bytes(size: int) -> bytes:
        nonlocal position
        position += size
        return bytes(number % 256 for number in range(position - size, position))

    return random_bytes


def scripted(*draws: bytes) -> Callable[[int], bytes]:
    """Give these bytes, one draw after the other, each of the size that is asked for."""
    remaining = list(draws)

    def random_bytes(size: int) -> bytes:
        drawn = remaining.pop(0)
        assert len(drawn) == size, (drawn, size)
        return drawn

    return random_bytes


class TrackerTestCase(SynchronousTestCase):
    """A tracker of three peers at most, and what it noted."""

    def setUp(self) -> None:
        """Make the tracker."""
        self.notes: list[object] = []
        self.touches: list[object] = []
        self.tracker = Tracker(counting(), max_peers=3, note=self.notes.append, touch=self.touches.append)

    def announce(self, source: Source, now: float = NOW) -> str:
        """Announce a peer and return its shareId."""
        ((reply, to),) = self.tracker.announce(source, now)
        assert isinstance(reply, Announced)
        self.assertEqual(to, source)
        return reply.share_id

    def seen_by(self, caller: Source, share_id: str, now: float = NOW) -> Pushed:
        """Push, and return what the caller learns."""
        reply, _ = self.tracker.push(caller, now, share_id)[0]
        assert isinstance(reply, Pushed)
        return reply

    def assert_error(self, expected: type[RendezvousError], code: str, call: Callable[[], object]) -> None:
        """Assert that a call raises an error of this class with this code."""
        error = self.assertRaises(expected, call)
        self.assertEqual(error.code, code)


class ShareIdTests(SynchronousTestCase):
    """How names are drawn."""

    def draw(self, *draws: bytes) -> str:
        """Announce one peer to a new tracker that has these random bytes."""
        ((reply, _),) = Tracker(scripted(*draws)).announce(ALICE, NOW)
        assert isinstance(reply, Announced)
        return reply.share_id

    def test_name_is_eight_characters_of_the_alphabet(self) -> None:
        """Bytes map to digits, capitals and small letters in turn, again from the start at 62."""
        self.assertEqual(self.draw(bytes((0, 9, 10, 35, 36, 61, 62, 247))), "09AZaz0z")

    def test_unfair_bytes_are_drawn_again(self) -> None:
        """Bytes from 248 on would favour some characters, so they are left out and replaced."""
        self.assertEqual(self.draw(bytes((248, 255, 1, 1, 1, 1, 1, 1)), b"\xff\x02", b"\x03"), "11111123")

    def test_name_in_use_is_drawn_again(self) -> None:
        """A name that another peer has is not given twice."""
        tracker = Tracker(scripted(bytes(8), bytes(8), b"\x01" * 8))
        names = [tracker.announce(source, NOW)[0][0] for source in (ALICE, BOB)]
        self.assertEqual(names, [Announced("00000000"), Announced("11111111")])


class LifeTests(TrackerTestCase):
    """Announcing, staying alive and expiring."""

    def test_announcing_again_keeps_the_name_and_the_record(self) -> None:
        """A live peer that announces again is still the same peer."""
        name = self.announce(ALICE)
        self.tracker.pulse(ALICE, NOW, override=True, port=7000)
        self.assertEqual(self.announce(ALICE, NOW + 300), name)
        self.announce(BOB)
        self.assertEqual(self.seen_by(BOB, name).peer.port, 7000)

    def test_peer_lives_for_its_lifetime_and_no_longer(self) -> None:
        """At 300 seconds a peer is alive, just after that it is not."""
        self.announce(ALICE)
        self.announce(BOB)
        self.assertEqual(self.tracker.alive(ALICE, NOW + 300), ((StillAlive(), ALICE),))
        self.assertEqual(self.tracker.alive(BOB, NOW + 300.001), ((Expired(), BOB),))

    def test_lifetime_is_an_option(self) -> None:
        """Another lifetime ends peers at another time."""
        tracker = Tracker(counting(), lifetime=10)
        tracker.announce(ALICE, NOW)
        self.assertEqual(tracker.alive(ALICE, NOW + 10), ((StillAlive(), ALICE),))
        self.assertEqual(tracker.alive(ALICE, NOW + 20.001), ((Expired(), ALICE),))

    def test_every_request_is_a_sign_of_life(self) -> None:
        """Announce, pulse, a refused pulse, alive and push each start the lifetime again."""
        name = self.announce(BOB)
        signs: list[Callable[[float], object]] = [
            lambda now: self.tracker.announce(ALICE, now),
            lambda now: self.tracker.pulse(ALICE, now),
            lambda now: self.tracker.pulse(ALICE, now, override=True),
            lambda now: self.tracker.alive(ALICE, now),
            lambda now: self.tracker.push(ALICE, now, name),
            lambda now: self.assertRaises(NotFound, self.tracker.push, ALICE, now, "nobody"),
        ]
        for sign in signs:
            self.announce(ALICE)
            self.announce(BOB, NOW + 200)
            sign(NOW + 200)
            self.assertEqual(self.tracker.alive(ALICE, NOW + 500), ((StillAlive(), ALICE),))
            self.tracker.expire(NOW + 10_000, 100)
            name = self.announce(BOB)

    def test_expired_peer_announces_as_a_new_one(self) -> None:
        """After expiry the address gets another name, and the old name is unknown."""
        old = self.announce(ALICE)
        new = self.announce(ALICE, NOW + 301)
        self.assertNotEqual(new, old)
        self.assert_error(NotFound, "unknown-share-id", lambda: self.tracker.push(ALICE, NOW + 301, old))
        self.assertEqual(len(self.tracker), 1)

    def test_unknown_and_expired_callers_are_refused(self) -> None:
        """Pulse and push are for live peers only."""
        name = self.announce(ALICE)
        for source, now in ((BOB, NOW), (ALICE, NOW + 301)):
            self.assert_error(NotFound, "expired-caller", lambda s=source, n=now: self.tracker.pulse(s, n))  # type: ignore[misc]
            self.assert_error(NotFound, "expired-caller", lambda s=source, n=now: self.tracker.push(s, n, name))  # type: ignore[misc]

    def test_alive_of_a_stranger_is_expired(self) -> None:
        """Asking does not enter anybody."""
        self.assertEqual(self.tracker.alive(ALICE, NOW), ((Expired(), ALICE),))
        self.assertEqual(len(self.tracker), 0)


class SweepTests(TrackerTestCase):
    """What the table holds on to."""

    def test_expire_frees_the_expired_and_only_them(self) -> None:
        """Peers go in the order in which they were last seen, whatever the order they came in."""
        for source in (ALICE, BOB, CAROL):
            self.announce(source)
        self.tracker.alive(ALICE, NOW + 100)
        self.assertEqual((self.tracker.expire(NOW + 300, 100), len(self.tracker)), (0, 3))
        self.assertEqual((self.tracker.expire(NOW + 301, 100), len(self.tracker)), (2, 1))
        self.assertEqual(self.tracker.alive(ALICE, NOW + 301), ((StillAlive(), ALICE),))
        self.assertEqual((self.tracker.expire(NOW + 602, 100), self.tracker.expire(NOW + 602, 100)), (1, 0))

    def test_full_table_refuses_the_next_and_serves_those_within(self) -> None:
        """The third of three peers fits, the fourth does not, and the first may announce again."""
        for source in (ALICE, BOB, CAROL):
            self.announce(source)
        self.assert_error(Full, "full-tracker", lambda: self.tracker.announce(("192.0.2.9", 1, 5024), NOW))
        self.announce(ALICE)
        self.assertEqual(len(self.tracker), 3)

    def test_full_table_makes_room_of_what_has_expired(self) -> None:
        """No sweep is needed for a new peer to take the place of an expired one."""
        for source in (ALICE, BOB, CAROL):
            self.announce(source)
        self.announce(("192.0.2.9", 1, 5024), NOW + 301)
        self.assertEqual(len(self.tracker), 2)

    def test_one_pass_frees_a_bounded_number(self) -> None:
        """The rest is left to the next; none of them is live meanwhile."""
        for source in (ALICE, BOB, CAROL):
            self.announce(source)
        self.assertEqual((self.tracker.expire(NOW + 301, 2), len(self.tracker)), (2, 1))
        self.assertEqual(self.tracker.alive(CAROL, NOW + 301), ((Expired(), CAROL),))

    def test_table_holds_a_hundred_thousand_peers_by_default(self) -> None:
        """The number that the documentation states."""
        tracker = Tracker(os.urandom)
        with self.assertRaises(Full):
            for number in range(200_000):
                tracker.announce((ALICE[0], number, 5024), NOW)
        self.assertEqual(len(tracker), 100_000)

    def test_one_host_may_have_many_peers(self) -> None:
        """Two ports of one host are two peers."""
        self.assertNotEqual(self.announce(("192.0.2.1", 1, 5024)), self.announce(("192.0.2.1", 2, 5024)))

    def test_one_address_at_two_ports_of_the_server_is_two_peers(self) -> None:
        """Its NAT may hold a mapping for each, and each is told of others only where it came in."""
        first, second = ("192.0.2.1", 1, 5024), ("192.0.2.1", 1, 3000)
        names = [self.announce(first), self.announce(second)]
        self.assertNotEqual(*names)
        told = [self.tracker.push(first, NOW, names[1])[1][1], self.tracker.push(second, NOW, names[0])[1][1]]
        self.assertEqual(told, [second, first])


class ShareTests(SynchronousTestCase):
    """A full table is never the doing of one network."""

    def setUp(self) -> None:
        """Make a tracker in which an address may hold two peers, and a /24 three."""
        self.shares = Shares("tracker peers", 2, 3)
        self.tracker = Tracker(os.urandom, max_peers=100, shares=self.shares)

    def announce(self, host: str, port: int, now: float = NOW) -> None:
        """Announce a peer."""
        self.tracker.announce((host, port, 5024), now)

    def refuse(self, host: str, port: int, now: float = NOW) -> None:
        """Announce a peer that is refused."""
        with self.assertRaises(TooMany) as caught:
            self.announce(host, port, now)
        self.assertEqual(caught.exception.code, "source-share")

    def test_address_and_site_hold_their_shares(self) -> None:
        """However the address is spelled; others are let in, and those within are served."""
        self.announce("192.0.2.1", 1)
        self.announce("::ffff:192.0.2.1", 2)
        self.refuse("192.0.2.1", 3)
        self.announce("192.0.2.1", 1)
        self.announce("192.0.2.2", 1)
        self.refuse("192.0.2.3", 1)
        self.announce("198.51.100.1", 1)
        self.assertEqual(len(self.tracker), 4)

    def test_expired_peers_give_their_share_back(self) -> None:
        """When they are freed, by a pass or by a request; nothing is counted for a network without peers."""
        for port in (1, 2):
            self.announce("192.0.2.1", port)
        self.tracker.expire(NOW + 301, 100)
        self.assertEqual(len(self.shares), 0)
        for port in (3, 4):
            self.announce("192.0.2.1", port, NOW + 301)
        self.announce("192.0.2.1", 5, NOW + 602.5)

    def test_restored_peers_count(self) -> None:
        """Those that a journal has kept, also where they are more than may be let in now."""
        for port in (1, 2, 3):
            self.assertTrue(
                self.tracker.restore(TrackerPeer(("192.0.2.1", port, 5024), "192.0.2.1", port, f"{port:08}", NOW))
            )
        self.refuse("192.0.2.1", 4)


class PulseTests(TrackerTestCase):
    """What a pulse may change."""

    def setUp(self) -> None:
        """Announce two peers."""
        super().setUp()
        self.name = self.announce(ALICE)
        self.announce(BOB)

    def recorded(self) -> tuple[str, int]:
        """Tell what others learn of the first peer."""
        seen = self.seen_by(BOB, self.name).peer
        return seen.ip, seen.port

    def pulse(self, ip: str | None = None, port: int | None = None, source: Source = ALICE) -> Pulsed:
        """Send an override from the first peer."""
        ((reply, to),) = self.tracker.pulse(source, NOW, override=True, ip=ip, port=port)
        assert isinstance(reply, Pulsed)
        self.assertEqual(to, source)
        return reply

    def test_plain_pulse_changes_nothing(self) -> None:
        """Without an override, an address in the pulse means nothing."""
        self.assertEqual(self.tracker.pulse(ALICE, NOW, ip="10.0.0.1", port=7000), ((Pulsed(), ALICE),))
        self.assertEqual(self.recorded(), ALICE[:2])

    def test_port_is_free(self) -> None:
        """The first and the last port are both taken."""
        for port in (1, 65535):
            self.assertEqual(self.pulse(port=port), Pulsed(overridden=True))
            self.assertEqual(self.recorded(), ("192.0.2.1", port))

    def test_port_out_of_range_is_refused(self) -> None:
        """Just outside of the range nothing is recorded."""
        for port in (0, 65536):
            self.assertEqual(self.pulse(port=port), Pulsed(refused=True))
        self.assertEqual(self.recorded(), ALICE[:2])

    def test_own_and_private_hosts_are_taken(self) -> None:
        """A peer may name its own host, in any spelling, and private ones."""
        hosts = {"10.1.2.3": "10.1.2.3", "::ffff:192.168.1.5": "192.168.1.5", "FD00::01": "fd00::1"}
        hosts |= {"172.16.0.1": "172.16.0.1", "192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1"}
        for host, expected in hosts.items():
            self.assertEqual(self.pulse(ip=host), Pulsed(overridden=True))
            self.assertEqual(self.recorded(), (expected, 4000))

    def test_hosts_of_others_are_refused(self) -> None:
        """Public, loopback, link-local and multicast hosts, and what is no address, leave the record as it was."""
        hosts = ["198.51.100.2", "192.0.2.2", "127.0.0.1", "169.254.1.1", "100.64.0.1", "224.0.0.1", "255.255.255.255"]
        hosts += [
            "::1",
            "fe80::1",
            "2001:db8::1",
            "::ffff:198.51.100.2",
            "0.0.0.0",
            "::",
            "",
            "localhost",
            "192.0.2.01",
        ]
        for host in hosts:
            self.assertEqual(self.pulse(ip=host, port=7000), Pulsed(refused=True), host)
            self.assertEqual(self.recorded(), ALICE[:2])

    def test_own_ipv6_host_is_taken_and_another_is_not(self) -> None:
        """A peer on IPv6 may name its own address and no other."""
        self.announce(CAROL)
        self.assertEqual(self.pulse("2001:DB8:0::3", 1, CAROL), Pulsed(overridden=True))
        self.assertEqual(self.pulse("2001:db8::4", 1, CAROL), Pulsed(refused=True))

    def test_override_of_nothing_is_refused(self) -> None:
        """An override that names neither host nor port asks for nothing that could be done."""
        self.assertEqual(self.pulse(), Pulsed(refused=True))

    def test_field_left_out_keeps_what_is_recorded(self) -> None:
        """Host and port can be overridden one after the other."""
        self.pulse(port=7000)
        self.pulse(ip="10.0.0.1")
        self.assertEqual(self.recorded(), ("10.0.0.1", 7000))

    def test_new_name_replaces_the_old(self) -> None:
        """The new name is in the answer and works; the old one does not any more."""
        ((reply, _),) = self.tracker.pulse(ALICE, NOW, renew_share_id=True)
        assert isinstance(reply, Pulsed)
        self.assertFalse(reply.overridden)
        assert reply.share_id is not None
        self.assertNotEqual(reply.share_id, self.name)
        self.assertEqual(self.seen_by(BOB, reply.share_id).peer.port, 4000)
        self.assert_error(NotFound, "unknown-share-id", lambda: self.tracker.push(BOB, NOW, self.name))

    def test_multiaddr_is_passed_on_as_given(self) -> None:
        """It stays until another is given."""
        self.tracker.pulse(ALICE, NOW, multiaddr="/ip4/192.0.2.1/udp/4000/quic-v1")
        self.tracker.pulse(ALICE, NOW)
        self.assertEqual(self.seen_by(BOB, self.name).peer.multiaddr, "/ip4/192.0.2.1/udp/4000/quic-v1")

    def test_multiaddr_has_a_limit(self) -> None:
        """At the limit it is kept; above it, in characters or in bytes, the whole pulse fails."""
        self.tracker.pulse(ALICE, NOW, multiaddr="x" * MAX_MULTIADDR)
        self.tracker.pulse(ALICE, NOW, multiaddr='"' * (MAX_MULTIADDR // 2))
        self.tracker.pulse(ALICE, NOW, multiaddr="x" * MAX_MULTIADDR)
        for long in ("x" * (MAX_MULTIADDR + 1), "\u00e9" * (MAX_MULTIADDR // 2 + 1), "\\" * (MAX_MULTIADDR // 2 + 1)):
            self.assert_error(
                Malformed,
                "malformed",
                lambda m=long: self.tracker.pulse(ALICE, NOW + 1, multiaddr=m, override=True, port=1),  # type: ignore[misc]
            )
        self.assertEqual(self.seen_by(BOB, self.name), Pushed(PeerInfo(*ALICE[:2], self.name, "x" * MAX_MULTIADDR)))

    def test_refused_override_changes_nothing_at_all(self) -> None:
        """A pulse is taken whole or not: neither name nor multiaddr change beside a refused override."""
        reply = self.tracker.pulse(ALICE, NOW, override=True, ip="8.8.8.8", multiaddr="x", renew_share_id=True)
        self.assertEqual(reply, ((Pulsed(refused=True), ALICE),))
        self.assertEqual(self.seen_by(BOB, self.name), Pushed(PeerInfo(*ALICE[:2], self.name)))


class PushTests(TrackerTestCase):
    """Introducing two peers."""

    def test_both_learn_the_others_recorded_address(self) -> None:
        """The caller learns the target's record and the target the caller's."""
        alice, bob = self.announce(ALICE), self.announce(BOB)
        self.tracker.pulse(BOB, NOW, override=True, ip="10.0.0.2", port=7000, multiaddr="/b")
        expected = (
            (Pushed(PeerInfo("10.0.0.2", 7000, bob, "/b")), ALICE),
            (PushNotice(PeerInfo(*ALICE[:2], alice)), BOB),
        )
        self.assertEqual(self.tracker.push(ALICE, NOW, bob), expected)

    def test_nothing_is_sent_to_an_address_that_was_only_claimed(self) -> None:
        """The target gets its message at its source, and the caller its answer at its own."""
        bob = self.announce(BOB)
        self.announce(ALICE)
        self.tracker.pulse(BOB, NOW, override=True, ip="10.0.0.2", port=53)
        self.tracker.pulse(ALICE, NOW, override=True, port=53)
        self.assertEqual([to for _, to in self.tracker.push(ALICE, NOW, bob)], [ALICE, BOB])

    def test_mapped_source_is_shown_as_ipv4_and_answered_as_it_is(self) -> None:
        """Others see IPv4; the socket gets the spelling that it gave."""
        mapped = ("::ffff:192.0.2.1", 4000, 5024)
        name = self.announce(mapped)
        self.announce(BOB)
        (seen, _), (_, to) = self.tracker.push(BOB, NOW, name)
        self.assertEqual((seen, to), (Pushed(PeerInfo("192.0.2.1", 4000, name)), mapped))

    def test_unknown_and_expired_targets_are_refused(self) -> None:
        """No peer learns of a peer that is not live."""
        bob = self.announce(BOB)
        self.announce(ALICE, NOW + 200)
        for name, now in (("00000000", NOW + 200), ("", NOW + 200), (bob, NOW + 301)):
            self.assert_error(NotFound, "unknown-share-id", lambda n=name, t=now: self.tracker.push(ALICE, t, n))  # type: ignore[misc]

    def test_being_pushed_to_is_no_sign_of_life(self) -> None:
        """Only a peer's own datagrams keep it."""
        bob = self.announce(BOB)
        self.announce(ALICE)
        self.tracker.push(ALICE, NOW + 300, bob)
        self.assertEqual(self.tracker.alive(BOB, NOW + 301), ((Expired(), BOB),))
