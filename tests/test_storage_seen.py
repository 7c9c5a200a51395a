"""When clients were last seen: which are written when, and what the file says about the rest."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.client import Client
from rendezvous.core.tracker import TrackerPeer
from rendezvous.storage.seen import RANGES, LastSeen

NOW = 1_700_000_000.0
ROOM = 5000


def client(first: int, number: int = 0) -> Client:
    """:returns: a client whose id begins with this byte."""
    return Client(bytes([first]) + number.to_bytes(15, "big"), NOW)


class LastSeenTests(SynchronousTestCase):
    """Every range once in ten seconds."""

    def setUp(self) -> None:
        """Begin with a client in every range."""
        self.seen = LastSeen(10.0, NOW)
        self.clients = [client(first) for first in range(RANGES)]
        for each in self.clients:
            self.seen.add(each)

    def taken(self, now: float, room: int = ROOM) -> list[int]:
        """:returns: the ranges of what is written now."""
        self.seen.turn(now)
        return [client_id[0] for client_id, _ in self.seen.take(room, now).clients]

    def test_ranges_take_turns(self) -> None:
        """In ten passes each is written once, as they lie in the file."""
        passes = [self.taken(NOW + second) for second in range(1, 11)]
        self.assertEqual([first for each in passes for first in each], list(range(RANGES)))
        self.assertEqual({len(each) for each in passes}, {25, 26})
        self.assertEqual(self.taken(NOW + 20), [])

    def test_long_gap_makes_all_due_once(self) -> None:
        """However long."""
        self.assertEqual(sorted(self.taken(NOW + 1000)), list(range(RANGES)))
        self.assertFalse(self.seen.is_due)

    def test_room_is_not_exceeded(self) -> None:
        """What does not fit stays in its range, and is due at once."""
        for number in range(1, 10):
            self.seen.add(client(0, number))
        self.assertEqual(self.taken(NOW + 0.1, 4), [0] * 4)
        self.assertTrue(self.seen.is_due)
        self.assertEqual(self.taken(NOW + 0.1, 20), [0] * 6 + [1])

    def test_file_says_up_to_when_it_is_complete(self) -> None:
        """The oldest range that still has something in it decides; an empty one is complete by nature."""
        self.assertEqual(self.seen.meta(NOW + 3), {"server_time": NOW + 3, "seen_until": NOW})
        self.taken(NOW + 5)
        self.assertEqual(self.seen.meta(NOW + 5)["seen_until"], NOW)
        self.taken(NOW + 10)
        self.assertEqual(self.seen.meta(NOW + 10)["seen_until"], NOW + 10)
        self.seen.add(self.clients[0])
        self.assertEqual(self.seen.meta(NOW + 11)["seen_until"], NOW + 5)
        self.seen.forget(self.clients[0])
        self.assertEqual(self.seen.meta(NOW + 11)["seen_until"], NOW + 11)

    def test_what_could_not_be_written_comes_back(self) -> None:
        """With what was seen meanwhile, and the file is complete no further than before."""
        self.seen.turn(NOW + 10)
        taken = self.seen.take(ROOM, NOW + 10)
        self.seen.add(client(7, 1))
        self.seen.put_back(taken)
        self.assertEqual(self.seen.meta(NOW + 12)["seen_until"], NOW)
        self.assertEqual(len(self.taken(NOW + 20)), RANGES + 1)

    def test_client_that_has_verified_since_is_left_to_its_row(self) -> None:
        """Its last pulse must not be forgotten."""
        self.clients[3].pulse_before_verify = NOW
        self.assertEqual(self.taken(NOW + 10), [first for first in range(RANGES) if first != 3])

    def test_tracker_peers_are_written_each_second(self) -> None:
        """All of them, once however often they were seen; those that end are not."""
        peers = [TrackerPeer(("192.0.2.1", port, 5024), "192.0.2.1", port, f"{port:08}", NOW) for port in (1, 2)]
        for _ in range(2):
            for peer in peers:
                self.seen.add(peer)
        self.assertFalse(self.seen.is_due)
        self.seen.forget(peers[1])
        self.seen.turn(NOW + 1)
        self.assertTrue(self.seen.is_due)
        taken = self.seen.take(ROOM, NOW + 1)
        self.assertEqual(taken.peers, [(peers[0].source, NOW)])
        self.seen.put_back(taken)
        self.seen.turn(NOW + 2)
        self.assertEqual(self.seen.take(0, NOW + 2).peers, [])
        self.assertEqual(len(self.seen.take(ROOM, NOW + 2).peers), 1)
