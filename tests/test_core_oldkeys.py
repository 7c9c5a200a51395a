"""Tests of :mod:`rendezvous.core.presence.oldkeys`: keys under old secrets, for as long as each is honoured."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.presence.keyindex import KeyIndex
from rendezvous.core.presence.oldkeys import OldKeys


def first(client_id: bytes) -> bytes:
    """:returns: the key under one old secret."""
    return client_id + bytes(16)


def second(client_id: bytes) -> bytes:
    """:returns: the key under another."""
    return client_id + b"\1" * 16


ID = b"a client's id..."


class OldKeysTests(SynchronousTestCase):
    """Two secrets, honoured until 10 and until 20."""

    def setUp(self) -> None:
        """Have one client, with a key under each."""
        self.made: list[KeyIndex] = []
        self.old = OldKeys(self.make)
        for digest, until in ((first, 10.0), (second, 20.0)):
            self.old.index(digest, until).add(digest(ID), 3)

    def make(self) -> KeyIndex:
        """:returns: an index for few keys."""
        self.made.append(KeyIndex(100, 4))
        return self.made[-1]

    def found(self, wall: float) -> list[int]:
        """:returns: the slots that the two keys lead to."""
        return [self.old.find(digest(ID), wall) for digest in (first, second)]

    def test_key_is_found_while_its_secret_is_honoured(self) -> None:
        """Up to the stated moment and not after it, also before it is forgotten."""
        for wall, slots in ((10.0, [3, 3]), (10.5, [0, 3]), (20.0, [0, 3]), (20.5, [0, 0])):
            self.assertEqual(self.found(wall), slots)
            self.assertEqual(len(self.old.honoured(wall)), sum(map(bool, slots)))
        self.assertEqual(self.old.find(bytes(32), 0.0), 0)

    def test_key_is_taken_until_its_secret_is_forgotten(self) -> None:
        """So that no other client is given it. It is forgotten after the moment at which it is honoured last."""
        self.old.forget(10.0)
        self.assertIn(first(ID), self.old)
        self.old.forget(10.5)
        self.assertNotIn(first(ID), self.old)
        self.assertIn(second(ID), self.old)
        self.assertNotIn(bytes(32), self.old)

    def test_secret_has_one_index(self) -> None:
        """However often it is asked for, and until the moment that was given first."""
        self.assertIs(self.old.index(first, 99.0), self.made[0])
        self.assertEqual(self.found(10.5), [0, 3])
        self.assertEqual(len(self.made), 2)

    def test_client_that_ends_has_no_key(self) -> None:
        """Under any secret."""
        self.old.remove(3)
        self.assertEqual(self.found(0.0), [0, 0])

    def test_more_keys_can_be_expected(self) -> None:
        """Under each secret."""
        self.old.expect(100)
        self.assertEqual([len(index.table) for index in self.made], [512, 512])
        self.assertEqual(self.found(0.0), [3, 3])
