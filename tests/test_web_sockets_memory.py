"""WebSockets: what they may have sent in part, what they may leave unread, and how they are closed then."""

from __future__ import annotations

import sys
from typing import Any
from unittest import mock

from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from twisted.internet.abstract import FileDescriptor

from rendezvous.limits import SocketLimits
from rendezvous.refusals import FULL_TABLES
from rendezvous.testing import MemorySocket
from rendezvous.web.sending import SMALL
from rendezvous.web.sockets.pieces import MESSAGE_TIME
from rendezvous.web.sockets.socket import CLOSE_TIME
from rendezvous.web.sockets.sockets import PING_INTERVAL
from rendezvous.web.transports import unsent
from rendezvous.wire.frames import PING, Frames, text_frame
from tests._socket_case import SocketTestCase

LIMITS = SocketLimits()
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


class UnfinishedTests(SocketTestCase):
    """Messages that have not arrived whole count as request bodies do that have not."""

    def begin(self, text: str) -> MemorySocket:
        """:returns: a socket that has sent the beginning of a message."""
        socket = self.socket()
        socket.send(TextMessage(text, message_finished=False))
        return socket

    def held(self) -> int:
        """:returns: bytes that have not arrived whole."""
        return self.server.rendezvous.web.gate.quotas._unfinished_total

    def test_bytes_are_counted_until_the_message_ends(self) -> None:
        """In UTF-8, and over the limit of all the socket is closed (1013)."""
        with mock.patch("rendezvous.web.quotas.MAX_UNFINISHED", 100):
            first = self.begin("é" * 45)
            self.assertEqual(self.held(), 90)
            second = self.begin("x" * 11)
            second.read()
            self.assertEqual((second.close_code, second.close_reason[:13]), (1013, "The server is"))
            first.send(TextMessage("x" * 5, message_finished=False))
            first.send(TextMessage("x"))
            self.assertEqual((first.take(), first.close_code, self.held()), ([], None, 0))
            self.assertEqual(self.server.rendezvous.counters.family(FULL_TABLES)["full-bodies"], 1)

    def test_limit_of_a_source(self) -> None:
        """One source leaves room for others."""
        with mock.patch.object(self.server.rendezvous.web.gate.quotas._unfinished, "_subscriber", 100):
            first, second = self.begin("x" * 90), self.begin("x" * 11)
            first.read()
            second.read()
            self.assertEqual((first.close_code, second.close_code), (None, 1013))

    def test_nothing_is_counted_afterwards(self) -> None:
        """Whoever ends the socket."""
        lost, closed, wrong, long = (self.begin("x" * 1000) for _ in range(4))
        self.assertEqual(self.held(), 4000)
        lost.lose()
        closed.send(CloseConnection(1000))
        wrong.connection.send(b"\x83\x81abcdx")
        long.send(TextMessage("x" * LIMITS.message, message_finished=False))
        long.read()
        self.assertEqual(long.close_code, 1009)
        self.assertEqual(self.held(), 0)

    def test_nothing_is_kept_after_the_close(self) -> None:
        """A client that goes on with its message while it is closed sends it in vain."""
        socket = self.begin("x" * 1000)
        self.server.rendezvous.web.sockets.sockets.end()
        self.assertEqual(self.held(), 0)
        for is_last in (False, True, False):
            socket.send(TextMessage("piece", message_finished=is_last))
            self.assertEqual((self.held(), socket.connection.transport.disconnected), (0, False))

    def test_message_that_has_ended(self) -> None:
        """Its time does not count for the socket afterwards."""
        socket = self.begin("x")
        socket.send(TextMessage("y"))
        for _ in range(int(2 * MESSAGE_TIME / PING_INTERVAL) + 1):
            self.advance(PING_INTERVAL)
            socket.read()
        self.assertFalse(socket.connection.transport.disconnected)

    def test_message_that_never_ends(self) -> None:
        """Has some time, after which its socket is closed with the next ping."""
        socket, other = self.begin("x"), self.socket()
        for _ in range(int(MESSAGE_TIME / 10) + int(PING_INTERVAL / 10)):
            self.advance(10)
            socket.send(TextMessage("", message_finished=False))
            for each in (socket, other):
                each.read()
        self.assertEqual((socket.close_code, other.close_code), (1008, None))

    def test_idle_socket_keeps_nothing(self) -> None:
        """Of what it has received last."""
        for end in (b"", b"\x81"):
            frames = Frames()
            frames.receive((b"\x81\xfe\x80\x00" + bytes(4) + b"x" * 0x8000) * 2 + end)
            self.assertEqual(len(list(frames.events())), 2)
            frames.receive(b"")
            self.assertLess(sum(map(sys.getsizeof, vars(frames).values())), 1000)

    def test_handshake_with_a_body(self) -> None:
        """Is none. What comes behind the body would stay with the channel of HTTP."""
        for headers in ({"Content-Length": "1"}, {"Transfer-Encoding": "chunked"}):
            connection = self.server.connect()
            self.open.append(connection)
            body = b"0\r\n\r\n" if "Transfer-Encoding" in headers else b"x"
            connection.request("GET", "/signal", {"Host": "x", **HANDSHAKE, **headers}, body + b"GET /signal")
            response = connection.response()
            assert response is not None
            self.assertEqual((response.status, response.json()["code"]), (400, "bad-handshake"))


