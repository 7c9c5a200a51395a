"""Tests of :mod:`rendezvous.core.punching.path`: what one side does at each moment."""

from __future__ import annotations

from random import Random

from rendezvous.core.addresses import Address
from rendezvous.core.connect import Candidate, CandidateKind, Via
from rendezvous.core.punching.actions import (
    Action,
    AttemptDue,
    Closed,
    Connected,
    Deliver,
    Lost,
    PathChanged,
    Release,
    Send,
)
from rendezvous.core.punching.pairs import Local, Pair
from rendezvous.core.punching.path import Path
from rendezvous.core.punching.probes import Data, Probe, ProbeType
from rendezvous.core.punching.puncher import Puncher
from rendezvous.core.punching.rounds import Round
from rendezvous.wire.probe import PairCodec
from tests._puncher_case import IPV4, KEY, NAT, RELAY, RELAYED, PuncherCase

PROBE, ACK, BYE, DATA = 0x10, 0x90, 0x1F, 0x20
OTHER = ("198.51.100.3", 4000)
#: When the path begins.
START = 200.0


class Even(Random):
    """Randomness that can be set."""

    number = 0.5

    def random(self) -> float:
        """:returns: the same number each time."""
        return self.number


class PathCase(PuncherCase):
    """
    A path on the pair of a socket with the NAT of the peer.

    :ivar path: at :data:`START`; nothing was heard since, and the round of its attempt is over.
    :ivar pair: in use.
    """

    def open(self, controlling: bool = True, number: float = 0.5, *, candidate: Candidate = NAT) -> None:
        """Connect and begin a path, whose keep-alives come each 15 s."""
        self.make(controlling)
        self.pair = self.connect(self.puncher, self.peer, candidate)
        self.random = Even()
        self.random.number = number
        self.path = Path(self.puncher, self.random)
        self.assertEqual(self.path.start(START), [])

    def connect(self, puncher: Puncher, peer: PairCodec, candidate: Candidate = NAT, local: Local = IPV4) -> Pair:
        """:returns: the pair on which a puncher has connected, with a round trip of 40 ms."""
        puncher.begin(100.0, Round(1, 0.0, [candidate], [local]))
        now, found = 100.2, list[Action]()
        pair = puncher.checks.pairs[local.name, candidate.address]
        queue = [puncher.checks.probe(now - 0.04, pair)]
        for number in range(1, 5):
            found += puncher.tick(now)
            for send in queue:
                probe = peer.decode(send.datagram)
                assert isinstance(probe, Probe)
                ack = Probe(ProbeType.PROBE_ACK, 1000 * number, probe.nonce, NAT.address, probe.nominate)
                found += puncher.receive(now, local, peer.encode_probe(ack), candidate.address)
            asked = Probe(ProbeType.PROBE, 1000 * number + 1, bytes(8), NAT.address, nominate=not puncher.controlling)
            found += puncher.receive(now, local, peer.encode_probe(asked), candidate.address)
            queue = [each for each in found if isinstance(each, Send) and each.datagram[3] & 2][-1:]
        self.assertEqual(len([each for each in found if isinstance(each, Connected)]), 1)
        puncher.stop()
        pair.rtt, pair.silent_since = 0.04, None
        self.sequence = 5000
        return pair

    def other(self, address: Address = OTHER, rtt: float = 0.1, *, local: Local = IPV4) -> Pair:
        """:returns: another pair that works; it was just probed."""
        pair = self.puncher.checks.add(local, address, CandidateKind.SERVER_REFLEXIVE)
        pair.valid, pair.valid_since, pair.rtt, pair.probed = True, START, rtt, START
        return pair

    def hear(
        self,
        now: float,
        type: ProbeType = ProbeType.PROBE,
        source: Address = NAT.address,
        *,
        nominate: bool = False,
        nonce: bytes = bytes(8),
    ) -> list[Action]:
        """:returns: what a probe of the peer leads to."""
        self.sequence += 1
        probe = Probe(type, self.sequence, nonce, NAT.address, nominate)
        return self.path.receive(now, IPV4, self.peer.encode_probe(probe), source)

    def hear_data(self, now: float, number: int, source: Address = NAT.address) -> list[Action]:
        """:returns: what data of the peer leads to."""
        return self.path.receive(now, IPV4, self.peer.encode_data(Data(number, b"%d" % number)), source)

    def hear_answer(self, now: float, action: Action) -> list[Action]:
        """:returns: what the acknowledgement of a probe leads to."""
        assert isinstance(action, Send)
        probe = self.peer.decode(action.datagram)
        assert isinstance(probe, Probe)
        return self.hear(now, ProbeType.PROBE_ACK, action.address, nominate=probe.nominate, nonce=probe.nonce)

    def done(self, actions: list[Action]) -> list[tuple[int, Address] | Action]:
        """:returns: of each datagram its type and where it goes; all else as it is."""
        return [(each.datagram[1], each.address) if isinstance(each, Send) else each for each in actions]

    def run_to(self, until: float) -> list[tuple[float, tuple[int, Address] | Action]]:
        """:returns: what is done up to a moment, in seconds after the start of the path."""
        found: list[tuple[float, tuple[int, Address] | Action]] = []
        while (due := self.path.due()) is not None and due <= until:
            found += [(round(due - START, 6), each) for each in self.done(self.path.tick(due))]
        return found


