"""Tests of :mod:`rendezvous.udp.fast` and of deciding together: what a batch has that one datagram has not."""

from __future__ import annotations

import errno
import socket
import sys
from collections import Counter, deque
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.macs import datagram_key
from rendezvous.core.presence.presence import Presence
from rendezvous.testing import MemoryServer
from rendezvous.udp import fast, vectorized
from rendezvous.udp.fast import BATCHES, FastPort, OneByOne
from rendezvous.udp.mmsg import MAX_REPLY, SIZE, load_calls
from rendezvous.udp.port import DATAGRAMS_A_TURN
from rendezvous.udp.protocol import RendezvousDatagrams
from rendezvous.udp.shared import Drop
from rendezvous.wire import stun
from rendezvous.wire.signed import Request, encode_request
from tests._live_table import clients
from tests._memory_fast import FastMemoryPort, FastMemoryReactor, fast_server
from tests.small_server import SAMPLES, SOURCES, SmallServer

ON_TIME, UNKNOWN = (1020).to_bytes(4, "big"), (1060).to_bytes(4, "big")
BINDING = bytes.fromhex("000100002112a442") + b"transactions"
HOME, AWAY, FAR = ("192.0.2.1", 4000), ("198.51.100.7", 5000), ("2001:db8::1", 6000)

Address = tuple[str, int]


class BatchCase(SynchronousTestCase):
    """A server on the fast path with some clients."""

    family = socket.AF_INET6

    def setUp(self) -> None:
        """Start it."""
        self.start()

    def start(self, **settings: Any) -> None:
        """Start a server in the place of the one before."""
        self.reactor = FastMemoryReactor(self.family)
        self.server = fast_server(self.reactor, **settings)
        self.addCleanup(self.server.stop)
        self.keys = [self.server.register()[1] for _ in range(20)]

    @property
    def port(self) -> FastMemoryPort:
        """:returns: the first UDP port."""
        port = self.reactor.udp_ports[0]
        assert isinstance(port, FastMemoryPort)
        return port

    def deliver(self, datagrams: list[tuple[bytes, Address]]) -> list[tuple[bytes, Address]]:
        """:returns: the replies to datagrams that arrive before the port is read."""
        before = len(self.port.sent)
        self.port.deliver_all(datagrams)
        return self.port.sent[before:]

    def dropped(self) -> dict[str, int]:
        """:returns: what was dropped so far."""
        shared = self.port_protocol().shared
        return {reason: count for reason, count in shared.counters.family("dropped datagrams").items() if count}

    def presence(self) -> Presence:
        """:returns: the live table."""
        store: Any = self.server.rendezvous.store
        table: Presence = store.tables.presence
        return table

    def port_protocol(self) -> RendezvousDatagrams:
        """:returns: the protocol of the first UDP port."""
        [reader] = [each for each in self.reactor.getReaders() if each.fileno() == self.port.handle.fileno()]
        assert isinstance(reader, FastPort)
        assert isinstance(reader.protocol, RendezvousDatagrams)
        return reader.protocol


