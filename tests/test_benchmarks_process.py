"""Tests of the programs in C that the benchmarks use: a load generator that miscounts would spoil every result."""

from __future__ import annotations

import contextlib
import os
import socket
from collections import Counter
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import scrape
from benchmarks.full import TURNS, read_turns, reset_turns
from benchmarks.native import SIGNED, Server, build, c_echo, load, python_server, write_datagrams
from benchmarks.sockets import SETTINGS, exchange
from rendezvous.clock import wall_clock
from rendezvous.core.macs import is_authentic
from rendezvous.wire.signed import decode_request

CORE = 0
KEYS = [(1020).to_bytes(4, "big") + bytes(28), (1060).to_bytes(4, "big") + bytes(28)]


class _ProgramCase(SynchronousTestCase):
    """The programs, compiled."""

    def setUp(self) -> None:
        """Compile them."""
        reason = build()
        if reason:
            if os.environ.get("CI") == "true":
                self.fail(f"benchmarks cannot be run: {reason}")
            raise SkipTest(reason)


class LoadTests(_ProgramCase):
    """The load generator and the echo."""

    def setUp(self) -> None:
        """Start the echo."""
        super().setUp()
        running = contextlib.ExitStack()
        self.addCleanup(running.close)
        self.echo = running.enter_context(c_echo(CORE))

    def keys(self) -> Path:
        """:returns: a file of two keys."""
        return write_datagrams(Path(self.mktemp()), KEYS)

    def test_replies_are_counted_by_their_first_bytes(self) -> None:
        """Two keys in turn, 1000 replies: half of them begin with the one and half with the other, and none is lost."""
        found = load(self.echo, CORE, "-c", 1000, "-t", 20, keys=self.keys(), first_port=0)
        self.assertEqual((found.codes, found.lost), ({"1020": 500, "1060": 500}, 0.0))
        self.assertEqual((found.other_than("1020"), found.other_than("1050")), (0.5, 1.0))
        self.assertGreater(found.cpu, 0.0)
        self.assertTrue(0.0 < found.p50 <= found.p99 <= found.p999)

    def test_each_client_has_one_socket(self) -> None:
        """The datagrams are those of the file, in its order; with two sockets each key comes from its own."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))
            found = load(
                Server(server.getsockname()[1], os.getpid()),
                CORE,
                "-r",
                1000,
                "-t",
                1.5,
                "-s",
                2,
                keys=self.keys(),
                first_port=0,
            )
            server.setblocking(False)
            received = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    received.append(server.recvfrom(64))
        # Of 1500: the machine may have other things to do.
        self.assertGreaterEqual(len(received), 50)
        self.assertEqual([key for key, _ in received[:50]], KEYS * 25)
        self.assertEqual(len(Counter(received)), 2)
        self.assertEqual((found.codes, found.lost), ({}, 1.0))

    def test_bindings_differ(self) -> None:
        """Without keys it sends STUN Bindings of 20 bytes, each with a transaction id of its own."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))
            load(Server(server.getsockname()[1], os.getpid()), CORE, "-r", 1000, "-t", 1.5, first_port=0)
            server.setblocking(False)
            received = [server.recv(64) for _ in range(20)]
        self.assertEqual({each[:8] for each in received}, {bytes.fromhex("000100002112a442")})
        self.assertEqual((len(set(received)), {len(each) for each in received}), (20, {20}))

    def test_signed_pulses_are_those_of_the_protocol(self) -> None:
        """Each has a MAC that holds, the time of the machine, and a later time than the last one of its client."""
        signers = [(bytes([number]) * 16, bytes([number]) * 32) for number in (1, 2)]
        path = write_datagrams(Path(self.mktemp()).with_suffix(SIGNED), map(b"".join, signers))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))
            began = round(wall_clock() * 1000)
            load(Server(server.getsockname()[1], os.getpid()), CORE, "-r", 1000, "-t", 1.5, keys=path, first_port=0)
            server.setblocking(False)
            received = [server.recv(128) for _ in range(50)]
        requests = list(map(decode_request, received))
        self.assertEqual([each.client_id for each in requests], [client_id for client_id, _ in signers] * 25)
        keys = dict(signers)
        self.assertTrue(
            all(is_authentic(keys[each.client_id], data) for each, data in zip(requests, received, strict=True))
        )
        for its in (requests[::2], requests[1::2]):
            times = [each.time for each in its]
            self.assertEqual(times, sorted(set(times)))
            self.assertTrue(all(abs(time - began) < 10_000 for time in times))
        self.assertEqual(len({each.nonce for each in requests}), 50)


