"""
Tests of what a round sends and when: :mod:`rendezvous.core.punching.schedule`, :mod:`rendezvous.core.punching.rounds`,
:mod:`rendezvous.core.punching.selection` and :mod:`rendezvous.core.punching.birthday`.
"""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.connect import Candidate, CandidateKind, Strategy
from rendezvous.core.punching.actions import Action, Send
from rendezvous.core.punching.birthday import Easy, Hard
from rendezvous.core.punching.checks import Checks
from rendezvous.core.punching.pairs import Local, Pair, Tier
from rendezvous.core.punching.probes import Probe, ProbeType
from rendezvous.core.punching.rounds import Round
from rendezvous.core.punching.schedule import Schedule
from rendezvous.core.punching.selection import Selection
from rendezvous.wire.probe import PairCodec

KIND = CandidateKind
IPV4, IPV6, RELAY = Local("ipv4"), Local("ipv6", ipv6=True), Local("relay", relayed=True)


def pair(host: str = "198.51.100.1", kind: CandidateKind = KIND.SERVER_REFLEXIVE, local: Local = IPV4) -> Pair:
    """:returns: a pair to port 4000 of a host."""
    return Pair(local, (host, 4000), kind)


def checks(controlling: bool = True) -> Checks:
    """:returns: the checks of one side, without pairs."""
    return Checks(PairCodec(bytes(32), bytes(8), controlling), Random(1))


class ScheduleTests(SynchronousTestCase):
    """The times of probes."""

    def run_off(self, schedule: Schedule, until: float = 1000.0) -> list[tuple[float, str, int | None]]:
        """:returns: when something is sent, to which host, and with which TTL."""
        found = []
        while (due := schedule.due()) is not None and due < until:
            self.assertIsNone(schedule.next(due - 0.001))
            chosen = schedule.next(due)
            assert chosen is not None
            found.append((round(due, 6), chosen[0].address[0], chosen[1]))
        return found

    def test_probes_without_openers(self) -> None:
        """Nine probes with the usual TTL, after growing pauses. Then the pair is given up."""
        schedule = Schedule()
        schedule.add(pair(), 100.0)
        found = self.run_off(schedule)
        times = [0.0, 0.033, 0.066, 0.133, 0.266, 0.533, 1.066, 2.133, 4.133]
        self.assertEqual([round(each[0] - 100.0, 6) for each in found], times)
        self.assertEqual({each[2] for each in found}, {None})
        self.assertEqual(schedule.pairs(), [])

    def test_openers_come_first(self) -> None:
        """Three with a TTL of 2, at equal distances, and the first probe as far behind the last of them."""
        schedule = Schedule()
        schedule.add(pair(), 100.0, 0.15)
        found = self.run_off(schedule)[:5]
        self.assertEqual([(round(each[0] - 100.0, 6), each[2]) for each in found], [
            (0.0, 2), (0.05, 2), (0.1, 2), (0.15, None), (0.183, None),
        ])  # fmt: skip

    def test_pace(self) -> None:
        """Probes that are due at one time are 5 ms apart, and the best pair comes first."""
        schedule = Schedule()
        for host in ("198.51.100.1", "192.168.1.2", "198.51.100.2"):
            schedule.add(pair(host), 100.0)
        self.assertEqual(self.run_off(schedule, 100.02), [
            (100.0, "192.168.1.2", None), (100.005, "198.51.100.1", None), (100.01, "198.51.100.2", None),
        ])  # fmt: skip

    def test_probe_that_is_due_for_longer_comes_first(self) -> None:
        """However good the other one is."""
        schedule = Schedule()
        schedule.add(pair("192.168.1.2"), 100.1)
        schedule.add(pair("198.51.100.1"), 100.0)
        chosen = schedule.next(100.2)
        assert chosen is not None
        self.assertEqual(chosen[0].address[0], "198.51.100.1")

    def test_pair_on_which_the_peer_was_heard(self) -> None:
        """Openers are left out, the next probe comes 33 ms after this one, and the pauses are short again."""
        schedule, heard = Schedule(), pair()
        schedule.add(heard, 100.0, 0.5)
        self.assertEqual(schedule.next(100.0), (heard, 2))
        schedule.hasten(heard, 100.01)
        self.assertEqual([each[0] for each in self.run_off(schedule, 100.15)], [100.043, 100.076, 100.109])

    def test_pair_that_is_due_sooner_stays_so(self) -> None:
        """A peer that is heard does not put a probe off."""
        schedule, heard = Schedule(), pair()
        schedule.add(heard, 100.0)
        schedule.hasten(heard, 99.99)
        self.assertEqual(schedule.due(), 100.0)

    def test_pair_that_was_given_up_and_is_heard(self) -> None:
        """It is tried once more, 33 ms after the probe that was just sent."""
        schedule, heard = Schedule(), pair()
        schedule.hasten(heard, 100.0)
        [first, *others] = self.run_off(schedule)
        self.assertEqual(first, (100.033, "198.51.100.1", None))
        self.assertEqual(len(others), 8)

    def test_forgotten_endpoints(self) -> None:
        """Nothing more is sent from them, and a removed pair is gone too."""
        schedule = Schedule()
        first, second, third = pair(), pair(local=RELAY), pair("198.51.100.2")
        for each in (first, second, third):
            schedule.add(each, 100.0)
        schedule.remove(third)
        schedule.remove(third)
        schedule.forget({"ipv4"})
        self.assertEqual(schedule.pairs(), [second])