class MixedTests(BatchCase):
    """Batches of every kind of datagram at once."""

    def test_all_pulses(self) -> None:
        """First pulses, then steady ones, then moves, of a whole batch: each is on time and leads to its client."""
        for sources in ([HOME] * 20, [HOME] * 20, [(AWAY[0], 1000 + number) for number in range(20)]):
            sent = self.deliver(list(zip(self.keys, sources, strict=True)))
            self.assertEqual(Counter(sent), Counter((ON_TIME, source) for source in sources))
        found = {client.port for client in clients(self.presence())}
        self.assertEqual(found, set(range(1000, 1020)))

    def test_every_protocol_in_one_batch(self) -> None:
        """Known and unknown keys, STUN with attributes and without, the tracker, and what nothing reads."""
        with_attribute = stun.encode(
            stun.Message(stun.BINDING, stun.MessageClass.REQUEST, b"transactions", ((0x8022, "client"),))
        )
        datagrams = [(self.keys[number], HOME) for number in range(10)]
        datagrams[1:1] = [(BINDING, AWAY), (b'{"action":"alive"}', HOME), (b"", HOME), (bytes(32), AWAY)]
        datagrams[8:8] = [(BINDING, FAR), (with_attribute, AWAY), (b"x" * 20, AWAY), (b"x" * 3000, HOME)]
        sent = Counter(self.deliver(datagrams))
        plain = stun.answer(BINDING, AWAY)
        assert plain is not None
        self.assertEqual(sent[(ON_TIME, HOME)], 10)
        self.assertEqual(sent[(UNKNOWN, AWAY)], 1)
        self.assertEqual(sent[(plain, AWAY)], 2)
        self.assertEqual(sum(reply == stun.answer(BINDING, to) for reply, to in sent if to == FAR), 1)
        self.assertEqual(sent[(b'{"action":"expired"}', HOME)], 1)
        self.assertEqual(sum(sent.values()), 15)
        self.assertEqual(self.dropped(), {Drop.UNREADABLE: 3})

    def test_unknown_keys_and_what_is_as_long(self) -> None:
        """Datagrams of 32 bytes: keys of no client are answered 1060; Bindings and tracker requests as such."""
        with_attribute = stun.encode(
            stun.Message(stun.BINDING, stun.MessageClass.REQUEST, b"transactions", ((0x8022, "clients."),))
        )
        alive = b'{"action":"alive"}'.ljust(32)
        self.assertEqual({len(with_attribute), len(alive)}, {32})
        unknown = [(bytes([number]) * 32, AWAY) for number in range(1, 21)]
        binding = stun.answer(with_attribute, HOME)
        assert binding is not None
        answers = Counter({(UNKNOWN, AWAY): 20, (binding, HOME): 1, (b'{"action":"expired"}', HOME): 1})
        for others in ([], [(BINDING, FAR)]):
            sent = Counter(self.deliver([(with_attribute, HOME), *unknown, (alive, HOME), *others]))
            self.assertEqual(Counter({each: count for each, count in sent.items() if each[1] != FAR}), answers)

    def test_first_pulses_record_where_each_came_from(self) -> None:
        """Host and port, on a socket of either family; and a pulse from there is on time again."""
        self.start()
        places = {key: (f"198.51.100.{number}", 5000 + 7 * number) for number, key in enumerate(self.keys, 1)}
        for _ in range(2):
            sent = self.deliver(list(places.items()))
            self.assertEqual(Counter(sent), Counter((ON_TIME, place) for place in places.values()))
            found = {(client.host, client.port) for client in clients(self.presence())}
            self.assertEqual(found, set(places.values()))

    def test_bindings_of_another_length_are_no_plain_ones(self) -> None:
        """Cut off or with bytes behind them, among Bindings that are whole: dropped and counted, as one by one."""
        for length in (8, 12, 19, 21):
            cut = BINDING.ljust(21, b"\0")[:length]
            self.start()
            sent = self.deliver([(BINDING, HOME)] * 15 + [(cut, AWAY)] * 2)
            self.assertEqual([to for _, to in sent], [HOME] * 15)
            self.assertEqual(sum(self.dropped().values()), 2)

    def test_every_size(self) -> None:
        """Batches of 1 to 600 datagrams, kinds in turn, are answered whole."""
        for size in (1, 2, 7, 8, 9, 127, 128, 129, 255, 256, 257, 600):
            kinds = [(self.keys[0], HOME), (BINDING, AWAY), (bytes(32), FAR)]
            self.start(udp_rate=0.0, no_source_limits=True)
            kinds[0] = (self.keys[0], HOME)
            sent = self.deliver([kinds[number % 3] for number in range(size)])
            self.assertEqual(len(sent), size)
            for number, source in enumerate((HOME, AWAY, FAR)):
                self.assertEqual(sum(to == source for _, to in sent), len(range(number, size, 3)))

    def test_key_twice_in_a_batch(self) -> None:
        """Both are answered where they came from, and the client is where the last came from."""
        key = self.keys[0]
        filler = [(other, HOME) for other in self.keys[1:]]
        sent = self.deliver([(key, HOME), *filler, (key, AWAY)])
        self.assertEqual(len(sent), 21)
        self.assertEqual([to for _, to in sent if to == AWAY], [AWAY])
        self.assertEqual([client.port for client in clients(self.presence())].count(AWAY[1]), 1)

    def test_rate_limit_holds_within_a_batch(self) -> None:
        """Of 30 Bindings from one address five are answered, and of another's five all; what is dropped is counted."""
        self.start(udp_rate=2.5, no_source_limits=False)
        sent = self.deliver([(BINDING, HOME)] * 30 + [(BINDING, AWAY)] * 5)
        self.assertEqual(Counter(to for _, to in sent), {HOME: 5, AWAY: 5})
        self.assertEqual(self.dropped(), {Drop.RATE_LIMIT: 25})

    def test_requests_of_one_source_take_tokens_in_their_order(self) -> None:
        """Five requests that are not decided together come first, so the Bindings behind them find no tokens left."""
        self.start(udp_rate=2.5, no_source_limits=False)
        alive = b'{"action":"alive"}'
        sent = self.deliver([(alive, HOME)] * 5 + [(BINDING, HOME)] * 9 + [(BINDING, AWAY)] * 9)
        self.assertEqual(Counter((reply[:1], to) for reply, to in sent), {(b"{", HOME): 5, (b"\x01", AWAY): 5})
        self.assertEqual(self.dropped(), {Drop.RATE_LIMIT: 13})

    def test_pulses_of_one_client_keep_their_order(self) -> None:
        """A client that moves and comes back is where its last pulse came from, in either form of a pulse."""
        for there in (self.keys[0], self.keys[0].hex().encode()):
            self.deliver([(key, HOME) for key in self.keys])
            self.deliver([(self.keys[0], HOME), (there, AWAY), *[(key, HOME) for key in self.keys]])
            self.assertEqual({client.port for client in clients(self.presence())}, {HOME[1]})

    def test_client_that_moves_too_often_is_not_answered(self) -> None:
        """Of 24 moves of each client in a second ten are taken, as one by one; the others are counted."""
        for number in range(24):
            self.deliver([(key, (HOME[0], 1000 + number)) for key in self.keys])
        self.assertEqual({client.port for client in clients(self.presence())}, {1009})
        self.assertEqual(self.dropped(), {Drop.PULSE_LIMIT: 14 * 20})

    def test_nothing_is_answered_while_the_server_is_stopped(self) -> None:
        """What is on is asked for with each batch: neither pulses nor Bindings are taken, until it runs again."""
        datagrams = [(key, HOME) for key in self.keys] + [(BINDING, AWAY)] * 5
        shared = self.port_protocol().shared
        shared.run(is_running=False)
        self.assertEqual(self.deliver(datagrams), [])
        self.assertEqual(self.dropped(), {Drop.STORE_UNAVAILABLE: 25})
        shared.run(is_running=True)
        self.assertEqual(len(self.deliver(datagrams)), 25)

    def test_protocols_that_are_off(self) -> None:
        """Pulses without the rendezvous protocol, Bindings without STUN: dropped and counted, as one by one."""
        for off, answered in (("rendezvous", 5), ("stun", 20)):
            self.start(without=[off])
            sent = self.deliver([(key, HOME) for key in self.keys] + [(BINDING, AWAY)] * 5)
            self.assertEqual(len(sent), answered)
            self.assertEqual(sum(self.dropped().values()), 25 - answered)

    def test_late_pulses_in_a_batch(self) -> None:
        """A client that is late has to verify, while the others of the batch are on time."""
        self.deliver([(key, HOME) for key in self.keys])
        self.server.reactor.advance(20)
        self.deliver([(key, HOME) for key in self.keys[1:]])
        self.server.reactor.advance(20)
        sent = Counter(self.deliver([(key, HOME) for key in self.keys]))
        self.assertEqual(sent, {(ON_TIME, HOME): 19, ((1050).to_bytes(4, "big"), HOME): 1})


