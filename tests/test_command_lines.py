"""``rendezvous connect`` and ``rendezvous listen``."""

from __future__ import annotations

import os
from unittest import mock

from twisted.internet.defer import Deferred

from rendezvous.client import RequestRefused
from rendezvous.commands.rendezvous.identity import IdentityFile
from rendezvous.commands.rendezvous.lines import connect_lines, listen_lines
from tests._command_case import URL
from tests._command_paths import ALICE, BOB, CAROL, FakeConnector, FakePath, PathCase

CONNECTED = {
    "event": "connected",
    "peer": BOB,
    "ms": 312,
    "via": "direct",
    "address": "192.0.2.7:4000",
    "encrypted": False,
}
CLOSED = {"event": "closed", "peer": BOB}


class ConnectTests(PathCase):
    """``rendezvous connect``."""

    def test_events(self) -> None:
        """Each is one object with the members that programs rely on."""
        running, path = self.connected(connect_lines, "connect", BOB, "--json")
        path.on_datagram(b"hello")
        path.via, path.address = "relay", ("2001:db8::1", 5)
        path.on_path_changed(path)
        path.on_closed()
        self.assertEqual(self.successResultOf(running), 0)
        self.assertEqual(
            self.objects(),
            [
                CONNECTED,
                {"event": "data", "peer": BOB, "text": "hello"},
                {"event": "path", "peer": BOB, "via": "relay", "address": "[2001:db8::1]:5"},
                CLOSED,
            ],
        )

    def test_lines(self) -> None:
        """Lines are read while there is a path, and are sent as they are."""
        running = self.start(connect_lines, "connect", BOB)
        self.assertFalse(self.console.reading)
        [(_, waiting)] = self.connector.connecting
        path = FakePath()
        waiting.callback(path)
        self.assertTrue(self.console.reading)
        self.console.events.line(b"one")
        self.console.events.line(b"")
        self.console.events.line(b"\xff")
        self.assertEqual((path.sent, self.console.longest), ([b"one", b"", b"\xff"], 1200))
        self.console.events.too_long(1201)
        self.assertIn("1201 bytes is not sent: at most 1200", self.err.getvalue())
        path.on_closed()
        self.assertEqual(self.successResultOf(running), 0)

    def test_stdout_has_data_alone(self) -> None:
        """Everything else is on stderr, with a warning that the path is not encrypted."""
        running, path = self.connected(connect_lines, "connect", BOB)
        path.on_datagram(b"hello")
        path.on_datagram(b"\xff\x1b")
        path.on_closed()
        self.assertEqual(self.successResultOf(running), 0)
        self.assertEqual(self.out.getvalue(), "hello\n\udcff\x1b\n")
        err = self.err.getvalue()
        self.assertIn("NOT ENCRYPTED", err)
        self.assertIn(f"Connected to {BOB} directly, 192.0.2.7 port 4000, after 312 ms.", err)
        self.assertIn(f"The path to {BOB} is closed.", err)

    def test_plain_http(self) -> None:
        """A line says what it means, but for a server on this machine, and for one with TLS."""
        for url, warned in (
            ("http://rendezvous.example:5025", True),
            ("http://127.0.0.1:5025", False),
            ("http://[::1]:5025", False),
            ("http://localhost:5025", False),
            ("https://rendezvous.example", False),
        ):
            self.err.seek(0), self.err.truncate()
            identity = str(self.directory / "new.json")
            running, path = self.connected(connect_lines, "connect", BOB, "--server", url, "--identity", identity)
            path.on_closed()
            self.successResultOf(running)
            self.assertEqual("plain HTTP" in self.err.getvalue(), warned, url)
            os.unlink(identity)
            self.consoles.clear()

    def test_end_of_input(self) -> None:
        """It closes the path, and the command has ended well."""
        running, path = self.connected(connect_lines, "connect", BOB, "--json")
        self.console.events.input_ended()
        self.assertEqual(self.successResultOf(running), 0)
        self.assertTrue(path.closed and self.connector.closed and self.console.closed)
        self.assertEqual(self.objects(), [CONNECTED, CLOSED])

    def test_reader_has_gone(self) -> None:
        """A closed stdout ends the command."""
        running, path = self.connected(connect_lines, "connect", BOB)
        self.console.events.output_closed()
        self.successResultOf(running)
        self.assertTrue(path.closed)

    def test_interrupt_while_connected(self) -> None:
        """Ctrl-C closes the path, and the command has ended well."""
        running, path = self.connected(connect_lines, "connect", BOB, "--json")
        running.cancel()
        self.assertEqual(self.successResultOf(running), 0)
        self.assertTrue(path.closed and self.connector.closed)
        self.assertEqual(self.objects(), [CONNECTED, CLOSED])

    def test_interrupt_while_connecting(self) -> None:
        """The attempt is given up, and the command has failed."""
        running = self.start(connect_lines, "connect", BOB, "--json")
        self.assertNoResult(running)
        running.cancel()
        self.assertEqual(self.successResultOf(running), 1)
        self.assertTrue(self.connector.closed and self.console.closed)
        self.assertEqual([found["code"] for found in self.objects()], ["interrupted"])

    def test_no_path(self) -> None:
        """The library's code and reason are printed."""
        running = self.start(connect_lines, "connect", BOB, "--json")
        [(_, waiting)] = self.connector.connecting
        self.server.reactor.advance(0.25)
        waiting.errback(RequestRefused("no path", code="symmetric-pair"))
        self.assertEqual(self.successResultOf(running), 1)
        [failed] = self.objects()
        self.assertIn("no path", failed.pop("reason"))
        self.assertEqual(failed, {"event": "failed", "code": "symmetric-pair", "peer": BOB, "ms": 250})

    def test_server_is_asked_before(self) -> None:
        """What the library can learn before it connects does not count as time to connect."""
        with mock.patch.object(FakeConnector, "prepare", lambda each: each.listening):
            running = self.start(connect_lines, "connect", BOB, "--json")
        self.server.reactor.advance(0.5)
        self.assertEqual(self.connector.connecting, [])
        self.connector.listening.callback(None)
        self.server.reactor.advance(0.25)
        self.connector.connecting[0][1].errback(RequestRefused("no path"))
        self.assertEqual(self.successResultOf(running), 1)
        self.assertEqual([found["ms"] for found in self.objects()], [250])

    def test_lost_path(self) -> None:
        """The command has failed, and says why."""
        running, path = self.connected(connect_lines, "connect", BOB, "--json")
        path.on_lost("Nothing was heard.")
        self.assertEqual(self.successResultOf(running), 1)
        self.assertEqual(
            self.objects(),
            [
                CONNECTED,
                {**CLOSED, "reason": "Nothing was heard."},
                {"event": "failed", "code": "path-lost", "reason": "Nothing was heard."},
            ],
        )

    def test_slow_reader(self) -> None:
        """Lines are dropped and counted, events are not."""
        running, path = self.connected(connect_lines, "connect", BOB, "--json")
        self.console.full = True
        for _ in range(3):
            path.on_datagram(b"x")
        path.on_closed()
        self.assertEqual(self.successResultOf(running), 0)
        self.assertEqual(self.objects(), [CONNECTED, CLOSED])
        self.assertEqual(self.err.getvalue().count("are dropped"), 1)
        self.assertIn("were dropped: 3", self.err.getvalue())

    def test_progress(self) -> None:
        """A terminal shows for how long the command has been connecting."""
        self.err.isatty = lambda: True  # type: ignore[method-assign]
        running = self.start(connect_lines, "connect", BOB)
        self.server.reactor.advance(2)
        self.assertIn(f"Connecting to {BOB} (2 s)", self.err.getvalue())
        running.cancel()
        self.successResultOf(running)

    def test_identity_is_used_by_one_process(self) -> None:
        """It is locked while the command runs, and free after it."""
        running, path = self.connected(connect_lines, "connect", BOB)
        self.assertIsNone(IdentityFile(self.path, URL).lock())
        path.on_closed()
        self.successResultOf(running)
        lock = IdentityFile(self.path, URL).lock()
        assert lock is not None
        lock.release()

    def test_identity_in_use(self) -> None:
        """The command fails, and what it has opened is closed."""
        lock = IdentityFile(self.path, URL).lock()
        assert lock is not None
        self.addCleanup(lock.release)
        for command, words in ((connect_lines, ("connect", BOB)), (listen_lines, ("listen",))):
            running = self.start(command, *words)
            self.server.reactor.pump([0.1] * 21)
            self.assertEqual(self.successResultOf(running), 1)
            self.assertIn("another process uses the identity", self.err.getvalue())
            self.assertTrue(self.consoles.pop().closed)
        self.assertEqual(self.connectors, [])

    def test_identity_has_the_facts_of_the_server(self) -> None:
        """Also one that was saved: the library needs the UDP ports."""
        for _ in range(2):
            running, path = self.connected(connect_lines, "connect", BOB)
            path.on_closed()
            self.successResultOf(running)
            facts = self.connector.identity.facts
            assert facts is not None
            self.assertEqual(facts.udp_ports, tuple(port.port for port in self.server.udp_ports))
            self.consoles.clear()
        self.assertEqual(self.connectors[0].identity, self.connectors[1].identity)


