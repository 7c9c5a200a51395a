"""Tests of :mod:`rendezvous.testing`: what others build their tests on must itself be true."""

from __future__ import annotations

import contextlib
from typing import Any

from zope.interface.verify import verifyObject

from twisted.internet.interfaces import IListeningPort, IReactorTCP, IReactorTime, IReactorUDP
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from rendezvous.settings import UDPPort
from rendezvous.testing import Connection, MemoryReactor, MemoryServer
from tests._web_case import SlowResource

HOME = ("198.51.100.7", 40000)
ELSEWHERE = ("203.0.113.5", 9)


class _Echo(DatagramProtocol):
    """Sends everything back, and a copy to somebody else."""

    noisy = False
    started = stopped = 0

    def startProtocol(self) -> None:
        """Count."""
        self.started += 1

    def stopProtocol(self) -> None:
        """Count."""
        self.stopped += 1

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Answer."""
        assert self.transport is not None
        self.transport.write(datagram * 2, addr)
        self.transport.write(datagram, ELSEWHERE)


class MemoryPortTests(SynchronousTestCase):
    """Tests of the ports in memory."""

    def setUp(self) -> None:
        """Make a reactor."""
        self.reactor = MemoryReactor()

    def test_reactor_and_ports_are_what_twisted_expects(self) -> None:
        """They provide the interfaces that they stand in for."""
        for interface in (IReactorTCP, IReactorUDP, IReactorTime):
            verifyObject(interface, self.reactor)
        verifyObject(IListeningPort, self.reactor.listenUDP(1, _Echo()))
        verifyObject(IListeningPort, self.reactor.listenTCP(1, Site(Resource(), reactor=self.reactor)))

    def test_delivery_returns_what_goes_back_to_the_source(self) -> None:
        """Everything that was sent is kept with where it went."""
        port = self.reactor.listenUDP(5024, _Echo())
        self.assertEqual(port.deliver(b"x", HOME), [b"xx"])
        self.assertEqual(port.sent, [(b"xx", HOME), (b"x", ELSEWHERE)])

    def test_udp_protocol_is_started_and_stopped_once(self) -> None:
        """A port can be closed twice, as Twisted's can."""
        protocol = _Echo()
        port = self.reactor.listenUDP(0, protocol)
        for _ in range(2):
            self.successResultOf(port.stopListening())
        self.assertEqual((protocol.started, protocol.stopped, port.listening), (1, 1, False))
        self.assertIsNone(protocol.transport)

    def test_port_zero_is_some_free_port(self) -> None:
        """Each time another."""
        udp = [self.reactor.listenUDP(0, _Echo()).port for _ in range(3)]
        tcp = [self.reactor.listenTCP(0, Site(Resource(), reactor=self.reactor)).port for _ in range(3)]
        for numbers in (udp, tcp):
            self.assertEqual((len(set(numbers)), 0 in numbers), (3, False))

    def test_port_knows_its_address(self) -> None:
        """Of either family."""
        for interface, host in (("", "0.0.0.0"), ("192.0.2.1", "192.0.2.1"), ("::1", "::1")):
            for kind, port in (
                ("UDP", self.reactor.listenUDP(7, _Echo(), interface)),
                ("TCP", self.reactor.listenTCP(7, Site(Resource(), reactor=self.reactor), interface=interface)),
            ):
                address: Any = port.getHost()
                self.assertEqual((address.type, address.host, address.port), (kind, host, 7))


class ConnectionTests(SynchronousTestCase):
    """Tests of :class:`Connection`."""

    def setUp(self) -> None:
        """Connect to a site that answers when it is told to."""
        self.slow = SlowResource()
        self.connection = Connection(Site(self.slow, reactor=MemoryReactor()), HOME)
        self.addCleanup(self.connection.lose)

    def test_response_is_none_until_all_of_it_is_there(self) -> None:
        """Neither before the headers nor before the last byte of the body."""
        self.connection.request("GET", "/", {"Host": "a"})
        self.assertIsNone(self.connection.response())
        self.slow.request.setHeader(b"Content-Length", b"4")
        self.slow.request.write(b"ab")
        self.assertIsNone(self.connection.response())
        self.slow.request.write(b"cd")
        self.slow.request.finish()
        response = self.connection.response()
        assert response is not None
        self.assertEqual((response.status, response.body), (200, b"abcd"))

    def test_chunked_response_is_put_together(self) -> None:
        """The chunks' sizes are no part of the body, which may look like the end of one."""
        self.connection.request("GET", "/", {"Host": "a"})
        for piece in (b"one", b"0\r\n\r\n", b"x" * 300):
            self.slow.request.write(piece)
            self.assertIsNone(self.connection.response())
        self.slow.request.finish()
        response = self.connection.response()
        self.assertEqual(response and response.body, b"one0\r\n\r\n" + b"x" * 300)

    def test_client_can_vanish_twice(self) -> None:
        """The second time nothing happens, and the first one is noticed."""
        self.connection.request("GET", "/", {"Host": "a"})
        left = self.slow.request.notifyFinish()
        for _ in range(2):
            self.connection.lose()
        self.failureResultOf(left)


class MemoryServerTests(SynchronousTestCase):
    """Tests of :class:`MemoryServer`."""

    def test_stop_fails_on_what_is_left_for_later(self) -> None:
        """The code that scheduled it has forgotten to cancel it."""
        server = MemoryServer()
        call = server.reactor.callLater(5, lambda: None)
        self.assertRaises(AssertionError, server.stop)
        call.cancel()

    def test_stop_ends_open_connections(self) -> None:
        """Their time-outs are not left behind."""
        server = MemoryServer()
        connection = server.connect()
        connection.send(b"GET /health HTTP/1.1\r\nHost:")
        server.stop()
        self.assertEqual(server.reactor.getDelayedCalls(), [])

    def test_servers_can_share_a_reactor(self) -> None:
        """Each keeps to its own ports."""
        reactor = MemoryReactor()
        one, other = MemoryServer(reactor), MemoryServer(reactor, udp_port=(UDPPort(1), UDPPort(2)))
        _, key, _ = other.register()
        self.assertEqual((len(one.udp_ports), len(other.udp_ports)), (2, 2))
        self.assertEqual(len(other.deliver(key, port=1)), 1)
        with contextlib.suppress(AssertionError):
            one.stop()  # The other one's sweep is still to come.
        other.stop()

    def test_body_is_sent_as_json_unless_it_is_bytes(self) -> None:
        """With the length that it has."""
        server = MemoryServer()
        self.addCleanup(server.stop)
        for body in ({"a": ["\u00e9"]}, b"{}", b""):
            self.assertEqual(server.request("POST", "/register", body).status, 200)

    def test_source_of_a_request_is_what_the_test_says(self) -> None:
        """The server sees it as the client's address."""
        seen: list[Any] = []
        server = MemoryServer()
        self.addCleanup(server.stop)

        class _Who(Resource):
            isLeaf = True

            def render(self, request: Any) -> bytes:
                seen.append((request.getClientAddress().host, request.getClientAddress().port))
                return b""

        server.site.resource = _Who()
        for source in (HOME, ("2001:db8::1", 7)):
            server.start_request("GET", "/", source=source)
        self.assertEqual(seen, [HOME, ("2001:db8::1", 7)])
