"""Limits that count exactly how often a key has acted within a while."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.slidingwindow import SlidingWindow


class SlidingWindowTests(SynchronousTestCase):
    """Tests of :class:`rendezvous.core.slidingwindow.SlidingWindow`."""

    def test_a_key_acts_so_often_within_the_time_and_no_more(self) -> None:
        """The next time is when the oldest of them is as long ago; what was refused does not count."""
        window: SlidingWindow[str] = SlidingWindow(3, 60.0, 100)
        self.assertEqual([window.take("a", now) for now in (0.0, 10.0, 20.0)], [0.0, 0.0, 0.0])
        self.assertEqual(window.take("a", 20.0), 40.0)
        self.assertEqual(window.take("a", 59.5), 0.5)
        self.assertEqual(window.take("a", 60.0), 0.0)
        self.assertEqual(window.take("a", 60.0), 10.0)
        self.assertEqual(window.take("b", 60.0), 0.0)

    def test_key_acts_again_after_a_pause(self) -> None:
        """However long ago it acted last."""
        window: SlidingWindow[str] = SlidingWindow(1, 60.0, 100)
        self.assertEqual([window.take("a", now) for now in (0.0, 100.0, 130.0)], [0.0, 0.0, 30.0])

    def test_no_limit(self) -> None:
        """With 0 nothing is refused, and nothing is remembered."""
        window: SlidingWindow[str] = SlidingWindow(0, 60.0, 100)
        self.assertEqual({window.take("a", 0.0) for _ in range(100)}, {0.0})
        self.assertEqual(len(window), 0)

    def test_limit_can_be_lowered(self) -> None:
        """What was done before counts against the new limit."""
        window: SlidingWindow[str] = SlidingWindow(3, 60.0, 100)
        for now in (0.0, 1.0, 2.0):
            window.take("a", now)
        window.most = 1
        self.assertEqual(window.take("a", 10.0), 52.0)

    def test_table_is_bounded(self) -> None:
        """A flood of keys makes it forget, and takes no more room than was allowed."""
        window: SlidingWindow[int] = SlidingWindow(1, 60.0, 100)
        for key in range(1000):
            self.assertEqual(window.take(key, 0.0), 0.0)
            self.assertLessEqual(len(window), 100)
        self.assertEqual(window.take(999, 1.0), 59.0)

    def test_half_of_the_table_is_remembered_whatever_comes(self) -> None:
        """A key is not forgotten before as many others have acted after it as fill half of the table."""
        window: SlidingWindow[int] = SlidingWindow(1, 60.0, 100)
        for key in range(1000):
            window.take(key, 0.0)
            self.assertEqual(window.take(max(key - 50, 0), 1.0), 59.0)
        self.assertEqual(window.take(899, 1.0), 0.0)

    def test_key_that_acts_often_takes_one_place(self) -> None:
        """It does not make the table forget others."""
        window: SlidingWindow[int] = SlidingWindow(0, 60.0, 4)
        window.most = 1000
        window.take(1, 0.0)
        for _ in range(100):
            window.take(2, 0.0)
        self.assertEqual(len(window), 2)
        window.most = 1
        self.assertEqual(window.take(1, 1.0), 59.0)
