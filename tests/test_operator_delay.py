"""How late the reactor is."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.operator.delay import INTERVAL, ReactorDelay


class DelayTests(SynchronousTestCase):
    """Measurements twice a second."""

    def setUp(self) -> None:
        """Begin to measure."""
        self.clock = Clock()
        self.delay = ReactorDelay(self.clock)
        self.delay.startService()

    def late(self, *seconds: float) -> None:
        """Let the reactor be late by so many seconds, once after the other."""
        for each in seconds:
            self.clock.advance(INTERVAL + each)

    def test_nothing_at_first(self) -> None:
        """The reactor was not late yet."""
        self.assertEqual((self.delay.longest, sum(self.delay.times.counts)), (0.0, 0))

    def test_each_is_counted(self) -> None:
        """By how late it was; the longest one is known."""
        self.late(0.0, 0.25, 2.0, 0.5)
        self.assertEqual((sum(self.delay.times.counts), self.delay.times.sum), (4, 2.75))
        self.assertEqual(self.delay.longest, 2.0)

    def test_longest_is_of_the_last_minute(self) -> None:
        """What was longer before is forgotten; the counts have it."""
        self.late(2.0, *[0.0] * 119)
        self.assertEqual(self.delay.longest, 2.0)
        self.late(0.0)
        self.assertEqual(self.delay.longest, 0.0)
        self.assertEqual(self.delay.times.sum, 2.0)

    def test_end(self) -> None:
        """Nothing is measured after it, and time that was not measured is no delay after a new start."""
        self.assertTrue(self.delay.running)
        self.delay.stopService()
        self.assertEqual((self.delay.running, self.clock.getDelayedCalls()), (0, []))
        self.clock.advance(100)
        self.delay.startService()
        self.late(0.25)
        self.assertEqual((self.delay.longest, sum(self.delay.times.counts)), (0.25, 1))
        self.delay.stopService()
        self.delay.stopService()
