"""Peers of PeerServer: who has an id, and what waits for a peer that is not there."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.peerserver import OVERHEAD, QUEUE_TIME, Arrival, Message, Peers
from rendezvous.core.shares import Shares
from rendezvous.core.signaling.memory import text_size
from rendezvous.core.sources import SourceNetwork, source_network
from rendezvous.errors import Full, TooMany

NOW = 1_700_000_000.0
HOME, OTHER = source_network("198.51.100.7"), source_network("203.0.113.9")

#: Bytes of a message without a payload, as it is counted while it waits.
ONE = OVERHEAD + text_size("carol")


class PeersTestCase(SynchronousTestCase):
    """Sockets are plain objects here."""

    def peers(self, memory: int = 10_000, of_peer: int = 10_000, of_source: int = 0) -> Peers[object]:
        """:returns: an empty table."""
        self.shares = Shares("messages", of_source, code="source-messages")
        return Peers(memory, of_peer, self.shares)

    def keep(
        self,
        peers: Peers[object],
        target: str,
        payload: bytes | None = None,
        *,
        source: str = "alice",
        network: SourceNetwork = HOME,
        at: float = NOW,
    ) -> Message:
        """Keep a message, and return it."""
        message = Message("OFFER", source, target, payload)
        peers.keep(message, network, at)
        return message


class IdTests(PeersTestCase):
    """An id belongs to a peer as long as its socket is there."""

    def test_first_one_has_the_id(self) -> None:
        """Another token is refused, and the socket that has the id is returned, so that it can be probed."""
        peers, socket = self.peers(), object()
        self.assertEqual(peers.arrive("alice", "t", socket), (Arrival.OPEN, None))
        self.assertEqual(peers.arrive("alice", "other", object()), (Arrival.TAKEN, socket))
        self.assertIs(peers.link("alice"), socket)
        self.assertEqual((len(peers), list(peers.ids())), (1, ["alice"]))

    def test_same_token_moves_the_id(self) -> None:
        """The new socket has it. The end of the old socket changes nothing then."""
        peers, old, new = self.peers(), object(), object()
        peers.arrive("alice", "t", old)
        self.assertEqual(peers.arrive("alice", "t", new), (Arrival.BACK, old))
        peers.leave("alice", old)
        self.assertIs(peers.link("alice"), new)
        self.assertEqual(peers.arrive("alice", "other", object())[0], Arrival.TAKEN)
        peers.leave("alice", new)
        self.assertIsNone(peers.link("alice"))
        self.assertEqual(len(peers), 0)


class RoomTests(PeersTestCase):
    """What waits is bounded in bytes. A message that is refused changes nothing."""

    def refused(self, peers: Peers[object], error: type[TooMany | Full], code: str, target: str = "bobby") -> None:
        """The next message is refused, and nothing is counted for it."""
        before = peers.waiting, self.shares.held(HOME), peers.due()
        raised = self.assertRaises(error, self.keep, peers, target, b"1")
        self.assertEqual(raised.code, code)
        self.assertEqual((peers.waiting, self.shares.held(HOME), peers.due()), before)

    def test_message_of_one_peer(self) -> None:
        """What waits for one peer may take exactly its room; what waits for another one does not count there."""
        peers = self.peers(of_peer=2 * ONE + 4)
        self.keep(peers, "bobby", b"1234")
        self.keep(peers, "bobby")
        self.assertEqual(peers.waiting, 2 * ONE + 4)
        self.refused(peers, TooMany, "peer-messages")
        self.keep(peers, "carol", b"1234")

    def test_memory_of_all(self) -> None:
        """All messages may take exactly the memory. Messages that were taken or have expired make room again."""
        peers = self.peers(memory=2 * ONE)
        self.keep(peers, "bobby")
        self.keep(peers, "carol", at=NOW + 1)
        self.refused(peers, Full, "full-messages", "david")
        peers.take("bobby")
        self.keep(peers, "david", at=NOW + 1)
        self.refused(peers, Full, "full-messages", "bobby")
        peers.expire(NOW + 1 + QUEUE_TIME, 10)
        self.keep(peers, "bobby")
        self.assertEqual(peers.waiting, ONE)

    def test_share_of_a_source(self) -> None:
        """The sender's network is charged in bytes, and is refunded with each message that waits no more."""
        peers = self.peers(of_source=2 * ONE + 3)
        self.keep(peers, "bobby", b"123")
        self.keep(peers, "carol")
        self.assertEqual(self.shares.held(HOME), 2 * ONE + 3)
        self.refused(peers, TooMany, "source-messages")
        self.keep(peers, "bobby", network=OTHER)
        peers.take("bobby")
        self.assertEqual((self.shares.held(HOME), self.shares.held(OTHER)), (ONE, 0))
        peers.expire(NOW + QUEUE_TIME, 10)
        self.assertEqual((len(self.shares), peers.waiting), (0, 0))

    def test_largest_source_is_named(self) -> None:
        """A full table names the network that holds most, for the operator's log."""
        peers = self.peers(memory=3 * ONE)
        self.keep(peers, "bobby", network=OTHER)
        for target in ("bobby", "carol"):
            self.keep(peers, target)
        error = self.assertRaises(Full, self.keep, peers, "david", network=OTHER)
        assert error.holder is not None
        self.assertEqual(error.holder(), HOME.subscriber)