class RoundTests(SynchronousTestCase):
    """What a round begins with."""

    def round(self, strategy: Strategy = Strategy.DIRECT, number: int = 1) -> Round:
        """:returns: a round without candidates."""
        return Round(number, 0.0, [], [], strategy)

    def test_times(self) -> None:
        """A round lasts 1.5 s, one of birthday probing 12 s, and one that only relays can bring a path 6 s."""
        self.assertEqual([self.round(strategy).time for strategy in Strategy], [1.5, 12.0, 6.0])

    def test_openers(self) -> None:
        """A NAT of the peer that was observed, or is guessed, gets openers; nothing else does."""
        for number, seconds in ((1, 0.15), (2, 0.5), (3, 0.5)):
            for kind in KIND:
                expected = seconds if kind in (KIND.SERVER_REFLEXIVE, KIND.PREDICTED) else None
                self.assertEqual(self.round(number=number).openers_for(pair(kind=kind)), expected, (number, kind))
        self.assertIsNone(self.round().openers_for(pair("2001:db8::1", local=IPV6)))
        self.assertIsNone(self.round().openers_for(pair(local=RELAY)))

    def fitting(self, local: Local, strategy: Strategy, *hosts: str) -> list[CandidateKind]:
        """:returns: the kinds of candidates to which probes go."""
        each = self.round(strategy)
        return [kind for kind in KIND for host in hosts if each.fits(local, Candidate(kind, (host, 4000)), set())]

    def test_what_fits_a_socket(self) -> None:
        """Everything of its family, or only what does not depend on the NATs."""
        self.assertEqual(self.fitting(IPV4, Strategy.DIRECT, "198.51.100.1", "2001:db8::1"), list(KIND))
        self.assertEqual(self.fitting(IPV6, Strategy.DIRECT, "198.51.100.1", "2001:db8::1"), list(KIND))
        self.assertEqual(self.fitting(IPV4, Strategy.BIRTHDAY, "198.51.100.1"), [KIND.HOST, KIND.MAPPED, KIND.RELAYED])
        self.assertEqual(self.fitting(IPV4, Strategy.RELAY, "198.51.100.1"), [KIND.MAPPED, KIND.RELAYED])
        self.assertEqual(self.fitting(Local("b", birthday=True), Strategy.DIRECT, "198.51.100.1"), [])

    def test_what_fits_a_relay(self) -> None:
        """One probe for each public host lets all of its ports in; a relay of the peer gets one in any case."""
        each, hosts = self.round(), set[str]()
        found = [
            each.fits(RELAY, Candidate(kind, (host, 4000)), hosts)
            for kind, host in (
                (KIND.SERVER_REFLEXIVE, "198.51.100.1"), (KIND.PREDICTED, "198.51.100.1"),
                (KIND.RELAYED, "198.51.100.1"), (KIND.HOST, "192.168.1.2"), (KIND.MAPPED, "198.51.100.2"),
                (KIND.MAPPED, "2001:db8::1"),
            )
        ]  # fmt: skip
        self.assertEqual(found, [True, False, True, False, True, False])


