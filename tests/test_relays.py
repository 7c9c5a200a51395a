"""The TURN servers: the file of their secret, and the look-up of their addresses."""

from __future__ import annotations

import os
from typing import Any, cast

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.ice import Turn
from rendezvous.errors import StartupError
from rendezvous.relays import Resolving, load_turn
from rendezvous.settings import Settings
from rendezvous.testing import MemoryReactor
from rendezvous.testing.names import MemoryResolver

URI = "turn:turn.example:3478?transport=udp"


class SecretFileTests(SynchronousTestCase):
    """Tests of :func:`rendezvous.relays.load_turn`."""

    def load(self, text: str | bytes, mode: int = 0o600) -> Turn | None:
        """Read a file with this text."""
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        os.chmod(path, mode)
        return load_turn(Settings(turn_uri=URI, turn_secret_file=path, turn_ttl=600.0))

    def test_without_turn_servers_there_is_nothing(self) -> None:
        """No file is read."""
        self.assertIsNone(load_turn(Settings()))

    def test_first_line_is_the_secret(self) -> None:
        """The second one is the old secret during a rotation: credentials are made with the first."""
        for text in ("north", "north\n", " north \n", "north\nsouth\n"):
            self.assertEqual(self.load(text), Turn((URI,), b"north", 600))

    def test_file_that_cannot_be_used_is_refused_in_one_line(self) -> None:
        """The message names the file and what is wrong with it, and never shows the secret."""
        wrong: list[tuple[str | bytes, int, str]] = [
            ("", 0o600, "must hold one secret"),
            ("\n\n", 0o600, "must hold one secret"),
            ("north\nsouth\neast\n", 0o600, "must hold one secret"),
            ("north\n\nsouth\n", 0o600, "must hold one secret"),
            ("n" * 5000, 0o600, "must hold one secret"),
            (b"\xff\xfe", 0o600, "not UTF-8"),
            ("north", 0o640, "chmod 600"),
        ]
        for text, mode, words in wrong:
            error = self.assertRaises(StartupError, self.load, text, mode)
            self.assertIn(words, str(error))
            self.assertNotIn("\n", str(error))
            self.assertNotIn("north", str(error))
        settings = Settings(turn_uri=URI, turn_secret_file=self.mktemp())
        self.assertIn("No such file", str(self.assertRaises(StartupError, load_turn, settings)))

    def test_pipe_is_not_waited_for(self) -> None:
        """A server that reads its settings again must not stop serving until somebody writes."""
        path = self.mktemp()
        os.mkfifo(path, 0o600)
        settings = Settings(turn_uri=URI, turn_secret_file=path)
        self.assertIn("not a regular file", str(self.assertRaises(StartupError, load_turn, settings)))

    def test_servers_and_secret_need_each_other(self) -> None:
        """One without the other is a contradiction."""
        self.assertRaises(StartupError, load_turn, Settings(turn_uri=URI))
        self.assertRaises(StartupError, load_turn, Settings(turn_secret_file="turn.secret"))

    def test_secret_is_not_shown(self) -> None:
        """Not even when the object is printed."""
        self.assertNotIn("north", repr(self.load("north")))


class ResolvingTests(SynchronousTestCase):
    """Tests of :class:`rendezvous.relays.Resolving`."""

    def setUp(self) -> None:
        """Begin with a name that has one address."""
        self.reactor = MemoryReactor()
        self.names = MemoryResolver()
        self.reactor.nameResolver = self.names
        self.names.known["turn.example"] = ["192.0.2.9"]
        self.used: list[frozenset[str]] = []
        self.resolving = Resolving(self.reactor, self.used.append)

    def start(self, *uris: str) -> None:
        """Serve these TURN servers."""
        self.resolving.serve(uris)
        self.resolving.startService()
        self.addCleanup(lambda: self.resolving.running and self.resolving.stopService())

    def assertUsed(self, *hosts: str) -> None:
        """The last addresses are these."""
        self.assertEqual(self.used[-1], frozenset(hosts))

    def test_addresses_are_used_at_once(self) -> None:
        """Those in URIs are not looked up, and do not wait for the service."""
        self.resolving.serve(["turn:192.0.2.1:3478", "turns:[2001:DB8::1]:443?transport=tcp"])
        self.assertUsed("192.0.2.1", "2001:db8::1")
        self.resolving.startService()
        self.addCleanup(self.resolving.stopService)
        self.assertUsed("192.0.2.1", "2001:db8::1")
        self.assertEqual(self.names.asked, [])

    def test_names_are_looked_up_at_the_start_and_every_ten_minutes(self) -> None:
        """A name is looked up once, however many URIs have it."""
        self.start("turn:turn.example", "turns:turn.example:443?transport=tcp", "turn:192.0.2.1")
        self.assertUsed("192.0.2.1", "192.0.2.9")
        self.names.known["turn.example"] = ["192.0.2.10"]
        self.reactor.advance(599)
        self.assertEqual(len(self.names.asked), 1)
        self.reactor.advance(1)
        self.assertUsed("192.0.2.1", "192.0.2.10")

    def test_name_that_has_no_address_now_keeps_its_last_ones(self) -> None:
        """The log says so."""
        self.start("turn:turn.example")
        self.names.known["turn.example"] = []
        with capturedLogs() as logged:
            self.reactor.advance(600)
        self.assertUsed("192.0.2.9")
        self.assertEqual([event["host"] for event in logged], ["turn.example"])

    def test_other_servers_take_the_place_of_the_first(self) -> None:
        """Their names are looked up at once; an answer for a name that is not served any more changes nothing."""
        self.start("turn:turn.example")
        self.resolving.serve(["turn:other.example"])
        self.names.answer("192.0.2.20")
        self.assertUsed("192.0.2.20")
        self.resolving.serve(["turn:third.example"])
        self.resolving.serve([])
        self.names.answer("192.0.2.30")
        self.assertUsed()

    def test_fault_is_survived(self) -> None:
        """It is logged, and the next look-up is made in its time."""
        self.reactor.nameResolver = cast(Any, None)
        self.start("turn:turn.example")
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)
        self.reactor.nameResolver = self.names
        self.reactor.advance(600)
        self.assertUsed("192.0.2.9")

    def test_it_need_not_have_been_started(self) -> None:
        """A server whose start has failed is stopped, too."""
        self.resolving.serve(["turn:turn.example"])
        self.assertIsNone(self.successResultOf(self.resolving.stopService()))
        self.assertEqual(self.names.asked, [])
