"""``protocol/peerjs``: what PeerJS 1.5 expects of its server."""

from __future__ import annotations

import json
import re
from urllib.parse import urlencode

from wsproto.events import TextMessage

from rendezvous.core.peerserver import PROBE_TIME, QUEUE_TIME, SILENCE_TIME
from rendezvous.limits import SocketLimits
from rendezvous.refusals import LIMITED_SOURCES
from rendezvous.testing import MemorySocket
from tests._socket_case import HOME, SocketTestCase

OPEN = [{"type": "OPEN"}]


class PeerJSTestCase(SocketTestCase):
    """Peers by their ids."""

    def peer(self, peer: str, token: str | None = None, key: str = "peerjs", host: str = HOME[0]) -> MemorySocket:
        """Open the socket of a peer."""
        fields = {"key": key, "id": peer, "token": peer if token is None else token, "version": "1.5.5"}
        return self.socket(f"/peerjs?{urlencode(fields)}", host=host)

    def pair(self) -> tuple[MemorySocket, MemorySocket]:
        """:returns: Alice and Bob, who have their ids."""
        alice, bob = self.peer("alice"), self.peer("bob")
        self.assertEqual([self.heard(alice), self.heard(bob)], [OPEN, OPEN])
        return alice, bob


class IdTests(PeerJSTestCase):
    """Over HTTP."""

    def test_random_id(self) -> None:
        """A UUID of version 4, as text; another one each time."""
        found = set()
        for _ in range(3):
            response = self.ask("GET", "/peerjs/id?ts=17000&version=1.5.5")
            self.assertEqual((response.status, response.headers["content-type"]), (200, "text/plain"))
            text = response.body.decode("ascii")
            self.assertIsNotNone(
                re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", text)
            )
            found.add(text)
        self.assertEqual(len(found), 3)

    def test_while_the_server_stops(self) -> None:
        """The store is not needed: an id is still answered, and no socket is opened."""
        self.server.service.stopService()
        self.assertEqual(self.ask("GET", "/peerjs/id").status, 200)
        self.refused(401, "unauthorized", "GET", "/peerjs/peers")
        self.refused(426, "upgrade-required", "GET", "/peerjs")
        self.assertEqual(self.peer("alice").status, 503)
        self.server.service.startService()

    def test_peers_are_not_listed(self) -> None:
        """Unless the operator wants that. The error names the option."""
        self.assertIn("--peerjs-discovery", self.refused(401, "unauthorized", "GET", "/peerjs/peers"))

    def test_socket_without_a_handshake(self) -> None:
        """The answer says what the path is for."""
        self.refused(426, "upgrade-required", "GET", "/peerjs?key=peerjs&id=a&token=b")


class DiscoveryTests(PeerJSTestCase):
    """``--peerjs-discovery`` and ``--peerjs-key``."""

    settings = {"peerjs_discovery": True, "peerjs_key": "my-app"}  # noqa: RUF012

    def test_peers_are_listed(self) -> None:
        """Those that are there now."""
        alice, _ = self.peer("alice", key="my-app"), self.peer("bob", key="my-app")
        self.assertEqual(sorted(self.ask("GET", "/my-app/peers").json()), ["alice", "bob"])
        alice.lose()
        self.assertEqual(self.ask("GET", "/my-app/peers").json(), ["bob"])
        self.refused(404, "no-such-path", "GET", "/peerjs/peers")

    def test_wrong_key(self) -> None:
        """Is said, and the socket is closed."""
        alice = self.peer("alice")
        self.assertEqual(self.heard(alice), [{"type": "ERROR", "payload": {"msg": "Invalid key provided"}}])
        self.assertEqual(alice.close_code, 1008)
        self.assertEqual(self.ask("GET", "/my-app/peers").json(), [])


