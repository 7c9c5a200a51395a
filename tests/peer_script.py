"""
Scripts of what reaches one side of a path: for tests and for the fuzzer.

A script is bytes, so that a fuzzer can change it: the first byte chooses the roles, and then come records of an action
(1 byte), a size (1 byte) and as many bytes, or as many as are left. Any bytes are a script.

The other side of the script is a peer that knows the key of the pair. The bytes of a record change its
datagrams, which are signed again, so that they are taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from rendezvous.core.addresses import Address
from rendezvous.core.connect import Candidate, CandidateKind, NatMapping, Strategy
from rendezvous.core.macs import derive_key, mac
from rendezvous.core.punching.actions import Action, Connected, Deliver, NextRound, OpenSockets, Release, Send
from rendezvous.core.punching.checks import MAX_OUTSTANDING, MAX_PEER_REFLEXIVE
from rendezvous.core.punching.kept import MAX_ATTEMPTS
from rendezvous.core.punching.pairs import MAX_CANDIDATES, Local
from rendezvous.core.punching.path import Path
from rendezvous.core.punching.probes import Data, Probe, ProbeType
from rendezvous.core.punching.puncher import Puncher
from rendezvous.core.punching.rounds import Round
from rendezvous.wire.probe import PairCodec
from tests._scripts import records

__all__ = ["SAMPLES", "play"]

KEY = bytes(range(32))
PEERS: Sequence[Address] = (
    ("198.51.100.2", 40000),
    ("198.51.100.2", 40001),
    ("10.0.0.2", 40000),
    ("2001:db8::2", 40000),
    ("fe80::1%eth0", 40000),
    ("::ffff:198.51.100.9", 1),
)
PAUSES = (0.0, 0.005, 0.1, 0.6, 2.0, 15.0, 31.0, 700.0)
"""Seconds that an action may let pass."""

MAX_SENT = 2 + 256
"""Datagrams that one datagram may lead to: its answer and a probe. A tick may send what was due in the meantime."""

_PROBE_KEY, _DATA_KEY = derive_key(KEY, b"probe"), derive_key(KEY, b"data")


def attempt_of(number: int) -> bytes:
    """:returns: the id of an attempt."""
    return bytes((number + 1,)) * 8


def _sample(kind: ProbeType, sequence: int, *, nominate: bool = False, path: bytes = bytes(6)) -> bytes:
    codec = PairCodec(KEY, attempt_of(0), True)
    return codec.encode_probe(Probe(kind, sequence, bytes(8), PEERS[0], nominate, path))


SAMPLES = (
    _sample(ProbeType.PROBE, 1),
    _sample(ProbeType.PROBE, 1 << 31, nominate=True),
    _sample(ProbeType.PROBE_ACK, 2),
    _sample(ProbeType.PROBE_ACK, 2, nominate=True),
    _sample(ProbeType.BYE, (1 << 32) - 1),
    _sample(ProbeType.PROBE, 7, path=attempt_of(0)[:6]),
    PairCodec(KEY, attempt_of(0), True).encode_data(Data(0, b"data")),
    PairCodec(KEY, attempt_of(0), True).encode_data(Data(1 << 47, b"")),
)
"""Datagrams of a peer."""


class Player:
    """
    One side, and a peer that sends what a script says.

    :ivar delivered: the numbers of the data that was delivered, which the payloads repeat.
    """

    def __init__(self, first: int) -> None:
        self.controlling = bool(first & 1)
        self.strategy = (Strategy.DIRECT, Strategy.BIRTHDAY, Strategy.RELAY, Strategy.DIRECT)[first >> 1 & 3]
        self.mapping = NatMapping.ENDPOINT_DEPENDENT if first & 8 else NatMapping.ENDPOINT_INDEPENDENT
        self.now = 0.0
        self.punchers: list[Puncher] = []
        self.path: Path | None = None
        self.locals: dict[str, Local] = {}
        self.asked: list[Send] = []
        self.recorded: list[tuple[str, bytes]] = []
        self.delivered: set[bytes] = set()
        self.begin()

    def begin(self) -> None:
        """Begin an attempt, which goes on with the path if there is one."""
        number = len(self.punchers)
        name = bytes(6) if self.path is None else self.path.name
        puncher = Puncher(
            PairCodec(KEY, attempt_of(number), self.controlling),
            Random(number),
            attempt=attempt_of(number),
            controlling=self.controlling,
            path=name if self.controlling else bytes(6),
            known=() if self.controlling or self.path is None else (name,),
        )
        self.punchers.append(puncher)
        self.round(puncher, 1)

    def round(self, puncher: Puncher, number: int) -> None:
        """Begin a round."""
        attempt = self.punchers.index(puncher)
        new = [Local(f"ipv4-{attempt}-{number}"), Local(f"ipv6-{attempt}-{number}", ipv6=True)]
        new.append(Local(f"relay-{attempt}", relayed=True))
        self.locals |= {local.name: local for local in new}
        candidates = [Candidate(CandidateKind.SERVER_REFLEXIVE, address) for address in PEERS[:4]]
        begun = Round(number, 0.0, candidates, new, self.strategy, self.mapping, NatMapping.ENDPOINT_DEPENDENT)
        self.do(puncher, puncher.begin(self.now, begun))

    def act(self, action: int, data: bytes) -> None:
        """Do what a record says."""
        match action & 7:
            case 0 | 1 | 2:
                self.receive(action >> 3, self.forged(data, action >> 3))
            case 3 if self.asked:
                self.receive(action >> 3, self.acknowledgement(self.asked[-1 - (action >> 3) % len(self.asked)], data))
            case 4:
                self.wait(PAUSES[action >> 3 & 7])
            case 5 if self.recorded:
                self.again(*self.recorded[action % len(self.recorded)], data)
            case 6 if len(self.punchers) < 16 and self.path is not None:
                self.begin()
            case 7 if self.path is not None:
                self.do(None, self.path.close(self.now) if action == 255 else self.path.send(self.now, data))
            case _:
                self.receive(action >> 3, data)

    def forged(self, data: bytes, choice: int) -> bytes:
        """:returns: a datagram for the newest attempt or an earlier one, with a MAC that holds."""
        number = (len(self.punchers) - 1 - (choice >> 2)) % len(self.punchers)
        if data[1:2] in (b"\x20", b"\x21"):
            body = b"\x0b" + (b"\x21" if self.controlling else b"\x20") + data[2:8].ljust(6, b"\0")
            # The payload is the number, so that one that is delivered twice shows.
            return body + body[2:8] + mac(_DATA_KEY, body + body[2:8])
        body = data[:48].ljust(48, b"\0")
        flags = body[3] & 0xFE | (not self.controlling)
        body = b"\x0b" + body[1:2] + bytes((0, flags)) + attempt_of(number) + body[12:]
        return body + mac(_PROBE_KEY, body)

    def acknowledgement(self, sent: Send, data: bytes) -> bytes:
        """:returns: the answer to a probe of this side."""
        flags = bytes((0, (not self.controlling) | sent.datagram[3] & 2))
        body = b"\x0b\x90" + flags + sent.datagram[4:12] + data[:4].rjust(4, b"\0") + sent.datagram[16:48]
        return body + mac(_PROBE_KEY, body)

    def receive(self, choice: int, datagram: bytes) -> None:
        """Have a datagram arrive."""
        names = list(self.locals)
        local, source = names[-1 - choice % min(3, len(names))], PEERS[choice % len(PEERS)]
        if choice & 16:
            source = (source[0], 1024 + len(self.recorded) % 60000)
        self.recorded = [*self.recorded[-99:], (local, datagram)]
        sent = self.take(local, datagram, source)
        assert len([each for each in sent if isinstance(each, Send)]) <= MAX_SENT, sent

    def again(self, local: str, datagram: bytes, data: bytes) -> None:
        """Have a copy arrive: it does nothing at all."""
        source = PEERS[len(data) % len(PEERS)]
        windows = [puncher.checks._window._largest for puncher in self.punchers]
        assert self.take(local, datagram, source) == [], datagram
        assert windows == [puncher.checks._window._largest for puncher in self.punchers]

    def take(self, name: str, datagram: bytes, source: Address) -> list[Action]:
        """Give a datagram to the path, and to the newest attempt while it has not connected."""
        done: list[Action] = []
        local = self.locals.get(name)
        if local is None:
            return done
        newest = self.punchers[-1]
        if self.path is not None:
            done += self.do(None, self.path.receive(self.now, local, datagram, source))
        if newest.connected is None:
            done += self.do(newest, newest.receive(self.now, local, datagram, source))
        return done

    def wait(self, seconds: float) -> None:
        """Let time pass, and do what is due."""
        end, ticks = self.now + seconds, 0
        while ticks < 5000:
            newest = self.punchers[-1]
            targets: list[tuple[Puncher | None, Puncher | Path]] = [] if self.path is None else [(None, self.path)]
            targets += [(newest, newest)] if newest.connected is None else []
            due = [(at, owner, target) for owner, target in targets if (at := target.due()) is not None]
            at, owner, target = min(due, key=lambda each: each[0], default=(end + 1, None, newest))
            if at > end:
                break
            self.now = max(self.now, at)
            self.do(owner, target.tick(self.now))
            again = target.due()
            assert again is None or again > self.now - 1e-9
            ticks += 1
        assert ticks < 5000, "there is always something due"
        self.now = end

    def do(self, puncher: Puncher | None, actions: list[Action]) -> list[Action]:
        """:returns: the actions, which are carried out."""
        for action in actions:
            match action:
                case Send(_, _, datagram, _) if len(datagram) == 64 and datagram[1] == ProbeType.PROBE:
                    self.asked = [*self.asked[-19:], action]
                case Deliver(payload):
                    assert payload not in self.delivered, payload
                    self.delivered.add(payload)
                case Connected(path=path) if puncher is not None:
                    self.connected(puncher, path)
                case NextRound(number) if puncher is not None:
                    self.round(puncher, number)
                case OpenSockets(count) if puncher is not None:
                    new = [Local(f"birthday-{n}", birthday=True) for n in range(min(count, 32))]
                    puncher.add_locals(self.now, new)
                case Release(locals):
                    for local in locals:
                        self.locals.pop(local.name, None)
        return actions

    def connected(self, puncher: Puncher, path: bytes) -> None:
        """Go on with a path, or begin one."""
        if self.path is not None and path == self.path.name:
            self.do(None, self.path.join(self.now, puncher))
        elif self.path is None:
            self.path = Path(puncher, Random(1))
            self.do(None, self.path.start(self.now))

    def end(self) -> None:
        """
        Look at what is left.

        :raises AssertionError: if that is too much.
        """
        for puncher in self.punchers:
            # Candidates for each endpoint, those of birthday probing, and those that only the peer has shown.
            most = (MAX_CANDIDATES * 3) + 256 + MAX_PEER_REFLEXIVE
            assert len(puncher.checks.pairs) <= most, len(puncher.checks.pairs)
            assert len(puncher.checks._outstanding) <= MAX_OUTSTANDING
            assert {id(pair) for pair in puncher._schedule.pairs()} <= {
                id(pair) for pair in puncher.checks.pairs.values()
            }
        if self.path is not None:
            assert len(self.path._attempts) <= MAX_ATTEMPTS


def play(script: bytes) -> None:
    """
    Play a script to a new side.

    :raises AssertionError: if the side does what it may not.
    """
    player = Player(script[0] if script else 0)
    for action, data in records(script):
        player.act(action, data)
        if player.path is not None and player.path.ended:
            break
    player.end()
    player.wait(1.0)
