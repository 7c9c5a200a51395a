"""Tests of :mod:`rendezvous.core.punching.puncher` in the simulated network."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.connect import Candidate, CandidateKind, Via
from rendezvous.core.punching.actions import Connected, Failed
from rendezvous.testing import translation
from rendezvous.testing.nat import Firewall, Nat
from rendezvous.testing.network import Burst
from tests._punching import Attempt, End, Relay, meet
from tests._simulated import SERVER, Site, World

CONES = ("public", "full cone", "address-restricted", "port-restricted", "EIM random", "linux-naive")
OPEN = ("public", "full cone", "address-restricted")

STARTED = 0.5
"""Seconds at which :func:`meet` begins an attempt."""


def took(*ends: End) -> float:
    """:returns: the seconds from the start of the attempt until both sides have connected."""
    times = [end.first(Connected) for end in ends]
    return max(time[0] for time in times if time is not None) - STARTED


class _Case(SynchronousTestCase):
    """Sites that meet."""

    def assert_connected(self, ends: Sequence[End], via: Via, within: float, note: object = None) -> None:
        """Both sides have connected in time, on the same pair of sockets."""
        for end in ends:
            self.assertIsNotNone(end.path, (note, end.name, end.happened))
            assert end.path is not None
            self.assertIs(end.path.via, via, note)
        self.assertLessEqual(took(*ends), within, note)


class MatrixTests(_Case):
    """Which pairs of NATs connect, and how soon. The times have observation and signaling in them."""

    def test_cones(self) -> None:
        """Each pair of NATs with endpoint-independent mapping connects directly, in both orders."""
        for first in CONES:
            for second in CONES:
                _, *ends = meet(first, second)
                self.assert_connected(ends, Via.DIRECT, 0.5, (first, second))

    def test_late_start(self) -> None:
        """Half a second of skew costs a second round at most; openers keep routers that run Linux whole."""
        for skew, within in ((0.15, 0.6), (0.5, 4.0)):
            for first in CONES:
                for second in ("linux-naive", "port-restricted"):
                    _, *ends = meet(first, second, skew=skew)
                    self.assert_connected(ends, Via.DIRECT, within, (first, second, skew))

    def test_endpoint_dependent_mapping_and_open_filter(self) -> None:
        """The side without a narrow filter learns the other's port from its probes."""
        for first in ("symmetric", "address-dependent", "sequential", "symmetric EIF"):
            for second in OPEN:
                for pair in ((first, second), (second, first)):
                    _, *ends = meet(*pair)
                    self.assert_connected(ends, Via.DIRECT, 0.5, pair)

    def test_prediction(self) -> None:
        """Sequential ports are guessed."""
        for second in ("port-restricted", "EIM random", "linux-naive"):
            for pair in (("sequential", second), (second, "sequential")):
                _, *ends = meet(*pair)
                self.assert_connected(ends, Via.DIRECT, 0.5, pair)

    def test_port_mapping(self) -> None:
        """A side with a port mapping is reached by every NAT, and it does not matter who asks."""
        for second in (*CONES, "symmetric", "address-dependent"):
            for mapped in ((0,), (1,), (0, 1)):
                for pair in (("symmetric", second), (second, "symmetric")):
                    _, *ends = meet(*pair, mapped=mapped)
                    vias = [end.path.via for end in ends if end.path is not None]
                    # A public host may be reached from the mapped socket as well as at the mapping.
                    self.assertIn(vias, ([Via.MAPPED] * 2, [Via.DIRECT] * 2) if second in OPEN else ([Via.MAPPED] * 2,))
                    self.assertLessEqual(took(*ends), 1.0, (pair, mapped))

    def test_port_mapping_with_the_same_port(self) -> None:
        """If the NAT preserves the port, the mapped address is the observed one; both sides still call it mapped."""
        for first in ("port-restricted", "linux-naive", "full cone"):
            for second in ("port-restricted", "symmetric", "EIM random"):
                for pair in ((first, second), (second, first)):
                    _, *ends = meet(*pair, mapped=(pair.index(first),), mapped_port=49152)
                    self.assert_connected(ends, Via.MAPPED, 1.0, pair)

    def test_relay(self) -> None:
        """Where there is no direct path, a relay of either side is used, at once or after half a second."""
        for first, second, within in (
            ("symmetric", "symmetric", 0.5), ("symmetric", "port-restricted", 1.0), ("symmetric", "linux-naive", 1.0),
            ("address-dependent", "port-restricted", 1.0),
        ):  # fmt: skip
            for relays in (1, 2):
                for pair in ((first, second), (second, first)):
                    _, *ends = meet(*pair, relays=relays)
                    self.assert_connected(ends, Via.RELAY, within, (pair, relays))

    def test_relay_is_not_used_where_a_direct_path_is(self) -> None:
        """It waits for the direct path."""
        for first, second in (("port-restricted", "linux-naive"), ("symmetric", "full cone")):
            _, *ends = meet(first, second, relays=2)
            self.assert_connected(ends, Via.DIRECT, 0.5, (first, second))

    def test_blocked_side(self) -> None:
        """A side without UDP connects through its relay."""
        for pair in (("blocked", "symmetric"), ("port-restricted", "blocked")):
            _, *ends = meet(*pair, relays=2)
            self.assert_connected(ends, Via.RELAY, 3.0, pair)

    def test_birthday(self) -> None:
        """In the second round 256 sockets meet 1024 ports; nearly all runs succeed, within 13 s."""
        times = []
        for seed in range(24):
            pair = ("symmetric", "port-restricted") if seed % 2 else ("port-restricted", "symmetric")
            _, first, second = meet(*pair, seed=seed, birthday=True)
            if first.path is not None and second.path is not None:
                times.append(took(first, second))
                self.assertEqual([first.path.via, second.path.via], [Via.BIRTHDAY] * 2)
                self.assertLessEqual(len(first.sockets) + len(second.sockets), 3, "unused sockets are closed")
        self.assertGreaterEqual(len([time for time in times if time <= 13]), 22, times)

    def test_relay_while_birthday_probing_goes_on(self) -> None:
        """The relay carries data until the direct path is there."""
        world, first, second = meet("symmetric", "port-restricted", seed=3, birthday=True, relays=2)
        self.assert_connected((first, second), Via.RELAY, 1.0)
        self.assertTrue(world.network.run(20, lambda: first.path is not None and first.path.via is Via.BIRTHDAY))