class IPv4MixedTests(MixedTests):
    """The same on a socket of IPv4 alone, to which an IPv6 source cannot send."""

    family = socket.AF_INET

    def deliver(self, datagrams: list[tuple[bytes, Address]]) -> list[tuple[bytes, Address]]:
        """Give the IPv6 source an IPv4 address meanwhile."""
        there, back = {FAR: ("203.0.113.9", 6000)}, {("203.0.113.9", 6000): FAR}
        sent = super().deliver([(datagram, there.get(source, source)) for datagram, source in datagrams])
        return [(self.as_from(reply, back.get(to, to)), back.get(to, to)) for reply, to in sent]

    def as_from(self, reply: bytes, to: Address) -> bytes:
        """:returns: a reply of STUN as it were for the other address, if it is right for its own."""
        if to == FAR and reply == stun.answer(BINDING, ("203.0.113.9", 6000)):
            answer = stun.answer(BINDING, FAR)
            assert answer is not None
            return answer
        return reply


class OtherTableTests(MixedTests):
    """The same where the live table is not one in columns, as that of another package's store may be."""

    def setUp(self) -> None:
        """Have the table not be recognised."""
        self.patch(fast, "Presence", type("Other", (), {}))
        super().setUp()


class NoNumPyTests(MixedTests):
    """The same without NumPy."""

    def setUp(self) -> None:
        """Have it not be found."""
        modules: dict[str, Any] = sys.modules
        self.addCleanup(modules.__setitem__, vectorized.__name__, vectorized)
        modules[vectorized.__name__] = None
        super().setUp()
        [reader] = [each for each in self.reactor.getReaders() if each.fileno() == self.port.handle.fileno()]
        assert isinstance(reader, FastPort)
        self.assertIsInstance(reader._decide, OneByOne)


