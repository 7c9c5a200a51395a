"""``/events`` as a WebSocket: the credential, the events, and how it ends."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred

from rendezvous.core.sources import UNKNOWN
from rendezvous.limits import SocketLimits
from rendezvous.storage.notifier import WAITING_PER_KEY
from rendezvous.testing import MemorySocket
from rendezvous.web.events.stream import KEEP_ALIVE
from rendezvous.web.events.websocket import AUTHENTICATION_TIME
from rendezvous.web.sending import STALL_TIME
from tests._event_socket_case import EventSocketCase
from tests._socket_case import HOME
from tests._web_case import NOW

START = NOW * 1_000_000


class CredentialTests(EventSocketCase):
    """Who is at the other end."""

    def closed(self, socket: MemorySocket) -> tuple[int | None, str, Any]:
        """:returns: close code and reason, and what was said before."""
        [said] = self.objects(socket)
        self.assertEqual(said["event"], "error")
        return socket.close_code, socket.close_reason, said["data"]

    def test_first_message(self) -> None:
        """Brings it: then the stream is open, and says from where it goes on."""
        socket = self.connect()
        self.assertEqual(self.objects(socket), [])
        self.authenticate(socket)
        opened = {"event": "open", "data": {"peerId": self.alice_id, "topics": []}}
        self.assertEqual(self.objects(socket), [opened, {"id": str(START), "event": "keep-alive"}])

    def test_bare_key(self) -> None:
        """Is the other form of it."""
        key = self.alice["Authorization"].rpartition(":")[2]
        self.assertEqual(self.objects(self.page({"Authorization": key}))[0]["data"]["peerId"], self.alice_id)

    def test_header(self) -> None:
        """Of a client that is no browser; then the first message is an ordinary one."""
        socket = self.connect(self.alice)
        self.assertEqual([each["event"] for each in self.objects(socket)], ["open", "keep-alive"])
        self.say(socket, type="ping")
        self.assertEqual(self.objects(socket), [{"event": "pong"}])

    def test_ticket(self) -> None:
        """In the query; it opens one socket."""
        ticket = self.good("POST", "/events/ticket", None, self.alice)["ticket"]
        self.assertEqual(self.objects(self.connect(ticket=ticket))[0]["data"]["peerId"], self.alice_id)
        code, reason, data = self.closed(self.connect(ticket=ticket))
        self.assertEqual((code, reason, data["code"]), (4401, "unauthorized", "unauthorized"))

    def test_wrong(self) -> None:
        """Closes the socket with the status of the error, and says why."""
        for credential in ("", "x", "0" * 64, f"{self.alice_id}:{'0' * 64}", "\n"):
            socket = self.connect()
            self.say(socket, type="authenticate", credential=credential)
            self.assertEqual(self.closed(socket)[:2], (4401, "unauthorized"))
        self.assertEqual(self.closed(self.connect({"Authorization": "Bearer x"}))[0], 4401)

    def test_other_first_message(self) -> None:
        """Closes the socket: nothing is done for a stranger."""
        for text in (
            '{"type":"authenticate"}',
            '{"type":"ping"}',
            '{"type":"subscribe","topics":["t"]}',
            '{"type":"later"}',
            "no json",
        ):
            socket = self.connect()
            socket.say(text)
            code, _, data = self.closed(socket)
            self.assertEqual(code, 4401)
            self.assertIn('{"type": "authenticate", "credential": ', data["error"])

    def test_no_message(self) -> None:
        """Closes the socket after ten seconds, and leaves no timer."""
        socket = self.connect()
        self.advance(AUTHENTICATION_TIME - 0.5)
        self.assertEqual(self.objects(socket), [])
        self.advance(1)
        self.assertEqual(self.closed(socket)[0], 4401)

    def test_lost_before(self) -> None:
        """A socket that is lost before it has said anything leaves nothing."""
        timers = len(self.server.reactor.getDelayedCalls())
        socket = self.connect()
        socket.lose()
        self.assertEqual(len(self.server.reactor.getDelayedCalls()), timers)

    def test_second_credential(self) -> None:
        """Changes nothing."""
        socket = self.page()
        self.authenticate(socket, self.bob)
        self.publish(self.bob, id="x")
        self.answer("x", self.alice)
        self.assertEqual(self.said(socket), [])

    def test_logout(self) -> None:
        """Closes the socket at once."""
        socket = self.page()
        socket.take()
        self.good("POST", "/logout", None, self.alice)
        self.assertEqual(self.closed(socket)[:2], (4401, "unauthorized"))
        self.assertEqual(len(self.news), 0)


class EventTests(EventSocketCase):
    """What is sent."""

    def test_events_of_offers(self) -> None:
        """Answers, candidates and ends, with the fields and ids of the other form of the stream."""
        offer_id = self.publish(ttl=60_000)
        socket, stream = self.page(), self.listen()
        socket.take()
        self.answer(offer_id)
        self.trickle(offer_id, {"n": 1})
        self.live(60, socket)
        objects = [each for each in self.objects(socket) if each["event"] != "keep-alive"]
        self.assertEqual([each["event"] for each in objects], ["answer", "candidate", "expired"])
        self.assertEqual([each["data"].get("candidate") for each in objects], [None, {"n": 1}, None])
        text = self.text(stream)
        for each in objects:
            data = json.dumps(each["data"], separators=(",", ":"))
            self.assertIn(f"id: {each['id']}\nevent: {each['event']}\ndata: {data}\n\n", text)

    def test_keep_alive(self) -> None:
        """After fifteen seconds of silence, with the id after which the stream goes on."""
        socket = self.page()
        socket.take()
        self.advance(KEEP_ALIVE - 1)
        self.assertEqual(self.objects(socket), [])
        self.advance(1)
        [alive] = self.objects(socket)
        self.assertEqual(alive["event"], "keep-alive")
        offer_id = self.publish()
        self.answer(offer_id)
        again = self.page(lastEventId=alive["id"])
        self.assertEqual(self.watched(again), [("answer", offer_id)])

    def test_resume(self) -> None:
        """After each id, what is later comes, and nothing else."""
        offer_id = self.publish()
        first = self.page()
        self.answer(offer_id)
        self.trickle(offer_id, 1, 2, 3)
        objects = [each for each in self.objects(first) if each["event"] in ("answer", "candidate")]
        self.assertEqual(len(objects), 4)
        for place, each in enumerate(objects):
            again = self.page(lastEventId=each["id"])
            found = [other for other in self.objects(again) if other["event"] in ("answer", "candidate")]
            self.assertEqual(found, objects[place + 1 :])

    def test_reset(self) -> None:
        """Of an id whose events are no longer known."""
        offer_id = self.publish()
        socket = self.page()
        last_id = self.objects(socket)[-1]["id"]
        self.answer(offer_id)
        self.advance(130)
        self.trickle(offer_id, 1)
        self.assertEqual(self.watched(self.page(lastEventId=last_id))[0], ("reset", {}))

    def test_id_that_is_none(self) -> None:
        """Is refused before the handshake."""
        refused = self.connect(self.alice, lastEventId="x")
        self.assertEqual((refused.status, json.loads(refused.body)["code"]), (400, "malformed"))

    def test_too_many_topics(self) -> None:
        """Are refused before there is a socket, which would keep them: sixteen KiB of names take 300 KiB of memory."""
        for topics in (",".join(f"{number}" for number in range(33)), "a," * 1000):
            self.assertEqual(self.connect({}, topics=topics).status, 400)

    def test_ping(self) -> None:
        """Of a page, which cannot send those of the protocol."""
        socket = self.page()
        socket.take()
        self.say(socket, type="ping")
        self.assertEqual(self.objects(socket), [{"event": "pong"}])

    def test_message_that_is_none(self) -> None:
        """Is said, and the socket stays."""
        socket = self.page()
        socket.take()
        for text in ("x", "[]", '{"type":"subscribe"}'):
            socket.say(text)
            [said] = self.objects(socket)
            self.assertEqual((said["event"], said["data"]["code"]), ("error", "malformed"))
        self.say(socket, type="something-new")
        self.assertEqual(self.objects(socket), [])
        self.assertIsNone(socket.close_code)

    def test_offers_that_last_as_long_as_a_stream(self) -> None:
        """A socket is one, from its credential on."""
        self.publish(id="x", whileConnected=True, ttl=600_000)
        stranger = self.connect()
        self.advance(9)
        self.authenticate(stranger)
        self.live(60, stranger)
        self.assertEqual(len(self.mine()), 1)
        stranger.lose()
        self.advance(5)
        self.assertEqual(self.mine(), [])


class LimitTests(EventSocketCase):
    """How many there may be, and slow readers."""

    def test_streams_of_a_peer(self) -> None:
        """Sockets and streams count together."""
        sockets = [self.page() for _ in range(WAITING_PER_KEY - 1)]
        self.listen()
        refused = self.page()
        [said] = self.objects(refused)
        self.assertEqual((said["event"], said["data"]["code"], said["data"]["retryAfter"]), ("error", "too-many", 30))
        self.assertEqual((refused.close_code, refused.close_reason), (4429, "too-many"))
        sockets[0].lose()
        self.assertEqual(self.objects(self.page())[0]["event"], "open")

    def pause_socket(self, socket: MemorySocket) -> Any:
        """The client does not read."""
        producer: Any = socket.connection.transport.producer
        producer.pauseProducing()
        return producer

    def test_slow_reader(self) -> None:
        """What it does not read stays in the log; when it has read, everything comes."""
        offer_id = self.publish()
        socket = self.page()
        socket.take()
        self.answer(offer_id)
        producer = self.pause_socket(socket)
        self.trickle(offer_id, *range(50))
        socket.take()
        self.trickle(offer_id, *range(50, 100))
        self.assertEqual(self.objects(socket), [])
        producer.resumeProducing()
        found = [data["candidate"] for event, data in self.said(socket)]
        self.assertEqual(found[-50:], list(range(50, 100)))

    def test_reader_that_never_reads(self) -> None:
        """Is closed after a minute, and leaves nothing."""
        offer_id = self.publish()
        socket = self.page()
        self.pause_socket(socket)
        self.answer(offer_id)
        self.trickle(offer_id, 1)
        self.advance(STALL_TIME + 1)
        self.assertTrue(socket.connection.closed)
        self.open.remove(socket.connection)
        self.assertEqual(len(self.news), 0)

    def test_long_event(self) -> None:
        """Arrives whole."""
        offer_id = self.publish()
        socket = self.page()
        socket.take()
        self.answer(offer_id, sdp="\n" * 65_536)
        self.server.reactor.advance(0)
        [(event, data)] = self.said(socket)
        self.assertEqual((event, len(data["sdp"])), ("answer", 65_536))
        self.assertEqual(self.server.rendezvous.web.gate.sender.unread, 0)

    def test_long_event_without_room(self) -> None:
        """Waits for it, and comes when there is some; what was there before is not counted twice."""
        offer_id = self.publish()
        socket = self.page()
        socket.take()
        sender = self.server.rendezvous.web.gate.sender
        room = sender.most - 100_000
        sender.reserve(UNKNOWN, room)
        self.answer(offer_id, sdp="\n" * 65_536)
        self.trickle(offer_id, 1)
        self.advance(5)
        self.assertEqual(self.said(socket), [])
        sender.release(UNKNOWN, room)
        self.advance(2)
        self.assertEqual([event for event, _ in self.said(socket)], ["answer", "candidate"])
        self.assertEqual(sender.unread, 0)

    def test_room_that_does_not_come(self) -> None:
        """The connection is closed after a minute. Nothing is lost by that."""
        offer_id = self.publish(ttl=600_000)
        socket = self.page()
        last_id = self.objects(socket)[-1]["id"]
        sender = self.server.rendezvous.web.gate.sender
        room = sender.most - 100_000
        sender.reserve(UNKNOWN, room)
        self.answer(offer_id, sdp="\n" * 65_536)
        self.live(STALL_TIME + 5, socket)
        self.assertTrue(socket.connection.closed)
        self.assertEqual(len(self.news), 0)
        sender.release(UNKNOWN, room)
        self.assertEqual(self.watched(self.page(lastEventId=last_id)), [("answer", offer_id)])

    def test_long_event_that_is_not_read(self) -> None:
        """Counts as unread; its connection is closed when another client needs the room."""
        offer_id = self.publish()
        socket = self.page()
        socket.take()
        sender = self.server.rendezvous.web.gate.sender
        transport: Any = socket.connection.transport
        write = transport.write

        def full(data: bytes) -> None:
            write(data)
            transport.producer.pauseProducing()

        transport.write, transport.writeSequence = full, lambda pieces: full(b"".join(pieces))
        self.answer(offer_id, sdp="\n" * 65_536)
        self.assertGreater(sender.unread, 131_072)
        self.advance(10)
        sender.reserve(UNKNOWN, sender.most)
        self.assertTrue(socket.connection.closed)
        socket.lose()
        sender.release(UNKNOWN, sender.most)
        self.assertEqual((sender.unread, len(self.news)), (0, 0))

    def test_long_event_over_tls(self) -> None:
        """Counts as unread, although TLS asks for a pause only in the next turn of the reactor."""
        offer_id = self.publish()
        socket = self.page()
        sender, producer = self.server.rendezvous.web.gate.sender, socket.connection.transport.producer
        assert producer is not None
        self.server.reactor.callLater(0, producer.pauseProducing)
        self.answer(offer_id, sdp="\n" * 65_536)
        self.advance(10)
        self.assertGreater(sender.unread, 131_072)
        producer.resumeProducing()
        self.assertEqual(sender.unread, 0)

    def test_fault(self) -> None:
        """Is logged, and closes the socket; a stranger learns nothing of it."""
        socket = self.page()
        socket.take()
        with mock.patch.object(type(self.server.rendezvous.store), "events_since", side_effect=ValueError("secret")):
            self.advance(KEEP_ALIVE)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        socket.read()
        self.assertEqual(socket.close_code, 1011)
        self.assertRegex(socket.close_reason, r"\AThe server has failed: request [0-9a-f]{16}\.\Z")
        self.assertEqual(len(self.news), 0)

    def test_server_stops(self) -> None:
        """The socket is closed as all are."""
        socket = self.page(topics="chess")
        socket.take()
        self.server.service.stopService()
        self.assertEqual((self.said(socket), socket.close_code), ([], 1001))


class SlowStoreTests(EventSocketCase):
    """A store that needs some time to look a credential up."""

    def setUp(self) -> None:
        """Have a page whose credential is being looked up."""
        super().setUp()
        self.cancelled: list[Deferred[bytes]] = []
        self.answer_of_store: Deferred[bytes] = Deferred(self.cancelled.append)
        store = type(self.server.rendezvous.store)
        with mock.patch.object(store, "authenticate", lambda *_: self.answer_of_store):
            self.slow = self.page()

    def test_subscription_comes_too_early(self) -> None:
        """It is refused, and the stream opens without it; later ones are taken."""
        self.say(self.slow, type="subscribe", topics=["chess"])
        [said] = self.objects(self.slow)
        self.assertEqual((said["event"], said["data"]["code"]), ("error", "unavailable"))
        self.say(self.slow, type="ping")
        self.assertEqual(self.objects(self.slow), [{"event": "pong"}])
        self.answer_of_store.callback(bytes.fromhex(self.alice_id))
        self.assertEqual(self.objects(self.slow)[0], {"event": "open", "data": {"peerId": self.alice_id, "topics": []}})
        self.say(self.slow, type="subscribe", topics=["chess"])
        self.assertEqual(self.said(self.slow), [("subscribed", {"topics": ["chess"]})])

    def test_lost_meanwhile(self) -> None:
        """The look-up is given up. Nothing is opened, and nothing is logged."""
        self.slow.lose()
        self.assertEqual((len(self.cancelled), len(self.news)), (1, 0))

    def test_time_for_the_credential(self) -> None:
        """It is the page's: what the store needs does not count."""
        self.advance(AUTHENTICATION_TIME + 1)
        self.assertEqual(self.objects(self.slow), [])
        self.answer_of_store.callback(bytes.fromhex(self.alice_id))
        self.assertEqual(self.objects(self.slow)[0]["event"], "open")