class _Sink(FileDescriptor):
    """The part of a transport that holds what is not sent."""

    connected = 1
    bufferSize = SMALL  # noqa: N815 - Twisted's name

    def startWriting(self) -> None:  # noqa: N802 - Twisted's name
        """Do nothing: it is always looked whether the system takes something."""

    def writeSomeData(self, data: bytes) -> int:  # noqa: N802 - Twisted's name
        """:returns: 0, as the system takes nothing."""
        return 0


class UnreadTests(SocketTestCase):
    """What clients leave unread is counted, whatever it is."""

    def setUp(self) -> None:
        """Have a reader."""
        super().setUp()
        self.reader = self.socket()
        self.say(self.reader, type="subscribe", topics=["t"])
        self.transport = self.reader.connection.transport
        self.sender = self.server.rendezvous.web.gate.sender

    def pause_when_written(self, transport: Any) -> None:
        """Have a transport ask for a pause as soon as it has more than it should."""
        write = transport.writeSequence

        def written(parts: list[bytes]) -> None:
            write(parts)
            if sum(map(len, parts)) > SMALL:
                transport.producer.pauseProducing()

        self.patch(transport, "writeSequence", written)

    def test_pongs(self) -> None:
        """Of a client that sends pings and reads nothing."""
        self.server.rendezvous.web.sockets.sockets.change(SocketLimits(rate=0, unread=1000))
        socket = self.socket()
        transport: Any = socket.connection.transport
        transport.producer.pauseProducing()
        for _ in range(7):
            socket.send(Ping(b"p" * 125))
        self.assertEqual(self.sender.unread, 7 * 127)
        socket.send(Ping(b"p" * 125))
        self.assertTrue(transport.disconnected)

    def test_pings_for_one_that_does_not_read(self) -> None:
        """Of all who want its id."""
        holder = self.socket("/peerjs?key=peerjs&id=x&token=t")
        transport: Any = holder.connection.transport
        transport.producer.pauseProducing()
        for number in range(3):
            self.socket(f"/peerjs?key=peerjs&id=x&token=t{number}")
            self.advance(0.5)
        self.assertEqual(self.sender.unread, 3 * len(PING))

    def test_first_long_frame(self) -> None:
        """The one because of which the transport asks for a pause."""
        self.pause_when_written(self.transport)
        self.say(self.reader, type="publish", topic="t", data="x" * 50_000)
        self.assertGreater(self.sender.unread, 50_000)
        producer: Any = self.transport.producer
        producer.resumeProducing()
        self.assertEqual((self.sender.unread, len(self.reader.take())), (0, 1))

    def test_long_frame_that_is_read_at_once(self) -> None:
        """Is not counted afterwards."""
        self.say(self.reader, type="publish", topic="t", data="x" * 50_000)
        self.assertEqual(self.sender.unread, 0)

    def test_one_message_to_many(self) -> None:
        """Those for which there is no room are not sent it at all: all transports are filled in one turn."""
        others = [self.socket() for _ in range(9)]
        for each in (self.reader, *others):
            self.say(each, type="subscribe", topics=["t"])
            self.pause_when_written(each.connection.transport)
        with mock.patch.object(self.sender, "most", 250_000):
            self.say(self.reader, type="publish", topic="t", data="x" * 50_000)
        sockets = [self.reader, *others]
        written = [len(each.connection.transport.value()) > 50_000 for each in sockets]
        self.assertEqual(written, [True] * 4 + [False] * 6)
        self.assertEqual([bool(each.connection.transport.disconnected) for each in sockets], [False] * 4 + [True] * 6)

    def test_what_the_transport_holds(self) -> None:
        """Of several short frames is counted as soon as it asks for a pause."""
        sink = _Sink(self.server.reactor)
        writer = self.socket().connection._channel.dataReceived.__self__.writer
        writer._transport = sink
        sink.registerProducer(writer, True)
        for _ in range(3):
            writer.send(text_frame(b"x" * 10_000))
        self.assertEqual(self.sender.unread, unsent(sink))
        self.assertGreater(self.sender.unread, 30_000)
        writer.lost()
        self.assertEqual(self.sender.unread, 0)

    def test_producer_is_taken_back_at_the_end(self) -> None:
        """TLS would wait for it after the closing handshake, and so would a transport that has paused it."""
        for begins in (True, False):
            socket = self.socket()
            transport = socket.connection.transport
            if begins:
                socket.send(BytesMessage(b"x"))
                socket.read()
                self.assertEqual(socket.close_code, 1003)
            else:
                socket.send(CloseConnection(1000))
            self.assertIsNone(transport.producer)
            self.assertTrue(transport.disconnecting)

    def test_end_of_one_that_does_not_read(self) -> None:
        """Its connection is closed two seconds after the closing handshake, however much it has not read."""
        self.say(self.reader, type="ping")
        self.reader.send(BytesMessage(b"x"))
        self.reader.read()
        self.assertFalse(self.transport.disconnected)
        self.advance(2)
        self.assertTrue(self.transport.disconnected)

    def test_long_message_costs_more(self) -> None:
        """In every protocol: it takes as much time to read and to send as several short ones."""
        self.server.rendezvous.web.sockets.sockets.change(SocketLimits(rate=10, burst=30))
        for target in ("/signal", "/peerjs?key=peerjs&id=me&token=t"):
            short, long = self.socket(target), self.socket(target.replace("me", "you"))
            for _ in range(25):
                short.say('"x"')
            long.say('"' + "x" * 130_000 + '"')
            self.assertEqual(short.connection.transport.producerState, "producing")
            self.assertEqual(long.connection.transport.producerState, "paused")


