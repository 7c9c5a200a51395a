"""What a client does not read counts over TLS as well."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from tests._web_case import ORIGIN
from tests.certificates import NAME, self_signed
from tests.test_web_sending import SendingTestCase, SlowTransport

LOST = Failure(ConnectionLost())


class TLSTransport(SlowTransport):
    """With what TCP has."""

    def setTcpNoDelay(self, on: bool) -> None:
        """Do nothing."""


class TLSTests(SendingTestCase):
    """A TLS client that reads nothing of its answer."""

    def setUp(self) -> None:
        """Connect, and shake hands."""
        super().setUp()
        certificate, clock = self_signed(), self.server.reactor
        address = IPv4Address("TCP", "198.51.100.7", 50_000)
        self.client = Protocol()
        accepted: Any = TLSMemoryBIOFactory(certificate.options(), False, self.server.site, clock)
        self.inward: Any = accepted.buildProtocol(address)
        trust = optionsForClientTLS(NAME, trustRoot=certificate)
        connected: Any = TLSMemoryBIOFactory(trust, True, Factory.forProtocol(lambda: self.client), clock)
        self.outward: Any = connected.buildProtocol(None)
        self.there, self.here = TLSTransport(peerAddress=address), StringTransport()
        self.inward.makeConnection(self.there)
        self.outward.makeConnection(self.here)
        self.addCleanup(self.inward.connectionLost, LOST)
        self.addCleanup(self.outward.connectionLost, LOST)
        for _ in range(5):
            self.pass_on()
            self.read()

    def pass_on(self) -> None:
        """Give the server what the client has sent."""
        data = self.here.value()
        self.here.clear()
        if data:
            self.inward.dataReceived(data)

    def read(self) -> None:
        """Give the client what the server has sent."""
        data = self.there.value()
        self.there.clear()
        self.there.unread = 0
        if data:
            self.outward.dataReceived(data)

    def send(self, request: str) -> None:
        """Send a request, and let some turns of the reactor pass."""
        transport: Any = self.client.transport
        transport.write(request.encode())
        self.server.reactor.advance(0)
        self.pass_on()
        self.server.reactor.advance(0)
        self.server.reactor.advance(0)

    def test_an_answer_that_fits_into_one_turn_is_counted(self) -> None:
        """TLS keeps 58 kB until the next turn of the reactor; they are unread all the same."""
        for _ in range(2):
            self.open_session("go", offer="v" * 29_000)
        self.send(f"GET /go/sessions HTTP/1.1\r\nHost: a\r\nOrigin: {ORIGIN['Origin']}\r\n\r\n")
        self.assertGreater(self.there.unread, 58_000)
        self.assertGreater(self.sender.unread, 58_000)

    def test_an_idle_connection_is_closed_with_the_site(self) -> None:
        """TLS would wait for its producer, which is the connection itself."""
        self.send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        self.server.site.connections.end()
        self.server.reactor.advance(0)
        self.read()
        self.assertTrue(self.here.disconnecting)