class LossTests(_Case):
    """Probes are repeated, so loss costs time only."""

    PAIRS = (
        ("port-restricted", "port-restricted"), ("linux-naive", "EIM random"), ("symmetric", "address-restricted"),
        ("sequential", "port-restricted"), ("public", "linux-naive"),
    )  # fmt: skip

    def check(
        self, runs: int, median: float, worst: float, loss: float = 0.0, burst: tuple[float, float] = (0, 0)
    ) -> None:
        """All runs connect, half of them and all of them in time."""
        for first, second in self.PAIRS:
            times = []
            for seed in range(runs):
                _, *ends = meet(
                    first, second, seed=seed, skew=0.02 * (seed % 5),
                    link=lambda world: world.link(0.005, loss, Burst(*burst) if burst[0] else None),
                )  # fmt: skip
                self.assertTrue(all(end.path for end in ends), (first, second, seed))
                times.append(took(*ends))
            self.assertLessEqual(sorted(times)[runs // 2], median, (first, second))
            self.assertLessEqual(max(times), worst, (first, second))

    def test_ten_percent(self) -> None:
        """In each direction."""
        self.check(60, 0.7, 4.0, loss=0.051)

    def test_thirty_percent(self) -> None:
        """All connect, some in the second round."""
        self.check(40, 1.2, 8.0, loss=0.163)

    def test_bursts(self) -> None:
        """A tenth of the time everything is lost on a link, for 150 ms in the mean."""
        self.check(60, 0.7, 6.0, burst=(1.35, 0.15))


class FailureTests(_Case):
    """What has failed says why."""

    def failure(self, *pair: str, relays: int = 0) -> Failed:
        """:returns: why the first side that has failed did."""
        _, *ends = meet(*pair, relays=relays)
        found = [failed[1] for end in ends if (failed := end.first(Failed)) is not None]
        self.assertNotEqual(found, [], pair)
        assert isinstance(found[0], Failed)
        return found[0]

    def test_symmetric_pair(self) -> None:
        """Both NATs give each destination another port, and there is no relay."""
        failed = self.failure("symmetric", "address-dependent")
        self.assertIn(failed.code, ("no-answer", "symmetric-pair", "symmetric-nat"))
        failed = self.failure("symmetric", "symmetric")
        self.assertEqual(failed.code, "symmetric-pair")
        self.assertIn("so a relay is needed, and there is none", failed.reason)

    def test_symmetric_and_port_restricted(self) -> None:
        """It takes three rounds to be sure."""
        self.assertEqual(self.failure("symmetric", "port-restricted").code, "symmetric-nat")

    def test_blocked(self) -> None:
        """A side without UDP is named."""
        failed = self.failure("blocked", "public")
        self.assertEqual(failed.code, "udp-blocked")

    def test_relay_that_does_not_work(self) -> None:
        """The reason says that there was one."""
        failed = self.failure("port-restricted", "blocked", relays=1)
        self.assertIn("the relay has not worked either", failed.reason)


class CandidateTests(_Case):
    """Where probes go."""

    def test_nothing_goes_to_a_hopeless_candidate(self) -> None:
        """With the strategy relay no probe leaves a socket for another address than a relay's."""
        _, *ends = meet("symmetric", "symmetric", relays=2)
        relays = {end.relay.address for end in ends if end.relay is not None}
        for end in ends:
            direct = {send.address for _, send in end.sent if not send.local.relayed}
            self.assertLessEqual(direct, relays)

    def test_pace(self) -> None:
        """Probes that are not answers are at least 5 ms apart, openers come first, and none goes to the server."""
        _, *ends = meet("port-restricted", "symmetric")
        for end in ends:
            times = [time for time, send in end.sent]
            gaps = [later - earlier for earlier, later in pairwise(times)]
            self.assertGreaterEqual(min(gaps), 0.005 - 1e-6)
            self.assertEqual([send.ttl for _, send in end.sent][:3], [2, 2, 2])
            self.assertNotIn(SERVER, {send.address[0] for _, send in end.sent})

    def test_number_of_probes(self) -> None:
        """A round sends to one candidate three openers and at most nine probes."""
        _, first, second = meet("symmetric", "port-restricted")
        ends = [(time, send) for time, send in first.sent if time < STARTED + 2]
        for address in {send.address for _, send in ends}:
            self.assertLessEqual(len([send for _, send in ends if send.address == address]), 12)
        self.assertLessEqual(len(second.sent), 3 * 2 * 12)

    def test_many_dead_addresses_cost_no_time(self) -> None:
        """Twenty addresses of bridges that lead nowhere do not slow down a host."""
        _, *plain = meet("port-restricted", "EIM random")
        bridges = [Candidate(CandidateKind.HOST, (f"172.{17 + n}.0.1", 40000)) for n in range(15)]
        bridges += [Candidate(CandidateKind.HOST, (f"10.{n}.0.1", 40000)) for n in range(5)]
        world = World(1)
        ends = [End(world, world.site(kind), name=kind) for kind in ("port-restricted", "EIM random")]
        for end in ends:
            end.extra = bridges
        world.network.run(STARTED)
        Attempt(world, ends).begin()
        world.network.run(5, lambda: all(end.path for end in ends))
        self.assert_connected(ends, Via.DIRECT, took(*plain) + 0.1)

    def test_ipv6_with_firewalls(self) -> None:
        """Both sides are let through, and IPv6 is preferred to IPv4."""
        world = World(1)
        world.serve_ipv6()
        ends = []
        for number in (1, 2):
            site = world.site("port-restricted")
            firewall = Firewall(world.network, world.link())
            site.host.connect(firewall, f"2001:db8:{number}::2")
            ends.append(End(world, site))
        world.network.run(STARTED)
        Attempt(world, ends).begin()
        world.network.run(5, lambda: all(end.path for end in ends))
        self.assert_connected(ends, Via.IPV6, 0.5)

    def test_carriers(self) -> None:
        """A NAT at home within one of the carrier: the worse of the two counts."""
        for behaviour, second, relays, via in (
            (translation.EIM_RANDOM, "port-restricted", 0, Via.DIRECT),
            (translation.LINUX_NAIVE, "linux-naive", 0, Via.DIRECT),
            (translation.SYMMETRIC, "address-restricted", 0, Via.DIRECT),
            (translation.SYMMETRIC, "port-restricted", 1, Via.RELAY),
        ):
            world = World(1)
            carrier = Nat(world.network, "198.51.100.77", behaviour, world.link())
            home = Nat(carrier, "100.64.0.7", translation.PORT_RESTRICTED)
            site = Site(home.host("192.168.1.2"), home)
            ends = [
                End(world, site, Relay(world, 0) if relays else None, "A"),
                End(world, world.site(second), name="B"),
            ]
            world.network.run(STARTED)
            Attempt(world, ends).begin()
            world.network.run(5, lambda ends=ends: all(end.path for end in ends))  # type: ignore[misc]
            self.assert_connected(ends, via, 1.0, (behaviour, second))

    def test_two_homes_at_one_carrier(self) -> None:
        """They connect through its NAT if it has hairpinning."""
        world = World(1)
        carrier = Nat(world.network, "198.51.100.77", translation.EIM_RANDOM, world.link(), hairpin=True)
        ends = []
        for number in (1, 2):
            home = Nat(carrier, f"100.64.0.{number}", translation.PORT_RESTRICTED)
            ends.append(End(world, Site(home.host(f"192.168.{number}.2"), home)))
        world.network.run(STARTED)
        Attempt(world, ends).begin()
        world.network.run(5, lambda: all(end.path for end in ends))
        self.assert_connected(ends, Via.DIRECT, 1.5)

    def test_same_network(self) -> None:
        """Two hosts behind one NAT without hairpinning use their own addresses."""
        world = World(1)
        site = world.site("port-restricted")
        assert site.router is not None
        other = type(site)(site.router.host("192.168.1.3"), site.router)
        ends = End(world, site), End(world, other)
        world.network.run(STARTED)
        Attempt(world, ends).begin()
        world.network.run(5, lambda: all(end.path for end in ends))
        self.assert_connected(ends, Via.LAN, 0.3)
