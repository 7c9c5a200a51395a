"""Tests of :mod:`rendezvous.udp.port`, on sockets of the loopback interface."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.udp import Port
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.testing import MemoryReactor
from rendezvous.udp import port
from rendezvous.udp.mmsg import MAX_DATAGRAM
from rendezvous.udp.port import DATAGRAMS_A_TURN, RECEIVE_BUFFER, FairPort, enlarge_buffer

HERE = "127.0.0.1"


class _Reactor:
    """As much of a reactor as a port needs; nothing is read unless a test says so."""

    def addReader(self, reader: object) -> None:  # noqa: N802 - Twisted's name
        """Do nothing."""

    removeReader = removeWriter = addReader  # noqa: N815 - Twisted's names

    def callLater(self, delay: float, call: Any, *arguments: Any) -> None:
        """Call at once."""
        call(*arguments)


class _Echo(DatagramProtocol):
    """Keeps what arrives, and sends it back."""

    noisy = False

    def __init__(self) -> None:
        self.received: list[bytes] = []

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        self.received.append(datagram)
        transport: Any = self.transport
        transport.write(datagram, addr)


class FairPortTests(SynchronousTestCase):
    """Tests of reading and writing."""

    @contextmanager
    def opened(self, kind: type[Port], interface: str = HERE) -> Iterator[tuple[Any, _Echo, socket.socket]]:
        """:returns: a port, its protocol, and a socket that sends to it."""
        echo = _Echo()
        opened: Any = kind(0, echo, interface, reactor=_Reactor())
        opened.startListening()
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as peer:
            peer.settimeout(5)
            peer.connect((interface, opened.getHost().port))
            try:
                yield opened, echo, peer
            finally:
                opened.stopListening()

    def test_a_turn_reads_a_bounded_number_of_empty_datagrams(self) -> None:
        """They count like any other, so that they cannot keep the reactor; Twisted's own port reads all of them."""
        for kind, first in ((FairPort, DATAGRAMS_A_TURN), (Port, DATAGRAMS_A_TURN + 20)):
            with self.opened(kind) as (opened, echo, peer):
                for _ in range(DATAGRAMS_A_TURN + 20):
                    peer.send(b"")
                opened.doRead()
                self.assertEqual(len(echo.received), first, kind)
                opened.doRead()
                self.assertEqual(len(echo.received), DATAGRAMS_A_TURN + 20, kind)

    def test_datagrams_come_and_go_in_both_families(self) -> None:
        """The source is a host and a port, also where the system shows more, and can be answered."""
        for interface in (HERE, "::1"):
            with self.opened(FairPort, interface) as (opened, echo, peer):
                peer.send(b"hello")
                opened.doRead()
                self.assertEqual((echo.received, peer.recv(100)), ([b"hello"], b"hello"))

    def test_longer_datagrams_are_cut_off(self) -> None:
        """No protocol has any of that length."""
        with self.opened(FairPort) as (opened, echo, peer):
            peer.send(bytes(MAX_DATAGRAM + 1000))
            opened.doRead()
            self.assertEqual(echo.received, [bytes(MAX_DATAGRAM)])

    def test_errors_of_the_socket_do_not_end_the_port(self) -> None:
        """Whatever the system says when there is nothing to read, the next datagram is read."""
        with self.opened(FairPort) as (opened, echo, peer):
            own, opened.socket = opened.socket, _Broken()
            opened.doRead()
            opened.socket = own
            peer.send(b"hello")
            opened.doRead()
            self.assertEqual(echo.received, [b"hello"])

    def test_receive_buffer_is_enlarged(self) -> None:
        """It is larger than the system's own, and as large as was asked for if the system allows it."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
            before = plain.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
            size = enlarge_buffer(plain)
            self.assertGreater(plain.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF), before)
            self.assertLessEqual(size, RECEIVE_BUFFER)

    def test_a_buffer_that_the_system_refuses_is_logged(self) -> None:
        """One line, with what it is and what it should be; the port is open."""
        self.patch(port, "enlarge_buffer", lambda handle: 1000)
        with capturedLogs() as events, self.opened(FairPort) as (opened, _, _):
            expected = (
                f"UDP port {opened.getHost().port} has a receive buffer of 1000 bytes instead of {RECEIVE_BUFFER}"
            )
        self.assertIn(expected, [formatEvent(event) for event in events])


class _Broken:
    """A socket that cannot be read."""

    def recvfrom(self, size: int) -> tuple[bytes, Any]:
        raise OSError(105, "No buffer space available")


class ListenTests(SynchronousTestCase):
    """Tests of opening a port."""

    def test_reactor_of_descriptors_has_a_fair_port(self) -> None:
        """It is bound where it should be, and a second one there is refused."""
        reactor = SelectReactor()
        self.addCleanup(self._close, reactor)
        opened = port.listen_datagrams(reactor, 0, _Echo(), HERE)
        host: Any = opened.getHost()
        self.assertIsInstance(opened, FairPort)
        self.assertEqual(host.host, HERE)
        with self.assertRaises(CannotListenError):
            port.listen_datagrams(reactor, host.port, _Echo(), HERE)

    def _close(self, reactor: Any) -> None:
        for reader in reactor.removeAll():
            reader.connectionLost(None)

    def test_any_other_reactor_has_its_own(self) -> None:
        """One in memory opens the port in memory."""
        reactor = MemoryReactor()
        self.assertIs(port.listen_datagrams(reactor, 5024, _Echo(), HERE), reactor.udp_ports[0])