class SelectionTests(SynchronousTestCase):
    """Which pair the controlling side nominates, and when."""

    def setUp(self) -> None:
        """Begin a round at 100 s."""
        self.checks = checks()
        self.selection = Selection(self.checks, True, 100.0)

    def valid(self, at: float, host: str, kind: CandidateKind = KIND.SERVER_REFLEXIVE, rtt: float = 0.04) -> Pair:
        """:returns: a pair that has become valid."""
        found = self.checks.add(IPV4, (host, 4000), kind)
        found.valid, found.valid_since, found.rtt = True, at, rtt
        self.assertFalse(self.selection.heard(at, found, None, acknowledged=True))
        return found

    def probe(self, type: ProbeType = ProbeType.PROBE) -> Probe:
        """:returns: one that nominates."""
        return Probe(type, 1, bytes(8), ("198.51.100.1", 4000), nominate=True)

    def test_nothing_is_nominated_before_a_pair_is_valid(self) -> None:
        """A pair that is not valid does not count."""
        self.checks.add(IPV4, ("198.51.100.1", 4000), KIND.SERVER_REFLEXIVE)
        self.assertIsNone(self.selection.due([]))
        actions: list[Action] = []
        self.selection.tick(200.0, [], actions)
        self.assertEqual(actions, [])

    def test_best_pair_waits_for_better_ones(self) -> None:
        """It is nominated at once if nothing better is being tried, and after 50 ms otherwise."""
        useless = self.checks.add(IPV4, ("198.51.100.3", 4000), KIND.SERVER_REFLEXIVE)
        self.assertFalse(self.selection.heard(100.1, useless, None, acknowledged=False))
        self.valid(100.2, "198.51.100.1")
        self.valid(100.3, "198.51.100.2")
        self.assertEqual(self.selection.due([]), 100.2)
        self.assertEqual(self.selection.due([Tier.DIRECT, Tier.RELAYED]), 100.2)
        self.assertEqual(self.selection.due([Tier.LAN, Tier.DIRECT]), 100.25)

    def test_relayed_pair_waits_longer(self) -> None:
        """While a direct path is being tried, until 500 ms after the start of the round, and 50 ms in any case."""
        self.valid(100.2, "198.51.100.1", KIND.RELAYED)
        self.assertEqual(self.selection.due([Tier.RELAYED]), 100.2)
        self.assertEqual(self.selection.due([Tier.DIRECT]), 100.5)
        self.selection = Selection(self.checks, True, 100.0)
        self.valid(100.6, "198.51.100.1", KIND.RELAYED)
        due = self.selection.due([Tier.DIRECT])
        assert due is not None
        self.assertAlmostEqual(due, 100.65)

    def test_pair_that_is_valid_since_an_earlier_round(self) -> None:
        """A relay may be there in each round. Its pair is not probed again, so nothing may be heard on it."""
        found = self.checks.add(RELAY, ("198.51.100.1", 4000), KIND.RELAYED)
        found.valid, found.valid_since, found.rtt = True, 90.0, 0.04
        self.assertEqual(self.selection.due([]), 100.0)
        self.assertEqual(self.selection.due([Tier.DIRECT]), 100.5)

    def test_nomination_is_repeated(self) -> None:
        """After 50, 100 and then 200 ms, or one and a half round trips; after twelve probes the next pair follows."""
        best, second = self.valid(100.0, "198.51.100.1", rtt=0.02), self.valid(100.0, "198.51.100.2", rtt=0.4)
        found, actions = [], list[Action]()
        self.selection.tick(99.9, [], actions)
        self.assertEqual(actions, [])
        for _ in range(16):
            due = self.selection.due([])
            assert due is not None
            self.selection.tick(due, [], actions)
            action = actions.pop()
            assert isinstance(action, Send)
            self.assertTrue(action.datagram[3] & 2)
            found.append((round(due - 100.0, 6), action.address[0]))
        times = [0.0, 0.05, 0.15, *(0.35 + 0.2 * number for number in range(9))]
        expected = [(round(time, 6), "198.51.100.1") for time in times]
        expected += [(round(2.15 + 0.6 * number, 6), "198.51.100.2") for number in range(4)]
        self.assertEqual(found, expected)
        self.assertFalse(best.valid)
        self.assertTrue(second.valid)

    def test_last_pair_that_is_given_up(self) -> None:
        """Nothing is nominated until another one is valid."""
        self.valid(100.0, "198.51.100.1")
        actions: list[Action] = []
        while (due := self.selection.due([])) is not None:
            self.selection.tick(due, [], actions)
        self.assertEqual(len(actions), 12)
        self.valid(110.0, "198.51.100.2")
        self.selection.tick(110.0, [], actions)
        self.assertEqual(len(actions), 13)

    def test_controlling_side_agrees_by_an_acknowledgement(self) -> None:
        """It has to nominate, to acknowledge a probe, and to be about the pair that this side has nominated."""
        chosen, other = self.valid(100.0, "198.51.100.1"), self.valid(100.0, "198.51.100.2", rtt=0.2)
        self.selection.tick(100.0, [], [])
        ack = self.probe(ProbeType.PROBE_ACK)
        plain = Probe(ProbeType.PROBE_ACK, 1, bytes(8), ("198.51.100.1", 4000))
        self.assertFalse(self.selection.heard(100.1, chosen, plain, acknowledged=True))
        self.assertFalse(self.selection.heard(100.1, chosen, ack, acknowledged=False))
        self.assertFalse(self.selection.heard(100.1, other, ack, acknowledged=True))
        self.assertTrue(self.selection.heard(100.1, chosen, ack, acknowledged=True))

    def test_controlled_side_agrees_by_a_probe(self) -> None:
        """It agrees to the pair that was nominated last, as soon as that is valid, and nominates nothing itself."""
        self.selection = Selection(self.checks, False, 100.0)
        first = self.checks.add(IPV4, ("198.51.100.1", 4000), KIND.SERVER_REFLEXIVE)
        second = self.valid(100.0, "198.51.100.2")
        self.assertIsNone(self.selection.due([]))
        plain = Probe(ProbeType.PROBE, 1, bytes(8), ("198.51.100.1", 4000))
        self.assertFalse(self.selection.heard(100.1, second, plain, acknowledged=False))
        self.assertFalse(self.selection.heard(100.1, second, self.probe(ProbeType.PROBE_ACK), acknowledged=True))
        self.assertFalse(self.selection.heard(100.1, first, self.probe(), acknowledged=False))
        first.valid = True
        self.assertFalse(self.selection.heard(100.2, second, None, acknowledged=False))
        self.assertTrue(self.selection.heard(100.2, first, None, acknowledged=False))
        self.assertTrue(self.selection.heard(100.3, second, self.probe(), acknowledged=False))