class OpeningTests(PeerJSTestCase):
    """Ids and who has them."""

    def test_something_is_missing(self) -> None:
        """Is said, and the socket is closed."""
        for query in ("", "?id=a&token=b", "?id=a&key=peerjs", "?token=b&key=peerjs", "?id=&token=b&key=peerjs"):
            socket = self.socket(f"/peerjs{query}")
            words = "No id, token, or key supplied to websocket server"
            self.assertEqual(self.heard(socket), [{"type": "ERROR", "payload": {"msg": words}}], query)
            self.assertEqual(socket.close_code, 1008)

    def test_id_is_taken(self) -> None:
        """By a peer that is there; it hears nothing of it."""
        alice, other = self.peer("alice"), self.peer("alice", token="other")
        self.assertEqual(self.heard(alice), OPEN)
        self.advance(PROBE_TIME - 0.1)
        alice.read()
        self.assertEqual(self.heard(other), [])
        self.advance(0.1)
        self.assertEqual(self.heard(other), [{"type": "ID-TAKEN", "payload": {"msg": "ID is taken"}}])
        self.assertEqual(other.close_code, 1008)
        self.assertIsNone(alice.close_code)
        self.assertFalse(alice.connection.transport.disconnected)
        self.say(self.peer("bob"), type="OFFER", dst="alice")
        self.assertEqual(len(self.heard(alice)), 1)

    def test_ghost_does_not_hold_an_id(self) -> None:
        """A peer whose connection is dead is asked, and does not answer in time: the id goes to the new one."""
        ghost = self.peer("alice")
        ghost.answers_pings = False
        alice, bob = self.peer("alice", token="new"), self.peer("bob")
        self.advance(PROBE_TIME)
        self.assertTrue(ghost.connection.transport.disconnected)
        self.assertEqual(self.heard(alice), OPEN)
        ghost.lose()
        self.say(bob, type="OFFER", dst="alice", payload=1)
        self.assertEqual([message["type"] for message in self.heard(alice)], ["OFFER"])

    def test_id_that_becomes_free_meanwhile(self) -> None:
        """Is given to the one that waits."""
        for has_answered in (False, True):
            first = self.peer("alice")
            second = self.peer("alice", token="new")
            if has_answered:
                first.read()
            first.lose()
            self.advance(PROBE_TIME)
            self.assertEqual(self.heard(second), OPEN)
            second.lose()

    def test_peer_that_rests_is_no_ghost(self) -> None:
        """A peer that is not read, because it has sent more than it may, cannot answer, and keeps its id."""
        self.server.rendezvous.web.sockets.sockets.change(SocketLimits(rate=1, burst=10))
        alice = self.peer("alice")
        alice.connection.send(alice._wire.send(TextMessage("x")) * 16)
        self.assertEqual(alice.connection.transport.producerState, "paused")
        other = self.peer("alice", token="new")
        self.advance(PROBE_TIME)
        self.assertEqual([message["type"] for message in self.heard(other)], ["ID-TAKEN"])
        self.assertFalse(alice.connection.transport.disconnected)

    def test_many_that_want_an_id(self) -> None:
        """Its peer is asked twice a second at most: its answers count as messages, so that it would be read slowly."""
        alice = self.peer("alice")
        others = [self.peer("alice", token=f"{number}") for number in range(20)]
        alice.read()
        self.assertEqual(alice.pings, 1)
        self.advance(0.5)
        others += [self.peer("alice", token=f"{number}") for number in range(20, 25)]
        alice.read()
        self.assertEqual(alice.pings, 2)
        self.advance(PROBE_TIME)
        kinds = [[message["type"] for message in self.heard(other)] for other in others]
        self.assertEqual(kinds, [["ID-TAKEN"]] * 25)
        alice.answers_pings = False
        new = self.peer("alice", token="new")
        self.advance(PROBE_TIME)
        self.assertEqual(self.heard(new), OPEN)

    def test_two_that_want_the_id_of_a_ghost(self) -> None:
        """One of them gets it."""
        ghost = self.peer("alice")
        ghost.answers_pings = False
        second, third = self.peer("alice", token="2"), self.peer("alice", token="3")
        self.advance(PROBE_TIME)
        for _ in range(int(PROBE_TIME) + 1):
            second.read()
            self.advance(1)
        kinds = [[message["type"] for message in self.heard(socket)] for socket in (second, third)]
        self.assertEqual(kinds, [["OPEN"], ["ID-TAKEN"]])

    def test_one_that_waits_for_an_id_does_not_have_it(self) -> None:
        """It cannot send anything under that id, and cannot end the peer that has it."""
        alice, bob = self.pair()
        stranger = self.peer("alice", token="other")
        self.say(stranger, type="OFFER", dst="bob", payload=1)
        self.say(stranger, type="OFFER", dst="carol", payload=1)
        self.say(stranger, type="LEAVE")
        self.assertEqual((self.heard(bob), self.heard(alice), alice.close_code), ([], [], None))
        self.assertEqual(self.server.rendezvous.web.sockets._peers.waiting, 0)
        self.say(bob, type="OFFER", dst="alice")
        self.assertEqual(len(self.heard(alice)), 1)

    def test_one_that_leaves_while_it_waits(self) -> None:
        """Leaves nothing behind."""
        ghost, alice = self.peer("alice"), self.peer("alice", token="new")
        alice.lose()
        ghost.lose()
        self.advance(PROBE_TIME)
        self.assertEqual(self.heard(self.peer("alice", token="third")), OPEN)

    def test_same_token(self) -> None:
        """The peer is back: its old socket is closed, and it has had its OPEN."""
        old, bob = self.pair()
        new = self.peer("alice")
        self.assertEqual((self.heard(new), self.heard(old), old.close_code), ([], [], 1000))
        self.say(bob, type="OFFER", dst="alice", payload=1)
        self.assertEqual(len(self.heard(new)), 1)


