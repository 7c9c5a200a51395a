"""WebSockets that send more than they may, or much at once: how they wait, and that they are not taken for dead."""

from __future__ import annotations

import json
from typing import Any

from wsproto.events import Ping, Pong, TextMessage

from rendezvous.limits import SocketLimits
from rendezvous.testing import MemorySocket
from rendezvous.web.sockets.socket import FRAMES
from rendezvous.web.sockets.sockets import PING_INTERVAL
from tests._socket_case import SocketTestCase


class RateTests(SocketTestCase):
    """Clients that send more than they may are read more slowly."""

    def test_nothing_is_lost(self) -> None:
        """After the burst, messages are taken as the bucket fills. All times are sums of powers of two, so exact."""
        self.server.rendezvous.web.sockets.sockets.change(SocketLimits(rate=8, burst=5))
        socket = self.socket()
        frame = socket._wire.send(TextMessage('{"type":"ping"}'))
        socket.connection.send(frame * 22)
        heard = [len(self.heard(socket))]
        self.assertEqual(socket.connection.transport.producerState, "paused")
        for _ in range(3):
            self.server.reactor.pump([1 / 128] * 128)
            heard.append(len(self.heard(socket)))
        self.assertEqual(heard[0], 6)
        self.assertEqual(heard[1:], [8, 8, 0])
        self.assertEqual(socket.connection.transport.producerState, "producing")

    def test_message_to_many_costs_more(self) -> None:
        """As much as one for each reader."""
        self.server.rendezvous.web.sockets.sockets.change(SocketLimits(rate=10, burst=20))
        opened = [self.socket() for _ in range(10)]
        for socket in opened:
            self.say(socket, type="subscribe", topics=["doc"])
        for _ in range(3):
            self.say(opened[0], type="publish", topic="doc", data=1)
        self.assertEqual(opened[0].connection.transport.producerState, "paused")

    def rest(self, **message: Any) -> float:
        """
        Have a socket send one message.

        :returns: seconds for which it is not read then. Its bucket holds 10 messages, and gains one a second.
        """
        self.server.rendezvous.web.sockets.sockets.change(SocketLimits(rate=1, burst=10))
        socket = self.socket()
        self.say(socket, **message)
        seconds = 0.0
        while socket.connection.transport.producerState == "paused":
            self.server.reactor.advance(0.5)
            seconds += 0.5
        return seconds

    def test_long_message_costs_more(self) -> None:
        """As much as one message more for each 4096 characters; once for its arrival, and once for each reader."""

        def rest(kind: str, characters: int) -> float:
            around = len(json.dumps({"type": kind, "topic": "doc", "data": ""}))
            return self.rest(type=kind, topic="doc", data="x" * (characters - around))

        for characters, seconds in ((10 * 4096 - 1, 0), (10 * 4096, 1), (20 * 4096, 11)):
            self.assertEqual(rest("unknown", characters), seconds)
        # One without readers costs as much as one with one.
        for characters, seconds in ((5 * 4096 - 1, 0), (5 * 4096, 1), (10 * 4096, 11)):
            self.assertEqual(rest("publish", characters), seconds)
        for number in range(4):
            self.say(self.socket(host=f"203.0.113.{number}"), type="subscribe", topics=["doc"])
        for characters, seconds in ((2 * 4096 - 1, 0), (2 * 4096, 4)):
            self.assertEqual(rest("publish", characters), seconds)

    def test_subscriptions_cost_as_much_as_messages(self) -> None:
        """Each topic as much as one message, also one that is subscribed to already."""
        for kind in ("subscribe", "unsubscribe"):
            rests = [self.rest(type=kind, topics=topics) for topics in ([], ["doc"] * 10, ["doc"] * 12)]
            self.assertEqual(rests, [0, 0, 2])
        self.assertEqual(self.rest(type="subscribe", topics=list("abcdefghijklm")), 3)

    def test_every_frame_costs(self) -> None:
        """Control frames, and pieces of a message, as much as a short message each."""
        piece = TextMessage("x", message_finished=False)
        for event in (Ping(b"x"), Pong(b"x"), TextMessage("x"), piece):
            self.server.rendezvous.web.sockets.sockets.change(SocketLimits(rate=1, burst=10))
            socket = self.socket()
            states = []
            for number in (10, 1):
                for _ in range(number):
                    socket.send(event)
                states.append(socket.connection.transport.producerState)
            self.assertEqual(states, ["producing", "paused"], event)

    def test_message_in_pieces_costs_as_much(self) -> None:
        """As one in a single frame, and its first pieces besides."""
        self.server.rendezvous.web.sockets.sockets.change(SocketLimits(rate=1, burst=10))
        socket = self.socket()
        text = json.dumps({"type": "subscribe", "topics": list("abcdefghij")})
        socket.send(TextMessage(text[:10], message_finished=False))
        self.assertEqual(socket.connection.transport.producerState, "producing")
        socket.send(TextMessage(text[10:]))
        self.assertEqual(socket.connection.transport.producerState, "paused")

    def test_long_rest_is_no_death(self) -> None:
        """A client that the server does not read cannot answer pings, and is not taken for dead."""
        self.server.rendezvous.web.sockets.sockets.change(SocketLimits(rate=1, burst=5))
        socket = self.socket()
        ping = socket._wire.send(TextMessage('{"type":"ping"}'))
        self.say(socket, type="subscribe", topics=[f"{number}" for number in range(100)])
        self.assertEqual(socket.connection.transport.producerState, "paused")
        for _ in range(3):
            self.advance(PING_INTERVAL)
            self.assertFalse(socket.connection.transport.disconnected)
        self.advance(PING_INTERVAL / 2)
        self.assertEqual(socket.connection.transport.producerState, "producing")
        socket.connection.send(ping)
        self.advance(0)
        self.assertIn({"type": "pong"}, self.heard(socket))
        socket.answers_pings = False
        self.advance(2 * PING_INTERVAL)
        self.assertTrue(socket.connection.transport.disconnected)

    def test_closed_while_it_rests(self) -> None:
        """A client that leaves meanwhile leaves nothing behind."""
        self.server.rendezvous.web.sockets.sockets.change(SocketLimits(rate=10, burst=5))
        socket = self.socket()
        socket.connection.send(socket._wire.send(TextMessage('{"type":"ping"}')) * 20)
        socket.lose()
        self.advance(5)

    def test_server_stops_while_it_rests(self) -> None:
        """The closing handshake is read at once, and no timer is left."""
        self.server.rendezvous.web.sockets.sockets.change(SocketLimits(rate=1, burst=5))
        for is_answered in (True, False):
            timers = len(self.server.reactor.getDelayedCalls())
            socket = self.socket()
            self.say(socket, type="subscribe", topics=[f"{number}" for number in range(100)])
            self.assertEqual(socket.connection.transport.producerState, "paused")
            self.server.rendezvous.web.sockets.sockets.end()
            self.assertEqual(socket.connection.transport.producerState, "producing")
            if is_answered:
                socket.read()
                self.assertTrue(socket.connection.transport.disconnecting)
            socket.lose()
            self.assertEqual(len(self.server.reactor.getDelayedCalls()), timers)
            self.server.rendezvous.web.sockets.sockets.begin()


