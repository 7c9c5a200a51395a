"""Tests of :mod:`rendezvous.udp.protocol`: what arrives on the UDP port, through the whole service and on its own."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.bans import Bans
from rendezvous.core.presence.states import PulseCode
from rendezvous.core.ratelimit import RateLimit
from rendezvous.counters import DROPPED_DATAGRAMS
from rendezvous.errors import Unavailable
from rendezvous.testing import MemoryServer, MemoryUDPPort
from rendezvous.udp.protocol import RendezvousDatagrams
from rendezvous.udp.shared import Datagrams
from rendezvous.wire.demux import Kind, classify
from rendezvous.wire.tracker import Dialect

HOME = ("198.51.100.7", 40000)
STUN = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)
ON_TIME = (1020).to_bytes(4, "big")
VERIFY = (1050).to_bytes(4, "big")
UNKNOWN = (1060).to_bytes(4, "big")


class PulseTests(SynchronousTestCase):
    """Tests of pulses."""

    def setUp(self) -> None:
        """Start a server and register."""
        self.server = MemoryServer()
        self.addCleanup(self.server.stop)
        self.client_id, self.key, self.headers = self.server.register()

    def address(self) -> tuple[str, int]:
        """:returns: where others are told that the client is."""
        body = self.server.request("GET", f"/peer/{self.client_id}/udp", headers=self.headers).json()
        return body["host"], body["port"]

    def test_codes_are_four_bytes(self) -> None:
        """On time, late and unknown, as big-endian signed integers."""
        self.assertEqual(self.server.deliver(self.key), [ON_TIME])
        self.server.reactor.advance(34)
        self.assertEqual(self.server.deliver(self.key), [VERIFY])
        self.server.reactor.advance(210)
        self.assertEqual(self.server.deliver(self.key), [UNKNOWN])

    def test_hex_form_means_the_same(self) -> None:
        """The key as 64 hex digits, in either case, is a pulse; first or later, known or not."""
        for form in (self.key.hex(), self.key.hex().upper()):
            self.assertEqual(self.server.deliver(form.encode()), [ON_TIME])
        self.assertEqual(self.address(), HOME)
        self.assertEqual(self.server.deliver(b"0f" * 32), [UNKNOWN])

    def test_unknown_key_gets_1060(self) -> None:
        """As does a known one with a bit changed, and one that ends with a client's public id."""
        # The first byte is none that makes a datagram of another protocol, whatever was drawn.
        changed = self.key[:-1] + bytes([self.key[-1] ^ 1])
        for key in (bytes(32), b"\xff" * 32, changed, bytes(16) + bytes.fromhex(self.client_id), b"[" * 32):
            self.assertEqual(self.server.deliver(key), [UNKNOWN], key)

    def test_reply_goes_to_the_source_alone(self) -> None:
        """One datagram, to where the pulse came from."""
        self.server.deliver(self.key, ("203.0.113.5", 9))
        self.assertEqual(self.server.udp_ports[0].sent, [(ON_TIME, ("203.0.113.5", 9))])

    def test_new_source_moves_the_client(self) -> None:
        """NAT rebinding: another port or host is where the client is from now on, and so is the old one again."""
        for source in (HOME, (HOME[0], 40001), ("203.0.113.5", 40001), HOME):
            self.assertEqual(self.server.deliver(self.key, source), [ON_TIME])
            self.assertEqual(self.address(), source)

    def test_mapped_source_is_shown_as_ipv4_and_answered_as_it_came(self) -> None:
        """The socket needs the mapped form back; people and peers need the IPv4 one."""
        mapped = ("::ffff:198.51.100.7", 40000)
        for _ in range(2):
            self.assertEqual(self.server.deliver(self.key, mapped), [ON_TIME])
            self.assertEqual(self.address(), HOME)

    def test_every_port_number_is_an_address(self) -> None:
        """From the lowest to the highest."""
        for port in (0, 1, 65535):
            self.assertEqual(self.server.deliver(self.key, (HOME[0], port)), [ON_TIME])
            self.assertEqual(self.address(), (HOME[0], port))

    def test_wrong_lengths_are_dropped(self) -> None:
        """Keys a byte short or long, or of hex digits that are none, are no pulses."""
        digits = self.key.hex().encode()
        for datagram in (
            b"", self.key[:-1], self.key + b"\n", digits[:-1], digits + b"0", b"x" + digits[1:], b"\xff" * 64,
            self.key * 2,
        ):  # fmt: skip
            self.assertEqual(self.server.deliver(datagram), [], datagram)

    def test_other_dialects_get_no_pulse_code(self) -> None:
        """What is STUN or JSON by its shape is not taken for a pulse, not even with a pulse's length."""
        for datagram in (b"{" + b" " * 31, b"{" + b"0" * 63):
            self.assertNotIn(UNKNOWN, self.server.deliver(datagram))
        self.assertNotIn(UNKNOWN, self.server.deliver(STUN[:2] + b"\x00\x0c" + STUN[4:] + bytes(12)))

    @settings(max_examples=500, deadline=None)
    @given(st.one_of(st.binary(max_size=100), st.binary(min_size=32, max_size=32), st.binary(max_size=1500)))
    @example(b"")
    @example(bytes(32))
    @example(b"{")
    @example(STUN)
    @example(b"[" * 65_507)
    @example(b'{"a":' * 10_000)
    def test_any_bytes_leave_the_port_answering(self, datagram: bytes) -> None:
        """Nothing raises or is logged as a fault, only what a dialect owns is answered, and a pulse still counts."""
        replies = self.server.deliver(datagram, ("203.0.113.66", 6))
        expected: dict[Kind | None, set[int]] = {Kind.PULSE: {1}, Kind.STUN: {0, 1}, Kind.TRACKER: {0, 1}}
        kind = classify(datagram)
        self.assertIn(len(replies), expected.get(kind, {0}))
        if kind is Kind.PULSE:
            self.assertEqual(replies, [UNKNOWN])
        self.assertEqual(self.server.deliver(self.key), [ON_TIME])
        self.assertEqual(self.flushLoggedErrors(), [])

    @settings(max_examples=100, deadline=None)
    @given(st.binary(min_size=1, max_size=8), st.integers(0, 31))
    def test_no_other_key_moves_a_client(self, noise: bytes, at: int) -> None:
        """A key that is wrong anywhere is unknown, and the client stays where it is."""
        self.server.deliver(self.key)
        forged = (self.key[:at] + noise + self.key[at + len(noise) :])[:32]
        if forged != self.key:
            self.server.deliver(forged, ("203.0.113.66", 6))
        self.assertEqual(self.address(), HOME)


