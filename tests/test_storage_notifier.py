"""Bells: who waits for what, and that nothing is left of who has left."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.errors import TooMany, Unavailable
from rendezvous.storage.notifier import WAITING_PER_KEY, Notifier


class NewsTests(SynchronousTestCase):
    """Waiting and ringing."""

    def setUp(self) -> None:
        """Nobody waits yet."""
        self.news = Notifier()

    def cancel(self, notification: Deferred[None]) -> None:
        """Wait no longer."""
        notification.cancel()
        self.failureResultOf(notification, CancelledError)

    def test_ring_wakes_all_that_wait_for_the_key(self) -> None:
        """Every notification of the key fires, and no other."""
        bells = [self.news.wait("a") for _ in range(3)]
        other = self.news.wait("b")
        self.news.notify("a")
        for notification in bells:
            self.successResultOf(notification)
        self.assertNoResult(other)
        self.assertEqual(len(self.news), 1)
        self.cancel(other)

    def test_a_bell_rings_once(self) -> None:
        """After a ring nobody waits any more, and a further ring is nothing."""
        notification = self.news.wait("a")
        self.news.notify("a")
        self.news.notify("a")
        self.successResultOf(notification)
        self.assertEqual(len(self.news), 0)

    def test_ring_for_nobody_is_nothing(self) -> None:
        """A key that nobody waits for leaves no trace."""
        self.news.notify("a")
        self.assertEqual(len(self.news), 0)

    def test_cancelled_bell_leaves_nothing(self) -> None:
        """Who waits no longer is forgotten, and the others still wait."""
        first, second = self.news.wait("a"), self.news.wait("a")
        self.cancel(first)
        self.assertEqual(len(self.news), 1)
        self.news.notify("a")
        self.successResultOf(second)
        self.assertEqual(len(self.news), 0)

    def test_waiting_again_while_being_woken(self) -> None:
        """Who asks for a new notification when woken waits for the next ring, and does not keep this one ringing."""
        again: list[Deferred[None]] = []
        notification = self.news.wait("a").addCallback(lambda _: again.append(self.news.wait("a")))
        self.news.notify("a")
        self.successResultOf(notification)
        self.assertNoResult(again[0])
        self.assertEqual(len(self.news), 1)
        self.cancel(again[0])

    def test_one_woken_may_send_another_away(self) -> None:
        """A notification that is cancelled by who was woken before it does no harm."""
        bells: list[Deferred[None]] = []
        first = self.news.wait("a").addCallback(lambda _: bells[0].cancel())
        bells.append(self.news.wait("a"))
        self.news.notify("a")
        self.successResultOf(first)
        self.failureResultOf(bells[0], CancelledError)
        self.assertEqual(len(self.news), 0)

    def test_number_that_may_wait_for_one_key(self) -> None:
        """Sixteen may wait for a key; the next is refused until one has left; other keys are not concerned."""
        bells = [self.news.wait("a") for _ in range(WAITING_PER_KEY)]
        self.assertEqual(WAITING_PER_KEY, 16)
        self.assertRaises(TooMany, self.news.wait, "a")
        self.assertEqual(len(self.news), 16)
        bells.append(self.news.wait("b"))
        self.cancel(bells.pop(0))
        bells.append(self.news.wait("a"))
        self.assertRaises(TooMany, self.news.wait, "a")
        for notification in bells:
            self.cancel(notification)
        self.assertEqual(len(self.news), 0)

    def test_close_sends_everybody_away(self) -> None:
        """When the server stops, all are woken, and nobody may wait again."""
        refused: list[Exception] = []

        def wait_again(_: object) -> None:
            try:
                self.news.wait("a")
            except Unavailable as e:
                refused.append(e)

        first, second = self.news.wait("a").addCallback(wait_again), self.news.wait("b")
        self.news.close()
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual((len(refused), len(self.news)), (1, 0))
        self.assertRaises(Unavailable, self.news.wait, "c")