class EndTests(SocketTestCase):
    """Sockets that are lost, and a server that stops."""

    def test_many_that_are_lost_at_once(self) -> None:
        """Their subscriptions end in later turns of the reactor, when this one has cost its time."""
        turns, topics = self.server.rendezvous.web.sockets.sockets._turns, self.server.rendezvous.web.sockets._topics
        opened = [self.socket(host=f"192.0.2.{number}") for number in range(3)]
        for socket in opened:
            self.say(socket, type="subscribe", topics=["a", "b"])
        opened[0].lose()
        self.assertEqual(len(topics), 4)
        turns.charge("others", 1.0)
        for socket in opened[1:]:
            socket.lose()
        self.assertEqual((len(topics), len(self.server.rendezvous.web.sockets.sockets)), (4, 0))
        self.server.reactor.advance(0)
        self.assertEqual(len(topics), 0)

    def test_stop_waits_for_the_sockets(self) -> None:
        """Until both sides have closed, or for two seconds: over TLS the close code is sent in a later turn."""
        answering, silent = self.socket(), self.socket()
        stopped = self.server.rendezvous.stopService()
        answering.read()
        self.assertEqual((answering.close_code, answering.close_reason), (1001, "The server stops."))
        answering.lose()
        again = self.server.rendezvous.stopService()
        self.assertNoResult(stopped)
        self.advance(CLOSE_TIME)
        self.assertTrue(silent.connection.transport.disconnected)
        self.assertNoResult(stopped)
        silent.lose()
        self.successResultOf(stopped)
        self.successResultOf(again)

    def test_stop_without_sockets(self) -> None:
        """Waits for nothing."""
        self.socket().lose()
        self.successResultOf(self.server.rendezvous.stopService())
