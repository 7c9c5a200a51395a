"""Tests of :mod:`rendezvous.core.punching.path` in the simulated network."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.connect import Via
from rendezvous.core.punching.actions import AttemptDue, Closed, Connected, Lost, PathChanged, Release
from rendezvous.core.punching.path import Path
from rendezvous.core.punching.probes import Data
from rendezvous.core.punching.puncher import Puncher
from rendezvous.testing.nat import Nat
from rendezvous.testing.network import Packet
from rendezvous.testing.translation import PORT_RESTRICTED
from rendezvous.wire.probe import PairCodec
from tests._punching import Attempt, End, Relay, meet
from tests._simulated import NATS, World


class _PathCase(SynchronousTestCase):
    """Two sides with a path between them."""

    def meet(self, first: str = "port-restricted", second: str = "linux-naive", relays: int = 0, seed: int = 1) -> None:
        """Connect two sides."""
        self.world, self.first, self.second = meet(first, second, relays=relays, seed=seed)
        self.ends = self.first, self.second
        for end in self.ends:
            self.assertIsNotNone(end.path, end.happened)
        self.run_for(1.5)

    def run_for(self, seconds: float) -> None:
        """Let time pass."""
        self.world.network.run(seconds)

    def stream(self, seconds: float, interval: float = 0.05) -> None:
        """Have both sides send a payload, different ones, at an interval."""
        end = self.world.now + seconds
        while self.world.now < end - 1e-9:
            for side in self.ends:
                side.count = side.count + 1
                side.send(b"%s %d" % (side.name.encode("ascii"), side.count))
            self.run_for(interval)

    def path(self, end: End) -> Path:
        """:returns: the path of a side."""
        assert end.path is not None
        return end.path

    def assert_carries(self) -> None:
        """A payload passes in each direction within a second."""
        before = [len(end.delivered) for end in self.ends]
        for end in self.ends:
            end.send(b"ping")
        self.run_for(1.0)
        self.assertEqual([len(end.delivered) for end in self.ends], [n + 1 for n in before])

    def assert_no_duplicates(self) -> None:
        """Nothing was delivered twice."""
        for end in self.ends:
            self.assertEqual(len(set(end.delivered)), len(end.delivered))

    def direct(self, packet: Packet) -> bool:
        """:returns: whether a packet goes between the two sites without a relay."""
        return packet.source[0].startswith("198.51.100.") and packet.destination[0].startswith("198.51.100.")


class DataTests(_PathCase):
    """Payloads arrive once, unchanged."""

    def test_both_ways(self) -> None:
        """Everything arrives, in the order in which it was sent."""
        self.meet()
        self.stream(2.0)
        self.run_for(0.5)
        self.assertEqual(self.second.delivered, [b"A %d" % n for n in range(1, 41)])
        self.assertEqual(self.first.delivered, [b"B %d" % n for n in range(1, 41)])

    def test_largest_payload(self) -> None:
        """1200 bytes pass. One more is an error that says how many there may be."""
        self.meet()
        self.first.send(bytes(1200))
        error = self.assertRaises(ValueError, self.first.send, bytes(1201))
        self.assertIn("at most 1200 bytes", str(error))
        self.run_for(0.5)
        self.assertEqual(self.second.delivered, [bytes(1200)])

    def test_data_before_the_path(self) -> None:
        """What comes before a side knows of the path is delivered when it does."""
        for seed in range(20):
            world, first, second = meet(
                "port-restricted", "port-restricted", seed=seed, link=lambda world: world.link(loss=0.1)
            )
            if first.path is not None:
                for number in range(10):
                    first.send(b"%d" % number)
                world.network.run(1.0)
                self.assertEqual(len(set(second.delivered)), len(second.delivered))
                self.assertGreater(len(second.delivered), 3)

    def test_replays_are_not_delivered(self) -> None:
        """Every datagram of a path, sent again from anywhere, changes nothing and gets no answer."""
        self.meet()
        heard: list[bytes] = []

        def overhear(packet: Packet) -> bool:
            heard.append(packet.payload)
            return False

        self.world.network.drop = overhear
        self.stream(1.0)
        self.run_for(16.0)
        self.world.network.drop = lambda packet: False
        self.assertGreater(len(heard), 40)
        delivered = [list(end.delivered) for end in self.ends]
        attacker = self.world.network.host("203.0.113.66").bind(666)
        before = [len(end.sent) for end in self.ends]
        for datagram in heard:
            for end in self.ends:
                local = self.path(end).local
                end.do(self.path(end).receive(self.world.now, local, datagram, attacker.address))
        self.assertEqual([end.delivered for end in self.ends], delivered)
        targets = {send.address for end, n in zip(self.ends, before, strict=True) for _, send in end.sent[n:]}
        self.assertNotIn(attacker.address, targets)

    def test_junk_gets_no_answer(self) -> None:
        """Forged, cut, oversized and reflected datagrams do nothing."""
        self.meet()
        local, peer = self.path(self.second).local, self.path(self.second).address
        good = self.first.puncher.checks.codec.encode_data(Data(99, b"good"))  # type: ignore[union-attr]
        own = self.second.puncher.checks.codec.encode_data(Data(99, b"own"))  # type: ignore[union-attr]
        foreign = PairCodec(bytes(32), bytes(8), True).encode_data(Data(99, b"foreign"))
        junk = [
            own,
            foreign,
            good[:-1],
            good + b"x",
            good + bytes(1300),
            b"",
            b"\x0b",
            bytes(64),
            b"\x0b\x10" + bytes(62),
        ]
        self.assertEqual([self.path(self.second).receive(self.world.now, local, each, peer) for each in junk], [[]] * 9)
        self.assertNotEqual(self.path(self.second).receive(self.world.now, local, good, peer), [])

    def test_old_number_is_dropped(self) -> None:
        """A number that is 1024 behind the largest is too old."""
        self.meet()
        codec = self.first.puncher.checks.codec  # type: ignore[union-attr]
        path, now = self.path(self.second), self.world.now

        def delivers(number: int) -> bool:
            return bool(path.receive(now, path.local, codec.encode_data(Data(number, b"x")), path.address))

        self.assertEqual(
            [delivers(n) for n in (5000, 3976, 3977, 3977, 5000, 5001)], [True, False, True, False, False, True]
        )

    def test_answers_are_limited(self) -> None:
        """At most 40 probes a second are answered."""
        self.meet()
        assert self.first.puncher is not None
        path, now = self.path(self.second), self.world.now
        pair = next(iter(self.first.puncher.checks.pairs.values()))
        datagrams = [self.first.puncher.checks.probe(now, pair).datagram for _ in range(200)]
        answers = [action for each in datagrams for action in path.receive(now, path.local, each, path.address)]
        self.assertLessEqual(len(answers), 40)


class UpkeepTests(_PathCase):
    """A path stays open, and its end is noticed."""

    def test_ten_minutes_of_silence(self) -> None:
        """Keep-alives hold mappings that end after 30 s, and they are few."""
        for first, second, relays in (
            ("port-restricted", "linux-naive", 0), ("symmetric", "full cone", 0), ("EIM random", "EIM random", 2),
        ):  # fmt: skip
            self.meet(first, second, relays=relays)
            before = [len(end.sent) for end in self.ends]
            self.run_for(600)
            for end, count in zip(self.ends, before, strict=True):
                self.assertLess(len(end.sent) - count, 200 + 300 * relays)
            self.assert_carries()
            self.assertEqual([end.all(PathChanged) for end in self.ends], [[], []])

    def test_ten_minutes_with_loss(self) -> None:
        """Also if a tenth of the keep-alives gets lost."""
        self.world, self.first, self.second = meet(
            "port-restricted", "port-restricted", seed=4, link=lambda world: world.link(loss=0.05)
        )
        self.ends = self.first, self.second
        self.run_for(600)
        for _ in range(20):
            self.first.send(b"x")
        self.run_for(1)
        self.assertGreater(len(self.second.delivered), 10)
        self.assertEqual(self.first.all(Lost), [])

    def test_one_way_stream(self) -> None:
        """A side that only receives keeps the path of the sender valid by its acknowledgements."""
        self.meet()
        for _ in range(600):
            self.first.send(b"x")
            self.run_for(0.1)
        self.assertEqual(len(self.second.delivered), 600)
        self.assertEqual(self.first.all(PathChanged), [])
        self.assertEqual(self.first.all(AttemptDue), [])

    def test_lost(self) -> None:
        """Thirty seconds after the last datagram both sides say so, and nothing more is due."""
        self.meet()
        self.world.network.drop = self.direct
        self.run_for(50)
        for end in self.ends:
            self.assertEqual(len(end.all(Lost)), 1)
            self.assertIsNone(self.path(end).due())
            self.assertTrue(self.path(end).ended)
            self.assertEqual(self.path(end).send(self.world.now, b"x"), [])

    def test_bye(self) -> None:
        """The peer knows at once, and the side that closes after three datagrams."""
        self.meet()
        self.first.do(self.path(self.first).close(self.world.now))
        self.assertEqual(self.path(self.first).close(self.world.now), [])
        self.run_for(0.05)
        self.assertEqual(len(self.second.all(Closed)), 1)
        self.run_for(0.1)
        self.assertEqual(len(self.first.all(Closed)), 1)
        for end in self.ends:
            self.assertIsNone(self.path(end).due())

    def test_bye_that_gets_lost(self) -> None:
        """One of three is enough."""
        self.meet()
        lost = iter((True, True))
        self.world.network.drop = lambda packet: next(lost, False)
        self.first.do(self.path(self.first).close(self.world.now))
        self.run_for(0.3)
        self.assertEqual(len(self.second.all(Closed)), 1)

    def test_new_attempt_is_asked_for_when_nothing_is_heard(self) -> None:
        """After two seconds without an answer, and then with growing pauses."""
        self.meet()
        self.world.network.drop = self.direct
        self.first.send(b"x")
        began = self.world.now
        self.run_for(25)
        asked = [time - began for time, action in self.first.happened if isinstance(action, AttemptDue)]
        self.assertEqual([round(time) for time in asked], [2, 7, 17])
        self.assertEqual(
            [action.relayed for action in self.first.all(AttemptDue) if isinstance(action, AttemptDue)], [False] * 3
        )

    def test_new_attempt_is_asked_for_on_a_relay(self) -> None:
        """By the controlling side alone."""
        self.meet("symmetric", "symmetric", relays=2)
        self.run_for(60)
        asked = [action for action in self.first.all(AttemptDue) if isinstance(action, AttemptDue)]
        self.assertTrue(asked)
        self.assertTrue(all(action.relayed for action in asked))
        self.assertLessEqual(len(asked), 4)
        self.assertEqual(self.second.all(AttemptDue), [])


class ChangeTests(_PathCase):
    """A path changes to another pair of addresses, and nothing is delivered twice."""

    def test_relay_takes_over_within_two_seconds_and_gives_back(self) -> None:
        """The direct path dies silently while data flows; when it works again, data goes back to it."""
        self.meet(relays=2)
        self.assertIs(self.path(self.first).via, Via.DIRECT)
        self.stream(2.0)
        self.world.network.drop = self.direct
        died, counts = self.world.now, [len(end.delivered) for end in self.ends]
        self.stream(2.0)
        for end, count in zip(self.ends, counts, strict=True):
            self.assertIs(self.path(end).via, Via.RELAY)
            self.assertGreater(len(end.delivered), count + 15)
        changed = [end.first(PathChanged) for end in self.ends]
        self.assertTrue(all(each is not None and each[0] - died < 1.0 for each in changed), changed)
        self.stream(20.0, 0.2)
        self.world.network.drop = lambda packet: False
        self.stream(40.0, 0.2)
        self.assertEqual([self.path(end).via for end in self.ends], [Via.DIRECT, Via.DIRECT])
        self.assert_no_duplicates()

    def test_idle_path_fails_over_at_its_next_keep_alive(self) -> None:
        """Without data the change is not sooner than the next probe, and both sides follow."""
        self.meet(relays=2)
        self.world.network.drop = self.direct
        self.run_for(20)
        self.assertEqual([self.path(end).via for end in self.ends], [Via.RELAY, Via.RELAY])
        self.assert_carries()

    def test_change_back_drops_nothing(self) -> None:
        """Everything that is sent while the path goes back to the direct pair arrives."""
        self.meet(relays=2)
        self.world.network.drop = self.direct
        self.stream(4.0)
        self.world.network.drop = lambda packet: False
        counts = [len(end.delivered) for end in self.ends]
        sent = [end.count for end in self.ends]
        self.stream(40.0, 0.1)
        self.run_for(0.5)
        self.assertEqual([self.path(end).via for end in self.ends], [Via.DIRECT, Via.DIRECT])
        for end, count, before in zip(self.ends, counts, reversed(sent), strict=True):
            other = self.ends[1] if end is self.ends[0] else self.ends[0]
            self.assertGreaterEqual(len(end.delivered) - count, other.count - before)
        self.assert_no_duplicates()

    def test_pair_that_comes_and_goes_is_used_less_and_less(self) -> None:
        """Each failure doubles the time for which the direct pair has to work again."""
        self.meet(relays=2)
        for _ in range(12):
            self.world.network.drop = self.direct
            self.stream(3.0, 0.1)
            self.world.network.drop = lambda packet: False
            self.stream(10.0, 0.1)
        changes = len(self.first.all(PathChanged))
        self.assertLess(changes, 12)
        self.assert_no_duplicates()

    def test_relay_dies_while_it_is_not_used(self) -> None:
        """Nothing changes."""
        self.meet(relays=2)
        for end in self.ends:
            assert end.relay is not None
            end.relay.working = False
        self.stream(60.0, 0.5)
        self.assertEqual([end.all(PathChanged) for end in self.ends], [[], []])

    def test_faster_relay_is_used(self) -> None:
        """A pair of the same tier is used if it is faster by 5 ms, and not if it is faster by less."""
        for slower, changes in ((0.002, 0), (0.05, 1)):
            self.meet("symmetric", "symmetric", relays=2)
            used = self.path(self.first).local
            # The path uses the relay of one side; that of the other one is as fast.
            slow = self.first if used.relayed else self.second
            assert slow.relay is not None
            slow.relay.delay += slower
            self.stream(60.0, 0.25)
            self.run_for(0.5)
            self.assertEqual([len(end.all(PathChanged)) for end in self.ends], [changes] * 2, slower)
            self.assertEqual(len(self.second.delivered), self.first.count)
            self.assert_no_duplicates()

    def test_pair_that_does_not_answer_a_nomination(self) -> None:
        """It counts as failed, and the path stays where it is."""
        self.meet(relays=2)
        self.world.network.drop = self.direct
        self.stream(3.0)
        self.world.network.drop = lambda packet: self.direct(packet) and packet.payload[3] & 2 != 0
        self.stream(12.0, 0.1)
        self.assertEqual([self.path(end).via for end in self.ends], [Via.RELAY, Via.RELAY])
        self.world.network.drop = lambda packet: False
        self.stream(60.0, 0.2)
        self.assertEqual([self.path(end).via for end in self.ends], [Via.DIRECT, Via.DIRECT])
        self.assert_no_duplicates()

    def test_nat_restarts(self) -> None:
        """The mapping is another one afterwards; the peer answers to it, and the path goes on."""
        self.meet("EIM random", "full cone")
        assert self.first.site.router is not None
        self.stream(1.0)
        self.first.site.router.restart()
        count = len(self.second.delivered)
        self.stream(3.0)
        self.assertGreater(len(self.second.delivered), count + 40)
        self.assertGreater(len(self.first.delivered), 40)
        self.assert_no_duplicates()

    def test_direct_path_comes_later(self) -> None:
        """A path that begins on a relay moves to a direct one in a later round, without a gap."""
        world = World(5, hops=1)
        self.world = world
        self.first, self.second = meet_when_late(world)
        self.ends = self.first, self.second
        self.assertEqual([self.path(end).via for end in self.ends], [Via.RELAY, Via.RELAY])
        self.stream(8.0)
        self.run_for(0.5)
        self.assertEqual([self.path(end).via for end in self.ends], [Via.DIRECT, Via.DIRECT])
        self.assertEqual(self.second.delivered, sorted(self.second.delivered, key=lambda each: int(each.split()[1])))
        self.assertEqual(len(self.second.delivered), self.first.count)
        self.assert_no_duplicates()


def meet_when_late(world: World) -> tuple[End, End]:
    """:returns: two sides that are connected by a relay, since direct packets are dropped in the first round."""
    ends = [
        End(world, world.site(kind), Relay(world, n), "AB"[n])
        for n, kind in enumerate(("port-restricted", "EIM random"))
    ]
    world.network.drop = lambda packet: packet.source[0][:11] == packet.destination[0][:11] == "198.51.100."
    Attempt(world, ends).begin()
    world.network.run(1.5, lambda: all(end.path is not None for end in ends))
    world.network.run(0.5)
    world.network.drop = lambda packet: False
    return ends[0], ends[1]


class RoamingTests(_PathCase):
    """A side moves to another network, and a new attempt joins the path."""

    def roam(self, end: End, kind: str = "port-restricted") -> None:
        """Move the host of a side to another NAT, and begin a new attempt."""
        behaviour = NATS[kind]
        assert behaviour is not None
        router = Nat(
            self.world.network, f"198.51.100.{100 + self.world.random.randint(0, 99)}", behaviour, self.world.link()
        )
        end.site.host.connect(router, "10.0.0.2")
        other = self.second if end is self.first else self.first
        Attempt(self.world, (end, other), number=2).begin()

    def test_data_goes_on(self) -> None:
        """Within two seconds data flows again both ways, and the numbers go on."""
        for mover in (0, 1):
            self.meet()
            self.stream(1.0)
            paths = [self.path(end) for end in self.ends]
            counts = [len(end.delivered) for end in self.ends]
            self.roam(self.ends[mover])
            self.stream(2.0)
            self.assertEqual([end.path for end in self.ends], paths)
            for end, count in zip(self.ends, counts, strict=True):
                self.assertGreater(len(end.delivered), count + 20)
            self.assert_no_duplicates()
            self.stream(1.0)
            self.assert_carries()

    def test_old_sockets_are_released(self) -> None:
        """Thirty seconds after the last datagram on them."""
        self.meet()
        old = [set(end.sockets) for end in self.ends]
        self.roam(self.first)
        self.run_for(60)
        for end, names in zip(self.ends, old, strict=True):
            self.assertEqual(set(end.sockets) & names, set())
            self.assertGreater(len(end.all(Release)), 0)
        self.assert_carries()

    def test_both_move(self) -> None:
        """One after the other, while data flows."""
        self.meet()
        self.roam(self.first)
        self.stream(3.0)
        behaviour = PORT_RESTRICTED
        router = Nat(self.world.network, "198.51.100.250", behaviour, self.world.link())
        self.second.site.host.connect(router, "10.0.0.2")
        Attempt(self.world, (self.second, self.first), number=3).begin()
        self.stream(3.0)
        self.assert_carries()
        self.assert_no_duplicates()

    def test_peer_that_has_lost_the_path_begins_a_new_one(self) -> None:
        """It has restarted, so its numbers begin again; the side that goes on learns it when it connects."""
        self.meet()
        self.second.path = None
        for name in list(self.second.sockets):
            self.second.close(name)
        old = self.path(self.first)
        Attempt(self.world, (self.first, self.second), number=2).begin()
        self.world.network.run(3.0, lambda: self.first.path is not old)
        connected = self.first.all(Connected)[-1]
        assert isinstance(connected, Connected)
        self.assertEqual(connected.path, bytes(6))
        self.assertIsNot(self.first.path, old)
        self.assert_carries()


class ConstructionTests(SynchronousTestCase):
    """A path is made of a puncher that has connected."""

    def test_puncher_that_has_not_connected(self) -> None:
        """It is refused."""
        codec = PairCodec(bytes(32), bytes(8), True)
        puncher = Puncher(codec, Random(1), attempt=bytes(8), controlling=True)
        self.assertRaises(ValueError, Path, puncher, Random(1))
