"""WebSockets beside the routes: the handshake, the limits, dead ones, and the end."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

from wsproto.connection import Connection as Wire
from wsproto.connection import ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from twisted.logger import capturedLogs
from twisted.web.resource import Resource
from twisted.web.server import Site

from rendezvous.limits import SocketLimits
from rendezvous.refusals import FULL_TABLES
from rendezvous.testing import Connection, MemorySocket
from rendezvous.web.sockets import sockets as module
from rendezvous.web.sockets.socket import CLOSE_TIME
from rendezvous.web.sockets.sockets import PING_INTERVAL
from rendezvous.wire.frames import text_frame
from rendezvous.wire.signal import PONG
from tests._socket_case import HOME, SocketTestCase

HANDSHAKE = {
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
LIMITS = SocketLimits()


class HandshakeTests(SocketTestCase):
    """RFC 6455, section 4."""

    def test_answer_is_that_of_the_rfc(self) -> None:
        """For the example of section 1.3; below any path, and whatever the case of the headers."""
        for headers in (HANDSHAKE, {name.lower(): value for name, value in HANDSHAKE.items()}):
            response = self.start("GET", "/signal?room=7", None, headers).response()
            assert response is not None
            self.assertEqual(response.status, 101)
            self.assertEqual(response.headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            self.assertEqual(response.headers["upgrade"].lower(), "websocket")
            self.assertNotIn("sec-websocket-extensions", response.headers)

    def test_upgrade_to_something_else(self) -> None:
        """Is no handshake; the name of the protocol may be in any case."""
        for name in ("WebSocket", "WEBSOCKET"):
            response = self.start("GET", "/signal", None, {**HANDSHAKE, "Upgrade": name}).response()
            assert response is not None
            self.assertEqual(response.status, 101)
        self.assertTrue(self.good("GET", "/signal", None, {**HANDSHAKE, "Upgrade": "h2c"})["ok"])
        self.refused(405, "method-not-allowed", "POST", "/signal", None, HANDSHAKE)

    def test_request_is_forgotten(self) -> None:
        """Its headers would take as much memory as all the rest of a socket, for as long as the socket is open."""
        socket = self.socket()
        self.assertEqual(socket.status, 101)
        self.assertEqual(socket.connection._channel.requests, [])

    def test_handshake_that_is_none(self) -> None:
        """A header that is missing, wrong or unreadable is said, and the connection is still one of HTTP."""
        for name, value in (
            ("Connection", "close"), ("Sec-WebSocket-Key", None), ("Sec-WebSocket-Version", None),
            ("Upgrade", "websocket, other"), ("Sec-WebSocket-Key", "\xfc" * 24), ("Sec-WebSocket-Key", "x" * 2000),
        ):  # fmt: skip
            headers = {**HANDSHAKE, name: value}
            given = {name: value for name, value in headers.items() if value is not None}
            self.refused(400, "bad-handshake", "GET", "/signal", None, given)

    def test_other_version(self) -> None:
        """The answer says which one to use."""
        response = self.ask("GET", "/signal", None, {**HANDSHAKE, "Sec-WebSocket-Version": "8"})
        self.assertRefused(response, 426, "upgrade-required")
        self.assertEqual(response.headers["sec-websocket-version"], "13")

    def test_what_comes_with_the_handshake(self) -> None:
        """A client that does not wait for the answer is understood, and nothing that it sends is kept unread."""
        fields = "".join(f"{name}: {value}\r\n" for name, value in HANDSHAKE.items())
        head = f"GET /signal HTTP/1.1\r\nHost: rendezvous.example\r\n{fields}\r\n".encode()
        ping = Wire(ConnectionType.CLIENT).send(TextMessage('{"type":"ping"}'))
        for pieces in ([head + ping + ping], [head, ping + ping], [head + ping[:3], ping[3:] + ping]):
            connection = self.server.connect(HOME)
            self.open.append(connection)
            for piece in pieces:
                connection.send(piece)
            sent = connection.transport.value()
            self.assertTrue(sent.startswith(b"HTTP/1.1 101 "))
            self.assertTrue(sent.endswith(b"\r\n\r\n" + 2 * text_frame(PONG)), sent)
            self.assertEqual(connection.transport.producerState, "producing")
        wrong = self.server.connect(HOME)
        wrong.send(head + b"\x00" * 100_000)
        self.assertIn((1002).to_bytes(2, "big"), wrong.transport.value())
        self.advance(CLOSE_TIME)
        self.assertTrue(wrong.closed)


class EmbeddedTests(SocketTestCase):
    """In a site of an application, which is Twisted's own."""

    def test_below_a_path(self) -> None:
        """They live for as long as their clients answer pings, and until the server stops."""
        root = Resource()
        root.putChild(b"peers", self.server.rendezvous.resource())
        site = Site(root, reactor=self.server.reactor)
        alive, dead = (MemorySocket(Connection(site, HOME), "/peers/signal") for _ in range(2))
        dead.answers_pings = False
        for _ in range(5):
            self.advance(PING_INTERVAL)
            alive.read()
            dead.read()
        self.say(alive, type="ping")
        self.assertEqual((self.heard(alive), dead.connection.transport.disconnected), ([{"type": "pong"}], True))
        self.server.rendezvous.web.sockets.end()
        alive.read()
        self.assertEqual((alive.close_code, alive.connection.closed), (1001, True))
        for socket in (alive, dead):
            socket.lose()


