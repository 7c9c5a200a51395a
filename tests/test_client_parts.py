"""Small parts of the client library: an event that happens once, and why attempts end."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.client import Attempt, AttemptState, Peer
from rendezvous.client._latch import Latch
from rendezvous.client.connecting._reasons import error_of


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


class ErrorOfTests(SynchronousTestCase):
    """Why an attempt has ended, by what the server says."""

    def test_state_has_a_code(self) -> None:
        """One for each state; an attempt of which nothing is known is taken as expired."""
        codes = {
            AttemptState.DECLINED: "declined",
            AttemptState.DONE: "closed",
            AttemptState.EXPIRED: "expired",
            AttemptState.FAILED: "failed",
        }
        for state, code in codes.items():
            self.assertEqual(error_of(ended(state)).code, code)
        self.assertEqual(error_of(None).code, "expired")

    def test_code_and_reason_of_the_server(self) -> None:
        """They are kept as they are."""
        error = error_of(ended(AttemptState.FAILED, "symmetric-pair", "Both NATs."))
        self.assertEqual((error.code, error.reason), ("symmetric-pair", "Both NATs."))


def ended(state: AttemptState, code: str | None = None, reason: str | None = None) -> Attempt:
    """:returns: an attempt that has ended."""
    return Attempt(bytes(8), state, True, 3, 0, 1, Peer("0" * 32), code=code, reason=reason)
