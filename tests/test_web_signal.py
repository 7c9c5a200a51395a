"""``protocol/signal``: y-webrtc's signaling and trystero's relay on one URL."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.pubsub import Topics
from rendezvous.core.sources import source_network
from rendezvous.errors import RendezvousError
from rendezvous.limits import SocketLimits
from rendezvous.web.sockets.signal import make_topics
from tests._socket_case import SocketTestCase

HOME = source_network("198.51.100.7")


class YWebrtcTests(SocketTestCase):
    """What y-webrtc's client sends, and what it expects."""

    def test_message_reaches_every_subscriber_and_its_sender(self) -> None:
        """With the number of subscribers, and with everything that was in it."""
        alice, bob, carol = (self.socket() for _ in range(3))
        for socket in (alice, bob):
            self.say(socket, type="subscribe", topics=["doc", 7])
        self.say(carol, type="subscribe", topics=["other"])
        message = {"type": "publish", "topic": "doc", "data": {"type": "announce", "from": "a"}, "more": [1, None]}
        self.say(alice, **message)
        expected = [{**message, "clients": 2}]
        self.assertEqual([self.heard(socket) for socket in (alice, bob, carol)], [expected, expected, []])

    def test_publisher_needs_no_subscription(self) -> None:
        """And is not counted among the clients."""
        alice, bob = self.socket(), self.socket()
        self.say(bob, type="subscribe", topics=["doc"])
        self.say(alice, type="publish", topic="doc", data="c2VjcmV0")
        self.assertEqual(self.heard(bob), [{"type": "publish", "topic": "doc", "data": "c2VjcmV0", "clients": 1}])
        self.assertEqual(self.heard(alice), [])

    def test_subscription_ends(self) -> None:
        """By a message, or with the socket; the others count one less."""
        alice, bob, carol = (self.socket() for _ in range(3))
        for socket in (alice, bob, carol):
            self.say(socket, type="subscribe", topics=["doc", "second"])
        self.say(bob, type="unsubscribe", topics=["doc"])
        carol.lose()
        self.say(alice, type="publish", topic="doc", data=1)
        self.say(alice, type="publish", topic="second", data=2)
        self.assertEqual([message["clients"] for message in self.heard(alice)], [1, 2])
        self.assertEqual([message["data"] for message in self.heard(bob)], [2])

    def test_second_subscription_changes_nothing(self) -> None:
        """A message comes once."""
        alice = self.socket()
        self.say(alice, type="subscribe", topics=["doc", "doc"])
        self.say(alice, type="subscribe", topics=["doc"])
        self.say(alice, type="publish", topic="doc", data=1)
        self.assertEqual([message["clients"] for message in self.heard(alice)], [1])

    def test_ping(self) -> None:
        """A browser's own, since it cannot send those of the protocol."""
        alice = self.socket()
        self.say(alice, type="ping")
        self.assertEqual(self.heard(alice), [{"type": "pong"}])

    def test_number_of_clients_is_the_servers(self) -> None:
        """Whatever the sender says."""
        alice = self.socket()
        self.say(alice, type="subscribe", topics=["doc"])
        self.say(alice, type="publish", topic="doc", clients=9)
        self.assertEqual(self.heard(alice), [{"type": "publish", "topic": "doc", "clients": 1}])


class TrysteroTests(SocketTestCase):
    """What trystero's strategy for relays sends, and what it expects."""

    def test_payload_reaches_every_subscriber_and_its_sender(self) -> None:
        """As ``topic`` and ``payload``, and nothing else."""
        alice, bob = self.socket(), self.socket()
        for socket in (alice, bob):
            self.say(socket, type="subscribe", topic="room")
        self.say(alice, type="publish", topic="room", payload={"offer": "v=0"}, more=1)
        expected = [{"topic": "room", "payload": {"offer": "v=0"}}]
        self.assertEqual([self.heard(alice), self.heard(bob)], [expected, expected])
        self.say(bob, type="unsubscribe", topic="room")
        self.say(alice, type="publish", topic="room", payload=None)
        self.assertEqual([self.heard(alice), self.heard(bob)], [[{"topic": "room", "payload": None}], []])

    def test_dialects_do_not_hear_each_other(self) -> None:
        """A topic of the same name is another one."""
        theirs, ours = self.socket(), self.socket()
        self.say(theirs, type="subscribe", topic="room")
        self.say(ours, type="subscribe", topics=["room"])
        self.say(theirs, type="publish", topic="room", payload=1)
        self.say(ours, type="publish", topic="room", data=1)
        self.assertEqual([len(self.heard(socket)) for socket in (theirs, ours)], [1, 1])


