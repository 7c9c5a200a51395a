"""What a hostile server, router or peer names: it is neither kept without a bound nor shown to a terminal as it is."""

from __future__ import annotations

import json
import struct
from io import StringIO
from time import process_time
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import MessageLengthError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.client import ConnectFailed, RendezvousClient
from rendezvous.client._sse import Parser
from rendezvous.client.connecting._endpoints import SocketEndpoint
from rendezvous.client.ice import IceServer
from rendezvous.client.relay.servers import turn_servers
from rendezvous.commands.rendezvous.output import Output
from rendezvous.core.punching.pairs import Local
from rendezvous.testing import MemoryReactor
from tests._portmap_case import LOCAL, PortMapCase

NASTY = "a\x1b[2J\x07b\x7f\x9b31mc\u202ed\u2028e\ud800f\U000e0001g\nh"


class TerminalTests(SynchronousTestCase):
    """Texts of others on a terminal."""

    def test_json_has_no_control_characters(self) -> None:
        """C1, bidirectional overrides and lone surrogates are escapes in JSON too, and the text is the same."""
        out = StringIO()
        output = Output(out, StringIO(), json=True)
        output.event("failed", "text", reason=NASTY, peer="é")
        output.data(NASTY.encode("utf-8", "replace").decode(), "\x9b\u202e grüße".encode())
        for line in out.getvalue().split("\n"):
            self.assertTrue(line.isprintable(), line)
            line.encode("utf-8")
        first, second = map(json.loads, out.getvalue().split("\n")[:-1])
        self.assertEqual((first["reason"], first["peer"]), (NASTY, "é"))
        self.assertEqual(second["text"], "\x9b\u202e grüße")
        self.assertIn("grüße", out.getvalue())

    def test_reason_of_a_server_is_one_line(self) -> None:
        """Also in a log, which shows the error itself."""
        error = ConnectFailed(NASTY * 100, code="failed")
        self.assertTrue(str(error).isprintable())
        self.assertTrue(error.reason.isprintable())
        self.assertLess(len(error.reason), 400)

    def test_text_has_no_control_characters(self) -> None:
        """Events and failures are one line each."""
        err = StringIO()
        output = Output(StringIO(), err, json=False)
        output.event("connected", NASTY)
        output.failed("code", NASTY)
        output.warn(NASTY)
        lines = err.getvalue().split("\n")
        self.assertEqual(len(lines), 4)
        self.assertTrue(all(line.isprintable() for line in lines), lines)


class EventTests(SynchronousTestCase):
    """An event stream that comes in tiny pieces."""

    def test_long_line_in_pieces(self) -> None:
        """What is there of a line is not copied for each piece of it: 1 MiB takes no minutes."""
        parser, began = Parser(), process_time()
        for _ in range(1 << 16):
            self.assertEqual(list(parser.feed(b"data: 0123456789")), [])
        self.assertEqual(len(list(parser.feed(b"\n\n"))), 1)
        self.assertLess(process_time() - began, 5.0)
        with self.assertRaises(ValueError):
            for _ in range(1 << 18):
                list(parser.feed(b"data: 0123456789"))


class TurnServerTests(SynchronousTestCase):
    """The TURN servers that a server names."""

    def test_names_that_are_none(self) -> None:
        """Those with control characters, and those that no resolver takes, are passed over."""
        hosts = [
            "a%00b",
            "a%1b[31m",
            "a%0ab",
            "x" * 64,
            ".".join(["y" * 60] * 5),
            "a..b",
            "%ff",
            "a%20b",
            "-a",
            "%F0%9F%98%80",
        ]
        urls = tuple(f"turn:{host}" for host in [*hosts, "good.example"])
        servers = turn_servers([IceServer(urls, "user", "password")])
        self.assertEqual([server.host for server in servers], ["good.example"])


class RouterTests(PortMapCase):
    """A router that answers without being asked."""

    def test_flood_of_mappings(self) -> None:
        """Replies of the other protocol, each of which makes a mapping too many, do not each cause a removal."""
        self.router("pcp", "nat-pmp").pcp_delay = 0.03
        result = self.map()
        self.fake.advance(0.5)
        self.assertIsNotNone(self.successResultOf(result))
        before = len(self.fake.seen)
        [port] = [port for port in self.reactor.udp_ports if port.listening]
        for number in range(1000):
            reply = struct.pack("!BBHIHHI", 0, 0x81, 0, self.fake.epoch, LOCAL, 1024 + number, 3600)
            self.fake.answer(port, reply)
        self.assertLessEqual(len(self.mapper._routers[False]._removals), 1)  # type: ignore[union-attr]
        self.fake.advance(3)
        self.assertLessEqual(len(self.fake.seen) - before, 5)
        self.stop()


class CookieTests(SynchronousTestCase):
    """Cookies of a server that is none of ours."""

    def test_cookies_are_neither_kept_nor_sent(self) -> None:
        """Each answer sets another one; the next request has none."""
        reactor = MemoryReactorClock()
        client = RendezvousClient.over(reactor, "http://192.0.2.1:5025")
        for number in range(3):
            asked: Deferred[Any] = client.health()
            reactor.advance(0)
            _, _, factory, *_ = reactor.tcpClients.pop()
            protocol: Any = factory.buildProtocol(None)
            transport = StringTransport()
            protocol.makeConnection(transport)
            self.assertNotIn(b"cookie", transport.value().lower())
            body = b'{"ok":true,"version":"1","timestamp":1790000000}'
            protocol.dataReceived(
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nSet-Cookie: c%d=%b; Path=/\r\nContent-Length: %d\r\n\r\n%b"
                % (number, b"x" * 1000, len(body), body)
            )
            self.successResultOf(asked)


class CloseTests(SynchronousTestCase):
    """A server that never confirms the end of a connection, as TLS wants it."""

    def test_close_takes_a_second_at_most(self) -> None:
        """The program ends without it; a confirmation that comes later does nothing."""
        reactor = MemoryReactorClock()
        client = RendezvousClient.over(reactor, "https://192.0.2.1")
        confirmed: Deferred[None] = Deferred()
        self.patch(client._pool, "closeCachedConnections", lambda: confirmed)
        closed = client.close()
        reactor.advance(0.5)
        self.assertNoResult(closed)
        reactor.advance(0.5)
        self.successResultOf(closed)
        confirmed.callback(None)
        self.patch(client._pool, "closeCachedConnections", lambda: succeed(None))
        self.successResultOf(client.close())
        self.assertEqual(reactor.getDelayedCalls(), [])


class EndpointTests(SynchronousTestCase):
    """A socket whose datagrams the system refuses."""

    def test_datagram_that_is_too_long_for_the_way(self) -> None:
        """A forged ICMP message may say that nothing fits: the datagram is lost, as in a network."""
        endpoint = SocketEndpoint(MemoryReactor(), Local("ipv4"), lambda *_: None)

        def write(datagram: bytes, address: object) -> None:
            raise MessageLengthError("message too long")

        self.patch(endpoint.transport, "write", write)
        endpoint.send(bytes(1224), ("192.0.2.1", 1))
