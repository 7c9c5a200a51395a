"""The judge of the attacks sees what it has to see; ``make attack`` runs the attacks themselves."""

from __future__ import annotations

import os
import signal
import time

from twisted.trial.unittest import SynchronousTestCase

from tests.attack.field import MIB, Attack, Field
from tests.attack.frames import BINARY, CLOSE, TEXT, Page, frame, handshake, publish, take
from tests.attack.innocent import KINDS
from tests.attack.load import ONE, Answer, addresses, fetch, request
from tests.attack.run import run
from tests.attack.sockets import WRONG, pour
from tests.real_server import real_server


def pause(field: Field) -> None:
    """Stop the server for a moment, write a long line into its log, and be refused as a stranger."""
    os.kill(field.server.pid, signal.SIGSTOP)
    time.sleep(0.6)
    os.kill(field.server.pid, signal.SIGCONT)
    time.sleep(0.4)
    with field.server.log_path.open("a") as log:
        log.write("x" * 30_000)
    field.expect("something holds", holds=False)


def end(field: Field) -> None:
    """Kill the server, and let the innocent client try for a while."""
    field.server.kill()
    time.sleep(1.0)


class AttackTests(SynchronousTestCase):
    """Attacks that are known to fail do fail."""

    def test_what_is_wrong_is_reported(self) -> None:
        """A server that stands still is late for every kind of request; its log, and what an attack saw, count too."""
        result = run(Attack(name="pause", what="", run=pause, memory=0 * MIB), 1.0)
        faults = "\n".join(result.faults)
        for kind in KINDS:
            self.assertIn(f"{kind}: p99 ", faults)
            self.assertGreaterEqual(result.under[kind].most, 300)
        self.assertIn("bytes logged, and 20000 are allowed", faults)
        self.assertIn("something holds", faults)
        self.assertIn("FAILED  pause", result.lines()[0])

    def test_a_server_that_stays_down_is_reported(self) -> None:
        """Requests that are not answered are counted as failed, with the reason."""
        result = run(Attack(name="end", what="", run=end), 1.0, patience=2.0)
        faults = "\n".join(result.faults)
        for kind in KINDS[1:]:
            self.assertRegex(faults, rf"{kind}: [0-9]+ failed: \S")


class LoadTests(SynchronousTestCase):
    """What makes the load."""

    def test_addresses_are_distinct_and_spread(self) -> None:
        """Each attacker has an address of its own, and they are in as many /24s as was asked for."""
        for count, sites in ((250, 1), (1000, 100), (4000, 200), (500, 0)):
            made = addresses(count, sites)
            self.assertEqual(len(set(made)), count)
            self.assertEqual(len({each.rpartition(".")[0] for each in made}), sites or count)

    def test_refused_connection_is_an_error(self) -> None:
        """A request to a closed port raises OSError."""
        self.assertRaises(OSError, fetch, 1, request("GET", "/"), ONE[0])

    def test_answer_reads_json(self) -> None:
        """The body of an answer is read as JSON when it is asked for."""
        self.assertEqual(Answer(200, b'{"a": 1}').json, {"a": 1})


class SocketTests(SynchronousTestCase):
    """What attacks WebSockets, on a server that is not attacked."""

    def test_frames_of_a_server_are_read(self) -> None:
        """Whole frames are taken off the buffer, whatever their length; the rest stays."""
        texts = [b"", b"a" * 125, b"b" * 126, b"c" * 70_000]
        lengths = [b"\x00", b"\x7d", b"\x7e" + (126).to_bytes(2, "big"), b"\x7f" + (70_000).to_bytes(8, "big")]
        wire = b"".join(b"\x81" + length + text for length, text in zip(lengths, texts, strict=True))
        buffer = bytearray(wire + b"\x88\x02\x03")
        self.assertEqual(list(take(buffer)), [(TEXT, text) for text in texts])
        self.assertEqual(buffer, b"\x88\x02\x03")
        buffer += b"\xe8"
        self.assertEqual(list(take(buffer)), [(CLOSE, b"\x03\xe8")])

    def test_page_reads_what_it_publishes(self) -> None:
        """It behaves, so the server serves it; where there is no such route it cannot be opened."""
        with real_server() as server:
            page = Page(server.http_port, ONE[0])
            self.addCleanup(page.close)
            page.say(type="subscribe", topics=["t"])
            for length in (10, 200, 70_000):
                page.say(type="publish", topic="t", data="d" * length)
                self.assertEqual(page.hear(), {"type": "publish", "topic": "t", "data": "d" * length, "clients": 1})
            self.assertRaises(OSError, Page, server.http_port, ONE[0], "/health")

    def test_what_is_poured_is_counted(self) -> None:
        """Sockets that are served stay open; those that break the rules are closed, and opened again."""
        with real_server() as server:
            good = pour(server.http_port, [handshake()], [publish("t", "d")], 5)
            good.run(1.0)
            good.close()
            self.assertEqual(good.counts, {"opened": 5})
            self.assertGreater(good.sent, 5 * 10 * len(publish("t", "d")))
            bad = pour(server.http_port, [handshake() + frame(b"", BINARY)], [], 5, ends=True)
            bad.run(1.0)
            bad.close()
            self.assertGreater(bad.counts["closed"], 5)
            self.assertGreater(bad.counts["opened"], 5)

    def test_each_wrong_frame_ends_its_socket_or_is_ignored(self) -> None:
        """No frame of the attack keeps the server from answering others."""
        with real_server() as server:
            for wrong in WRONG:
                poured = pour(server.http_port, [handshake() + wrong], [], 1)
                poured.run(0.05)
                poured.close()
            page = Page(server.http_port, ONE[0])
            self.addCleanup(page.close)
            page.say(type="ping")
            self.assertEqual(page.hear(), {"type": "pong"})