class ScrapeTests(_ProgramCase):
    """The server of the benchmark of scrapes."""

    def test_tables_are_full_and_turns_are_measured(self) -> None:
        """Each table but those of attempts and sockets is full; the turns of a scrape take time, and are reset."""
        turns, token = Path(self.mktemp()), Path(self.mktemp())
        turns.write_bytes(bytes(TURNS.size))
        token.touch(0o600)
        token.write_text(scrape.TOKEN, encoding="ascii")
        settings = {"max_offers": 200, "max_tracker_peers": 300, "max_waiting": 100, "max_clients": 1001}
        with python_server(
            "scraped", None, 1000, turns=str(turns.absolute()), pulsed=1, admin_token_file=str(token), **settings
        ) as server:
            reset_turns(turns)
            text = scrape.scrape(server).decode("utf-8")
            longest, total, count, port = read_turns(turns)
        self.assertTrue(0.0 < longest <= total < 10.0)
        self.assertTrue(count >= 3 and port > 0)
        for table, entries in {"clients": 1000, "offers": 200, "tracker_peers": 300, "waiting": 100}.items():
            self.assertIn(f'rendezvous_table_entries{{table="{table}"}} {entries}.0\n', text)
        self.assertIn('rendezvous_clients{status="online"} 1000.0\n', text)


class SocketLoadTests(_ProgramCase):
    """The load of WebSockets, on a server of this revision."""

    def setUp(self) -> None:
        """Start the server."""
        super().setUp()
        running = contextlib.ExitStack()
        self.addCleanup(running.close)
        self.server = running.enter_context(python_server("http", None, **SETTINGS))

    def test_messages_are_counted_when_all_readers_have_them(self) -> None:
        """Of a topic of five, each message is received five times and counts once; no more are under way than asked."""
        for window in (1, 8):
            found = exchange(self.server, "-n", 5, "-w", window, "-u", 0, "-c", 100, "-t", 20)
            self.assertEqual(found.opened, 5)
            self.assertTrue(500 <= found.received <= 5 * (100 + window), found)
            self.assertGreater(found.messages, 0)
            self.assertTrue(0 < found.load < 1.5, found)

    def test_peer_sends_to_peer(self) -> None:
        """Of PeerJS, each message has one reader, however many peers there are."""
        found = exchange(self.server, "-j", "-n", 3, "-w", 4, "-u", 0, "-c", 100, "-t", 20)
        self.assertEqual(found.opened, 3)
        self.assertTrue(100 <= found.received <= 104, found)

    def test_sockets_without_messages_are_opened(self) -> None:
        """Without a window it opens sockets, and says how long that took."""
        for protocol in ((), ("-j",)):
            found = exchange(self.server, *protocol, "-n", 100)
            self.assertEqual((found.opened, found.received), (100, 0))
            self.assertGreater(found.openings, 10)

    def test_server_that_refuses_is_an_error(self) -> None:
        """A port where nothing listens, or an answer other than 101, is an error that says so."""
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
        error = self.assertRaises(RuntimeError, exchange, Server(port, os.getpid()), "-n", 1)
        self.assertIn("Connection refused", str(error))
        with contextlib.ExitStack() as running:
            few = running.enter_context(python_server("http", None, max_sockets=2))
            error = self.assertRaises(RuntimeError, exchange, few, "-n", 3)
        self.assertIn("503", str(error))
