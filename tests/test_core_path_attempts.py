"""Tests of :mod:`rendezvous.core.punching.path`: how further attempts join a path, and when they are asked for."""

from __future__ import annotations

from random import Random

from rendezvous.core.connect import Candidate, CandidateKind, Via
from rendezvous.core.punching.actions import (
    AttemptDue,
    Deliver,
    PathChanged,
    Release,
    Send,
)
from rendezvous.core.punching.pairs import Local
from rendezvous.core.punching.probes import Data
from rendezvous.core.punching.puncher import Puncher
from rendezvous.wire.probe import PairCodec
from tests._path_case import OTHER, START, PathCase
from tests._puncher_case import IPV4, KEY, RELAY, RELAYED


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

    def test_attempt_that_has_not_connected_does_not_join(self) -> None:
        """It is refused, and the path goes on."""
        self.open()
        puncher = Puncher(PairCodec(KEY, b"attempt2", True), Random(2), attempt=b"attempt2", controlling=True)
        self.assertRaises(ValueError, self.path.join, START, puncher)
        self.assertEqual(list(self.path.locals), [IPV4])

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

    def test_attempt_is_asked_for_when_all_pairs_are_silent(self) -> None:
        """That takes longer where the round trip is long."""
        self.open()
        self.pair.rtt = 0.5
        self.hear_data(START, 1)
        self.path.send(START + 1, b"x")
        found = [(time, what) for time, what in self.run_to(START + 5) if isinstance(what, AttemptDue)]
        self.assertEqual(found, [(3.5, AttemptDue(relayed=False))])

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
