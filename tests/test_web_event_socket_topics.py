"""``/events`` as a WebSocket: topics that it watches."""

from __future__ import annotations

from typing import Any

from rendezvous.core.sources import UNKNOWN
from rendezvous.testing import MemorySocket
from tests._event_socket_case import EventSocketCase


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
        self.assertEqual(self.said(late), [("reset", {"topics": ["chess"]})])
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

    def test_what_has_changed_during_a_long_event(self) -> None:
        """An offer that goes while a long one waits for its room is not shown any more, only that it has gone."""
        socket = self.page(self.bob, topics="chess")
        last_id = self.objects(socket)[-1]["id"]
        socket.lose()
        self.publish(topics=["chess"], id="long", sdp="x" * 60_000)
        self.publish(topics=["chess"], id="short", sdp="v=2")
        sender = self.server.rendezvous.web.gate.sender
        room = sender.most - 50_000
        sender.reserve(UNKNOWN, room)
        again = self.page(self.bob, topics="chess", lastEventId=last_id)
        self.good("DELETE", "/offers/short", None, self.alice)
        sender.release(UNKNOWN, room)
        self.advance(2)
        self.assertEqual(self.watched(again), [("offer", "long"), ("gone", "short")])

    def test_too_many(self) -> None:
        """Of one stream: none of the message is watched, and the socket stays."""
        socket = self.page()
        self.subscribe(socket, *(f"{number}" for number in range(32)))
        said = self.subscribe(socket, "one more", "another")
        self.assertEqual((said["event"], said["data"]["code"]), ("error", "too-long"))
        self.publish(topics=["one more"])
        self.assertEqual(self.said(socket), [])
        self.assertEqual(len(self.subscribe(socket, "0")["data"]["topics"]), 32)

    def test_bad_topics(self) -> None:
        """All or none."""
        socket = self.page()
        for bad, code in (("", "empty"), ("t" * 257, "too-long")):
            said = self.subscribe(socket, "good", "fine", bad)
            self.assertEqual((said["event"], said["data"]["code"]), ("error", code))
        self.publish(topics=["good"])
        self.assertEqual(self.said(socket), [])
        self.assertEqual(self.watching("good", "fine"), 0)

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
        """Are not shown to those who watch a topic of the same name."""
        socket = self.page(topics="chess")
        socket.take()
        code = self.open_session("chess")
        self.poll(code, "offerer")
        self.advance(1)
        self.assertEqual(self.said(socket), [])

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
