"""Server time: it only goes forward, and a pause does not count."""

from __future__ import annotations

import gc
from threading import Thread

from zope.interface.verify import verifyObject

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.clock import LONGEST_GAP, ServerClock, WorkingTime, working_time

WALL = 1_700_000_000.0


class ServerClockTests(SynchronousTestCase):
    """A clock on two hands that the test moves."""

    def setUp(self) -> None:
        """Begin at some time of either."""
        self.reactor = Clock()
        self.reactor.advance(5.0)
        self.wall = WALL
        self.clock = ServerClock(self.reactor, self.reactor.seconds, lambda: self.wall)

    def test_it_is_a_clock_for_twisted(self) -> None:
        """Timers are the reactor's."""
        self.assertTrue(verifyObject(IReactorTime, self.clock))
        called: list[object] = []
        self.clock.callLater(3.0, called.append, 1)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.reactor.advance(3.0)
        self.assertEqual(called, [1])

    def test_it_begins_at_the_time_given(self) -> None:
        """Before that, at the wall clock's time; time before the start does not count."""
        self.assertEqual(self.clock.seconds(), WALL)
        self.reactor.advance(7.0)
        self.clock.start(100.0)
        self.assertEqual(self.clock.seconds(), 100.0)
        self.reactor.advance(2.5)
        self.assertEqual(self.clock.seconds(), 102.5)
        self.clock.start(50.0)
        self.assertEqual(self.clock.seconds(), 50.0)

    def test_wall_clock_does_not_matter(self) -> None:
        """It may be set forward and back."""
        self.clock.start(100.0)
        for jump in (-3600.0, 7200.0, -3600.0):
            self.wall += jump
            self.reactor.advance(1.0)
            self.clock.seconds()
        self.assertEqual(self.clock.seconds(), 103.0)

    def test_gap_does_not_count(self) -> None:
        """One as long as may be does; one that is longer, or goes back, does not."""
        self.clock.start(100.0)
        self.reactor.advance(LONGEST_GAP)
        self.assertEqual(self.clock.seconds(), 110.0)
        self.reactor.advance(LONGEST_GAP + 0.001)
        self.assertEqual(self.clock.seconds(), 110.0)
        for back in (5.0, 0.5, 0.001):
            self.reactor.rightNow -= back
            self.assertEqual(self.clock.seconds(), 110.0)
        self.reactor.advance(1.0)
        self.assertEqual(self.clock.seconds(), 111.0)

    def test_moments_are_shown_on_the_wall_clock(self) -> None:
        """As it is now."""
        self.clock.start(100.0)
        self.assertEqual(self.clock.to_wall(160.0), WALL + 60)
        self.reactor.advance(2.0)
        self.wall += 2.0
        self.clock.seconds()
        self.assertEqual(self.clock.to_wall(160.0), WALL + 60)
        self.wall -= 3600.0
        self.assertEqual(self.clock.to_wall(160.0), WALL + 60 - 3600)

    def test_moment_is_shown_the_same_between_two_readings(self) -> None:
        """For example, ``expiresAt`` of one offer, in the answer to its publication and in a listing soon after."""
        self.clock.start(100.0)
        self.reactor.advance(0.25)
        self.wall += 0.25
        self.assertEqual(self.clock.to_wall(160.0), WALL + 60)


class WorkingTimeTests(SynchronousTestCase):
    """What counts as work, on a hand that the test moves."""

    def setUp(self) -> None:
        """Begin in the middle of nothing."""
        self.cpu = 7.0
        self.working = WorkingTime(lambda: self.cpu)

    def seconds(self) -> float:
        """:returns: the time, as its readers work it out."""
        return self.working.cpu() - self.working.collected

    def collect(self, seconds: float) -> None:
        """Have a collection take so long."""
        self.working.collecting("start", {})
        self.cpu += seconds
        self.working.collecting("stop", {})

    def test_collections_of_garbage_are_left_out(self) -> None:
        """What is between them counts."""
        began = self.seconds()
        self.collect(0.015)
        self.cpu += 0.25
        self.collect(1.0)
        self.assertAlmostEqual(self.seconds() - began, 0.25)

    def test_those_of_another_thread_took_none_of_the_time(self) -> None:
        """To leave them out would set the time back."""
        began = self.seconds()
        self.cpu += 0.25
        thread = Thread(target=self.collect, args=(1.0,))
        thread.start()
        thread.join()
        self.cpu -= 1.0
        self.assertAlmostEqual(self.seconds() - began, 0.25)

    def test_the_process_has_one(self) -> None:
        """It hears of collections, and only goes forward."""
        self.working = working_time()
        self.assertIs(self.working, working_time())
        self.assertIn(self.working.collecting, gc.callbacks)
        before, collected = self.seconds(), self.working.collected
        gc.collect()
        self.assertGreaterEqual(self.seconds(), before)
        self.assertGreater(self.working.collected, collected)