class MessageTests(PeerJSTestCase):
    """Between peers."""

    def test_forwarded(self) -> None:
        """With type, src, dst and payload, and nothing else; the sender cannot lie about itself."""
        alice, bob = self.pair()
        payload = {"sdp": {"type": "offer", "sdp": "v=0"}, "connectionId": "dc_x", "n": 0.1, "text": "ä\u2028"}
        for kind in ("OFFER", "ANSWER", "CANDIDATE", "LEAVE", "EXPIRE"):
            self.say(alice, type=kind, src="mallory", dst="bob", payload=payload, more=1)
            expected = {"type": kind, "src": "alice", "dst": "bob", "payload": payload}
            self.assertEqual(self.heard(bob), [expected])
        self.say(alice, type="LEAVE", dst="bob")
        self.assertEqual(self.heard(bob), [{"type": "LEAVE", "src": "alice", "dst": "bob"}])
        self.assertEqual(self.heard(alice), [])

    def test_ignored(self) -> None:
        """What is no message of the protocol."""
        alice, bob = self.pair()
        bad = [
            "", "x", "[]", "7", "{}", '{"type":"OPEN","dst":"bob"}', '{"type":"OFFER"}', '{"type":"OFFER","dst":7}',
            '{"type":["OFFER"],"dst":"bob"}', '{"type":"HEARTBEAT"}',
            '{"type":"OFFER","dst":"bob","payload":%s}' % ("[" * 300 + "]" * 300),
        ]  # fmt: skip
        for text in bad:
            alice.say(text)
        self.assertEqual((self.heard(alice), self.heard(bob), alice.close_code), ([], [], None))

    def test_leave(self) -> None:
        """Without a receiver, the sender itself goes."""
        alice, bob = self.pair()
        self.say(alice, type="LEAVE")
        alice.read()
        self.assertEqual(alice.close_code, 1000)
        self.assertEqual(self.heard(self.peer("alice", token="new")), OPEN)
        self.assertEqual(self.heard(bob), [])

    def test_peer_that_comes_later(self) -> None:
        """Gets what was sent to it, in order; not what says that somebody goes."""
        alice = self.peer("alice")
        self.heard(alice)
        for number, kind in enumerate(("OFFER", "LEAVE", "CANDIDATE", "EXPIRE", "CANDIDATE")):
            self.say(alice, type=kind, dst="carol", payload=number)
        self.advance(QUEUE_TIME - 0.1)
        carol = self.peer("carol")
        heard = self.heard(carol)
        self.assertEqual([message.get("payload") for message in heard], [None, 0, 2, 4])
        self.advance(1)
        self.assertEqual(self.heard(alice), [])

    def test_peer_that_does_not_come(self) -> None:
        """Each sender hears so once for each receiver."""
        alice, bob = self.pair()
        for target in ("carol", "dave"):
            for _ in range(3):
                self.say(alice, type="CANDIDATE", dst=target, payload=1)
        self.say(bob, type="OFFER", dst="carol", payload=1)
        self.advance(QUEUE_TIME)
        expired = [
            {"type": "EXPIRE", "src": "carol", "dst": "alice"},
            {"type": "EXPIRE", "src": "dave", "dst": "alice"},
        ]
        self.assertEqual(self.heard(alice), expired)
        self.assertEqual(self.heard(bob), [{"type": "EXPIRE", "src": "carol", "dst": "bob"}])
        self.advance(10)
        self.assertEqual((self.heard(alice), self.heard(self.peer("carol"))), ([], OPEN))

    def test_too_much_waits(self) -> None:
        """The sender gets EXPIRE at once. What waits already stays."""
        alice = self.peer("alice")
        self.heard(alice)
        for number in range(6):
            self.say(alice, type="CANDIDATE", dst="carol", payload=f"{number}" + "x" * 100_000)
        self.assertEqual(self.heard(alice), [{"type": "EXPIRE", "src": "carol", "dst": "alice"}])
        self.assertEqual([message["payload"][0] for message in self.heard(self.peer("carol"))[1:]], list("01234"))

    def test_messages_expire_each_at_their_time(self) -> None:
        """Those for one peer after those for another."""
        alice = self.peer("alice")
        self.heard(alice)
        for target in ("carol", "dave", "erin"):
            self.say(alice, type="OFFER", dst=target)
            self.advance(2)
        self.assertEqual([message["src"] for message in self.heard(alice)], ["carol"])
        self.advance(1)
        self.assertEqual([message["src"] for message in self.heard(alice)], ["dave"])
        self.advance(2)
        self.assertEqual([message["src"] for message in self.heard(alice)], ["erin"])

    def test_sender_that_has_left(self) -> None:
        """Hears nothing of what expires; others do."""
        alice, bob = self.pair()
        for socket in (alice, bob):
            self.say(socket, type="OFFER", dst="carol")
        alice.lose()
        self.advance(QUEUE_TIME)
        self.assertEqual(self.heard(bob), [{"type": "EXPIRE", "src": "carol", "dst": "bob"}])

    def test_many_messages_expire(self) -> None:
        """Some in each turn of the reactor, all at the same moment."""
        alice = self.peer("alice")
        self.heard(alice)
        for number in range(250):
            self.say(alice, type="OFFER", dst=f"{number}")
        self.server.reactor.advance(QUEUE_TIME)
        for _ in range(3):
            self.server.reactor.advance(0)
        self.assertEqual([message["src"] for message in self.heard(alice)], [f"{number}" for number in range(250)])

    def test_share_of_a_source(self) -> None:
        """What waits of one source is limited; the refusal is counted for the operator."""
        self.server.rendezvous.web.sockets._peers.shares.change(2000, 4000)
        alice, other = self.peer("alice"), self.peer("other", host="203.0.113.9")
        for socket in (alice, other):
            self.heard(socket)
            for target in ("carol", "dave"):
                self.say(socket, type="OFFER", dst=target, payload="x" * 1000)
        self.assertEqual(self.heard(alice), [{"type": "EXPIRE", "src": "dave", "dst": "alice"}])
        self.assertEqual(+self.server.rendezvous.counters.family(LIMITED_SOURCES), {"source-messages": 2})

    def test_server_that_stops_and_starts(self) -> None:
        """What has waited before does not wait for longer because of that."""
        alice = self.peer("alice")
        self.say(alice, type="OFFER", dst="carol")
        alice.lose()
        self.server.service.stopService()
        self.advance(QUEUE_TIME)
        self.server.service.startService()
        self.advance(1)
        self.assertEqual(self.server.rendezvous.web.sockets._peers.waiting, 0)
        self.assertEqual(self.heard(self.peer("carol")), OPEN)

    def test_nothing_is_left_of_what_waited(self) -> None:
        """After it was delivered, or its time is over."""
        peers = self.server.rendezvous.web.sockets._peers
        alice = self.peer("alice")
        for target in ("carol", "dave"):
            self.say(alice, type="OFFER", dst=target, payload="x" * 1000)
        self.assertGreater(peers.waiting, 2000)
        self.peer("carol")
        self.advance(QUEUE_TIME)
        self.assertEqual((peers.waiting, len(peers.shares)), (0, 0))