class TurnTests(SocketTestCase):
    """Many frames in one packet."""

    def test_others_get_their_turn(self) -> None:
        """Of a packet with a thousand frames, some are taken at a time."""
        socket = self.socket()
        frame = socket._wire.send(TextMessage('{"type":"ping"}'))
        socket.connection.send(frame * (3 * FRAMES))
        self.assertEqual(len(self.heard(socket)), FRAMES)
        self.assertEqual(socket.connection.transport.producerState, "paused")
        for _ in range(3):
            self.server.reactor.advance(0)
        self.assertEqual(len(self.heard(socket)), 2 * FRAMES)
        self.assertEqual(socket.connection.transport.producerState, "producing")

    def test_turn_is_over(self) -> None:
        """When others have used up a turn of the reactor, a socket is read in the next one."""
        socket = self.socket()
        self.server.rendezvous.web.sockets.sockets._turns.charge("others", 1.0)
        self.say(socket, type="ping")
        self.assertEqual(socket.connection.transport.producerState, "paused")
        self.hand_over(socket, '{"type":"ping"}')
        self.assertEqual(self.heard(socket), [])
        self.server.reactor.advance(0)
        self.assertEqual(self.heard(socket), [{"type": "pong"}] * 2)
        self.assertEqual(socket.connection.transport.producerState, "producing")

    def hand_over(self, socket: MemorySocket, text: str) -> None:
        """Have a message arrive while nothing is read. TLS hands over what it has already."""
        socket.connection._channel.dataReceived(socket._wire.send(TextMessage(text)))

    def test_what_arrives_while_it_rests(self) -> None:
        """It is read when the rest is over, and not earlier."""
        self.server.rendezvous.web.sockets.sockets.change(SocketLimits(rate=1, burst=5))
        socket = self.socket()
        self.say(socket, type="subscribe", topics=[f"{number}" for number in range(10)])
        self.hand_over(socket, '{"type":"ping"}')
        self.advance(4)
        self.assertEqual(self.heard(socket), [])
        self.advance(1)
        self.assertEqual(self.heard(socket), [{"type": "pong"}])

    def test_message_that_ends_the_socket(self) -> None:
        """A socket that is closed because of an expensive message does not rest: the client's answer is read."""
        self.server.rendezvous.web.sockets.sockets.change(SocketLimits(rate=1, burst=5))
        socket = self.socket()
        self.say(socket, type="subscribe", topics=[*"abcdefgh", "t" * 257])
        self.assertEqual(socket.connection.transport.producerState, "producing")
        socket.read()
        self.assertEqual((socket.close_code, socket.connection.closed), (1008, True))

    def test_socket_that_is_lost_before_its_turn(self) -> None:
        """The frames that it has sent are dropped: nothing is subscribed for one that is gone."""
        socket = self.socket()
        frames = [TextMessage('{"type":"ping"}')] * FRAMES + [TextMessage('{"type":"subscribe","topics":["t"]}')]
        socket.connection.send(b"".join(socket._wire.send(frame) for frame in frames))
        socket.lose()
        self.advance(1)
        other = self.socket()
        self.say(other, type="subscribe", topics=["t"])
        self.say(other, type="publish", topic="t", data=1)
        self.assertEqual([message["clients"] for message in self.heard(other)], [1])