class _Presence:
    """A live table without clients."""

    def keep_alive(self, key: bytes, address: tuple[str, int], now: float, local_port: int) -> bool:
        return False

    def __contains__(self, key: object) -> bool:
        return False


class _Store:
    """A store whose pulse does what a test wants."""

    live: Any = _Presence()
    bans = Bans()

    def __init__(self) -> None:
        self.result: Any = PulseCode.ON_TIME

    async def pulse(self, key: bytes, address: tuple[str, int], now: float, local_port: int) -> PulseCode:
        if isinstance(self.result, Exception):
            raise self.result
        result: PulseCode = await self.result if isinstance(self.result, Deferred) else self.result
        return result


class _BrokenPort(MemoryUDPPort):
    """A port whose socket refuses to send."""

    error: Exception = OSError(101, "Network is unreachable")

    def write(self, datagram: bytes, addr: tuple[str, int] | None = None) -> None:
        raise self.error


class FaultTests(SynchronousTestCase):
    """Tests of a protocol whose store or socket fails."""

    def setUp(self) -> None:
        """Make one with a store that does as it is told."""
        self.store = _Store()
        store: Any = self.store
        shared = Datagrams(store, Clock(), RateLimit(50, 100))
        self.dropped = shared.counters.family(DROPPED_DATAGRAMS)
        self.protocol = RendezvousDatagrams(shared, Dialect.DOCUMENTED)

    def port(self, kind: type[MemoryUDPPort] = MemoryUDPPort) -> MemoryUDPPort:
        """:returns: the port that the protocol is on now."""
        return kind(5024, self.protocol, "")

    def test_store_that_is_away_is_counted(self) -> None:
        """The pulse stays without an answer, nothing is logged, and the next one is taken."""
        port = self.port()
        self.store.result = Unavailable("The store is away.")
        self.assertEqual(port.deliver(bytes(32), HOME), [])
        self.assertEqual(self.dropped, Counter({"store unavailable": 1}))
        self.store.result = PulseCode.ON_TIME
        self.assertEqual(port.deliver(bytes(32), HOME), [ON_TIME])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_store_that_fails_is_logged(self) -> None:
        """A fault is told to the log with its traceback, not raised, and the next pulse is taken."""
        port = self.port()
        self.store.result = RuntimeError("a fault")
        self.assertEqual(port.deliver(bytes(32), HOME), [])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.store.result = PulseCode.ON_TIME
        self.assertEqual(port.deliver(bytes(32), HOME), [ON_TIME])

    def test_live_table_that_fails_is_logged(self) -> None:
        """A fault on the shortest way ends the datagram, and not the port."""
        port = self.port()
        self.patch(self.protocol, "keep_alive", lambda *args: 1 // 0)
        self.assertEqual(port.deliver(bytes(32), HOME), [])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_store_that_takes_its_time_is_awaited(self) -> None:
        """The reply is sent once the store has answered, and others are served meanwhile."""
        port = self.port()
        waiting: Deferred[PulseCode] = Deferred()
        self.store.result = waiting
        self.assertEqual(port.deliver(bytes(32), HOME), [])
        self.store.result = PulseCode.UNKNOWN
        self.assertEqual(port.deliver(bytes(32), ("203.0.113.5", 9)), [UNKNOWN])
        waiting.callback(PulseCode.VERIFY)
        self.assertEqual(port.sent[-1], (VERIFY, HOME))

    def test_answer_after_the_port_was_closed_is_dropped(self) -> None:
        """Nothing is sent, and nothing raises."""
        port = self.port()
        waiting: Deferred[PulseCode] = Deferred()
        self.store.result = waiting
        port.deliver(bytes(32), HOME)
        self.successResultOf(port.stopListening())
        waiting.callback(PulseCode.ON_TIME)
        self.assertEqual(port.sent, [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_socket_that_cannot_send_is_counted(self) -> None:
        """No route, a full buffer, a firewall: the system's errors are counted and not logged one by one."""
        self.assertEqual(self.port(_BrokenPort).deliver(bytes(32), HOME), [])
        self.assertEqual(self.dropped, Counter(unsendable=1))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_any_other_error_of_sending_is_logged(self) -> None:
        """It is a fault of ours."""
        port = self.port(_BrokenPort)
        self.patch(_BrokenPort, "error", ValueError("not an address"))
        self.assertEqual(port.deliver(bytes(32), HOME), [])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_what_no_dialect_owns_is_counted(self) -> None:
        """Each such datagram counts as one that could not be read."""
        port = self.port()
        for datagram in (b"", b"hello", bytes(33)):
            self.assertEqual(port.deliver(datagram, HOME), [])
        self.assertEqual(self.dropped, Counter(unreadable=3))


class OnlineFaultTests(SynchronousTestCase):
    """Tests of the shortest way, for a client that is ONLINE, on a socket that fails."""

    def test_pulse_counts_though_its_answer_is_lost(self) -> None:
        """The client is kept alive; the reply that could not be sent is counted at the next sweep."""
        server = MemoryServer()
        self.addCleanup(server.stop)
        client_id, key, headers = server.register()
        server.deliver(key)

        def write(datagram: bytes, addr: object = None) -> None:
            raise OSError(105, "No buffer space available")

        self.patch(server.udp_ports[0], "write", write)
        server.reactor.advance(30)
        self.assertEqual(server.deliver(key), [])
        server.reactor.advance(30)
        status = server.request("GET", f"/peer/{client_id}/udp/status", headers=headers).json()
        self.assertEqual((status["status"], status["last_online"]), ("ONLINE", 30))
        self.assertEqual(self.flushLoggedErrors(), [])
