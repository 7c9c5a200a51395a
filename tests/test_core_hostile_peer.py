"""A peer that knows the pair key and breaks the rules of probes: what it can make the other side do is bounded."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.addresses import Address
from rendezvous.core.connect import Candidate, CandidateKind
from rendezvous.core.punching.actions import Action, Connected, Deliver, Lost, PathChanged, Release, Send
from rendezvous.core.punching.checks import MAX_PEER_REFLEXIVE
from rendezvous.core.punching.kept import MAX_ATTEMPTS
from rendezvous.core.punching.pairs import MAX_CANDIDATES, Local
from rendezvous.core.punching.path import Path
from rendezvous.core.punching.probes import Data, Probe, ProbeType
from rendezvous.core.punching.puncher import Puncher
from rendezvous.core.punching.rounds import Round
from rendezvous.wire.probe import PairCodec

SOCKET = Local("ipv4")
PEER = ("198.51.100.2", 40000)
KEY = bytes(32)


class Peer:
    """
    The other side of one attempt, which sends what a test wants.

    :ivar puncher: the side that is attacked.
    """

    def __init__(self, *, number: int = 1, local: Local = SOCKET, controls: bool = True, known: bytes = b"") -> None:
        attempt = bytes((number >> 8, number & 0xFF)) * 4
        self.local = local
        self.codec = PairCodec(KEY, attempt, controls)
        self.path = known or bytes(6)
        self.puncher = Puncher(
            PairCodec(KEY, attempt, not controls),
            Random(number),
            attempt=attempt,
            controlling=not controls,
            known=[known],
        )
        self._sequence = 0

    def begin(self, now: float) -> list[Action]:
        """Begin the first round of the side that is attacked."""
        candidate = Candidate(CandidateKind.SERVER_REFLEXIVE, PEER)
        return self.puncher.begin(now, Round(1, 0.0, [candidate], [self.local]))

    def probe(self, type: ProbeType = ProbeType.PROBE, nonce: bytes = bytes(8), *, nominate: bool = False) -> bytes:
        """:returns: the next probe."""
        self._sequence += 1
        return self.codec.encode_probe(Probe(type, self._sequence, nonce, PEER, nominate, self.path))

    def data(self, number: int, payload: bytes = b"data") -> bytes:
        """:returns: data with a number."""
        return self.codec.encode_data(Data(number, payload))

    def answers(self, actions: list[Action], address: Address) -> list[bytes]:
        """:returns: acknowledgements of the probes that were sent to an address."""
        found = []
        for action in actions:
            if isinstance(action, Send) and action.address == address and len(action.datagram) == 64:
                message = self.codec.decode(action.datagram)
                assert isinstance(message, Probe)
                if message.type is ProbeType.PROBE:
                    found.append(self.probe(ProbeType.PROBE_ACK, message.nonce, nominate=message.nominate))
        return found

    def connect(self, now: float) -> Connected:
        """:returns: how the side that is attacked has connected, after a probe that nominates."""
        actions = self.begin(now) + self.puncher.tick(now + 0.2)
        done = self.puncher.receive(now + 0.2, self.local, self.probe(nominate=True), PEER)
        for answer in self.answers(actions + done, PEER):
            done += self.puncher.receive(now + 0.2, self.local, answer, PEER)
        [connected] = [action for action in done if isinstance(action, Connected)]
        return connected


class PuncherTests(SynchronousTestCase):
    """What a peer can do before there is a path."""

    def test_probes_from_many_addresses(self) -> None:
        """A flood of probes from ever new addresses makes neither a growing table nor a flood of probes."""
        peer = Peer()
        sent = [action for action in peer.begin(0.0) if isinstance(action, Send)]
        steps, now = 5000, 0.0
        for number in range(steps):
            now = 1.4 * number / steps
            source = (f"203.0.113.{number % 250}", 1024 + number)
            for action in peer.puncher.receive(now, SOCKET, peer.probe(), source) + peer.puncher.tick(now):
                sent += [action] if isinstance(action, Send) else []
        self.assertLessEqual(len(peer.puncher.checks.pairs), MAX_CANDIDATES + MAX_PEER_REFLEXIVE)
        self.assertLessEqual(len(peer.puncher._schedule.pairs()), MAX_CANDIDATES + MAX_PEER_REFLEXIVE)
        # 40 answers and 40 probes in a second and as many at once, and one probe each 5 ms.
        self.assertLessEqual(len(sent), 2 * (40 + 40 * now) + 200 * now + 10)

    def test_each_pair_that_is_probed_is_one_that_counts(self) -> None:
        """An address that had to make room for others is probed no more."""
        peer = Peer()
        peer.begin(0.0)
        for number in range(100):
            peer.puncher.receive(0.001 * number, SOCKET, peer.probe(), ("203.0.113.1", 1024 + number))
        known = set(peer.puncher.checks.pairs.values())
        self.assertEqual([pair for pair in peer.puncher._schedule.pairs() if pair not in known], [])


class PathTests(SynchronousTestCase):
    """What a peer can do on a path."""

    def setUp(self) -> None:
        """Open a path."""
        self.peer = Peer()
        self.peer.connect(0.0)
        self.path = Path(self.peer.puncher, Random(1))
        self.now = 0.3
        self.path.start(self.now)

    def receive(self, datagram: bytes, source: Address = PEER, local: Local = SOCKET) -> list[Action]:
        """:returns: what a datagram leads to."""
        return self.path.receive(self.now, local, datagram, source)

    def validate(self, address: Address) -> None:
        """Make a pair of another address of the peer valid."""
        for answer in self.peer.answers(self.receive(self.peer.probe(), address), address):
            self.receive(answer, address)
        self.assertTrue(self.path._attempts.newest.checks.pairs[SOCKET.name, address].valid)

    def test_endless_nominations(self) -> None:
        """A peer that nominates two pairs in turn does not make a path that changes for each probe."""
        other = ("198.51.100.3", 40000)
        self.validate(other)
        changes = 0
        for number in range(1000):
            self.now += 0.001
            source = (PEER, other)[number % 2]
            actions = self.receive(self.peer.probe(nominate=True), source)
            changes += len([action for action in actions if isinstance(action, PathChanged)])
        self.assertGreater(changes, 0)
        self.assertLessEqual(changes, 10)
        # A nomination that comes later is followed again.
        self.now += 10.0
        target = other if self.path.address == PEER else PEER
        self.receive(self.peer.probe(nominate=True), target)
        self.assertEqual(self.path.address, target)

    def test_data_does_not_go_on_to_an_address_that_is_silent(self) -> None:
        """
        A peer validates an address, and later speaks from others only, whose probes it does not answer.

        The address may be somebody else's by now, so the path ends after 30 s (RFC 7675, section 5.1).
        """
        happened: list[Action] = []
        while self.now < 40.0:
            self.now += 0.1
            self.receive(self.peer.probe(), ("198.51.100.3", 40000 + int(self.now)))
            happened += self.path.tick(self.now)
        self.assertIn(Lost(), happened)
        self.assertEqual(self.path.send(self.now, b"payload"), [])

    def test_ever_new_attempts(self) -> None:
        """A peer that joins one attempt after the other, and keeps all alive, does not make a path that grows."""
        attempts = [self.peer]
        released: set[str] = set()
        for number in range(2, 60):
            self.now += 5.0
            joining = Peer(number=number, local=Local(f"ipv4-{number}"), known=self.path.name)
            self.assertEqual(joining.connect(self.now).path, self.path.name)
            self.now += 0.3
            done = self.path.join(self.now, joining.puncher)
            attempts.append(joining)
            for each in attempts:
                done += self.receive(each.probe(), PEER, each.local)
            done += self.path.tick(self.now)
            self.assertFalse(self.path.ended)
            released |= {local.name for action in done if isinstance(action, Release) for local in action.locals}
        self.assertLessEqual(len(self.path._attempts), MAX_ATTEMPTS)
        self.assertEqual(len(self.path.locals), len(self.path._attempts))
        self.assertEqual(len(released), 59 - len(self.path._attempts))
        self.assertNotIn(self.path.local.name, released)

    def test_nothing_is_due_again_at_once(self) -> None:
        """Ticks change when the next one is due, also when a pair was silent for so long that it is probed no more."""
        self.validate(("198.51.100.3", 40000))
        ticks, actions = 0, list[Action]()
        while self.now < 2000.0:
            due = self.path.due()
            assert due is not None
            if due > self.now + 1.0:
                self.now += 1.0
            else:
                self.now = max(due, self.now)
                actions = self.path.tick(self.now)
                ticks += 1
                again = self.path.due()
                assert again is not None
                self.assertGreater(again, self.now, (self.now, actions))
            for answer in self.peer.answers(actions, PEER):
                self.receive(answer)
            actions = []
        self.assertFalse(self.path.ended)
        self.assertLess(ticks, 1000)

    def test_numbers_that_jump(self) -> None:
        """A number far ahead makes all earlier ones too old. None is delivered twice, and the path goes on."""
        delivered = []
        for number in (0, 1, 1 << 47, 1, 2, (1 << 48) - 1, 1 << 47, (1 << 48) - 2, (1 << 48) - 2):
            actions = self.receive(self.peer.data(number, b"%d" % number))
            delivered += [action.payload for action in actions if isinstance(action, Deliver)]
        self.assertEqual([int(payload) for payload in delivered], [0, 1, 1 << 47, (1 << 48) - 1, (1 << 48) - 2])