class ListenTests(PathCase):
    """``rendezvous listen``."""

    def listening(self, *words: str) -> Deferred[int]:
        """:returns: the running command."""
        running = self.start(listen_lines, "listen", "--json", *words)
        self.connector.listening.callback(None)
        return running

    def test_events(self) -> None:
        """One peer after another, and lines in both directions; Ctrl-C ends it well."""
        running = self.listening()
        for peer in (BOB, CAROL):
            self.assertFalse(self.console.reading)
            path = FakePath(peer)
            self.connector.on_path(path)
            self.assertTrue(self.console.reading)
            self.console.events.line(b"to you")
            path.on_datagram(b"to me")
            path.on_closed()
            self.assertEqual(path.sent, [b"to you"])
        running.cancel()
        self.assertEqual(self.successResultOf(running), 0)
        self.assertEqual(
            [found["event"] for found in self.objects()],
            ["listening", "connected", "data", "closed", "connected", "data", "closed"],
        )
        self.assertEqual(self.objects()[0], {"event": "listening", "id": self.connector.identity.client_id})
        self.assertTrue(self.connector.closed)

    def test_end_of_input(self) -> None:
        """The command goes on: it may run without a terminal."""
        running = self.listening()
        self.connector.on_path(FakePath())
        self.console.events.input_ended()
        self.assertNoResult(running)
        running.cancel()
        self.successResultOf(running)

    def test_lost_path(self) -> None:
        """It is said, and the command waits for the next peer."""
        running = self.listening()
        path = FakePath()
        self.connector.on_path(path)
        path.on_lost("Nothing was heard.")
        self.assertNoResult(running)
        self.assertEqual(self.objects()[-1], {**CLOSED, "reason": "Nothing was heard."})
        running.cancel()
        self.successResultOf(running)

    def test_one_peer_at_a_time(self) -> None:
        """Another one is declined meanwhile; if two come at once, the second path is closed."""
        running = self.listening()
        self.assertTrue(self.connector.allow(CAROL))
        self.connector.on_path(FakePath(BOB))
        self.assertFalse(self.connector.allow(CAROL))
        late = FakePath(CAROL)
        self.connector.on_path(late)
        self.assertTrue(late.closed)
        running.cancel()
        self.successResultOf(running)
        self.assertEqual({found.get("peer", BOB) for found in self.objects()}, {BOB})

    def test_peer_that_comes_again(self) -> None:
        """Its new path takes the place of the old one, which may be one that it has forgotten."""
        running = self.listening()
        old, new = FakePath(), FakePath()
        self.connector.on_path(old)
        self.assertTrue(self.connector.allow(BOB))
        self.connector.on_path(new)
        self.assertTrue(old.closed)
        self.console.events.line(b"x")
        self.assertEqual((old.sent, new.sent), ([], [b"x"]))
        old.on_datagram(b"late")
        running.cancel()
        self.successResultOf(running)
        self.assertEqual(
            [found["event"] for found in self.objects()], ["listening", "connected", "closed", "connected", "closed"]
        )

    def test_allowed_peers(self) -> None:
        """Only those that the options name; without any, a line says that anyone may connect."""
        running = self.listening("--allow", ALICE, "--allow", BOB.upper())
        allow = self.connector.allow
        self.assertEqual([allow(peer) for peer in (ALICE, BOB, CAROL)], [True, True, False])
        self.assertNotIn("Anyone who knows", self.err.getvalue())
        running.cancel()
        self.successResultOf(running)
        self.consoles.clear()
        running = self.listening()
        self.assertIn("Anyone who knows the id may connect", self.err.getvalue())
        running.cancel()
        self.successResultOf(running)

    def test_server_forgets_the_client(self) -> None:
        """The command registers again and prints the new id. An open path goes on."""
        running = self.listening()
        first = self.connector
        path = FakePath()
        first.on_path(path)
        self.server.reactor.advance(600)
        first.on_gone(RequestRefused())
        first.on_gone(RequestRefused())
        self.assertEqual((len(self.connectors), first.closed, path.closed), (2, False, False))
        self.connector.listening.callback(None)
        events = [found for found in self.objects() if found["event"] == "listening"]
        self.assertEqual([found["id"] for found in events], [each.identity.client_id for each in self.connectors])
        self.assertNotEqual(*(each.identity for each in self.connectors))
        path.on_closed()
        self.server.reactor.advance(600)
        self.connector.on_gone(RequestRefused())
        self.assertTrue(first.closed)
        running.cancel()
        self.successResultOf(running)
        self.assertTrue(all(each.closed for each in self.connectors))

    def test_server_does_not_answer(self) -> None:
        """The command has failed before it listened."""
        running = self.start(listen_lines, "listen", "--json")
        self.connector.listening.errback(RequestRefused("no", code="gone"))
        self.assertEqual(self.successResultOf(running), 1)
        self.assertEqual([found["event"] for found in self.objects()], ["failed"])

    def test_interrupt_before_it_listens(self) -> None:
        """The command has failed."""
        running = self.start(listen_lines, "listen")
        running.cancel()
        self.assertEqual(self.successResultOf(running), 1)
        self.assertTrue(self.connector.closed)

    def test_reader_has_gone(self) -> None:
        """A closed stdout ends the command."""
        running = self.listening()
        self.console.events.output_closed()
        self.successResultOf(running)
        self.assertTrue(self.connector.closed)