class UpkeepTests(PathCase):
    """Keep-alives, silence and the end."""

    def test_keep_alive(self) -> None:
        """A probe on the pair in use each 15 s, give or take a fifth."""
        for number, seconds in ((0.0, 12.0), (0.5, 15.0), (1.0, 18.0)):
            self.open(number=number)
            self.hear_data(START + 0.01, 1)
            self.assertEqual(self.run_to(START + seconds - 0.01), [])
            self.assertEqual(self.run_to(START + seconds), [(seconds, (PROBE, NAT.address))])
            self.hear_data(START + seconds + 0.01, 2)
            self.assertEqual(self.run_to(START + 2 * seconds), [(2 * seconds, (PROBE, NAT.address))])

    def test_probe_of_the_peer_saves_a_keep_alive(self) -> None:
        """Of the side that does not decide. Data saves none, nor does a probe on another pair or an acknowledgement."""
        for controlling, heard, expected in (
            (False, lambda: self.hear(START + 5), 20.0),
            (True, lambda: self.hear(START + 5), 15.0),
            (False, lambda: self.hear_data(START + 5, 2), 15.0),
            (False, lambda: self.hear(START + 5, source=OTHER), 15.0),
            (False, lambda: self.hear(START + 5, ProbeType.PROBE_ACK), 15.0),
        ):
            self.open(controlling)
            self.other()
            self.hear_data(START + 0.01, 1)
            heard()
            [first] = [time for time, what in self.run_to(START + 20) if what == (PROBE, NAT.address)][:1]
            self.assertEqual(first, expected)

    def test_start_asks_whether_the_peer_is_there(self) -> None:
        """Its last acknowledgement may be lost: after 200 ms the pair is probed, and after 300 ms all others."""
        self.open()
        relay, never = self.other(RELAYED.address, 0.1), self.puncher.checks.add(IPV4, OTHER, CandidateKind.HOST)
        never.probed = START
        self.assertEqual(self.run_to(START + 0.35), [
            (0.2, (PROBE, NAT.address)), (0.3, (PROBE, NAT.address)), (0.3, (PROBE, relay.address)),
        ])  # fmt: skip

    def test_path_is_lost(self) -> None:
        """Thirty seconds after the peer was last heard on a pair that works. Then nothing is done."""
        self.open()
        self.hear_data(START + 3, 1)
        self.hear_data(START + 4, 2, ("198.51.100.9", 9))
        *_, last = self.run_to(START + 100)
        self.assertEqual(last, (33.0, Lost()))
        self.assertTrue(self.path.ended)
        self.assertEqual((self.path.due(), self.path.tick(START + 101)), (None, []))
        self.assertEqual((self.hear_data(START + 101, 3), self.path.send(START + 101, b"x")), ([], []))

    def test_path_that_hears_nothing_from_the_start(self) -> None:
        """It has the same time."""
        self.open()
        self.assertEqual(self.run_to(START + 100)[-1], (30.0, Lost()))

    def test_close(self) -> None:
        """Three datagrams, 50 ms apart. Nothing else is sent meanwhile, and what comes is still taken."""
        self.open()
        self.assertEqual(self.done(self.path.close(START + 1)), [(BYE, NAT.address)])
        self.assertEqual(self.path.close(START + 1.01), [])
        self.assertEqual(self.path.send(START + 1.02, b"x"), [])
        self.assertEqual(self.path.tick(START + 1.03), [])
        self.assertEqual(self.hear_data(START + 1.04, 1), [Deliver(b"1")])
        self.assertEqual(self.run_to(START + 100), [
            (1.05, (BYE, NAT.address)), (1.1, (BYE, NAT.address)), (1.1, Closed()),
        ])  # fmt: skip
        self.assertEqual((self.path.close(START + 2), self.path.due()), ([], None))

    def test_peer_that_closes(self) -> None:
        """The path ends at once."""
        self.open()
        self.assertEqual(self.hear(START + 1, ProbeType.BYE), [Closed()])
        self.assertTrue(self.path.ended)
        self.assertEqual(self.path.close(START + 1), [])


