"""
A server with tables for a handful, and scripts of datagrams to play to it: for tests and for the fuzzer.

A script is bytes, so that a fuzzer can change it: records of an action (1 byte), a size (2 bytes, big-endian) and as
many bytes, or as many as are left. Any bytes are a script. Equal scripts do equal things, whatever came before them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Any
from unittest.mock import patch

import attrs

from twisted.internet.task import Clock

from rendezvous.core.amplification import AmplificationLimit
from rendezvous.core.identity import Keyring, Secret
from rendezvous.core.macs import datagram_key, mac
from rendezvous.core.presence.presence import Presence
from rendezvous.core.presence.states import PulseCode, Timers
from rendezvous.core.ratelimit import RateLimit
from rendezvous.counters import DROPPED_DATAGRAMS
from rendezvous.limits import SignalingLimits
from rendezvous.settings import Settings
from rendezvous.storage.registry import memory_store
from rendezvous.testing import MemoryUDPPort
from rendezvous.udp import vectorized, workercolumns
from rendezvous.udp.fast import listen_fast
from rendezvous.udp.protocol import RendezvousDatagrams
from rendezvous.udp.shared import Datagrams, Drop
from rendezvous.wire.demux import mistakable
from rendezvous.wire.pulse import encode_reply
from rendezvous.wire.signed import Request, Short, ShortKind, encode_request, encode_short, reply_to
from rendezvous.wire.stun import BINDING, Message, MessageClass, encode
from rendezvous.wire.tracker import Dialect
from tests._memory_fast import FastMemoryPort, FastMemoryReactor
from tests._memory_workers import TwoWorkersMemoryReactor, WorkerMemoryReactor

__all__ = ["SAMPLES", "SmallServer", "as_script", "play", "records", "share_ids", "signed_again", "work"]

Source = tuple[str, int]
Record = tuple[int, bytes]

CLIENT: Source = ("192.0.2.9", 40000)
SOURCES: tuple[Source, ...] = (
    CLIENT,
    ("::ffff:198.51.100.7", 1),
    ("2001:db8::1", 65535),
    ("fe80::1%eth0", 5024),
    ("198.51.100.7", 2),
    ("10.0.0.1", 3),
    ("2001:db8:0:1::1", 4),
    ("203.0.113.1", 5),
)
#: Seconds that an action may let pass; the tracker forgets after ten, a burst is back after four.
PAUSES = (0.1, 4.0, 11.0, 400.0)

#: When a server is started.
START = 1_800_000_000
MAX_TRACKER_PEERS = 3
MAX_SOURCES = 4
ON_TIME = encode_reply(PulseCode.ON_TIME)
#: No answer is longer than an introduction with the longest multiaddr.
MAX_REPLY = 400


def counting() -> Any:
    """:returns: a source of bytes that are not random, the same for each server."""
    drawn = 0

    def draw(size: int) -> bytes:
        nonlocal drawn
        drawn += 1
        return sha256(drawn.to_bytes(8, "big")).digest()[:size]

    return draw


class SomeAttempts:
    """Attempts whose first byte says how they go on; each client that is asked for has been sent a check."""

    def __init__(self, client_id: bytes) -> None:
        self._client_id = client_id

    async def observe(
        self, client_id: bytes, attempt: bytes, round: int, time: int, port: int, address: Source, now: float
    ) -> PulseCode | None:
        """:returns: the same for the same attempt."""
        return (PulseCode.ON_TIME, PulseCode.UNKNOWN, None)[attempt[0] % 3]

    def client_of_check(self, attempt: bytes, nonce: bytes) -> bytes | None:
        """:returns: the client, or ``None``."""
        return self._client_id if attempt[0] % 2 else None

    async def take_check_answer(self, attempt: bytes, nonce: bytes, now: float) -> None:
        """Take the answer."""


class SmallServer:
    """
    All dialects on two ports, in memory, with one client that is ONLINE.

    :param reactor: one whose ports take the fast path, if they should.
    :param rate: of the limit on answers.
    :ivar client_id: the client's.
    :ivar key: the client's.
    :ivar heard: every source that has sent something.
    """

    def __init__(self, reactor: FastMemoryReactor | None = None, rate: float = 10.0) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        keyring, draw = Keyring([Secret(bytes(32))]), counting()
        self.store = memory_store(
            keyring=keyring,
            random=draw,
            timers=Timers(pulse_interval=1e6, pulse_grace=0.0),
            bounds=Settings(
                max_clients=1, max_offers=1, max_tracker_peers=MAX_TRACKER_PEERS, no_source_limits=True
            ).bounds,
            logout_memory=1.0,
            limits=SignalingLimits(),
            tracker_lifetime=10.0,
        )
        self.store.open(self.clock.seconds())
        self.client_id, self.key = keyring.draw(draw, mistakable)
        self.store.tables.presence.register(self.client_id, self.key, self.clock.seconds())
        self.limit = RateLimit(rate, 40, MAX_SOURCES)
        self.shared = Datagrams(self.store, self.clock, self.limit, amplification=AmplificationLimit(MAX_SOURCES))
        self.shared.attempts = SomeAttempts(self.client_id)
        protocols = [RendezvousDatagrams(self.shared, dialect) for dialect in Dialect]
        self.ports: Sequence[MemoryUDPPort]
        if reactor is None:
            self.ports = [MemoryUDPPort(number, protocol, "::") for number, protocol in enumerate(protocols, 5000)]
        else:
            for number, protocol in enumerate(protocols, 5000):
                listen_fast(reactor, number, protocol, reactor.system, "::")
            self.ports = reactor.udp_ports
        self.heard: set[Source] = set()
        self.deliver(self.key)

    def deliver(self, datagram: bytes, source: Source = CLIENT, port: int = 0) -> list[bytes]:
        """Have a datagram arrive, and hold all that is sent to what any of it has to be."""
        self.heard.add(source)
        replies = self.ports[port].deliver(datagram, source)
        for reply in self.take_sent():
            assert len(reply) <= len(datagram) or len(datagram) not in (32, 64) or reply[:1] != b"\0", reply
        return replies

    def deliver_all(self, datagrams: Sequence[tuple[bytes, Source]], port: int = 0) -> None:
        """Have datagrams arrive as one batch on a port that takes the fast path, decided together however few."""
        self.heard.update(source for _, source in datagrams)
        to = self.ports[port]
        assert isinstance(to, FastMemoryPort)
        with patch.object(vectorized, "FEW", 1), patch.object(workercolumns, "FEW", 1):
            to.deliver_all(datagrams)
        replies = self.take_sent()
        assert len(replies) <= 2 * len(datagrams), f"{len(replies)} replies to {len(datagrams)} datagrams"

    def table(self) -> bytes:
        """
        :returns: the records of the live table: of the client, its address and when it was last seen, and the times of
            its last signed pulses.
        """
        live = self.store.live
        assert isinstance(live, Presence)
        return bytes(live.columns.memory) + bytes(live.signed.freshness.memory)

    def take_sent(self) -> list[bytes]:
        """:returns: all that was sent since the last call, which is held to what any of it has to be."""
        replies = []
        for each in self.ports:
            for reply, destination in each.sent:
                assert destination in self.heard, f"{destination} has never said anything"
                assert len(reply) <= MAX_REPLY, f"a reply of {len(reply)} bytes"
                replies.append(reply)
            each.sent.clear()
        return replies

    def check(self) -> None:
        """Hold the tables to their bounds, and have the client pulse."""
        tracker = self.store.tables.tracker
        assert len(tracker) <= MAX_TRACKER_PEERS, f"{len(tracker)} peers in the tracker"
        assert len(tracker._by_share_id) == len(tracker), "the tracker's two tables differ"
        assert len(self.limit) <= 2 * MAX_SOURCES, f"{len(self.limit)} subscribers and sites in the limit"
        dropped = self.shared.counters.family(DROPPED_DATAGRAMS)
        assert set(dropped) <= set(Drop), dropped
        assert len(self.shared.counters.networks(DROPPED_DATAGRAMS)) <= len(SOURCES)
        assert len(self.shared.amplification) <= MAX_SOURCES, f"{len(self.shared.amplification)} addresses with credit"
        self.clock.advance(2)  # Its pulse may be a move.
        assert len(self.store.live) == 1, f"{len(self.store.live)} clients"
        assert self.deliver(self.key) == [ON_TIME], "the client's pulse was not answered"


def work(server: SmallServer, datagram: bytes, source: Source = CLIENT, port: int = 0) -> int:
    """:returns: how many calls, of Python's functions and of C's, one datagram causes."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    protocol = server.ports[port].protocol
    server.heard.add(source)
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        protocol.datagramReceived(datagram, source)
    finally:
        sys.setprofile(before)
    return calls