class BirthdayTests(SynchronousTestCase):
    """Many sockets against many ports."""

    TARGET = ("198.51.100.1", 4000)

    def sockets(self, count: int, first: int = 0) -> list[Local]:
        """:returns: sockets of birthday probing."""
        return [Local(f"b{first + number}", birthday=True) for number in range(count)]

    def run_off(self, side: Easy | Hard) -> list[tuple[float, Send]]:
        """:returns: what is sent, and when."""
        found = []
        while (due := side.due()) is not None:
            self.assertEqual(side.tick(due - 0.0005), [])
            found += [(round(due, 6), send) for send in side.tick(due)]
        return found

    def test_easy_side(self) -> None:
        """It tries 1024 different ports of one address, 100 in a second, from 0.6 s on."""
        found = self.run_off(Easy(checks(), Random(1), [RELAY, IPV4], ["198.51.100.1", "198.51.100.2"], 100.0))
        self.assertEqual([time for time, _ in found], [round(100.6 + 0.01 * number, 6) for number in range(1024)])
        self.assertEqual({(send.local.name, send.address[0], send.ttl) for _, send in found}, {
            ("ipv4", "198.51.100.1", None),
        })  # fmt: skip
        ports = {send.address[1] for _, send in found}
        self.assertEqual(len(ports), 1024)
        self.assertTrue(all(1024 <= port <= 65535 for port in ports))

    def test_every_port_may_be_tried(self) -> None:
        """The lowest port as well as the highest."""

        class Extreme(Random):
            """Gives the same number again and again."""

            number = 0.0

            def random(self) -> float:
                return self.number

        chance = Extreme(1)
        for chance.number, port in ((0.0, 1024), (1.0 - 2**-53, 65535)):
            found = self.run_off(Easy(checks(), chance, [IPV4], ["198.51.100.1"], 100.0))
            self.assertIn(port, [send.address[1] for _, send in found])

    def test_easy_side_chooses_an_address_of_the_family_of_a_socket(self) -> None:
        """Without one there is nothing to try."""
        hosts = ["2001:db8::1", "198.51.100.1"]
        for locals, host in (([IPV4, IPV6], "198.51.100.1"), ([IPV6, IPV4], "2001:db8::1")):
            side = Easy(checks(), Random(1), locals, hosts, 100.0)
            self.assertEqual({send.address[0] for _, send in self.run_off(side)}, {host})
        for locals in ([IPV6], [RELAY], []):
            side = Easy(checks(), Random(1), locals, ["198.51.100.1"], 100.0)
            self.assertIsNone(side.due())
            self.assertEqual(side.tick(200.0), [])

    def test_hard_side(self) -> None:
        """It sends an opener from each socket, 2 ms apart, and each once more 4 s later, in the same order."""
        side = Hard(checks(), self.TARGET, 100.0)
        self.assertIsNone(side.due())
        side.add(self.sockets(3))
        found = self.run_off(side)
        times = [100.0, 100.002, 100.004, 104.006, 104.008, 104.01]
        self.assertEqual([time for time, _ in found], times)
        self.assertEqual([send.local.name for _, send in found], ["b0", "b1", "b2"] * 2)
        self.assertEqual({(send.address, send.ttl) for _, send in found}, {(self.TARGET, 2)})

    def test_hard_side_uses_sockets_of_birthday_probing_alone(self) -> None:
        """And only those of the family of the target."""
        side = Hard(checks(), self.TARGET, 100.0)
        side.add([IPV4, RELAY, Local("b6", ipv6=True, birthday=True), *self.sockets(1)])
        self.assertEqual([send.local.name for _, send in self.run_off(side)], ["b0", "b0"])

    def test_late_tick_catches_up_a_little(self) -> None:
        """After a pause of the process, what was missed in the last 100 ms is sent at once, and no more."""
        hard = Hard(checks(), self.TARGET, 100.0)
        hard.add(self.sockets(256))
        self.assertIn(len(hard.tick(110.0)), (51, 52))
        easy = Easy(checks(), Random(1), [IPV4], ["198.51.100.1"], 100.0)
        self.assertIn(len(easy.tick(110.0)), (11, 12))
