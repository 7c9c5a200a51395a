"""``/events`` as a WebSocket: the credential, the events, topics, and how it ends."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

from rendezvous.storage.notifier import WAITING_PER_KEY
from rendezvous.testing import MemorySocket
from rendezvous.web.feed import KEEP_ALIVE
from rendezvous.web.sending import STALL_TIME
from rendezvous.web.sockets.events import AUTHENTICATION_TIME
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
        for text in ('{"type":"ping"}', '{"type":"subscribe","topics":["t"]}', '{"type":"later"}', "no json"):
            socket = self.connect()
            socket.say(text)
            code, _, data = self.closed(socket)
            self.assertEqual((code, data["error"]), (4401, "The first message must be of the type authenticate."))

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
        self.assertEqual(self.told(socket), [])

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


class TopicTests(EventSocketCase):
    """Topics that a socket watches."""

    def subscribe(self, socket: MemorySocket, *topics: str, is_end: bool = False) -> Any:
        """Watch topics; give the answer."""
        socket.take()
        self.say(socket, type="unsubscribe" if is_end else "subscribe", topics=topics)
        [said] = self.objects(socket)
        return said

    def test_offers_appear_and_go(self) -> None:
        """As the listing shows them, and with the reason."""
        socket = self.page(self.bob)
        self.assertEqual(self.subscribe(socket, "chess"), {"event": "subscribed", "data": {"topics": ["chess"]}})
        offer_id = self.publish(topics=["chess", "go"], info="Alice")
        [listed] = self.good("GET", "/offers/by-topic/chess")["offers"]
        [said] = self.objects(socket)
        self.assertEqual((said["event"], said["data"]), ("offer", listed))
        self.answer(offer_id, self.bob)
        [said] = self.objects(socket)
        gone = {"offerId": offer_id, "topics": ["chess"], "reason": "answered"}
        self.assertEqual((said["event"], said["data"]), ("gone", gone))

    def test_subscription_begins_when_it_was_made(self) -> None:
        """What was there before is in the listing; whatever has happened elsewhere, there is no reset."""
        other = self.page(self.bob, topics="other")
        socket = self.page()
        self.publish(topics=["chess", "other"], id="old")
        self.subscribe(socket, "chess")
        self.publish(topics=["chess"], id="new", sdp="v=2")
        self.assertEqual(self.watched(socket), [("offer", "new")])
        self.assertEqual(self.watched(other), [("offer", "old")])

    def test_subscription_ends(self) -> None:
        """The others go on."""
        socket = self.page()
        self.subscribe(socket, "a", "b")
        said = self.subscribe(socket, "a", "unknown", is_end=True)
        self.assertEqual(said["data"], {"topics": ["b"]})
        self.publish(topics=["a"], id="x")
        self.publish(topics=["b"], id="y", sdp="v=2")
        self.assertEqual(self.watched(socket), [("offer", "y")])

    def test_in_the_query(self) -> None:
        """Between commas, or one at a time, with commas of their own."""
        socket = self.connect(self.alice, topics="a,b", topic="c,d")
        self.assertEqual(self.objects(socket)[0]["data"]["topics"], ["a", "b", "c,d"])

    def test_events_of_both_kinds_are_in_order(self) -> None:
        """Each with its id."""
        mine = self.publish(topics=["x"])
        socket = self.page()
        self.subscribe(socket, "chess")
        self.publish(self.bob, topics=["chess"], id="one")
        self.answer(mine)
        self.publish(self.bob, topics=["chess"], id="two", sdp="v=2")
        objects = self.objects(socket)
        self.assertEqual([each["event"] for each in objects], ["offer", "answer", "offer"])
        ids = [int(each["id"]) for each in objects]
        self.assertEqual(ids, sorted(set(ids)))

    def test_resume(self) -> None:
        """A page that comes back with its id and its topics has missed nothing."""
        socket = self.page(topics="chess")
        last_id = self.objects(socket)[-1]["id"]
        socket.lose()
        self.publish(self.bob, topics=["chess"], id="x")
        again = self.page(topics="chess", lastEventId=last_id)
        self.assertEqual(self.watched(again), [("offer", "x")])
        again.lose()
        self.advance(121)
        late = self.page(topics="chess", lastEventId=last_id)
        self.assertEqual(self.told(late), [("reset", {"topics": ["chess"]})])
        self.publish(self.bob, topics=["chess"], id="y", sdp="v=2")
        self.assertEqual(self.watched(late), [("offer", "y")])

    def test_many_changes(self) -> None:
        """Come in pieces, and each once."""
        socket = self.page(self.bob, topics="chess")
        last_id = self.objects(socket)[-1]["id"]
        socket.lose()
        ids = [f"{number:03}" for number in range(100)]
        for first in range(0, 100, 10):
            offers = [{"id": id, "sdp": f"v={id}", "topics": ["chess"]} for id in ids[first : first + 10]]
            self.good("POST", "/offers", {"offers": offers}, self.alice)
        for id in ids[:50]:
            self.good("DELETE", f"/offers/{id}", None, self.alice)
        again = self.page(self.bob, topics="chess", lastEventId=last_id)
        found = self.watched(again)
        expected = [*(("offer", id) for id in ids[50:]), *(("gone", id) for id in ids[:50])]
        self.assertEqual(found, expected)

    def test_too_many(self) -> None:
        """Of one stream: none of the message is watched, and the socket stays."""
        socket = self.page()
        self.subscribe(socket, *(f"{number}" for number in range(32)))
        said = self.subscribe(socket, "one more", "another")
        self.assertEqual((said["event"], said["data"]["code"]), ("error", "too-long"))
        self.publish(topics=["one more"])
        self.assertEqual(self.told(socket), [])
        self.assertEqual(len(self.subscribe(socket, "0")["data"]["topics"]), 32)

    def test_bad_topics(self) -> None:
        """All or none."""
        socket = self.page()
        for bad, code in (("", "empty"), ("t" * 257, "too-long")):
            said = self.subscribe(socket, "good", bad)
            self.assertEqual((said["event"], said["data"]["code"]), ("error", code))
        self.publish(topics=["good"])
        self.assertEqual(self.told(socket), [])
        self.assertEqual(self.watching("good"), 0)

    def watching(self, *topics: str) -> int:
        """How many watch some topics."""
        return self.server.rendezvous.store.watching(topics)

    def test_nothing_is_left(self) -> None:
        """Of a socket that is lost."""
        socket = self.page(topics="a,b")
        self.assertEqual(self.watching("a", "b"), 2)
        socket.lose()
        self.assertEqual((self.watching("a", "b"), len(self.news)), (0, 0))

    def test_sessions_of_an_origin(self) -> None:
        """Are not shown to anybody who watches a topic of the same name."""
        socket = self.page(topics="chess")
        socket.take()
        code = self.open_session("chess")
        self.poll(code, "offerer")
        self.advance(1)
        self.assertEqual(self.told(socket), [])

    def test_many_watchers(self) -> None:
        """Are woken some at a time; each gets its event."""
        sockets = []
        for _ in range(4):
            _, _, headers = self.server.register()
            sockets += [self.page(headers, topics="chess") for _ in range(15)]
        for socket in sockets:
            socket.take()
        self.server.reactor.advance(0)
        self.publish(id="x")
        found = [self.watched(socket) for socket in sockets]
        self.assertIn([], found)
        self.assertIn([("offer", "x")], found)
        self.server.reactor.advance(0)
        rest = [self.watched(socket) for socket in sockets]
        self.assertEqual([sorted(each) for each in zip(found, rest, strict=True)], [[[], [("offer", "x")]]] * 60)


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
        found = [data["candidate"] for event, data in self.told(socket)]
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
        [(event, data)] = self.told(socket)
        self.assertEqual((event, len(data["sdp"])), ("answer", 65_536))
        self.assertEqual(self.server.rendezvous._gate.sender.unread, 0)

    def test_fault(self) -> None:
        """Is logged, and closes the socket; a stranger learns nothing of it."""
        socket = self.page()
        socket.take()
        with mock.patch.object(type(self.server.rendezvous.store), "events_since", side_effect=ValueError("secret")):
            self.advance(KEEP_ALIVE)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        socket.read()
        self.assertEqual((socket.close_code, socket.close_reason), (1011, ""))
        self.assertEqual(len(self.news), 0)

    def test_server_stops(self) -> None:
        """The socket is closed as all are."""
        socket = self.page(topics="chess")
        socket.take()
        self.server.service.stopService()
        self.assertEqual((self.told(socket), socket.close_code), ([], 1001))


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