class SilenceTests(PeerJSTestCase):
    """Pages that are frozen: their browsers answer pings, but they say nothing."""

    def test_silent_peer(self) -> None:
        """Is closed after 90 s; one with heartbeats is not."""
        alice, bob = self.pair()
        for second in range(int(SILENCE_TIME)):
            self.assertIsNone(alice.close_code)
            if second % 5 == 0:
                self.say(bob, type="HEARTBEAT")
            self.advance(1)
            alice.read()
            bob.read()
        self.assertEqual((alice.close_code, bob.close_code), (1000, None))
        self.assertEqual(self.heard(bob), [])


class LimitTests(PeerJSTestCase):
    """Limits."""

    def test_long_ids(self) -> None:
        """Are refused, and nothing is kept for them."""
        for peer, token in (("x" * 257, "y"), ("x", "y" * 257)):
            socket = self.peer(peer, token)
            self.assertEqual([message["type"] for message in self.heard(socket)], ["ERROR"])
        alice = self.peer("x" * 256)
        self.assertEqual(self.heard(alice), OPEN)
        self.say(alice, type="OFFER", dst="y" * 257)
        self.assertEqual(self.server.rendezvous.web.sockets._peers.waiting, 0)
        self.say(alice, type="OFFER", dst="y" * 256)
        self.assertGreater(self.server.rendezvous.web.sockets._peers.waiting, 0)

    def test_error_of_a_full_server(self) -> None:
        """Sockets are limited before anything is said."""
        self.server.rendezvous.web.sockets.end()
        alice = self.peer("alice")
        self.assertEqual((alice.status, json.loads(alice.body)["code"]), (503, "full-sockets"))