def records(script: bytes) -> Iterator[Record]:
    """Read a script."""
    position = 0
    while position < len(script):
        size = int.from_bytes(script[position + 1 : position + 3], "big")
        yield script[position], script[position + 3 : position + 3 + size]
        position += 3 + size


def as_script(steps: Iterable[Record]) -> bytes:
    """Write a script."""
    return b"".join(bytes((action,)) + len(data).to_bytes(2, "big") + data for action, data in steps)


def play(script: bytes) -> None:
    """
    Play a script to a new server on each path of UDP, and to others that take what comes without a pause as one batch.

    Some of them have UDP workers: two that share the sources with the server itself, or one that has all of them.

    The low three bits of an action choose the source, the next one the port, and two more a pause before it, if the
    highest is set.

    :raises AssertionError: if a server is not as it has to be afterwards, or if the paths have not answered alike.
    """
    portable, fast, batches = SmallServer(), SmallServer(FastMemoryReactor()), SmallServer(FastMemoryReactor())
    worker_batches = SmallServer(WorkerMemoryReactor())
    workers, workers_batches = SmallServer(TwoWorkersMemoryReactor()), SmallServer(TwoWorkersMemoryReactor())
    in_batches = (batches, worker_batches, workers_batches)
    batch: list[tuple[bytes, Source]] = []
    batch_port = 0
    for action, data in records(script):
        pause = PAUSES[action >> 4 & 3] if action & 0x80 else 0.0
        source, port = SOURCES[action & 7], action >> 3 & 1
        replies = []
        for server in (portable, fast, workers):
            server.clock.advance(pause)
            replies.append(server.deliver(data, source, port))
        assert replies[0] == replies[1], "the fast path answers otherwise than the portable one"
        assert replies[0] == replies[2], "a server with workers answers otherwise than one without"
        assert portable.table() == fast.table() == workers.table(), "the paths have recorded different things"
        if batch and (pause or port != batch_port):
            for server in in_batches:
                server.deliver_all(batch, batch_port)
            assert batches.table() == worker_batches.table(), "a worker has recorded something else"
            batch.clear()
        for server in in_batches:
            server.clock.advance(pause)
        batch.append((data, source))
        batch_port = port
    for server in in_batches:
        server.deliver_all(batch, batch_port)
    for server in (portable, fast, workers, *in_batches):
        server.check()


