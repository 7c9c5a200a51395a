"""Tests of :mod:`rendezvous.listening`: ports that open late, and the errors of those that do not open."""

from __future__ import annotations

import errno
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.tcp import Port
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from rendezvous.counters import Counters
from rendezvous.errors import StartupError
from rendezvous.listening import UNACCEPTED, Listening, Place
from rendezvous.testing import MemoryReactor


class ListeningCase(SynchronousTestCase):
    """A reactor in memory, and what is logged."""

    def setUp(self) -> None:
        """Listen to the log."""
        self.reactor = MemoryReactor()
        self.counters = Counters()
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def lines(self) -> list[str]:
        """:returns: what was logged."""
        return [formatEvent(event) for event in self.events]


class ListeningTests(ListeningCase):
    """Tests of endpoints that take their time."""

    def setUp(self) -> None:
        """Start to listen, with no answer yet."""
        super().setUp()
        self.cancelled: list[object] = []
        self.opening: Deferred[Any] = Deferred(self.cancelled.append)
        self.asked = 0

        def listen() -> Deferred[Any]:
            self.asked += 1
            return self.opening

        self.service = Listening(Place("HTTP", "--http tcp:80", listen), self.reactor, self.counters)
        self.service.privilegedStartService()
        self.service.startService()

    def test_port_is_asked_for_once(self) -> None:
        """The start that follows the privileged one does not listen a second time."""
        self.assertEqual(self.asked, 1)

    def test_port_that_opens_late_is_logged_and_closed(self) -> None:
        """As any other."""
        port = self.reactor.listenTCP(80, Site(Resource(), reactor=self.reactor), interface="192.0.2.1")
        self.opening.callback(port)
        self.assertEqual(self.lines()[-1:], ["HTTP on 192.0.2.1:80"])
        self.successResultOf(self.service.stopService())
        self.assertFalse(port.listening)

    def test_port_that_fails_late_is_logged(self) -> None:
        """The start is over by then, so it cannot fail."""
        self.opening.errback(CannotListenError("192.0.2.1", 80, OSError(errno.EADDRINUSE, "in use")))
        self.assertEqual(len(self.flushLoggedErrors(CannotListenError)), 1)
        self.successResultOf(self.service.stopService())

    def test_stop_gives_up_waiting(self) -> None:
        """The attempt is cancelled, and that is no error."""
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.cancelled, [self.opening])
        self.assertEqual(self.flushLoggedErrors(), [])


class _Busy:
    """A listening socket from which nothing can be accepted."""

    def __init__(self, error: int) -> None:
        self._error = error

    def accept(self) -> None:
        """Fail."""
        raise OSError(self._error, "for a test")


class UnacceptedTests(ListeningCase):
    """Connections that the system does not let a port accept; ``test_web_process`` has real ones."""

    def test_they_are_counted_and_not_logged(self) -> None:
        """However often the reactor tries, by the name of the error."""
        port: Any = Port(80, Factory(), reactor=self.reactor)
        port.numberAccepts = 1
        port.getHost = lambda: IPv4Address("TCP", "192.0.2.1", 80)
        service = Listening(Place("HTTP", "--http tcp:80", lambda: port), self.reactor, self.counters)
        service.privilegedStartService()
        before = len(self.events)
        for error in (errno.ENFILE, errno.ENFILE, errno.ENOMEM):
            port.socket = _Busy(error)
            port.doRead()
        self.assertEqual(self.counters.totals()[UNACCEPTED], {"ENFILE": 2, "ENOMEM": 1})
        self.assertEqual(self.lines()[before:], [])


class ListenErrorTests(ListeningCase):
    """What an operator reads when a port cannot be opened."""

    def refused(self, error: Exception) -> str:
        """:returns: the message for what the reactor has raised."""

        def listen() -> None:
            raise error

        service = Listening(Place("HTTP", "--http tcp:80", listen), self.reactor, self.counters)
        return str(self.assertRaises(StartupError, service.privilegedStartService))

    def test_place_and_reason_are_named(self) -> None:
        """Also where there is no address, or the reason has no text of the system's own."""
        for error, where, reason in (
            (CannotListenError("::1", 80, OSError(errno.EACCES, "Permission denied")), "[::1]:80", "Permission denied"),
            (CannotListenError("", 80, OSError("no reason")), "any:80", "no reason"),
        ):
            self.assertEqual(self.refused(error), f"cannot listen for HTTP on {where} (--http tcp:80): {reason}")

    def test_error_without_a_place_names_the_option(self) -> None:
        """As an endpoint that is not of a port raises it."""
        for error, reason in ((OSError(errno.EACCES, "Permission denied"), "Permission denied"), (OSError("x"), "x")):
            self.assertEqual(self.refused(error), f"cannot listen for HTTP on --http tcp:80: {reason}")


class ExposedPortTests(ListeningCase):
    """Tests of the warning about a port whose token can be read on its way."""

    def said(self, host: str, *, is_exposed: bool = True) -> list[Any]:
        """:returns: the warnings of a port that listens on an address."""
        self.events.clear()
        port = self.reactor.listenTCP(5027, Factory(), interface=host)
        place = Place("operators", "--admin", lambda: port, is_exposed=is_exposed)
        Listening(place, self.reactor, self.counters).startService()
        return [formatEvent(event) for event in self.events if event.get("event") == "operators_exposed"]

    def test_addresses(self) -> None:
        """Loopback addresses are not reached from other machines."""
        for host in ("127.0.0.1", "127.8.0.1", "::1"):
            self.assertEqual(self.said(host), [], host)
        for host, shown in (("192.0.2.1", "192.0.2.1:"), ("::", "[::]:"), ("0.0.0.0", "0.0.0.0:")):
            [line] = self.said(host)
            self.assertTrue(line.startswith(f"operators on {shown}"), line)
            self.assertIn("without TLS: the token can be read on its way", line)

    def test_other_ports(self) -> None:
        """Those with TLS, and those of clients."""
        self.assertEqual(self.said("192.0.2.1", is_exposed=False), [])
