"""The small parts below the pulse service: waiting for what happens once."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.client._latch import Latch


class LatchTests(SynchronousTestCase):
    """Waiting for an event that happens once."""

    def test_waiters_before_and_after_fire(self) -> None:
        """Early waiters fire when it happens, later ones at once. A second call changes nothing."""
        latch = Latch()
        early = [latch.wait(), latch.wait()]
        latch.set()
        latch.set(ValueError)
        for waiter in [*early, latch.wait()]:
            self.assertIsNone(self.successResultOf(waiter))

    def test_cancelled_waiter_is_forgotten(self) -> None:
        """A cancelled waiter does not fire, and the others do."""
        latch = Latch()
        first, second = latch.wait(), latch.wait()
        first.cancel()
        latch.set()
        self.failureResultOf(first, CancelledError)
        self.successResultOf(second)

    def test_callback_may_cancel_another_waiter(self) -> None:
        """A callback that cancels another waiter breaks nothing."""
        latch = Latch()
        first, second = latch.wait(), latch.wait()
        first.addCallback(lambda _: second.cancel())
        latch.set()
        self.failureResultOf(second, CancelledError)
        self.successResultOf(first)