def share_ids() -> list[str]:
    """:returns: the names that a new server will draw first."""
    server = SmallServer()
    for source in SOURCES[1 : 1 + MAX_TRACKER_PEERS]:
        server.deliver(b'{"action":"announce"}', source)
    return list(server.store.tables.tracker._by_share_id)


def _binding(*attributes: tuple[int, Any], fingerprint: bool = False) -> bytes:
    return encode(Message(BINDING, MessageClass.REQUEST, bytes(range(12)), attributes, fingerprint))


def signed_again(datagram: bytes) -> bytes:
    """:returns: a datagram with the MAC of the client of every new server."""
    return datagram[:-16] + mac(_DATAGRAM_KEY, datagram[:-16])


def _signed() -> Iterator[bytes]:
    server = SmallServer()
    pulse = Request(server.client_id, START * 1000 + 5000, b"nonce..8")
    for port in (0, 1):
        yield encode_request(attrs.evolve(pulse, port=port), _DATAGRAM_KEY)
        yield encode_request(attrs.evolve(pulse, port=port, attempt=b"0ttempt!", round=1), _DATAGRAM_KEY)
    stranger = Keyring([Secret(bytes(32))]).key(bytes(16))
    yield encode_request(attrs.evolve(pulse, client_id=bytes(16)), datagram_key(stranger))
    yield reply_to(encode_request(pulse, _DATAGRAM_KEY), PulseCode.ON_TIME, CLIENT, _DATAGRAM_KEY)
    for kind in ShortKind:
        yield encode_short(Short(kind, b"attempt!", b"four"), _DATAGRAM_KEY)


def _samples() -> Iterator[bytes]:
    key = SmallServer().key
    yield from (key, key.hex().encode(), bytes(32), b"f" * 64, key.hex().upper().encode())
    yield from (_binding(), _binding(fingerprint=True), _binding((0x8022, "agent"), fingerprint=True))
    yield _binding((0x0006, "one:other"), (0x0024, 1), (0x0025, b""), (0x0008, bytes(20)), fingerprint=True)
    yield _binding((0x0003, bytes(4)), (0x7FFF, b"abc"), (0x7FFE, b""))
    yield _binding((0x0001, ("192.0.2.1", 1)), (0x0020, ("2001:db8::1", 2)), (0x0009, (420, "no")), (0x000A, (1, 2)))
    yield encode(Message(BINDING, MessageClass.INDICATION, bytes(12)))
    yield encode(Message(BINDING, MessageClass.SUCCESS, bytes(12), ((0x0020, ("192.0.2.1", 3)),), True))
    yield from (b'{"action":"announce"}', b'{"action":"alive"}', b'{"action":"pulse"}')
    yield from (b'{"action":"push","shareId":"%s"}' % share_id.encode() for share_id in share_ids())
    yield b'{"action":"pulse","override":true,"ip":"192.168.1.2","port":1}'
    yield b'{"action":"pulse","override":"true","ip":"2001:db8::1","port":"65535","multiaddr":"/ip4/1","shareId":true}'
    yield b'{"action":"pulse","shareId":true}'
    yield b'{"action":"pulse","multiaddr":"%s"}' % (b"m" * 256)
    yield b'{"action":"announced","data":{"shareId":"\\u0041","other":[1e999,-0.0,null,{}]}}'


_DATAGRAM_KEY = datagram_key(SmallServer().key)
SAMPLES: tuple[bytes, ...] = (*_samples(), *_signed())
"""Valid datagrams of every dialect, and the server's own answers."""
