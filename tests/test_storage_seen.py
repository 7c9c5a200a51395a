"""When tracker peers were last seen: which are written when."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.tracker import TrackerPeer
from rendezvous.storage.seen import LastSeen

NOW = 1_700_000_000.0
ROOM = 5000


class LastSeenTests(SynchronousTestCase):
    """Those that were seen are written once a second."""

    def setUp(self) -> None:
        """Two peers have been seen."""
        self.seen = LastSeen()
        self.peers = [TrackerPeer(("192.0.2.1", port, 5024), "192.0.2.1", port, f"{port:08}", NOW) for port in (1, 2)]
        for peer in self.peers:
            self.seen.add(peer)

    def test_peers_are_written_each_second(self) -> None:
        """All of them, once however often they were seen; those that end are not."""
        self.seen.add(self.peers[0])
        self.assertEqual((self.seen.is_due, self.seen.take(ROOM).peers), (False, []))
        self.seen.forget(self.peers[1])
        self.seen.turn()
        self.assertTrue(self.seen.is_due)
        self.assertEqual(self.seen.take(ROOM).peers, [(self.peers[0].source, NOW)])
        self.seen.add(self.peers[0])
        self.assertFalse(self.seen.is_due)

    def test_room_is_not_exceeded(self) -> None:
        """What does not fit is due at once."""
        self.seen.turn()
        self.assertEqual(len(self.seen.take(1).peers), 1)
        self.assertTrue(self.seen.is_due)
        self.assertEqual(len(self.seen.take(0).peers), 0)
        self.assertEqual(len(self.seen.take(ROOM).peers), 1)
        self.assertFalse(self.seen.is_due)

    def test_what_could_not_be_written_comes_back(self) -> None:
        """With the next turn."""
        self.seen.turn()
        taken = self.seen.take(ROOM)
        self.seen.put_back(taken)
        self.assertFalse(self.seen.is_due)
        self.seen.turn()
        self.assertEqual(len(self.seen.take(ROOM).records), 2)