class CostTests(EventSocketCase):
    """How fast a page may send."""

    def test_each_topic_costs_as_much_as_a_message(self) -> None:
        """Also a message that is refused costs, and one without topics."""
        self.server.rendezvous.web.sockets.sockets.change(SocketLimits(rate=1, burst=10))
        for topics, seconds in ((list("abcdefghi"), 0), (list("abcdefghijkl"), 3), (["t" * 257] * 12, 3), ([], 0)):
            for kind in ("subscribe", "unsubscribe"):
                socket = self.page()
                self.say(socket, type=kind, topics=topics)
                rested = 0
                while socket.connection.transport.producerState == "paused":
                    self.server.reactor.advance(1)
                    rested += 1
                self.assertEqual(rested, seconds)
                socket.lose()

    def test_other_messages(self) -> None:
        """Cost one each, whatever they are."""
        self.server.rendezvous.web.sockets.sockets.change(SocketLimits(rate=1, burst=10))
        for text in ('{"type":"ping"}', '{"type":"unknown"}', "no json", '{"type":"subscribe","topics":[]}'):
            socket = self.page()
            states = []
            for number in (9, 1):
                for _ in range(number):
                    socket.say(text)
                states.append(socket.connection.transport.producerState)
            self.assertEqual(states, ["producing", "paused"], text)
            socket.lose()


class OtherMethodTests(EventSocketCase):
    """What is no handshake."""

    def test_head(self) -> None:
        """A handshake is a GET."""
        handshake = {
            **self.alice,
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version": "13",
        }
        response = self.ask("HEAD", "/events", None, handshake)
        self.assertEqual((response.status, response.headers["content-type"]), (200, "text/event-stream"))


class OriginTests(EventSocketCase):
    """``--cors-origin``."""

    settings = {"cors_origin": ["https://app.example"]}  # noqa: RUF012

    def test_other_origin(self) -> None:
        """Is refused before the handshake."""
        refused = MemorySocket(self.server.connect(HOME), "/events", {"Origin": "https://other.example"})
        self.assertEqual((refused.status, json.loads(refused.body)["code"]), (403, "origin"))
        allowed = self.connect({"Origin": "https://app.example"})
        self.assertEqual(allowed.status, 101)


class OffTests(EventSocketCase):
    """``--without offers``."""

    settings = {"without": ["offers"]}  # noqa: RUF012

    def test_off(self) -> None:
        """There is nothing at the path."""
        self.assertEqual(self.connect().status, 404)
        self.refused(404, "no-such-path", "POST", "/events/ticket", None, self.alice)
