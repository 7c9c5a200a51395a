"""One side of an attempt, and what the other one says to it by hand."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.addresses import Address
from rendezvous.core.connect import Candidate, CandidateKind, NatMapping, Strategy
from rendezvous.core.punching.actions import Action, Send
from rendezvous.core.punching.pairs import Local
from rendezvous.core.punching.probes import NEW_PATH, Probe, ProbeType
from rendezvous.core.punching.puncher import Puncher
from rendezvous.core.punching.rounds import Round
from rendezvous.wire.probe import PairCodec

KIND = CandidateKind
KEY, ATTEMPT = bytes(range(32)), b"attempt1"
IPV4, RELAY = Local("ipv4"), Local("relay", relayed=True)
NAT, HOST, MAPPED, RELAYED = (
    Candidate(KIND.SERVER_REFLEXIVE, ("198.51.100.2", 4000)),
    Candidate(KIND.HOST, ("192.168.1.2", 4000)),
    Candidate(KIND.MAPPED, ("198.51.100.2", 7000)),
    Candidate(KIND.RELAYED, ("192.0.2.9", 5000)),
)
EDM, EIM = NatMapping.ENDPOINT_DEPENDENT, NatMapping.ENDPOINT_INDEPENDENT


class PuncherCase(SynchronousTestCase):
    """
    One side, and what the other one says to it.

    :ivar sequence: of what the other side sends.
    """

    def setUp(self) -> None:
        """Be the controlled side."""
        self.make(controlling=False)

    def make(self, controlling: bool, path: bytes = NEW_PATH, known: tuple[bytes, ...] = ()) -> None:
        """Be one of the two sides, without a round."""
        self.puncher = Puncher(
            PairCodec(KEY, ATTEMPT, controlling), Random(1), attempt=ATTEMPT, controlling=controlling, path=path,
            known=known,
        )  # fmt: skip
        self.peer = PairCodec(KEY, ATTEMPT, not controlling)
        self.sequence = 0

    def begin(
        self,
        *candidates: Candidate,
        locals: tuple[Local, ...] = (IPV4,),
        strategy: Strategy = Strategy.DIRECT,
        number: int = 1,
        mappings: tuple[NatMapping, NatMapping] = (NatMapping.UNKNOWN, NatMapping.UNKNOWN),
        now: float = 100.0,
    ) -> list[tuple[float, Action]]:
        """:returns: what is done when a round begins whose first probe is due after 0.25 s."""
        round = Round(number, 0.25, candidates, locals, strategy, *mappings)
        return [(now, action) for action in self.puncher.begin(now, round)]

    def run_until(self, until: float) -> list[tuple[float, Action]]:
        """:returns: what is done up to a moment, and when."""
        found: list[tuple[float, Action]] = []
        while (due := self.puncher.due()) is not None and due <= until:
            found += [(round(due, 6), action) for action in self.puncher.tick(due)]
        return found

    def first_sends(self, actions: list[tuple[float, Action]]) -> dict[tuple[str, Address], float]:
        """:returns: when the first probe was sent on each pair, in seconds after the beginning."""
        found: dict[tuple[str, Address], float] = {}
        for time, action in actions:
            if isinstance(action, Send):
                found.setdefault((action.local.name, action.address), round(time - 100.0, 6))
        return found

    def say(
        self,
        now: float,
        type: ProbeType = ProbeType.PROBE,
        source: Address = NAT.address,
        *,
        nonce: bytes = bytes(8),
        nominate: bool = False,
        path: bytes = NEW_PATH,
        local: Local = IPV4,
    ) -> list[Action]:
        """:returns: what a probe of the other side leads to."""
        self.sequence += 1
        probe = Probe(type, self.sequence, nonce, ("198.51.100.1", 4000), nominate, path)
        return self.puncher.receive(now, local, self.peer.encode_probe(probe), source)

    def acknowledge(self, now: float, action: Action) -> list[Action]:
        """:returns: what the acknowledgement of a probe leads to."""
        assert isinstance(action, Send)
        probe = self.peer.decode(action.datagram)
        assert isinstance(probe, Probe)
        return self.say(
            now, ProbeType.PROBE_ACK, action.address, nonce=probe.nonce, nominate=probe.nominate, local=action.local
        )

    def last(self, actions: list[tuple[float, Action]]) -> tuple[float, Action]:
        """:returns: what is no datagram; it is the only one."""
        [found] = [each for each in actions if not isinstance(each[1], Send)]
        return round(found[0] - 100.0, 6), found[1]