class OriginTests(SocketTestCase):
    """``--cors-origin``: a browser does not ask before it opens a socket, so the server looks."""

    settings = {"cors_origin": ["https://app.example"]}  # noqa: RUF012

    def test_origins(self) -> None:
        """Pages of others are refused; a client that is no browser has no origin."""
        self.assertEqual(self.socket(headers={"Origin": "https://app.example"}).status, 101)
        self.assertEqual(self.socket().status, 101)
        refused = self.socket(headers={"Origin": "https://other.example"})
        self.assertEqual((refused.status, json.loads(refused.body)["code"]), (403, "origin"))

    def test_pages_of_the_server_itself(self) -> None:
        """They may always use it; another port or a name that only begins so is another origin."""
        for origin in ("http://server.example", "https://server.example"):
            self.assertEqual(self.socket(headers={"Origin": origin}).status, 101, origin)
        for origin in ("https://server.example:8443", "https://server.example.evil.example", "server.example", "null"):
            self.assertEqual(self.socket(headers={"Origin": origin}).status, 403, origin)


class NumberTests(SocketTestCase):
    """How many sockets there may be."""

    settings = {"max_sockets": 3}  # noqa: RUF012

    def test_in_all(self) -> None:
        """The next one is refused until one is gone."""
        opened = [self.socket(host=f"192.0.2.{n}") for n in range(3)]
        self.assertEqual([socket.status for socket in opened], [101] * 3)
        refused = self.socket(host="192.0.2.4")
        self.assertEqual((refused.status, json.loads(refused.body)["code"]), (503, "full-sockets"))
        opened[0].lose()
        self.assertEqual(self.socket(host="192.0.2.4").status, 101)

    def test_largest_source_is_named(self) -> None:
        """When the server is full, the operator sees which network has most sockets."""
        self.server.rendezvous.web.sockets.sockets.change(SocketLimits(most=3, of_source=0))
        for host in ("203.0.113.9", "192.0.2.2", "192.0.2.2"):
            self.socket(host=host)
        self.assertEqual(self.socket(host="192.0.2.4").status, 503)
        self.assertEqual(self.server.rendezvous.counters.networks(FULL_TABLES).take(), ("192.0.2.2", 1))

    def test_of_a_source(self) -> None:
        """Each address has its share; it comes back with each socket that ends."""
        self.server.rendezvous.web.sockets.sockets.change(SocketLimits(of_source=1))
        first = self.socket()
        refused = self.socket()
        self.assertEqual((refused.status, json.loads(refused.body)["code"]), (429, "source-sockets"))
        self.assertEqual(self.socket(host="203.0.113.9").status, 101)
        first.lose()
        self.assertEqual(self.socket().status, 101)

    def test_part_of_a_source(self) -> None:
        """One address has a quarter of all at most, and one site a half, so that neither keeps all others out."""
        self.server.rendezvous.web.sockets.sockets.change(SocketLimits(most=8))
        hosts = ["198.51.100.1"] * 3 + ["198.51.100.2"] * 2 + ["198.51.100.3"] * 2 + ["203.0.113.9"]
        opened = [self.socket(host=host).status for host in hosts]
        self.assertEqual(opened, [101, 101, 429, 101, 101, 429, 429, 101])