class DataTests(PathCase):
    """Payloads."""

    def numbers(self, actions: list[Action]) -> list[tuple[Address, int]]:
        """:returns: where data goes, and its numbers."""
        sends = [each for each in actions if isinstance(each, Send) and each.datagram[1] & ~1 == DATA]
        messages = [(send.address, self.peer.decode(send.datagram)) for send in sends]
        return [(address, message.sequence) for address, message in messages if isinstance(message, Data)]

    def test_data_is_doubled_while_the_pair_is_silent(self) -> None:
        """The same number on the best other pair that works, until the peer is heard again."""
        self.open()
        self.other(rtt=0.2)
        best, failed = self.other(RELAYED.address, 0.1), self.other(("192.168.1.9", 1), 0.01)
        failed.valid = False
        self.assertEqual(self.numbers(self.path.send(START, b"x")), [(NAT.address, 0)])
        self.run_to(START + 0.2)
        self.assertEqual(self.numbers(self.path.send(START + 0.21, b"x")), [(NAT.address, 1), (best.address, 1)])
        self.hear_data(START + 0.22, 1)
        self.assertEqual(self.numbers(self.path.send(START + 0.23, b"x")), [(NAT.address, 2)])

    def test_data_without_another_pair(self) -> None:
        """It goes on the pair in use alone."""
        self.open()
        self.run_to(START + 0.3)
        self.assertEqual(self.numbers(self.path.send(START + 0.31, b"x")), [(NAT.address, 0)])

    def test_data_that_is_sent_wants_an_answer(self) -> None:
        """The pair is probed 200 ms after the first datagram that nothing has answered."""
        self.open()
        self.hear_data(START + 0.01, 1)
        for after in (1.0, 1.1):
            self.path.send(START + after, b"x")
        self.assertEqual(self.run_to(START + 1.25), [(1.2, (PROBE, NAT.address))])


