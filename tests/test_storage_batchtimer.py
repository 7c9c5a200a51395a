"""When a batch of decisions begins to be written."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.storage.batchtimer import GATHER, BatchTimer


class BatchTimerTests(SynchronousTestCase):
    """
    A timer on a clock.

    :ivar begun: when batches were begun by the timer, in seconds.
    """

    def setUp(self) -> None:
        """Every batch that the timer begins has three decisions."""
        self.clock = Clock()
        self.begun: list[float] = []
        self.timer = BatchTimer(self.clock.callLater, self.begin)

    def begin(self) -> None:
        """Begin a batch."""
        self.begun.append(self.clock.seconds())
        self.timer.begun(3)

    def test_first_batch_begins_in_the_next_turn(self) -> None:
        """The decisions of one turn of the reactor share one batch."""
        for waiting in (1, 2, 3):
            self.timer.gather(waiting)
        self.assertEqual(self.begun, [])
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(0.0)
        self.assertEqual(self.begun, [0.0])

    def test_fewer_decisions_than_the_last_batch_had_wait(self) -> None:
        """Two decisions wait for 5 ms after a batch of three, and a third one that comes meanwhile ends the wait."""
        self.timer.begun(3)
        self.timer.gather(2)
        self.clock.advance(GATHER / 2)
        self.assertEqual(self.begun, [])
        self.clock.advance(GATHER / 2)
        self.assertEqual(self.begun, [GATHER])
        self.timer.gather(2)
        self.timer.gather(3)
        self.clock.advance(0.0)
        self.assertEqual(self.begun, [GATHER, GATHER])
        self.clock.advance(GATHER)
        self.assertEqual(self.begun, [GATHER, GATHER])

    def test_batch_that_began_for_another_reason_replaces_the_one_that_was_due(self) -> None:
        """The sweep begins a batch while one is due. A decision after it waits for 5 ms of its own, no longer."""
        self.timer.begun(3)
        self.timer.gather(1)
        self.clock.advance(GATHER / 2)
        self.timer.begun(3)
        self.timer.gather(1)
        self.clock.advance(GATHER / 2)
        self.assertEqual(self.begun, [])
        self.clock.advance(GATHER / 2)
        self.assertEqual(self.begun, [GATHER * 1.5])

    def test_without_a_clock_a_batch_begins_at_once(self) -> None:
        """A store that is embedded without a reactor does not wait."""
        self.timer = BatchTimer(None, self.begin)
        self.timer.begun(3)
        self.timer.gather(1)
        self.assertEqual(self.begun, [0.0])