class MessageTests(SocketTestCase):
    """What a socket may send."""

    def closed(self, socket: MemorySocket) -> tuple[int | None, bool]:
        """:returns: the close code, and whether the connection is closed."""
        socket.read()
        return socket.close_code, socket.connection.closed

    def test_pieces_are_put_together(self) -> None:
        """A character may be cut in the middle, and a ping may come in between."""
        socket = self.socket()
        self.say(socket, type="subscribe", topics=["ä"])
        text = json.dumps({"type": "publish", "topic": "ä", "data": "ü"}, ensure_ascii=False)
        for number, letter in enumerate(text):
            socket.send(TextMessage(letter, message_finished=number == len(text) - 1))
            socket.send(Ping(b"x"))
        self.assertEqual([message["data"] for message in self.heard(socket)], ["ü"])

    def test_bytes_as_they_come(self) -> None:
        """However the network cuts them."""
        socket = self.socket()
        frame = socket._wire.send(TextMessage('{"type":"ping"}'))
        for position in range(len(frame)):
            socket.connection.send(frame[position : position + 1])
        self.assertEqual(self.heard(socket), [{"type": "pong"}])

    def test_longest_message(self) -> None:
        """One character more ends the socket, in one frame or in many, before all of it has come."""
        fits, long, pieces = (self.socket() for _ in range(3))
        fits.say("x" * LIMITS.message)
        self.assertEqual(self.closed(fits), (None, False))
        long.say("x" * (LIMITS.message + 1))
        self.assertEqual(self.closed(long), (1009, True))
        for _ in range(LIMITS.message // 1024):
            pieces.send(TextMessage("x" * 1024, message_finished=False))
        self.assertEqual(self.closed(pieces), (None, False))
        pieces.send(TextMessage("x", message_finished=False))
        self.assertEqual(self.closed(pieces), (1009, True))

    def test_length_is_of_one_message(self) -> None:
        """Many short ones are none that is long."""
        socket = self.socket()
        for _ in range(3):
            socket.say("x" * (LIMITS.message // 2))
        self.assertEqual(self.closed(socket), (None, False))

    def test_bytes_are_no_text(self) -> None:
        """No protocol here has binary messages."""
        socket = self.socket()
        socket.send(BytesMessage(b"x"))
        self.assertEqual(self.closed(socket), (1003, True))

    def test_frames_that_break_the_rules(self) -> None:
        """One without a mask, one that is reserved, and text that is no UTF-8."""
        for data, code in (
            (b"\x81\x01x", 1002), (b"\x83\x81abcdx", 1002), (b"\x81\x81\0\0\0\0\xff", 1007), (b"\x80\x80abcd", 1002),
            (b"\x89\xfe\xff\xff", 1002), (b"\x88\x81abcdx", 1002),
        ):  # fmt: skip
            socket = self.socket()
            socket.connection.send(data)
            socket.connection.send(b"\x81\x01x" * 10)
            socket.read()
            self.assertEqual(socket.close_code, code, data)
            self.advance(CLOSE_TIME)
            self.assertTrue(socket.connection.transport.disconnected, data)

    def test_fault_in_a_protocol(self) -> None:
        """Ends the socket, is logged, and goes no further."""
        socket = self.socket()
        planted = mock.patch("rendezvous.web.sockets.signal.decode", side_effect=RuntimeError("planted"))
        with planted, capturedLogs() as seen:
            socket.say("x")
        self.assertEqual(self.closed(socket), (1011, True))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        [request_id] = [event["request_id"] for event in seen if event.get("event") == "message_failed"]
        self.assertEqual(socket.close_reason, f"The server has failed: request {request_id}.")


class CloseTests(SocketTestCase):
    """RFC 6455, section 7."""

    def test_client_closes(self) -> None:
        """It is answered with its own code, and the connection is closed."""
        socket = self.socket()
        socket.send(CloseConnection(4000, "bye"))
        socket.read()
        self.assertEqual((socket.close_code, socket.connection.closed), (4000, True))

    def test_client_closes_without_a_code(self) -> None:
        """1005 stands for none, and is never sent."""
        socket = self.socket()
        socket.connection.send(b"\x88\x80abcd")
        socket.read()
        self.assertEqual((socket.close_code, socket.connection.closed), (1000, True))

    def test_client_that_does_not_answer_the_close(self) -> None:
        """Has two seconds, in which nothing is sent to it and nothing is taken from it."""
        socket, other = self.socket(), self.socket()
        for each in (socket, other):
            self.say(each, type="subscribe", topics=["doc"])
        socket.connection.send(b"\x83\x81abcdx")
        self.say(other, type="publish", topic="doc", data=1)
        self.advance(CLOSE_TIME - 0.1)
        self.assertFalse(socket.connection.transport.disconnected)
        self.advance(0.1)
        self.assertTrue(socket.connection.transport.disconnected)
        self.assertEqual(socket.take(), [])

    def test_server_closes(self) -> None:
        """The connection stays until the client has answered: to close it earlier could lose the close code."""
        socket = self.socket()
        transport = socket.connection.transport
        socket.send(BytesMessage(b"x"))
        self.assertTrue(transport.value().endswith(b"\x03\xebMessages are text, not bytes."))
        self.assertFalse(transport.disconnecting)
        socket.read()
        self.assertEqual((socket.close_code, transport.disconnecting), (1003, True))

    def test_nothing_is_taken_after_the_close(self) -> None:
        """What the client sends until it has read the close is dropped, in one frame or in several."""
        socket, other = self.socket(), self.socket()
        self.say(other, type="subscribe", topics=["doc"])
        socket.send(BytesMessage(b"x"))
        text = '{"type":"publish","topic":"doc","data":1}'
        for pieces in ([text], [text[:9], text[9:]]):
            for number, piece in enumerate(pieces, 1):
                socket.send(TextMessage(piece, message_finished=number == len(pieces)))
        self.assertEqual(self.heard(other), [])
        socket.read()
        self.assertEqual((socket.close_code, socket.connection.closed), (1003, True))

    def test_second_close(self) -> None:
        """A socket that is being closed is not closed again: one close frame, and two seconds from the first on."""
        socket = self.socket()
        transport = socket.connection.transport
        socket.send(BytesMessage(b"x"))
        sent = transport.value()
        self.advance(CLOSE_TIME - 0.5)
        self.server.rendezvous.web.sockets.sockets.end()
        self.assertEqual((transport.value(), transport.disconnected), (sent, False))
        self.advance(0.5)
        self.assertTrue(transport.disconnected)

    def test_server_stops(self) -> None:
        """All sockets are closed with 1001, and none is opened any more until it starts again."""
        opened = [self.socket() for _ in range(3)]
        self.server.rendezvous.web.sockets.sockets.end()
        for socket in opened:
            self.assertEqual((socket.take(), socket.close_code), ([], 1001))
        self.assertEqual(self.socket().status, 503)
        self.server.rendezvous.web.sockets.sockets.begin()
        self.assertEqual(self.socket().status, 101)

    def test_end_of_all(self) -> None:
        """It is reported when no socket is left; at once if there is none."""
        sockets = self.server.rendezvous.web.sockets.sockets
        self.successResultOf(sockets.end())
        sockets.begin()
        first, second = self.socket(), self.socket()
        ended = [sockets.end() for _ in range(2)]
        first.lose()
        for each in ended:
            self.assertNoResult(each)
        self.advance(CLOSE_TIME)
        self.assertTrue(second.connection.transport.disconnected)
        second.lose()
        for each in ended:
            self.successResultOf(each)


class DeadTests(SocketTestCase):
    """Sockets whose clients are gone without a word."""

    def test_pings(self) -> None:
        """Every 30 s; one that does not answer is closed at the next."""
        alive, dead = self.socket(), self.socket()
        dead.answers_pings = False
        for turn in range(1, 5):
            self.advance(PING_INTERVAL - 0.1)
            self.assertEqual(alive.pings, turn - 1)
            self.advance(0.1)
            alive.read()
            dead.read()
            self.assertEqual(alive.pings, turn)
        self.assertEqual(dead.pings, 1)
        self.assertEqual((alive.connection.closed, dead.connection.closed), (False, True))

    def test_any_frame_is_a_sign(self) -> None:
        """Not only a pong."""
        socket = self.socket()
        socket.answers_pings = False
        for _ in range(5):
            self.advance(PING_INTERVAL)
            socket.say("x")
        self.assertFalse(socket.connection.closed)

    def test_many(self) -> None:
        """Those that are due at the same moment are pinged in turns of the reactor."""
        with mock.patch.object(module, "PINGS", 2):
            opened = [self.socket() for _ in range(5)]
            self.advance(PING_INTERVAL)
            for _ in range(3):
                self.server.reactor.advance(0)
        for socket in opened:
            socket.read()
        self.assertEqual([socket.pings for socket in opened], [1] * 5)

    def test_dead_peer_hears_nothing(self) -> None:
        """A subscription ends with its socket."""
        dead, alive = self.socket(), self.socket()
        for socket in (dead, alive):
            self.say(socket, type="subscribe", topics=["doc"])
        for _ in range(2):
            self.advance(PING_INTERVAL)
            alive.read()
        dead.lose()  # As the reactor reports it after the abort.
        self.say(alive, type="publish", topic="doc", data=1)
        self.assertEqual([message["clients"] for message in self.heard(alive)], [1])


class SlowReaderTests(SocketTestCase):
    """Clients that do not read what they are sent."""

    def setUp(self) -> None:
        """Have a reader and a writer."""
        super().setUp()
        self.reader, self.writer = self.socket(), self.socket(host="203.0.113.9")
        self.say(self.reader, type="subscribe", topics=["doc"])
        self.transport = self.reader.connection.transport
        self.producer: Any = self.transport.producer

    def write(self, number: int) -> None:
        """Send so many messages of some 100,000 bytes."""
        for _ in range(number):
            self.say(self.writer, type="publish", topic="doc", data="x" * 100_000)

    def test_too_much_unread(self) -> None:
        """Ends the socket. Nothing of it is counted afterwards."""
        self.producer.pauseProducing()
        self.write(10)
        self.assertFalse(self.transport.disconnected)
        self.assertGreater(self.server.rendezvous.web.gate.sender.unread, 1_000_000)
        self.write(1)
        self.assertTrue(self.transport.disconnected)
        self.reader.lose()
        self.assertEqual(self.server.rendezvous.web.gate.sender.unread, 0)

    def test_reader_that_catches_up(self) -> None:
        """May go on: nothing is lost."""
        for _ in range(3):
            self.producer.pauseProducing()
            self.write(8)
            self.producer.resumeProducing()
            self.assertEqual(self.server.rendezvous.web.gate.sender.unread, 0)
        self.assertEqual(len(self.reader.take()), 24)

    def test_reader_that_is_lost(self) -> None:
        """What it has not read is not counted any more, and it is not among those that are closed for others."""
        self.producer.pauseProducing()
        self.write(5)
        sender = self.server.rendezvous.web.gate.sender
        self.assertGreater(sender.unread, 500_000)
        self.reader.lose()
        self.assertEqual((sender.unread, len(sender._paused)), (0, 0))

    def test_room_of_all(self) -> None:
        """A socket whose message does not fit into what all clients may leave unread is ended."""
        sender = self.server.rendezvous.web.gate.sender
        with mock.patch.object(sender, "most", 150_000):
            self.producer.pauseProducing()
            self.write(1)
            self.assertFalse(self.transport.disconnected)
            self.write(1)
        self.assertTrue(self.transport.disconnected)
