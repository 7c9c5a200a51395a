"""Tests of the block ends: which blocks of slots are looked at when, and what is found there."""

from __future__ import annotations

import math

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.presence.clients import ClientColumns
from rendezvous.core.presence.endings import BLOCK, Endings, gone_in

ID = b"a client's id..."


class EndingsTests(SynchronousTestCase):
    """The first ending of each block."""

    def test_last_slot_has_a_block(self) -> None:
        """Also if it is the first one of its block, or the last."""
        for slots in (1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK):
            endings = Endings(slots)
            endings.put(slots, 5.0)
            self.assertEqual(endings.due(5.0), [])
            self.assertEqual(endings.due(6.0), [slots // BLOCK])

    def test_earliest_ending_of_a_block_counts(self) -> None:
        """Until looking at the block has shown another."""
        endings = Endings(2 * BLOCK)
        for slot, ending in ((1, 9.0), (2, 5.0), (3, 7.0), (BLOCK, 6.0)):
            endings.put(slot, ending)
        self.assertEqual([endings.due(now) for now in (5.0, 5.5, 6.5)], [[], [0], [0, 1]])
        endings.set(0, 7.0)
        self.assertEqual([endings.due(now) for now in (5.5, 6.5, 7.5)], [[], [1], [0, 1]])
        endings.set(1, math.inf)
        endings.set(0, math.inf)
        self.assertFalse(endings.is_due(1e12))

    def test_every_block_can_be_expected(self) -> None:
        """Up to that of the last slot, and no other."""
        endings = Endings(4 * BLOCK)
        endings.expect_all(2 * BLOCK)
        self.assertEqual(endings.due(0.0), [0, 1, 2])


class GoneTests(SynchronousTestCase):
    """The clients of a block that are gone."""

    def setUp(self) -> None:
        """Have clients in two blocks and a half. Each third one ends after 5 seconds, the others after 9 or more."""
        self.columns = ClientColumns(3 * BLOCK)
        for _ in range(2 * BLOCK + BLOCK // 2):
            self.columns.take(ID, 0.0)

    def deadline(self, slot: int) -> float:
        """:returns: when the client of a slot ends."""
        return 9.0 + slot / BLOCK if slot % 3 else 5.0

    def gone(self, block: int, now: float, at_most: int = BLOCK) -> tuple[list[int], float]:
        """:returns: what is found in a block."""
        return gone_in(block, self.columns, self.deadline, 1.0, now, at_most)

    def test_nothing_of_another_block_is_found(self) -> None:
        """The first block has no slot 0, and the last one ends with the highest slot in use."""
        bounds = ((1, BLOCK), (BLOCK, 2 * BLOCK), (2 * BLOCK, self.columns.top + 1))
        for block, (first, end) in enumerate(bounds):
            expected = [slot for slot in range(first, end) if slot % 3 == 0]
            following = min(self.deadline(slot) for slot in range(first, end) if slot % 3)
            self.assertEqual(self.gone(block, 6.0), (expected, following))

    def test_client_is_gone_after_its_ending(self) -> None:
        """At the ending itself it is still there, and the block is looked at again then."""
        self.assertEqual(self.gone(1, 5.0), ([], 5.0))

    def test_more_than_is_wanted_is_found_the_next_time(self) -> None:
        """The block stays due."""
        self.assertEqual(self.gone(0, 6.0, 2), ([3, 6], -math.inf))
