"""Tests of :mod:`rendezvous.core.amplification` and :mod:`rendezvous.core.buckets`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.amplification import FACTOR, MAX_ADDRESSES, MAX_CREDIT, AmplificationLimit

ALICE, BOB, CAROL = (("192.0.2.1", port) for port in (1, 2, 3))


class AmplificationLimitTests(SynchronousTestCase):
    """Tests of an address's credit."""

    def test_credit_is_four_bytes_for_each_received_less_what_was_sent(self) -> None:
        """A request of 100 bytes, answered with 70, leaves 330; to the byte, and for its address alone."""
        limit = AmplificationLimit()
        limit.earn(ALICE, 100, 70)
        self.assertFalse(limit.spend(BOB, 1))
        self.assertFalse(limit.spend(ALICE, 331))
        self.assertTrue(limit.spend(ALICE, 300))
        self.assertFalse(limit.spend(ALICE, 31))
        self.assertTrue(limit.spend(ALICE, 30))
        self.assertFalse(limit.spend(ALICE, 1))

    def test_nothing_costs_nothing(self) -> None:
        """An address without credit may be sent nothing more, and that is allowed."""
        limit = AmplificationLimit()
        self.assertTrue(limit.spend(ALICE, 0))
        self.assertEqual(len(limit), 0)

    def test_an_answer_takes_from_earlier_credit(self) -> None:
        """One that is longer than its own request has earned leaves less; credit never falls below none."""
        limit = AmplificationLimit()
        limit.earn(ALICE, 10, 10)
        limit.earn(ALICE, 10, 60)
        self.assertFalse(limit.spend(ALICE, 11))
        self.assertTrue(limit.spend(ALICE, 10))
        limit.earn(BOB, 10, 100)
        limit.earn(BOB, 10, 0)
        self.assertTrue(limit.spend(BOB, 40))

    def test_credit_is_bounded(self) -> None:
        """However much an address sends, it cannot store up more than the greatest request earns."""
        limit = AmplificationLimit()
        for _ in range(100):
            limit.earn(ALICE, 1024, 20)
        self.assertFalse(limit.spend(ALICE, MAX_CREDIT + 1))
        self.assertTrue(limit.spend(ALICE, MAX_CREDIT))
        self.assertEqual((MAX_CREDIT, FACTOR), (4 * 1024, 4))

    def test_table_is_bounded(self) -> None:
        """The address that changed least recently is forgotten, and has no credit after that."""
        limit = AmplificationLimit(2)
        for address in (ALICE, BOB, ALICE, CAROL):
            limit.earn(address, 10, 0)
        self.assertEqual([limit.spend(address, 1) for address in (ALICE, BOB, CAROL)], [True, False, True])
        self.assertEqual(len(limit), 2)
        many = AmplificationLimit()
        for number in range(MAX_ADDRESSES + 10):
            many.earn((str(number), 1), 10, 0)
        self.assertEqual(len(many), MAX_ADDRESSES)

    @given(st.lists(st.tuples(st.integers(0, 1024), st.integers(0, 400), st.integers(0, 400))))
    def test_no_more_is_sent_than_four_times_what_was_received(self, steps: list[tuple[int, int, int]]) -> None:
        """As long as each answer is at most four times its request."""
        limit = AmplificationLimit()
        received = sent = 0
        for size, answer, more in steps:
            answer = min(answer, FACTOR * size)
            limit.earn(ALICE, size, answer)
            received, sent = received + size, sent + answer
            if limit.spend(ALICE, more):
                sent += more
            self.assertLessEqual(sent, FACTOR * received)