class FaultTests(BatchCase):
    """What goes wrong costs what it concerns, and never the port."""

    def deliver_keys(self) -> int:
        """:returns: how many of twenty pulses were answered."""
        return len(self.deliver([(key, HOME) for key in self.keys]))

    def test_reply_that_cannot_be_sent_is_counted(self) -> None:
        """The pulse counts all the same."""
        self.deliver_keys()
        self.reactor.system.errors.extend([0, 0, errno.ENOBUFS])
        # The first errors are met by the datagrams as they are received.
        self.reactor.system.errors.extendleft([0] * 20)
        self.assertEqual(self.deliver_keys(), 19)
        self.assertEqual(self.dropped(), {Drop.UNSENDABLE: 1})

    def test_only_long_datagrams_are_sent_in_fragments(self) -> None:
        """Linux draws an identification for each datagram that may be sent in fragments."""
        discovery, handle = (socket.IPPROTO_IP, 10), self.port.handle
        never, if_needed = 3, 1
        self.assertEqual(handle.options, {discovery: never})
        transport: Any = self.port_protocol().transport
        for size in (MAX_REPLY, MAX_REPLY + 1, MAX_REPLY):
            transport.write(bytes(size), AWAY)
        self.assertEqual(
            [(len(datagram), options[discovery]) for datagram, options in handle.sent_with],
            [(MAX_REPLY, never), (MAX_REPLY + 1, if_needed), (MAX_REPLY, never)],
        )

    def test_error_of_receiving_is_counted(self) -> None:
        """The next wake-up takes what was waiting."""
        self.reactor.system.errors.append(errno.ENOMEM)
        self.assertEqual(self.deliver_keys(), 20)
        self.assertEqual(self.dropped(), {Drop.UNRECEIVABLE: 1})

    def test_fault_of_ours_is_logged_and_the_next_batch_is_taken(self) -> None:
        """What decides raises: the batch is lost, and not the port."""
        self.deliver_keys()
        [reader] = [each for each in self.reactor.getReaders() if each.fileno() == self.port.handle.fileno()]
        decide = reader._decide
        self.patch(reader, "_decide", lambda rows, now: 1 // 0)
        self.assertEqual(self.deliver_keys(), 0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.patch(reader, "_decide", decide)
        self.assertEqual(self.deliver_keys(), 20)

    def test_wake_up_takes_a_bounded_number(self) -> None:
        """A queue that never runs dry is left to the next wake-up, so that timers and HTTP have their turn."""
        queue = self.reactor.system.waiting.setdefault(self.port.handle.fileno(), deque())
        self.deliver([(self.keys[0], HOME)])
        [source] = self.port.given
        queue.extend([(self.keys[0], source)] * (SIZE * BATCHES + 5))
        [reader] = [each for each in self.reactor.getReaders() if each.fileno() == self.port.handle.fileno()]
        reader.doRead()
        self.assertEqual(len(queue), 5)

    def test_wake_up_ends_early_where_much_is_handed_over(self) -> None:
        """A batch of datagrams that nothing decides together is the last of its turn: each may cost much more."""
        queue = self.reactor.system.waiting.setdefault(self.port.handle.fileno(), deque())
        self.deliver([(self.keys[0], HOME)])
        [source] = self.port.given
        queue.extend([(b"{}", source)] * (3 * SIZE))
        [reader] = [each for each in self.reactor.getReaders() if each.fileno() == self.port.handle.fileno()]
        reader.doRead()
        self.assertEqual(len(queue), 2 * SIZE)
        # The next batches are smaller, until one has few of them.
        reader.doRead()
        self.assertEqual(len(queue), 2 * SIZE - DATAGRAMS_A_TURN)
        queue.clear()
        queue.extend([(self.keys[0], source)] * (DATAGRAMS_A_TURN + 3 * SIZE))
        reader.doRead()
        self.assertEqual(len(queue), 2 * SIZE)


class LifeTests(SynchronousTestCase):
    """Opening and closing a port."""

    def test_port_closes(self) -> None:
        """The reactor reads it no longer, and the protocol has no transport to send by."""
        reactor = FastMemoryReactor()
        server = fast_server(reactor, udp_port=5024)
        [port] = reactor.udp_ports
        self.assertEqual(len(reactor.getReaders()), 1)
        server.stop()
        self.assertEqual(reactor.getReaders(), [])
        self.assertFalse(port.listening)

    def test_without_system_calls_the_port_is_portable(self) -> None:
        """It is what the reactor opens, and nothing else is read."""
        reactor = FastMemoryReactor()
        server = MemoryServer(reactor)
        self.addCleanup(server.stop)
        self.assertEqual(reactor.getReaders(), [])
        self.assertIsInstance(reactor.udp_ports[0].protocol, RendezvousDatagrams)


bindings = st.builds(lambda identifier: BINDING[:8] + identifier, st.binary(min_size=12, max_size=12))
kinds = st.one_of(
    st.sampled_from(["key", "stranger", "hex"]),
    st.integers(-3, 15_001),
    st.sampled_from(SAMPLES),
    st.binary(max_size=80),
    bindings,
)
#: Requests that take tokens, none of which causes an answer to another source.
requests = st.sampled_from([each for each in SAMPLES if each[:2] == b"\0\1"])
paying = st.one_of(bindings, bindings, requests, st.just("key"), st.just("hex"), st.integers(0, 9))
batches = st.lists(st.tuples(kinds, st.sampled_from([s for s in SOURCES if "%" not in s[0]])), max_size=40)


class SameTests(SynchronousTestCase):
    """Any batch is answered as its datagrams are one by one on the portable path."""

    @given(st.lists(batches, max_size=4), st.sampled_from([1, 8]))
    def test_batches_are_answered_as_one_by_one(self, script: list[Any], few: int) -> None:
        """The same replies go to each source, and the same is counted as dropped."""
        self.compare(script, few, rate=0.0)

    @given(
        st.lists(st.lists(st.tuples(paying, st.sampled_from(SOURCES[:3:2])), max_size=60), max_size=3),
        st.sampled_from([1, 8]),
    )
    def test_limits_refuse_the_same(self, script: list[Any], few: int) -> None:
        """Each source has the same requests answered, with a burst of 40."""
        self.compare(script, few, rate=10.0)

    def compare(self, script: list[Any], few: int, rate: float) -> None:
        """Give a script of batches to both."""
        self.patch(vectorized, "FEW", few)
        plain, fast = SmallServer(rate=rate), SmallServer(FastMemoryReactor(), rate=rate)
        given: list[bytes] = []
        before = attrs.evolve(plain.shared.served)
        for batch in script:
            datagrams = [(_bytes(kind, plain), source) for kind, source in batch]
            given += [datagram for datagram, _ in datagrams]
            for datagram, source in datagrams:
                plain.ports[0].deliver(datagram, source)
            port = fast.ports[0]
            assert isinstance(port, FastMemoryPort)
            port.deliver_all(datagrams)
        for ours, theirs in zip(fast.ports, plain.ports, strict=True):
            self.assertEqual(Counter(ours.sent), Counter(theirs.sent))
        self.assertEqual(fast.shared.counters.totals(), plain.shared.counters.totals())
        self.assertEqual(fast.shared.served, plain.shared.served)
        served = plain.shared.served
        self.assertEqual(served.received - before.received, sum(len(datagram) for datagram in given))
        sent = sum(len(datagram) for port in plain.ports for datagram, _ in port.sent)
        self.assertEqual(served.sent - before.sent, sent)
        found = [list(clients(each.store.tables.presence)) for each in (fast, plain)]
        self.assertEqual(*found)
        self.assertEqual(self.flushLoggedErrors(), [])


def _bytes(kind: str | bytes | int, server: SmallServer) -> bytes:
    """:returns: a datagram; a number stands for a signed pulse that is so many ms ahead of the server."""
    key = server.key
    if isinstance(kind, int):
        time = round(server.clock.seconds() * 1000) + kind
        return encode_request(Request(server.client_id, time, b"nonce..8"), datagram_key(key))
    if isinstance(kind, bytes):
        return kind
    return {"key": key, "stranger": bytes(32), "hex": key.hex().encode()}[kind]


class RealTests(SynchronousTestCase):
    """The system calls are there on Linux, where the fast path is what runs."""

    def test_linux_has_the_fast_path(self) -> None:
        """The machine that the tests run on is one, or is none of Linux."""
        self.assertIs(load_calls() is not None, sys.platform == "linux")
