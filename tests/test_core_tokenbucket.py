"""One token bucket."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.tokenbucket import TokenBucket


class TokenBucketTests(SynchronousTestCase):
    """Two tokens a second, at most three."""

    def taken(self, bucket: TokenBucket, now: float) -> int:
        """:returns: how many tokens there are."""
        return [bucket.take(now) for _ in range(10)].count(True)

    def test_tokens(self) -> None:
        """It is full at first, gains what time brings, and holds no more than its burst."""
        bucket = TokenBucket(2.0, 3.0)
        self.assertEqual([self.taken(bucket, now) for now in (100.0, 100.0, 100.5, 101.5, 200.0)], [3, 0, 1, 2, 3])

    def test_fractions_add_up(self) -> None:
        """Each attempt to take one counts the time before it."""
        bucket = TokenBucket(2.0, 3.0)
        self.taken(bucket, 0.0)
        self.assertEqual([bucket.take(now) for now in (0.25, 0.375, 0.5, 0.75)], [False, False, True, False])

    def test_clock_that_goes_back(self) -> None:
        """Brings nothing, and takes nothing."""
        bucket = TokenBucket(2.0, 3.0)
        self.assertEqual([self.taken(bucket, now) for now in (100.0, 90.0, 90.5)], [3, 0, 1])

    def test_spending_more_than_there_is(self) -> None:
        """It says how long the bucket needs to make up for it. Nothing can be taken before."""
        bucket = TokenBucket(2.0, 3.0)
        self.assertEqual([bucket.spend(0.0, cost) for cost in (1.0, 2.0, 1.0, 4.0)], [0.0, 0.0, 0.5, 2.5])
        self.assertEqual([self.taken(bucket, now) for now in (2.5, 3.0)], [0, 1])
        self.assertEqual(bucket.spend(100.0, 3.0), 0.0)
