"""Tests of :mod:`rendezvous.core.punching.puncher` and :mod:`rendezvous.core.punching.checks`, one rule at a time."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.connect import Candidate, CandidateKind, NatMapping, Via
from rendezvous.core.punching.actions import Connected, Failed, Send
from rendezvous.core.punching.checks import MAX_OUTSTANDING, MAX_PEER_REFLEXIVE
from rendezvous.core.punching.pairs import Local
from rendezvous.core.punching.puncher import Puncher
from rendezvous.core.punching.reasons import no_path
from rendezvous.core.punching.rounds import Round
from rendezvous.wire.probe import PairCodec
from tests._punching import Attempt, End, Relay
from tests._simulated import World

KEY, ATTEMPT = bytes(range(32)), b"attempt1"
LOCAL = Local("ipv4")
PEER = ("198.51.100.2", 4000)


def puncher(controlling: bool, seed: int = 1) -> Puncher:
    """:returns: one side of an attempt."""
    return Puncher(PairCodec(KEY, ATTEMPT, controlling), Random(seed), attempt=ATTEMPT, controlling=controlling)


def sends(actions: object) -> list[Send]:
    """:returns: what is to be sent."""
    assert isinstance(actions, list)
    return [action for action in actions if isinstance(action, Send)]


class LateTests(SynchronousTestCase):
    """What comes late is tried."""

    def begin(self, first: str, second: str) -> None:
        """Begin an attempt of two sides without relays."""
        self.world = World(1)
        self.ends = [End(self.world, self.world.site(kind), name=kind) for kind in (first, second)]
        self.world.network.run(0.5)
        Attempt(self.world, self.ends).begin()

    def connected(self) -> bool:
        """:returns: whether both sides have a path within three seconds."""
        return self.world.network.run(3, lambda: all(end.path for end in self.ends))

    def test_relay(self) -> None:
        """A relay whose allocation takes a second is used as soon as both sides know of it."""
        self.begin("symmetric", "port-restricted")
        self.assertFalse(self.world.network.run(1.0, lambda: any(end.path for end in self.ends)))
        first, second = self.ends
        relay = first.relay = Relay(self.world, 0)
        relay.on_datagram = lambda datagram, source: first.arrived("relay", datagram, source)
        first.locals["relay"] = Local("relay", relayed=True)
        assert first.puncher is not None
        assert second.puncher is not None
        first.puncher.add_locals(self.world.now, [first.locals["relay"]])
        second.puncher.add_candidates(self.world.now, [Candidate(CandidateKind.RELAYED, relay.address)])
        for end in self.ends:
            end.do([])
        self.assertTrue(self.connected())
        self.assertEqual([end.path and end.path.via for end in self.ends], [Via.RELAY] * 2)

    def test_mapped_candidate(self) -> None:
        """A port mapping that takes a second makes a direct path of a pair of symmetric NATs."""
        self.begin("symmetric", "port-restricted")
        self.world.network.run(1.0)
        first, second = self.ends
        name, socket = next(iter(first.sockets.items()))
        assert first.site.router is not None
        mapped = first.site.router.forward_port(50000, socket.address)
        first.locals[name] = Local(name, mapped=mapped)
        assert first.puncher is not None
        assert second.puncher is not None
        first.puncher.add_locals(self.world.now, [first.locals[name]])
        second.puncher.add_candidates(self.world.now, [Candidate(CandidateKind.MAPPED, mapped)])
        for end in self.ends:
            end.do([])
        self.assertTrue(self.connected())
        self.assertEqual([end.path and end.path.via for end in self.ends], [Via.MAPPED] * 2)


class ChecksTests(SynchronousTestCase):
    """Probes, acknowledgements, and what is bounded."""

    def begin(self, controlling: bool = False) -> tuple[Puncher, Puncher]:
        """:returns: one side in its first round, and the other one."""
        ours, theirs = puncher(controlling), puncher(not controlling, 2)
        candidates = [Candidate(CandidateKind.SERVER_REFLEXIVE, PEER)]
        ours.begin(0.0, Round(1, 0.0, candidates, [LOCAL]))
        return ours, theirs

    def probe(self, theirs: Puncher, nominate: bool = False) -> bytes:
        """:returns: a probe of the other side."""
        pair = theirs.checks.add(LOCAL, ("198.51.100.1", 4000), CandidateKind.SERVER_REFLEXIVE)
        return theirs.checks.probe(0.0, pair, nominate=nominate).datagram

    def test_probe_is_answered_and_checked(self) -> None:
        """It gets an acknowledgement and a probe, to where it came from."""
        ours, theirs = self.begin()
        answers = sends(ours.receive(0.2, LOCAL, self.probe(theirs), ("198.51.100.9", 9)))
        self.assertEqual([answer.address for answer in answers], [("198.51.100.9", 9)] * 2)
        self.assertEqual([answer.datagram[1] for answer in answers], [0x90, 0x10])
        self.assertEqual([answer.ttl for answer in answers], [None, None])

    def test_repeated_probe_does_nothing(self) -> None:
        """Its number was seen."""
        ours, theirs = self.begin()
        probe = self.probe(theirs)
        self.assertNotEqual(ours.receive(0.2, LOCAL, probe, PEER), [])
        self.assertEqual(ours.receive(0.3, LOCAL, probe, PEER), [])

    def test_acknowledgement_from_elsewhere_makes_no_pair_valid(self) -> None:
        """It has to come from where the probe went to."""
        ours, theirs = self.begin()
        [probe] = sends(ours.tick(0.15))[:1]
        theirs.begin(0.0, Round(1, 0.0, [], [LOCAL]))
        ack = sends(theirs.receive(0.2, LOCAL, probe.datagram, PEER))[0].datagram
        ours.receive(0.3, LOCAL, ack, ("198.51.100.9", 9))
        self.assertEqual([pair for pair in ours.checks.pairs.values() if pair.valid], [])

    def test_peer_reflexive_pairs_are_bounded(self) -> None:
        """A peer that is heard from a hundred addresses gets no more places, and is not probed at all of them."""
        ours, theirs = self.begin()
        answers: list[Send] = []
        for number in range(100):
            answers += sends(ours.receive(0.2, LOCAL, self.probe(theirs), ("198.51.100.9", 1000 + number)))
        self.assertLessEqual(len(ours.checks.pairs), MAX_PEER_REFLEXIVE + 1)
        self.assertLessEqual(len(answers), 80)

    def test_outstanding_probes_are_bounded(self) -> None:
        """The oldest is forgotten."""
        ours, _ = self.begin()
        for _ in range(MAX_OUTSTANDING + 10):
            ours.checks.probe_address(0.0, LOCAL, PEER)
        self.assertLessEqual(len(ours.checks._outstanding), MAX_OUTSTANDING)

    def test_bye_ends_the_attempt(self) -> None:
        """Before there is a path it is a failure, with its own code."""
        ours, theirs = self.begin()
        pair = theirs.checks.add(LOCAL, ("198.51.100.1", 4000), CandidateKind.SERVER_REFLEXIVE)
        actions = ours.receive(0.2, LOCAL, theirs.checks.bye(pair).datagram, PEER)
        self.assertEqual([action.code for action in actions if isinstance(action, Failed)], ["closed"])
        self.assertIsNone(ours.due())
        self.assertEqual(ours.tick(1.0), [])

    def test_stop(self) -> None:
        """Nothing more is tried, and a probe of the peer is still answered."""
        ours, theirs = self.begin()
        ours.stop()
        self.assertIsNone(ours.due())
        self.assertNotEqual(ours.receive(0.2, LOCAL, self.probe(theirs), PEER), [])

    def test_nomination_that_is_not_acknowledged_goes_to_the_next_pair(self) -> None:
        """After two seconds the best pair is given up, and the next one is nominated."""
        ours, theirs = self.begin(controlling=True)
        theirs.begin(0.0, Round(1, 0.0, [], [LOCAL]))
        best, second = ("192.168.1.2", 5), ("198.51.100.3", 6)
        now, nominated, connected = 0.2, [], None
        for address in (best, second):
            actions = ours.receive(now, LOCAL, self.probe(theirs), address)
            queue = [send for send in sends(actions) if send.datagram[1] == 0x10]
            for send in queue:
                for answer in sends(theirs.receive(now, LOCAL, send.datagram, ("198.51.100.1", 4000)))[:1]:
                    actions += ours.receive(now + 0.01, LOCAL, answer.datagram, address)
            nominated += [send.address for send in sends(actions) if send.datagram[3] & 2]
        while now < 6 and connected is None:
            due = ours.due()
            assert due is not None
            now = max(due, now)
            for send in sends(ours.tick(now)):
                if send.datagram[3] & 2:
                    nominated.append(send.address)
                    if send.address == second:
                        for answer in sends(theirs.receive(now, LOCAL, send.datagram, ("198.51.100.1", 4000)))[:1]:
                            found = ours.receive(now + 0.01, LOCAL, answer.datagram, second)
                            connected = next((each for each in found if isinstance(each, Connected)), connected)
        self.assertEqual(list(dict.fromkeys(nominated)), [best, second])
        assert connected is not None
        self.assertEqual(connected.address, second)
        self.assertLess(now, 4.0)


class ReasonTests(SynchronousTestCase):
    """Why there is no path."""

    def test_words(self) -> None:
        """Each cause has its code, and the sentence says whose NAT it is and what would help."""
        eim, edm, blocked = NatMapping.ENDPOINT_INDEPENDENT, NatMapping.ENDPOINT_DEPENDENT, NatMapping.BLOCKED
        for ours, theirs, heard, relay, code, sentence in (
            (
                edm, edm, False, False, "symmetric-pair",
                "Your NAT gives every destination another port, and so does that of the peer, so a relay is needed, and"
                " there is none.",
            ),
            (
                eim, edm, False, False, "symmetric-nat",
                "The NAT of the peer gives every destination another port, and the other NAT accepts no other port, so"
                " a relay is needed, and there is none.",
            ),
            (
                edm, eim, False, True, "symmetric-nat",
                "Your NAT gives every destination another port, and the other NAT accepts no other port, and the relay"
                " has not worked either.",
            ),
            (
                blocked, eim, True, False, "udp-blocked",
                "Your network lets no UDP datagram reach the server, so a relay is needed, and there is none.",
            ),
            (
                eim, blocked, False, True, "udp-blocked",
                "The network of the peer lets no UDP datagram reach the server, and the relay has not worked either.",
            ),
            (
                eim, eim, False, False, "no-answer",
                "No probe has passed in either direction; a firewall may drop them, so a relay is needed, and there is"
                " none.",
            ),
            (
                edm, edm, True, False, "one-way",
                "Probes of the peer arrive, but those sent to it get no answer, so a relay is needed, and there is"
                " none.",
            ),
        ):  # fmt: skip
            self.assertEqual(no_path(ours, theirs, heard=heard, relay=relay), Failed(code, sentence))