class ChangeTests(PathCase):
    """Another pair."""

    def test_first_pair_that_answers_is_used(self) -> None:
        """After all were asked. The side that decides nominates it; the one that is left has failed."""
        for controlling in (True, False):
            self.open(controlling)
            other = self.other()
            self.assertEqual(self.run_to(START + 0.3)[-1], (0.3, (PROBE, OTHER)))
            self.assertEqual(self.done(self.hear(START + 0.31, source=OTHER)), [(ACK, OTHER)])
            self.assertEqual(self.path.address, NAT.address)
            actions = self.hear_answer(START + 0.34, self.puncher.checks.probe(START + 0.3, other))
            self.assertEqual([each for each in actions if isinstance(each, PathChanged)], [
                PathChanged(IPV4, OTHER, Via.DIRECT, other.rtt or 0.0),
            ])  # fmt: skip
            self.assertEqual((self.pair.valid, self.pair.failures, self.path.address), (False, 1, OTHER))
            nominating = [each for each in self.path.tick(START + 0.34) if isinstance(each, Send)]
            self.assertEqual([each.datagram[3] & 2 for each in nominating if each.address == OTHER], [2] * controlling)

    def test_answer_of_another_pair_while_the_pair_in_use_works(self) -> None:
        """It changes nothing."""
        self.open(controlling=False)
        other = self.other()
        self.hear_data(START + 0.01, 1)
        self.assertEqual(self.hear_answer(START + 1, self.puncher.checks.probe(START + 0.9, other)), [])
        self.assertEqual(self.path.address, NAT.address)

    def test_better_pair_is_nominated(self) -> None:
        """By the side that decides; it is used when the peer has acknowledged the nomination."""
        self.open()
        self.hear_data(START + 0.01, 1)
        other = self.other(("192.168.1.9", 1), 0.01)
        [send] = self.path.tick(START + 1)
        assert isinstance(send, Send)
        self.assertEqual((send.address, send.datagram[3] & 2), (other.address, 2))
        plain = self.puncher.checks.probe(START + 1, other)
        self.assertEqual(self.hear_answer(START + 1.01, plain), [])
        self.assertEqual(self.path.address, NAT.address)
        [changed] = self.hear_answer(START + 1.02, send)
        assert isinstance(changed, PathChanged)
        self.assertEqual((changed.address, changed.via, self.path.via), (other.address, Via.LAN, Via.LAN))
        self.assertEqual(self.path.rtt, other.rtt)
        self.assertTrue(self.pair.valid)

    def test_better_pair_that_does_not_answer(self) -> None:
        """After twelve probes it has failed, and the path stays."""
        self.open()
        other = self.other(("192.168.1.9", 1), 0.01)
        sent = 0
        for step in range(200):
            self.hear_data(START + 1 + step / 50, step)
            actions = self.path.tick(START + 1 + step / 50)
            sent += len([each for each in actions if isinstance(each, Send) and each.datagram[3] & 2])
        self.assertEqual((sent, other.valid, other.failures), (12, False, 1))
        self.assertEqual(self.path.address, NAT.address)

    def test_other_side_nominates(self) -> None:
        """The side that does not decide follows as soon as the pair is valid for it."""
        self.open(controlling=False)
        other = self.other(("192.168.1.9", 1), 0.01)
        self.assertEqual(self.path.tick(START + 0.1), [])
        other.valid = False
        actions = self.hear(START + 1, source=other.address, nominate=True)
        self.assertEqual(self.done(actions), [(ACK, other.address), (PROBE, other.address)])
        actions = self.hear_answer(START + 1.01, actions[1])
        self.assertEqual([type(each) for each in actions], [PathChanged])
        self.assertEqual(self.path.address, other.address)

    def test_side_that_decides_follows_nobody(self) -> None:
        """A nomination of the other side is answered, and no more."""
        self.open()
        self.other()
        self.assertEqual(self.done(self.hear(START + 1, source=OTHER, nominate=True)), [(ACK, OTHER)])
        self.assertEqual(self.path.address, NAT.address)

    def test_pair_in_use_gets_another_name(self) -> None:
        """A probe says that the peer sends from a socket of birthday probing: the change is reported once."""
        self.open()
        for expected in ([PathChanged(IPV4, NAT.address, Via.BIRTHDAY, 0.04)], []):
            self.sequence += 1
            probe = Probe(ProbeType.PROBE, self.sequence, bytes(8), NAT.address, birthday=True)
            actions = self.path.receive(START + 1, IPV4, self.peer.encode_probe(probe), NAT.address)
            self.assertEqual(actions[1:], expected)


