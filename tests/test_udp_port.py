"""Tests of :mod:`rendezvous.udp.port`, on sockets of the loopback interface."""

from __future__ import annotations

import errno
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.udp import Port
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from rendezvous.testing import MemoryReactor
from rendezvous.udp import port
from rendezvous.udp.mmsg import MAX_DATAGRAM
from rendezvous.udp.port import (
    DATAGRAMS_A_TURN,
    RECEIVE_BUFFER,
    FairPort,
    GroupPort,
    enlarge_buffer,
    in_fragments,
    send_whole,
)

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

    def test_receive_buffer_beyond_the_limit_is_asked_for_first(self) -> None:
        """The plain option would set the buffer back to the limit of the system, so it is used only if need be."""
        self.patch(sys, "platform", "linux")
        force = 33
        for refused, expected in ((), [force]), ((force,), [force, socket.SO_RCVBUF]):
            handle = _Handle(refused)
            given: Any = handle
            self.assertEqual(enlarge_buffer(given), RECEIVE_BUFFER)
            self.assertEqual(handle.asked, [(option, RECEIVE_BUFFER) for option in expected])
        nothing: Any = _Handle((force, socket.SO_RCVBUF))
        self.assertEqual(enlarge_buffer(nothing), RECEIVE_BUFFER)


class _Handle:
    """
    A socket of Linux, which shows twice what was asked for.

    :param refused: options that are not permitted.
    """

    def __init__(self, refused: tuple[int, ...]) -> None:
        self._refused = refused
        self.asked: list[tuple[int, int]] = []

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """Note what is asked for."""
        self.asked.append((option, value))
        if option in self._refused:
            raise PermissionError

    def getsockopt(self, level: int, option: int) -> int:
        """:returns: the size of the buffer."""
        return 2 * RECEIVE_BUFFER


class _Broken:
    """A socket that cannot be read."""

    def recvfrom(self, size: int) -> tuple[bytes, Any]:
        raise OSError(105, "No buffer space available")


class FragmentTests(SynchronousTestCase):
    """Whether Linux may send fragments is an option of the socket, of both families."""

    def test_option_is_that_of_linux(self) -> None:
        """It is asked of the system again."""
        if sys.platform != "linux":
            raise SkipTest("the option is one of Linux")
        for family in (socket.AF_INET, socket.AF_INET6):
            with socket.socket(family, socket.SOCK_DGRAM) as opened:
                send_whole(opened)
                found = [opened.getsockopt(socket.IPPROTO_IP, 10)]
                with in_fragments(opened):
                    found.append(opened.getsockopt(socket.IPPROTO_IP, 10))
                found.append(opened.getsockopt(socket.IPPROTO_IP, 10))
            self.assertEqual(found, [3, 1, 3])


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


class GroupPortTests(SynchronousTestCase):
    """Tests of ports that several sockets share."""

    def setUp(self) -> None:
        """Wait for nobody."""
        if not hasattr(socket, "SO_REUSEPORT"):
            raise SkipTest("this system has no SO_REUSEPORT")
        self.patch(port, "_AFTER_A_KILL", 0.0)

    def opened(self, number: int = 0) -> GroupPort:
        """:returns: a port of the loopback interface."""
        made = GroupPort(number, _Echo(), HERE, reactor=_Reactor())
        made.startListening()
        self.addCleanup(made.stopListening)
        return made

    def another(self, of: GroupPort) -> socket.socket:
        """:returns: one more socket of a port."""
        made = of.another_socket()
        self.addCleanup(made.close)
        return made

    def test_sockets_share_the_port_by_source(self) -> None:
        """All datagrams from one address come to the same socket; those from many addresses to all of them."""
        first = self.opened()
        sockets = [first.socket, self.another(first), self.another(first)]
        number = first.getHost().port
        self.assertEqual({each.getsockname() for each in sockets}, {(HERE, number)})
        peers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(60)]
        for peer in peers:
            self.addCleanup(peer.close)
            for _ in range(3):
                peer.sendto(b"x", (HERE, number))
        came = list[set[tuple[str, int]]]()
        for each in sockets:
            sources = []
            while True:
                try:
                    sources.append(each.recvfrom(10)[1])
                except BlockingIOError:
                    break
            came.append(set(sources))
            self.assertEqual(len(sources), 3 * len(came[-1]))
        self.assertTrue(all(came))
        self.assertEqual(sum(map(len, came)), 60)

    def test_port_that_anybody_has_is_refused(self) -> None:
        """Also if the other socket could be shared; the wait for processes that end is over soon."""
        taken = self.opened().getHost().port
        error = self.assertRaises(CannotListenError, self.opened, taken)
        self.assertEqual((error.port, error.socketError.errno), (taken, errno.EADDRINUSE))

    def test_port_of_processes_that_end_is_waited_for(self) -> None:
        """Those of a server that was killed have its sockets until the system has ended them."""
        self.patch(port, "_AFTER_A_KILL", 10.0)
        other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        other.bind((HERE, 0))
        slept: list[float] = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 3:
                other.close()

        self.patch(time, "sleep", sleep)
        number = other.getsockname()[1]
        self.assertEqual(self.opened(number).getHost().port, number)
        self.assertEqual(len(slept), 3)

    def test_socket_that_cannot_be_bound_is_closed(self) -> None:
        """Nothing is left open."""
        first = self.opened()
        made: list[socket.socket] = []
        plain = Port.createInternetSocket

        def create(of: Port) -> socket.socket:
            made.append(plain(of))
            return made[-1]

        self.patch(Port, "createInternetSocket", create)
        self.patch(first, "interface", "192.0.2.1")
        self.assertRaises(OSError, first.another_socket)
        self.assertEqual([each.fileno() for each in made], [-1])
