"""Tests of the simulated network: its NATs do what was measured on real ones."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.testing import translation as nat
from rendezvous.testing.nat import Firewall, Nat
from rendezvous.testing.network import Address, Burst, Link, Network, Socket
from tests._simulated import NATS, World

INTERVAL, LIMIT = 0.1, 2.5


class _Puncher:
    """
    A plain puncher: it sends to the address that the server has seen, and answers.

    :param retargets: whether it answers to, and then sends to, the address that a datagram really came from.
    :ivar connected: when an answer has come; ``None`` before.
    """

    def __init__(self, world: World, socket: Socket, retargets: bool, low_ttl_for: float) -> None:
        self.connected: float | None = None
        self._world, self._socket, self._retargets, self._low_ttl_for = world, socket, retargets, low_ttl_for
        self._targets: list[Address] = []
        self._began = 0.0

    def begin(self, target: Address) -> None:
        self._began = self._world.now
        self._targets.append(target)
        self._socket.on_datagram = self._received
        self._send()

    def _send(self) -> None:
        low = self._world.now - self._began < self._low_ttl_for
        for target in self._targets:
            self._socket.send(b"probe", target, 2 if low else None)
        self._world.network.clock.callLater(INTERVAL, self._send)

    def _received(self, datagram: bytes, source: Address) -> None:
        known = source in self._targets
        if datagram == b"answer":
            self.connected = self.connected or self._world.now
        elif known or self._retargets:
            self._socket.send(b"answer", source)
            if not known:
                self._targets.append(source)


def _note(seen: dict[int, Address], number: int, index: int, address: Address) -> None:
    """Keep where a site was seen first."""
    seen.setdefault(number, address)


def punch(
    first: str, second: str, *, skew: float = 0.0, retargets: bool = True, low_ttl_for: float = 0.0, hops: int = 1
) -> bool:
    """
    Have two sites punch with one socket each.

    :param skew: seconds that the second one begins later.
    :returns: whether both have had an answer within the limit.
    """
    world = World(hops=hops)
    sockets = [world.site(kind).host.bind() for kind in (first, second)]
    seen: dict[int, Address] = {}
    for number, socket in enumerate(sockets):
        world.observe(socket, partial(_note, seen, number))
    world.network.run(1.0, lambda: len(seen) == 2)
    world.network.run(0.5)
    if len(seen) < 2:
        return False
    ends = [_Puncher(world, socket, retargets, low_ttl_for) for socket in sockets]
    ends[0].begin(seen[1])
    world.network.clock.callLater(skew, ends[1].begin, seen[0])
    return world.network.run(LIMIT + skew, lambda: all(end.connected is not None for end in ends))


#: What plain punching was measured to do on real NATs: the upper half of a symmetric matrix, in the order of the names.
MATRIX_NAMES = (
    "public", "full cone", "address-restricted", "port-restricted", "linux-naive", "EIM random", "address-dependent",
    "symmetric", "symmetric EIF", "blocked",
)  # fmt: skip
HOLDS = {
    "public": "+++++++++-",
    "full cone": "++++++++-",
    "address-restricted": "+++++++-",
    "port-restricted": "+++--+-",
    "linux-naive": "++--+-",
    "EIM random": "+--+-",
    "address-dependent": "--+-",
    "symmetric": "-+-",
    "symmetric EIF": "+-",
    "blocked": "-",
}


class PlainPunchingTests(SynchronousTestCase):
    """Plain punching through the simulated NATs has the results that it had through real ones."""

    def test_matrix(self) -> None:
        """Each pair of NATs works or fails as measured, if both sides begin together."""
        found = {
            first: "".join("+" if punch(first, second) else "-" for second in MATRIX_NAMES[row:])
            for row, first in enumerate(MATRIX_NAMES)
        }
        self.assertEqual(found, HOLDS)

    def test_matrix_of_strict_clients(self) -> None:
        """A client that answers only the address that it was given passes no endpoint-dependent NAT."""
        for row, first in enumerate(MATRIX_NAMES):
            for column, second in enumerate(MATRIX_NAMES[row:], row):
                expected = column < MATRIX_NAMES.index("address-dependent")
                self.assertEqual(punch(first, second, retargets=False), expected, (first, second))

    def test_skew_poisons_a_naive_router(self) -> None:
        """If the other side is earlier by more than the way takes, nothing ever arrives; a dropping router is safe."""
        for skew, works in ((0.0, True), (0.018, True), (0.022, False), (0.25, False), (1.0, False)):
            self.assertEqual(punch("linux-naive", "linux-naive", skew=skew), works, skew)
            self.assertTrue(punch("port-restricted", "port-restricted", skew=skew), skew)

    def test_one_naive_router_is_enough_to_fail(self) -> None:
        """What counts is the router of the late side."""
        self.assertFalse(punch("port-restricted", "linux-naive", skew=0.15))
        self.assertTrue(punch("linux-naive", "port-restricted", skew=0.15))
        for kind in ("public", "full cone", "address-restricted"):
            self.assertTrue(punch(kind, "linux-naive", skew=0.15), kind)

    def test_low_ttl_openers_help_if_there_is_a_hop(self) -> None:
        """Openers that die between the two NATs avoid the trouble for as long as they are sent."""
        for skew, works in ((0.15, True), (0.25, True), (1.0, False)):
            self.assertEqual(punch("linux-naive", "linux-naive", skew=skew, low_ttl_for=0.3), works, skew)
        self.assertTrue(punch("linux-naive", "linux-naive", skew=1.0, low_ttl_for=1.5))
        self.assertFalse(punch("linux-naive", "linux-naive", skew=0.15, low_ttl_for=0.3, hops=0))


class _NatCase(SynchronousTestCase):
    """A NAT with a host inside, and public hosts."""

    def setUp(self) -> None:
        self.network = Network(Clock(), Random(1))
        self.received: list[tuple[bytes, Address]] = []
        self.remotes = [self.network.host(f"203.0.113.{n}") for n in (1, 2)]

    def remote(self, number: int = 0, port: int = 1000) -> Socket:
        """:returns: a public socket that keeps what it gets."""
        return self.remotes[number].bind(port, self.keep)

    def keep(self, datagram: bytes, source: Address) -> None:
        """Keep what was received."""
        self.received.append((datagram, source))

    def arrives(self, socket: Socket, datagram: bytes, address: Address, ttl: int | None = None) -> Address | None:
        """
        Send a datagram, and see whether it arrives anywhere.

        :returns: the source that is seen there, or ``None`` if it does not arrive.
        """
        self.received.clear()
        socket.send(datagram, address, ttl)
        self.network.run(1.0)
        return self.received[0][1] if self.received else None


class MappingTests(_NatCase):
    """A NAT maps and filters as RFC 4787 says."""

    def inside(self, behaviour: nat.Behaviour | nat.Masquerade) -> Socket:
        """:returns: a socket behind a new NAT."""
        self.nat = Nat(self.network, "198.51.100.1", behaviour)
        return self.nat.host("192.168.1.2").bind(7000, self.keep)

    def test_mapping(self) -> None:
        """How many external ports three destinations see is what the mapping says."""
        for behaviour, ports in (
            (nat.FULL_CONE, 1), (nat.EIM_RANDOM, 1), (nat.PORT_RESTRICTED, 1), (nat.ADDRESS_DEPENDENT, 2),
            (nat.SYMMETRIC, 3), (nat.SEQUENTIAL, 3), (nat.PORT_BLOCK, 3),
        ):  # fmt: skip
            self.setUp()
            socket = self.inside(behaviour)
            targets = [self.remote(0), self.remote(0, 1001), self.remote(1)]
            seen = {self.arrives(socket, b"x", target.address) for target in targets}
            self.assertEqual(len(seen), ports, behaviour)
            self.assertNotIn(None, seen)

    def test_ports(self) -> None:
        """A port is preserved, random, or one more than the last."""
        self.assertEqual(self.arrives(self.inside(nat.FULL_CONE), b"x", self.remote().address), ("198.51.100.1", 7000))
        self.setUp()
        source = self.arrives(self.inside(nat.PORT_BLOCK), b"x", self.remote().address)
        assert source is not None
        self.assertIn(source[1], range(40000, 40512))
        self.setUp()
        socket = self.inside(nat.SEQUENTIAL)
        seen = [self.arrives(socket, b"x", self.remote(0, port).address) for port in (1, 2, 3)]
        self.assertEqual(seen, [("198.51.100.1", 40000 + n) for n in range(3)])

    def test_filtering(self) -> None:
        """Before a mapping nothing comes in; then what the filter lets in."""
        for behaviour, same_host, other_host in (
            (nat.FULL_CONE, True, True), (nat.ADDRESS_RESTRICTED, True, False), (nat.PORT_RESTRICTED, False, False),
            (nat.EIM_RANDOM, False, False), (nat.SYMMETRIC_EIF, True, True),
        ):  # fmt: skip
            self.setUp()
            socket = self.inside(behaviour)
            target, same, other = self.remote(0), self.remote(0, 1001), self.remote(1)
            self.assertIsNone(self.arrives(target, b"x", ("198.51.100.1", 7000)))
            mapped = self.arrives(socket, b"x", target.address)
            assert mapped is not None
            self.assertEqual(self.arrives(target, b"x", mapped), target.address)
            self.assertEqual(self.arrives(same, b"x", mapped) is not None, same_host, behaviour)
            self.assertEqual(self.arrives(other, b"x", mapped) is not None, other_host, behaviour)

    def test_timeout(self) -> None:
        """A mapping ends when it was not used for its time, and only outgoing packets use it."""
        socket, target = self.inside(nat.FULL_CONE), self.remote()
        mapped = self.arrives(socket, b"x", target.address)
        assert mapped is not None
        self.network.run(28)
        self.assertIsNotNone(self.arrives(target, b"x", mapped))
        self.network.run(3)
        self.assertIsNone(self.arrives(target, b"x", mapped))

    def test_two_hosts_with_one_port(self) -> None:
        """The second one gets another external port."""
        for behaviour in (nat.FULL_CONE, nat.PORT_RESTRICTED):
            self.setUp()
            socket, target = self.inside(behaviour), self.remote()
            second = self.nat.host("192.168.1.3").bind(7000)
            sources = [self.arrives(each, b"x", target.address) for each in (socket, second)]
            self.assertEqual(len(set(sources)), 2, behaviour)

    def test_hairpin(self) -> None:
        """Two hosts inside reach each other by their external addresses only with hairpinning."""
        for hairpin in (False, True):
            self.setUp()
            socket, target = self.inside(nat.FULL_CONE), self.remote()
            self.nat.hairpin = hairpin
            mapped = self.arrives(socket, b"x", target.address)
            assert mapped is not None
            second = self.nat.host("192.168.1.3").bind(7001)
            source = self.arrives(second, b"x", mapped)
            self.assertEqual(source, ("198.51.100.1", 7001) if hairpin else None)
            self.assertEqual(self.arrives(second, b"x", ("192.168.1.2", 7000)), ("192.168.1.3", 7001))

    def test_forwarded_port(self) -> None:
        """Anybody gets in through it, answers leave from it, and other packets do not."""
        socket, target = self.inside(nat.SYMMETRIC), self.remote()
        external = self.nat.forward_port(5555, socket.address)
        self.assertEqual(self.arrives(target, b"x", external), target.address)
        self.assertEqual(self.arrives(socket, b"x", target.address), external)
        self.assertNotEqual(self.arrives(socket, b"x", self.remote(1).address), external)

    def test_forwarded_port_after_an_outgoing_packet(self) -> None:
        """The source is shown with another port, and only an answer to that one leaves from the forwarded port."""
        socket, target = self.inside(nat.SYMMETRIC), self.remote()
        external = self.nat.forward_port(5555, socket.address)
        own = self.arrives(socket, b"x", target.address)
        self.assertNotEqual(own, external)
        shown = self.arrives(target, b"x", external)
        assert shown is not None
        self.assertEqual(shown[0], target.address[0])
        self.assertNotEqual(shown, target.address)
        self.assertEqual(self.arrives(target, b"x", external), shown)
        self.assertEqual(self.arrives(socket, b"x", shown), external)
        self.assertEqual(self.arrives(socket, b"x", target.address), own)

    def test_carrier(self) -> None:
        """A NAT inside a NAT has the mapping of the worse of the two."""
        carrier = Nat(self.network, "198.51.100.1", nat.SYMMETRIC)
        home = Nat(carrier, "100.64.0.2", nat.PORT_RESTRICTED)
        socket = home.host("192.168.1.2").bind(7000, self.keep)
        first, second = self.remote(0), self.remote(1)
        sources = [self.arrives(socket, b"x", target.address) for target in (first, second)]
        self.assertEqual([source and source[0] for source in sources], ["198.51.100.1"] * 2)
        self.assertNotEqual(sources[0], sources[1])
        assert sources[0] is not None
        self.assertEqual(self.arrives(first, b"x", sources[0]), first.address)

    def test_poisoned_socket(self) -> None:
        """After the clash every new destination sees the other port, and the old one still the first."""
        socket, old, peer = self.inside(nat.LINUX_NAIVE), self.remote(0), self.remote(1)
        self.assertEqual(self.arrives(socket, b"x", old.address), ("198.51.100.1", 7000))
        self.assertIsNone(self.arrives(peer, b"early", ("198.51.100.1", 7000)))
        changed = self.arrives(socket, b"x", peer.address)
        self.assertNotEqual(changed, ("198.51.100.1", 7000))
        self.assertEqual(self.arrives(socket, b"x", self.remote(0, 1001).address), changed)
        self.assertEqual(self.arrives(socket, b"x", old.address), ("198.51.100.1", 7000))
        self.assertIsNone(self.arrives(peer, b"again", ("198.51.100.1", 7000)))


class NetworkTests(_NatCase):
    """Delay, loss and hops."""

    def test_ttl(self) -> None:
        """A datagram needs one more than there are routers on its way, and with 1 it opens nothing in the NAT."""
        router = Nat(self.network, "198.51.100.1", nat.FULL_CONE)
        socket, target = router.host("192.168.1.2").bind(7000, self.keep), self.remote()
        self.assertIsNone(self.arrives(socket, b"x", target.address, 1))
        self.assertIsNone(self.arrives(target, b"x", ("198.51.100.1", 7000)))
        self.assertIsNone(self.arrives(socket, b"x", target.address, 4))
        self.assertEqual(self.arrives(target, b"x", ("198.51.100.1", 7000), 5), target.address)
        self.assertIsNone(self.arrives(target, b"x", ("198.51.100.1", 7000), 4))
        self.assertIsNotNone(self.arrives(socket, b"x", target.address, 5))

    def test_delay_and_jitter(self) -> None:
        """The delays of both links add up, and jitter is at most what was asked for."""
        times: list[float] = []
        near = self.network.host("198.51.100.8", Link(0.01, jitter=0.005)).bind()
        far = self.network.host("198.51.100.9", Link(0.02)).bind(
            1, lambda datagram, source: times.append(self.network.clock.seconds())
        )
        for _ in range(100):
            near.send(b"x", far.address)
        self.network.run(1.0)
        self.assertEqual(len(times), 100)
        self.assertGreaterEqual(min(times), 0.03)
        self.assertLessEqual(max(times), 0.035)
        self.assertGreater(max(times) - min(times), 0.003)

    def test_loss(self) -> None:
        """The share that is lost is near what was asked for."""
        near, far = self.network.host("198.51.100.8", Link(loss=0.1)).bind(), self.remote()
        for _ in range(2000):
            near.send(b"x", far.address)
        self.network.run(1.0)
        self.assertApproximates(len(self.received) / 2000, 0.9, 0.03)

    def test_loss_in_bursts(self) -> None:
        """A share is lost, and what is lost is lost together."""
        burst, random = Burst(0.9, 0.1), Random(1)
        lost = [burst.loses(0.02 * number, random) for number in range(50_000)]
        share = sum(lost) / len(lost)
        self.assertApproximates(share, 0.1, 0.02)
        begun = sum(now and not before for before, now in pairwise(lost))
        self.assertApproximates(sum(lost) / begun, 5, 1)

    def test_dropped_packets(self) -> None:
        """A test may cut any path."""
        near, far = self.network.host("198.51.100.8").bind(), self.remote()
        self.network.drop = lambda packet: packet.destination == far.address
        self.assertIsNone(self.arrives(near, b"x", far.address))

    def test_host_that_moves(self) -> None:
        """It keeps its sockets, has another address, and is no longer at the old one."""
        host = self.network.host("198.51.100.8")
        socket, target = host.bind(7000, self.keep), self.remote()
        self.assertEqual(self.arrives(socket, b"x", target.address), ("198.51.100.8", 7000))
        host.connect(self.network, "198.51.100.9")
        self.assertEqual(self.arrives(socket, b"x", target.address), ("198.51.100.9", 7000))
        self.assertIsNone(self.arrives(target, b"x", ("198.51.100.8", 7000)))
        host.disconnect()
        self.assertIsNone(self.arrives(socket, b"x", target.address))

    def test_firewall(self) -> None:
        """It lets in answers only, and changes no address."""
        self.network.host("2001:db8::1")
        outside = self.network.host("2001:db8::2").bind(1000, self.keep, ipv6=True)
        inside = Firewall(self.network).host("2001:db8:1::2").bind(7000, self.keep, ipv6=True)
        self.assertIsNone(self.arrives(outside, b"x", inside.address))
        self.assertEqual(self.arrives(inside, b"x", outside.address), inside.address)
        self.assertEqual(self.arrives(outside, b"x", inside.address), outside.address)
        self.network.run(40)
        self.assertIsNone(self.arrives(outside, b"x", inside.address))

    def test_same_seed_same_run(self) -> None:
        """A run can be repeated exactly."""

        def run() -> list[Address]:
            self.setUp()
            self.network.random.seed(5)
            socket = Nat(self.network, "198.51.100.1", nat.SYMMETRIC, Link(0.01, 0.02, 0.2)).host("192.168.1.2").bind()
            for port in range(1, 60):
                socket.send(b"x", self.remote(0, port).address)
            self.network.run(1.0)
            return [source for _, source in self.received]

        self.assertEqual(run(), run())

    def test_every_kind_is_there(self) -> None:
        """The table of kinds that other tests use has those of the matrix."""
        self.assertLessEqual(set(MATRIX_NAMES), set(NATS))