class BadMessageTests(SocketTestCase):
    """Both protocols ignore what they do not know."""

    def test_ignored(self) -> None:
        """The socket stays, and nothing is answered."""
        alice = self.socket()
        self.say(alice, type="subscribe", topics=["doc"])
        bad: list[Any] = [
            "", "no json", "7", "[]", "null", "{}", '{"type":1}', '{"type":"publish"}', '{"type":"publish","topic":7}',
            '{"type":"subscribe","topics":"doc"}', '{"type":"subscribe","topic":["x"]}', '{"type":"\\ud800"}',
            "[" * 5000, '{"type":"publish","topic":"doc","data":NaN}',
            '{"type":"publish","topic":"doc","data":%s}' % ("[" * 300 + "]" * 300),
        ]  # fmt: skip
        for text in bad:
            alice.say(text)
        self.assertEqual(self.heard(alice), [])
        self.say(alice, type="ping")
        self.assertEqual(self.heard(alice), [{"type": "pong"}])

    def test_topic_that_is_too_long(self) -> None:
        """The page would wait for its peers for ever, so the close says why not."""
        alice = self.socket()
        self.say(alice, type="subscribe", topics=["t" * 257])
        self.assertEqual(alice.take(), [])
        self.assertEqual((alice.close_code, alice.close_reason), (1008, "A topic has at most 256 characters."))

    def test_too_many_topics(self) -> None:
        """Of one socket."""
        alice = self.socket()
        self.say(alice, type="subscribe", topics=[f"{n}" for n in range(1000)])
        self.say(alice, type="subscribe", topics=["0"])
        alice.read()
        self.assertIsNone(alice.close_code)
        self.say(alice, type="subscribe", topics=["1000"])
        alice.read()
        self.assertEqual(
            (alice.close_code, alice.close_reason), (1008, "One socket subscribes to at most 1000 topics.")
        )


class TableTests(SynchronousTestCase):
    """The table of topics, as the settings make it."""

    def topics(self, share: float = 0.0) -> Topics[Any]:
        """:returns: a table with small limits, all of them different."""
        return make_topics(SocketLimits(subscriptions=10, subscribers=3, topics=5), share)

    def assertTaken(self, topics: Topics[Any], code: str, names: str, who: str) -> str:
        """Subscriptions to all names but the last are taken. The last is refused with a code."""
        for name in names[:-1]:
            topics.subscribe(name, who, HOME)
        error = self.assertRaises(RendezvousError, topics.subscribe, names[-1], who, HOME)
        self.assertEqual(error.code, code)
        return str(error.message)

    def test_limits(self) -> None:
        """Each is the setting of its name."""
        self.assertTaken(self.topics(), "too-many-topics", "123456", "a")
        topics = self.topics()
        for who in "abc":
            topics.subscribe("1", who, HOME)
        self.assertTaken(topics, "topic-subscribers", "1", "d")
        topics = self.topics()
        for who in "ab":
            for name in "12345":
                topics.subscribe(name, who, HOME)
        self.assertTaken(topics, "full-subscriptions", "1", "c")

    def test_share_of_a_source(self) -> None:
        """A part of all subscriptions; the page and the operator can see what it was."""
        said = self.assertTaken(self.topics(0.2), "source-subscriptions", "123", "a")
        self.assertEqual(said, "The network 198.51.100.7 holds its full share of the subscriptions.")


class AboutTests(SocketTestCase):
    """The same URL without a handshake."""

    def test_plain_get(self) -> None:
        """Is answered, as y-webrtc's own server does."""
        self.assertEqual(self.good("GET", "/signal"), {"ok": True, "protocols": ["y-webrtc", "trystero"]})

    def test_while_the_server_stops(self) -> None:
        """The store is not needed: a plain request is still answered, and no socket is opened."""
        self.server.service.stopService()
        self.good("GET", "/signal")
        self.assertEqual(self.socket().status, 503)
        self.server.service.startService()


class OffTests(SocketTestCase):
    """``--without signal``."""

    settings = {"without": ["signal"]}  # noqa: RUF012

    def test_off(self) -> None:
        """There is nothing at the path."""
        self.refused(404, "no-such-path", "GET", "/signal")
        self.assertEqual(self.socket().status, 404)