class AttemptTests(PathCase):
    """Further attempts."""

    def another(self, controlling: bool, local: Local) -> tuple[Puncher, PairCodec]:
        """:returns: another attempt that has connected, and its other side."""
        puncher = Puncher(PairCodec(KEY, b"attempt2", controlling), Random(2), attempt=b"attempt2", controlling=True)
        puncher.controlling = controlling
        peer = PairCodec(KEY, b"attempt2", not controlling)
        self.connect(puncher, peer, Candidate(CandidateKind.SERVER_REFLEXIVE, OTHER), local)
        return puncher, peer

    def test_join(self) -> None:
        """The path uses the pair of the new attempt, its numbers go on, and what was delivered is not again."""
        self.open()
        self.path.send(START, b"x")
        self.assertEqual(self.hear_data(START + 1, 1), [Deliver(b"1")])
        local = Local("new")
        puncher, peer = self.another(True, local)
        for number in (1, 2):
            puncher.receive(START + 2, local, peer.encode_data(Data(number, b"%d" % number)), OTHER)
        actions = self.path.join(START + 3, puncher)
        self.assertEqual(actions, [Deliver(b"2"), PathChanged(local, OTHER, Via.DIRECT, 0.04)])
        [send] = self.path.send(START + 4, b"x")
        assert isinstance(send, Send)
        data = peer.decode(send.datagram)
        assert isinstance(data, Data)
        self.assertEqual((send.local, data.sequence), (local, 1))
        # The old attempt is heard on its endpoint, and shares the numbers.
        self.assertEqual(self.hear_data(START + 4, 2), [])
        self.assertEqual(self.hear_data(START + 4, 3), [Deliver(b"3")])
        self.assertEqual(self.path.receive(START + 4, local, peer.encode_data(Data(3, b"3")), OTHER), [])
        self.assertEqual(list(self.path.locals), [IPV4, local])

    def test_endpoints_of_an_old_attempt_are_released(self) -> None:
        """Thirty seconds after the peer was heard on it; one that the new attempt has too is kept."""
        self.open()
        self.puncher.add_locals(START, [RELAY])
        self.hear_data(START + 1, 1)
        local = Local("new")
        puncher, peer = self.another(True, local)
        puncher.add_locals(START, [RELAY])
        self.path.join(START + 2, puncher)
        for second in range(3, 40):
            self.path.receive(START + second, local, peer.encode_data(Data(second, b"x")), OTHER)
            released = [each for each in self.path.tick(START + second) if isinstance(each, Release)]
            self.assertEqual(released, [Release((IPV4,))] if second == 31 else [])
        self.assertEqual(list(self.path.locals), [local, RELAY])

    def test_attempt_is_asked_for_after_a_silence(self) -> None:
        """Two seconds after the first datagram without an answer, by either side."""
        for controlling in (True, False):
            self.open(controlling)
            found = [(time, what) for time, what in self.run_to(START + 8) if isinstance(what, AttemptDue)]
            self.assertEqual(found, [(2.0, AttemptDue(relayed=False)), (7.0, AttemptDue(relayed=False))])

    def test_attempt_is_asked_for_on_a_relay(self) -> None:
        """After ten seconds, by the side that decides."""
        for controlling in (True, False):
            self.open(controlling, candidate=RELAYED)
            found = []
            for step in range(220):
                now = START + step / 10
                self.hear_data(now, step, RELAYED.address)
                found += [(step / 10, each) for each in self.path.tick(now) if isinstance(each, AttemptDue)]
            expected = [(10.0, AttemptDue(relayed=True)), (15.0, AttemptDue(relayed=True))]
            self.assertEqual(found, expected if controlling else [])
