"""The parts of the NAT laboratory that need neither root nor a network."""

from __future__ import annotations

import os
import random
import statistics

from twisted.trial.unittest import SynchronousTestCase

from tests.natlab.bridge import Bridge, Conditions, Losses, is_carried
from tests.natlab.namespaces import stale
from tests.natlab.rules import NATS, ruleset

A, B, ALL = b"\x02aaaaa", b"\x02bbbbb", b"\xff" * 6
IPV4, ARP = b"\x08\x00", b"\x08\x06"


def frame(target: bytes, source: bytes, kind: bytes = IPV4, rest: bytes = b"") -> bytes:
    """:returns: a frame of Ethernet."""
    return target + source + kind + rest.ljust(46, b"\0")


class BridgeTests(SynchronousTestCase):
    """The bridge, without sockets, at times that are given."""

    def setUp(self) -> None:
        """Make one with three ports."""
        self.bridge = Bridge(random.Random(1).random)
        self.bridge.set(Conditions(delay=20, extra={"b>a": 5}), ["a", "b", "c"])

    def test_a_frame_is_flooded_until_its_target_is_known(self) -> None:
        """The first frame goes to all other ports, the answer to the one that it came from."""
        self.bridge.take("a", frame(B, A), 0.0)
        self.assertEqual([port for port, _ in self.bridge.due(0.02)], ["b", "c"])
        self.bridge.take("b", frame(A, B), 1.0)
        self.assertEqual(self.bridge.due(1.0249), [])
        self.assertEqual([port for port, _ in self.bridge.due(1.025)], ["a"])

    def test_address_resolution_is_not_delayed(self) -> None:
        """ARP and the discovery of neighbours are neither delayed nor lost; other ICMPv6 is."""
        self.bridge.set(Conditions(delay=20, loss=0.99), ["a", "b"])
        self.bridge.take("a", frame(ALL, A, ARP), 0.0)
        self.assertEqual(len(self.bridge.due(0.0)), 1)
        header = b"\x60" + bytes(5) + b"\x3a\xff" + bytes(32)
        self.assertFalse(is_carried(frame(B, A, b"\x86\xdd", header + b"\x87")))
        self.assertTrue(is_carried(frame(B, A, b"\x86\xdd", header + b"\x80")))

    def test_waits_until_the_next_frame(self) -> None:
        """The wait is the time until a frame is due; there is none without frames."""
        self.assertIsNone(self.bridge.wait(0.0))
        self.bridge.take("a", frame(B, A), 0.0)
        self.assertAlmostEqual(self.bridge.wait(0.005) or 0, 0.015)
        self.assertEqual(self.bridge.wait(1.0), 0.0)

    def test_jitter_is_within_its_bound(self) -> None:
        """Jitter adds at most what is set, and reorders frames."""
        self.bridge.set(Conditions(delay=20, jitter=30), ["a", "b"])
        for number in range(50):
            self.bridge.take("a", frame(B, A, rest=bytes([number])), 0.0)
        self.assertEqual(self.bridge.due(0.0199), [])
        order = [data[14] for _, data in self.bridge.due(0.05)]
        self.assertEqual(sorted(order), list(range(50)))
        self.assertNotEqual(order, sorted(order))

    def test_datagrams_are_counted(self) -> None:
        """A change of conditions says how many datagrams of UDP went from port to port since the one before."""
        udp = frame(B, A, rest=bytes(9) + b"\x11")
        self.bridge.take("b", frame(ALL, B, ARP), 0.0)
        for each in (udp, udp, frame(B, A)):
            self.bridge.take("a", each, 0.0)
        self.assertEqual(self.bridge.set(Conditions(), ["a", "b"]), {"a>b": 2})
        self.assertEqual(self.bridge.set(Conditions(), ["a", "b"]), {})

    def test_a_frame_that_is_no_frame(self) -> None:
        """What is too short for Ethernet is dropped."""
        self.bridge.take("a", b"short", 0.0)
        self.assertIsNone(self.bridge.wait(0.0))


class LossesTests(SynchronousTestCase):
    """Which packets are lost."""

    def test_share_and_mean_length(self) -> None:
        """Share and mean length of bursts are those asked for; without bursts, losses do not depend on each other."""
        for share, burst, expected in ((0.1, 0, 1 / 0.9), (0.1, 0.1, 100), (0.5, 0.02, 20)):
            losses = Losses(share, burst, random.Random(7).random)
            lost = [losses.next(number / 1000) for number in range(1_000_000)]
            runs = [len(run) for run in "".join("x" if each else "." for each in lost).split(".") if run]
            self.assertLess(abs(statistics.mean(lost) - share), share / 10)
            self.assertLess(abs(statistics.mean(runs) - expected), expected / 10)

    def test_nothing_is_lost_without_loss(self) -> None:
        """A share of zero loses nothing."""
        losses = Losses(0, 8, random.Random(7).random)
        self.assertFalse(any(losses.next(float(number)) for number in range(1000)))


class RulesTests(SynchronousTestCase):
    """The rules of each kind."""

    def test_kinds(self) -> None:
        """A public site has no rules; every kind but linux-naive drops what was not asked for; the rest translate."""
        for kind in NATS:
            rules = ruleset(kind, "11.7.1.1", "10.1.0.0/24")
            self.assertNotIn("$", rules)
            self.assertEqual("masquerade" in rules, kind != "public")
            self.assertEqual("chain input" in rules, kind not in ("public", "linux-naive"))
            self.assertNotIn("hairpin", rules)

    def test_hairpinning_is_an_addition(self) -> None:
        """With hairpinning the inside reaches itself by the outside address."""
        rules = ruleset("symmetric", "11.7.1.1", "10.1.0.0/24", hairpin=True)
        self.assertIn("ip daddr 11.7.1.1", rules)
        self.assertIn("ip saddr 10.1.0.0/24", rules)
        self.assertEqual(rules.count("map inside"), 1)
        self.assertEqual(ruleset("full-cone", "11.7.1.1", "10.1.0.0/24", hairpin=True).count("map inside {"), 1)


class StaleTests(SynchronousTestCase):
    """What older runs have left."""

    def test_only_those_of_processes_that_have_ended(self) -> None:
        """Names of this process and names of others are left alone."""
        names = [f"rvlab-{os.getpid()}-0-a", "rvlab-999999999-0-a", "other", "rvlab-x-0"]
        self.assertEqual(stale(names), ["rvlab-999999999-0-a"])