class WaitingTests(PeersTestCase):
    """Messages wait for five seconds."""

    def test_taken_in_order(self) -> None:
        """A peer that comes gets what waits for it, once."""
        peers = self.peers()
        sent = [self.keep(peers, "bobby", b"%d" % number) for number in range(3)]
        self.keep(peers, "carol")
        self.assertEqual(peers.take("bobby"), sent)
        self.assertEqual(peers.take("bobby"), [])
        self.assertEqual(len(peers.take("carol")), 1)
        self.assertIsNone(peers.due())

    def test_time_counts_from_the_first_message(self) -> None:
        """Later messages for the same peer do not prolong it."""
        peers = self.peers()
        self.keep(peers, "bobby")
        self.keep(peers, "carol", at=NOW + 1)
        self.keep(peers, "bobby", at=NOW + 4)
        self.assertEqual(peers.due(), NOW + QUEUE_TIME)
        self.assertEqual(peers.expire(NOW + QUEUE_TIME - 0.001, 10), [])
        self.assertEqual(peers.expire(NOW + QUEUE_TIME, 10), [Message("EXPIRE", "bobby", "alice")])
        self.assertEqual(peers.due(), NOW + 1 + QUEUE_TIME)
        self.assertEqual(peers.take("bobby"), [])

    def test_one_notice_for_each_pair(self) -> None:
        """Each sender gets one ``EXPIRE`` for each receiver, without a payload."""
        peers = self.peers()
        for source in ("alice", "dora"):
            for target in ("bobby", "carol"):
                for _ in range(2):
                    self.keep(peers, target, b"1", source=source)
        expired = peers.expire(NOW + QUEUE_TIME, 100)
        pairs = [(target, source) for target in ("bobby", "carol") for source in ("alice", "dora")]
        self.assertEqual(expired, [Message("EXPIRE", target, source) for target, source in pairs])

    def test_many_expire_some_at_a_time(self) -> None:
        """The messages of one receiver stay together. What is left is due at once."""
        peers = self.peers()
        for target in ("bobby", "carol", "david"):
            for _ in range(2):
                self.keep(peers, target)
        end = NOW + QUEUE_TIME
        self.assertEqual([each.source for each in peers.expire(end, 3)], ["bobby", "carol"])
        self.assertEqual(peers.due(), end)
        self.assertEqual([each.source for each in peers.expire(end, 2)], ["david"])

    def test_number_of_one_call_is_exact(self) -> None:
        """A call ends with the receiver whose messages reach the number."""
        peers = self.peers()
        for target in ("bobby", "carol"):
            for _ in range(2):
                self.keep(peers, target)
        self.assertEqual([each.source for each in peers.expire(NOW + QUEUE_TIME, 2)], ["bobby"])

    def test_messages_that_do_not_wait(self) -> None:
        """Those that say that somebody goes are of no use later."""
        kinds = {kind: Message(kind, "a", "b").waits for kind in ("OFFER", "ANSWER", "CANDIDATE", "LEAVE", "EXPIRE")}
        self.assertEqual([kind for kind, waits in kinds.items() if not waits], ["LEAVE", "EXPIRE"])
