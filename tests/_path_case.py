"""A path of one side, and what the other one says to it by hand."""

from __future__ import annotations

from random import Random

from rendezvous.core.addresses import Address
from rendezvous.core.connect import Candidate, CandidateKind
from rendezvous.core.punching.actions import (
    Action,
    Connected,
    Send,
)
from rendezvous.core.punching.pairs import Local, Pair
from rendezvous.core.punching.path import Path
from rendezvous.core.punching.probes import Data, Probe, ProbeType
from rendezvous.core.punching.puncher import Puncher
from rendezvous.core.punching.rounds import Round
from rendezvous.wire.probe import PairCodec
from tests._puncher_case import IPV4, NAT, PuncherCase

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
