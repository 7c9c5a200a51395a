"""Tests of :mod:`rendezvous.core.punching.checks`: what one side sends and takes, pair by pair."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.addresses import Address
from rendezvous.core.connect import CandidateKind
from rendezvous.core.punching.actions import Action, Send
from rendezvous.core.punching.checks import MAX_OUTSTANDING, MAX_PEER_REFLEXIVE, Checks, Heard
from rendezvous.core.punching.pairs import Local, Pair
from rendezvous.core.punching.probes import Data, Probe, ProbeType
from rendezvous.wire.probe import PairCodec

KEY, ATTEMPT, PATH = bytes(range(32)), b"attempt1", b"path 1"
LOCAL, OTHER = Local("ipv4"), Local("other")
PEER, ELSEWHERE = ("198.51.100.2", 4000), ("198.51.100.9", 9)
HERE = ("198.51.100.1", 4000)


class ChecksTests(SynchronousTestCase):
    """
    Two sides that exchange datagrams by hand.

    :ivar ours: the controlling side.
    :ivar theirs: the other one, which reads what this one sends.
    """

    def setUp(self) -> None:
        """Begin without pairs."""
        self.ours = Checks(PairCodec(KEY, ATTEMPT, True), Random(1), PATH)
        self.theirs = Checks(PairCodec(KEY, ATTEMPT, False), Random(2))
        self.pair = self.ours.add(LOCAL, PEER, CandidateKind.SERVER_REFLEXIVE)

    def read(self, send: Action) -> Probe:
        """:returns: a probe that this side sends."""
        assert isinstance(send, Send)
        message = self.theirs.codec.decode(send.datagram)
        assert isinstance(message, Probe)
        return message

    def probe(self, address: Address = HERE, nominate: bool = False, local: Local = LOCAL) -> bytes:
        """:returns: a probe of the other side."""
        return self.theirs.probe_address(0.0, local, address, nominate=nominate).datagram

    def ack(self, send: Send, sequence: int = 100, to_mapping: bool = False) -> bytes:
        """:returns: the acknowledgement of a probe of this side."""
        nonce = self.read(send).nonce
        return self.theirs.codec.encode_probe(
            Probe(ProbeType.PROBE_ACK, sequence, nonce, HERE, to_mapping=to_mapping, birthday=to_mapping)
        )

    def take(
        self, now: float, datagram: bytes, source: Address = PEER, local: Local = LOCAL
    ) -> tuple[Heard | None, list[Action]]:
        """:returns: what was heard, and what is to be done."""
        actions: list[Action] = []
        return self.ours.receive(now, local, datagram, source, actions), actions

    def test_probe_says_where_it_goes(self) -> None:
        """Its numbers grow by one, its nonces differ, and it names the path."""
        sends = [self.ours.probe(1.0, self.pair, nominate=nominate) for nominate in (False, True)]
        probes = [self.read(send) for send in sends]
        self.assertEqual([(each.type, each.address, each.path) for each in probes], [(0x10, PEER, PATH)] * 2)
        self.assertEqual([each.nominate for each in probes], [False, True])
        self.assertEqual(probes[1].sequence, probes[0].sequence + 1)
        self.assertNotEqual(probes[0].nonce, probes[1].nonce)
        self.assertEqual([(send.local, send.address, send.ttl) for send in sends], [(LOCAL, PEER, None)] * 2)

    def test_answer_says_where_the_probe_came_from(self) -> None:
        """It has the nonce and the nomination of its probe, and says whether that came to a port mapping."""
        mapped = Local("ipv4", mapped=("203.0.113.5", 7000))
        for nominate, local, target in ((True, mapped, mapped.mapped), (False, mapped, HERE), (True, LOCAL, HERE)):
            assert target is not None
            datagram = self.probe(target, nominate)
            asked = self.ours.codec.decode(datagram)
            assert isinstance(asked, Probe)
            _, actions = self.take(1.0, datagram, ELSEWHERE, local)
            answer = self.read(actions[0])
            self.assertEqual((answer.type, answer.address, answer.nonce), (0x90, ELSEWHERE, asked.nonce))
            self.assertEqual((answer.nominate, answer.to_mapping), (nominate, target == mapped.mapped))

    def test_acknowledgement_makes_a_pair_valid(self) -> None:
        """The round trip is measured, and a later one is smoothed; the pair is valid since the first one."""
        for sent, back in ((1.0, 1.04), (2.0, 2.12)):
            heard, actions = self.take(back, self.ack(self.ours.probe(sent, self.pair), int(sent)))
            assert heard is not None
            self.assertEqual((heard.pair, heard.acknowledged, actions), (self.pair, True, []))
        self.assertEqual((self.pair.valid, self.pair.valid_since, self.pair.measurements), (True, 1.04, 2))
        self.assertAlmostEqual(self.pair.rtt or 0.0, 0.05)
        self.assertEqual((self.pair.heard, self.ours.heard_at), (2.12, 2.12))

    def test_clock_that_goes_back_gives_no_negative_round_trip(self) -> None:
        """It counts as none."""
        self.take(0.5, self.ack(self.ours.probe(1.0, self.pair)))
        self.assertEqual(self.pair.rtt, 0.0)

    def test_acknowledgement_that_shows_nothing(self) -> None:
        """From another address, to another socket, of a probe that was never sent, and a second one."""
        other = self.ours.add(OTHER, PEER, CandidateKind.SERVER_REFLEXIVE)
        send = self.ours.probe(1.0, self.pair)
        stranger = Send(LOCAL, PEER, self.theirs.codec.encode_probe(Probe(ProbeType.PROBE_ACK, 3, bytes(8), HERE)))
        for datagram, source, local in (
            (self.ack(send, 1), ELSEWHERE, LOCAL),
            (self.ack(self.ours.probe(1.0, self.pair), 2), PEER, OTHER),
            (stranger.datagram, PEER, LOCAL),
        ):
            heard, _ = self.take(1.1, datagram, source, local)
            assert heard is not None
            self.assertFalse(heard.acknowledged)
        self.assertFalse(self.pair.valid or other.valid)
        again = self.ours.probe(2.0, self.pair)
        self.take(2.1, self.ack(again, 10))
        heard, _ = self.take(2.2, self.ack(again, 11))
        assert heard is not None
        self.assertFalse(heard.acknowledged)
        self.assertEqual(self.pair.measurements, 1)

    def test_unanswered_probes(self) -> None:
        """A pair is silent since the first one of them. An opener does not count, and hearing the peer ends it."""
        self.assertEqual(self.ours.probe(1.0, self.pair, ttl=2).ttl, 2)
        self.assertEqual((self.pair.probed, self.pair.silent_since), (1.0, None))
        for now in (2.0, 3.0):
            self.ours.probe(now, self.pair)
        self.assertEqual((self.pair.probed, self.pair.silent_since), (3.0, 2.0))
        self.take(4.0, self.theirs.codec.encode_data(Data(1, b"x")))
        self.assertEqual((self.pair.heard, self.pair.silent_since), (4.0, 4.0))
        self.pair.valid = True
        self.take(5.0, self.theirs.codec.encode_data(Data(2, b"x")))
        self.assertIsNone(self.pair.silent_since)

    def test_peer_that_is_heard_is_probed(self) -> None:
        """At once, but a pair that was probed within 30 ms is not, nor is one that is valid."""
        found = []
        for now in (1.0, 1.029, 1.031, 1.05):
            self.pair.valid = now == 1.05
            _, actions = self.take(now, self.theirs.codec.encode_data(Data(int(now * 1000), b"x")))
            found.append([self.read(each).type for each in actions])
        self.assertEqual(found, [[ProbeType.PROBE], [], [ProbeType.PROBE], []])

    def test_answers_are_limited(self) -> None:
        """Forty at once, and forty in a second. A probe beyond is heard, and proves nothing about the pair."""
        self.pair.valid = True
        self.assertEqual([len(self.take(1000.0, self.probe())[1]) for _ in range(42)], [1] * 40 + [0, 0])
        heard, actions = self.take(1000.02, self.probe())
        assert heard is not None
        self.assertEqual((heard.pair, heard.acknowledged, actions), (self.pair, False, []))
        self.assertEqual([len(self.take(1000.03, self.probe())[1]) for _ in range(2)], [1, 0])
        self.assertEqual([len(self.take(1010.0, self.probe())[1]) for _ in range(41)], [1] * 40 + [0])

    def test_addresses_that_are_probed_are_limited(self) -> None:
        """A peer that is heard from many addresses has this side probe forty of them in a second."""
        found = 0
        for number in range(100):
            data = self.theirs.codec.encode_data(Data(number, b"x"))
            found += len(self.take(1000.0, data, ("198.51.100.9", 1000 + number))[1])
        self.assertEqual(found, 40)

    def test_outstanding_probes_are_bounded(self) -> None:
        """The acknowledgement of the oldest one is not taken any more, and that of the next one is."""
        sends = [self.ours.probe(1.0, self.pair) for _ in range(MAX_OUTSTANDING + 1)]
        found = []
        for number in (1, 0):
            heard, _ = self.take(1.1, self.ack(sends[number], number))
            found.append(heard is not None and heard.acknowledged)
        self.assertEqual(found, [True, False])

    def test_forgotten_endpoints(self) -> None:
        """Their pairs and probes are gone; those of others are still acknowledged."""
        other = self.ours.add(OTHER, PEER, CandidateKind.SERVER_REFLEXIVE)
        sends = [self.ours.probe(1.0, each) for each in (self.pair, other)]
        self.ours.forget(["ipv4"])
        self.assertEqual(list(self.ours.pairs.values()), [other])
        heard, _ = self.take(1.1, self.ack(sends[1], 1), local=OTHER)
        assert heard is not None
        self.assertTrue(heard.acknowledged)
        self.ours.add(LOCAL, PEER, CandidateKind.SERVER_REFLEXIVE)
        heard, _ = self.take(1.1, self.ack(sends[0], 2))
        assert heard is not None
        self.assertFalse(heard.acknowledged)

    def heard_from(self, port: int) -> Pair | None:
        """:returns: the pair on which data comes from a port of a strange host."""
        heard, _ = self.take(1.0, self.theirs.codec.encode_data(Data(port, b"x")), ("198.51.100.9", port))
        assert heard is not None
        return heard.pair

    def test_room_for_peer_reflexive_pairs(self) -> None:
        """The oldest that does not work makes room. If all of them work, what comes is taken without a pair."""
        first = [self.heard_from(port) for port in range(1, MAX_PEER_REFLEXIVE + 1)]
        assert first[0] is not None
        self.assertIs(first[0].kind, CandidateKind.PEER_REFLEXIVE)
        first[0].valid = True
        self.assertIsNotNone(self.heard_from(100))
        ports = [address[1] for _, address in self.ours.pairs if address[0] == "198.51.100.9"]
        self.assertEqual(ports, [1, *range(3, MAX_PEER_REFLEXIVE + 1), 100])
        for pair in self.ours.pairs.values():
            pair.valid = True
        self.assertIsNone(self.heard_from(101))
        self.assertEqual(len(self.ours.pairs), MAX_PEER_REFLEXIVE + 1)

    def test_acknowledgement_without_room_for_its_pair(self) -> None:
        """An address of birthday probing answers, but there are as many pairs that work as may be."""
        for port in range(1, MAX_PEER_REFLEXIVE + 1):
            pair = self.heard_from(port)
            assert pair is not None
            pair.valid = True
        full = ("198.51.100.9", 1000)
        send = self.ours.probe_address(1.0, LOCAL, full)
        heard, actions = self.take(1.1, self.ack(send), full)
        assert heard is not None
        self.assertEqual((heard.pair, heard.acknowledged, actions), (None, False, []))

    def test_numbers_of_data_are_apart(self) -> None:
        """A probe and data may have the same number, and the path takes over which data was seen."""
        number = 100
        probe = Probe(ProbeType.PROBE, number, bytes(8), HERE)
        for datagram in (self.theirs.codec.encode_probe(probe), self.theirs.codec.encode_data(Data(number, b"x"))):
            self.assertIsNotNone(self.take(1.0, datagram)[0])
            self.assertIsNone(self.take(1.0, datagram)[0])
        self.assertFalse(self.ours.data_window.take(number))
        self.assertTrue(self.ours.data_window.take(number - 1))

    def test_both_sides_call_a_pair_the_same(self) -> None:
        """What a probe or an acknowledgement says about its way stays with the pair."""
        plain = self.probe()
        mapped = Local("ipv4", mapped=("203.0.113.5", 7000))
        target = self.probe(("203.0.113.5", 7000))
        flags = self.probe(local=Local("b", relayed=True, birthday=True))
        for datagram, local, expected in (
            (plain, mapped, (False, False, False)),
            (target, mapped, (True, False, False)),
            (plain, LOCAL, (False, False, False)),
            (flags, LOCAL, (False, True, True)),
            (self.ack(self.ours.probe(1.0, self.pair), to_mapping=True), LOCAL, (True, True, False)),
        ):
            checks = Checks(PairCodec(KEY, ATTEMPT, True), Random(1))
            pair = checks.add(LOCAL, PEER, CandidateKind.SERVER_REFLEXIVE)
            for each in (datagram, self.theirs.codec.encode_probe(Probe(ProbeType.PROBE, 500, bytes(8), HERE))):
                checks.receive(1.0, local, each, PEER, [])
                self.assertEqual((pair.to_mapping, pair.birthday, pair.relayed), expected)

    def test_bye(self) -> None:
        """It goes on the pair, and is a probe of its own type."""
        send = self.ours.bye(self.pair)
        self.assertEqual((send.local, send.address, self.read(send).type), (LOCAL, PEER, ProbeType.BYE))
