"""Who waits for what, and that nothing is left of a subscription that was closed."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.errors import Full, TooMany, Unavailable
from rendezvous.storage.notifier import AT_ONCE, WAITING_PER_KEY, Notifier, Subscription


class NotifierTests(SynchronousTestCase):
    """Subscribing, waiting and notifying."""

    def setUp(self) -> None:
        """Have a notifier without subscriptions."""
        self.notifier = Notifier(100)

    def test_a_notification_wakes_all_that_wait_for_the_key(self) -> None:
        """Every waiter of the key is woken, and no other."""
        waiting = [self.notifier.subscribe("a").changed() for _ in range(3)]
        other = self.notifier.subscribe("b").changed()
        self.notifier.notify("a")
        for changed in waiting:
            self.successResultOf(changed)
        self.assertNoResult(other)

    def test_a_notification_wakes_once(self) -> None:
        """A waiter that waits again waits for the next notification."""
        subscription = self.notifier.subscribe("a")
        self.successResultOf(self.woken(subscription))
        self.assertNoResult(subscription.changed())

    def woken(self, subscription: Subscription) -> Deferred[None]:
        """Wait, and notify."""
        changed = subscription.changed()
        self.notifier.notify("a")
        return changed

    def test_a_notification_between_two_waits_is_not_missed(self) -> None:
        """What happens after subscribing and before waiting ends the wait at once, and only the next one."""
        subscription = self.notifier.subscribe("a")
        self.notifier.notify("a")
        self.notifier.notify("a")
        self.successResultOf(subscription.changed())
        self.assertNoResult(subscription.changed())

    def test_one_place_for_several_keys(self) -> None:
        """It counts once, is woken by each of its keys, and gives all of them back."""
        subscription = self.notifier.subscribe("a")
        subscription.add("b")
        subscription.add("b")
        self.assertEqual(len(self.notifier), 1)
        for key in ("a", "b"):
            changed = subscription.changed()
            self.notifier.notify(key)
            self.successResultOf(changed)
        subscription.remove("b")
        subscription.remove("b")
        changed = subscription.changed()
        self.notifier.notify("b")
        self.assertNoResult(changed)
        subscription.add("c")
        subscription.close()
        subscription.close()
        self.notifier.notify("c")
        self.assertNoResult(changed)
        self.assertEqual((len(self.notifier), self.notifier._by_key), (0, {}))

    def test_key_that_is_added_again(self) -> None:
        """After it was removed: the subscription is woken by it as before."""
        with self.notifier.subscribe("a") as subscription:
            for _ in range(2):
                subscription.add("b")
                changed = subscription.changed()
                self.notifier.notify("b")
                self.successResultOf(changed)
                subscription.remove("b")
        self.assertEqual((len(self.notifier), self.notifier._by_key), (0, {}))

    def test_key_after_the_end(self) -> None:
        """Of a server that is stopping: nothing is left of it."""
        subscription = self.notifier.subscribe("a")
        self.notifier.close()
        subscription.add("b")
        self.failureResultOf(self.failing(subscription), Unavailable)
        subscription.close()
        self.assertEqual((len(self.notifier), self.notifier._by_key), (0, {}))

    def failing(self, subscription: Subscription) -> Deferred[None]:
        """Wait in vain."""
        return maybeDeferred(subscription.changed)

    def test_very_many_for_a_key(self) -> None:
        """Are woken some at a time, in the order in which they came; those that left meanwhile are not."""
        turns: list[Callable[[], None]] = []
        delays: list[float] = []

        def later(delay: float, call: Callable[[], None]) -> None:
            delays.append(delay)
            turns.append(call)

        notifier = Notifier(1000, later)
        subscriptions = [notifier.subscribe("a", None) for _ in range(2 * AT_ONCE + 1)]
        waiting = [subscription.changed() for subscription in subscriptions]
        notifier.notify("a")
        notifier.notify("a")
        self.assertEqual((self.fired(waiting), len(turns)), (0, 1))
        turns.pop()()
        self.assertEqual((self.fired(waiting), self.fired(waiting[:AT_ONCE]), len(turns)), (AT_ONCE, AT_ONCE, 1))
        subscriptions[-1].close()
        turns.pop()()
        self.assertEqual((self.fired(waiting), len(turns)), (2 * AT_ONCE, 0))
        few = [notifier.subscribe("b").changed() for _ in range(2)]
        notifier.notify("b")
        self.assertEqual(self.fired(few), 2)
        notifier.notify("a")
        notifier.close()
        turns.pop()()
        self.assertEqual((turns, set(delays)), ([], {0.0}))

    def fired(self, waiting: list[Deferred[None]]) -> int:
        """How many have fired."""
        return sum(changed.called for changed in waiting)

    def test_many_at_once(self) -> None:
        """As many as fit into a turn are woken at once, and all of them where there is no later turn."""
        turns: list[float] = []
        for number, later in ((AT_ONCE, lambda delay, call: turns.append(delay)), (AT_ONCE + 1, None)):
            notifier = Notifier(1000, later)
            waiting = [notifier.subscribe("a", None).changed() for _ in range(number)]
            notifier.notify("a")
            self.assertEqual((self.fired(waiting), turns), (number, []))

    def test_any_number_for_a_key(self) -> None:
        """If the caller bounds it otherwise; those in all stay bounded."""
        for _ in range(100):
            self.notifier.subscribe("a", None)
        self.assertRaises(Full, self.notifier.subscribe, "a", None)

    def test_a_notification_that_concerns_no_subscription_leaves_nothing(self) -> None:
        """A key without subscriptions leaves no trace."""
        self.notifier.notify("a")
        self.assertEqual(len(self.notifier), 0)

    def test_a_wait_can_be_cancelled(self) -> None:
        """The subscription stays, and keeps what comes meanwhile for its next wait."""
        subscription = self.notifier.subscribe("a")
        changed = subscription.changed()
        changed.cancel()
        self.failureResultOf(changed, CancelledError)
        self.assertEqual(len(self.notifier), 1)
        self.notifier.notify("a")
        self.successResultOf(subscription.changed())

    def test_closing_twice_gives_one_place_back(self) -> None:
        """The second time does nothing."""
        with self.notifier.subscribe("a") as first:
            self.notifier.subscribe("a")
            first.close()
        self.assertEqual(len(self.notifier), 1)

    def test_one_woken_may_close_another(self) -> None:
        """A subscription that is closed by one that was woken before does no harm."""
        first, second = self.notifier.subscribe("a"), self.notifier.subscribe("a")
        changed = first.changed().addCallback(lambda _: second.close())
        self.notifier.notify("a")
        self.successResultOf(changed)
        self.assertEqual(len(self.notifier), 1)

    def test_number_that_may_wait_for_one_key(self) -> None:
        """Sixteen may wait for a key; the next is refused and counted until one has left."""
        held = [self.notifier.subscribe("a") for _ in range(WAITING_PER_KEY)]
        self.assertEqual(WAITING_PER_KEY, 16)
        self.assertRaises(TooMany, self.notifier.subscribe, "a")
        self.notifier.subscribe("b")
        held[0].close()
        self.notifier.subscribe("a")
        self.assertRaises(TooMany, self.notifier.subscribe, "a")
        self.assertEqual((len(self.notifier), self.notifier.refused), (17, 2))

    def test_number_that_may_wait_in_all(self) -> None:
        """Beyond the total no key has room; a place that is given back is there for another key."""
        notifier = Notifier(2)
        held = [notifier.subscribe(key) for key in "ab"]
        self.assertEqual(self.assertRaises(Full, notifier.subscribe, "c").code, "too-many-waiting")
        self.assertEqual((len(notifier), notifier.refused), (2, 1))
        held[0].close()
        notifier.subscribe("c")

    def test_close_wakes_all_waiters(self) -> None:
        """When the server stops, all are woken, and none may wait again."""
        subscriptions = [self.notifier.subscribe("a"), self.notifier.subscribe("b")]
        waiting = [subscription.changed() for subscription in subscriptions]
        self.notifier.close()
        for changed, subscription in zip(waiting, subscriptions, strict=True):
            self.successResultOf(changed)
            self.assertRaises(Unavailable, subscription.changed)
            subscription.close()
        self.assertEqual(len(self.notifier), 0)
        self.assertRaises(Unavailable, self.notifier.subscribe, "c")

    def test_subscription_does_not_outlive_a_stop(self) -> None:
        """When the notifier opens again, it can still not wait, and has no place among those of the second life."""
        old = self.notifier.subscribe("a")
        self.notifier.close()
        self.notifier.open()
        self.notifier.subscribe("a")
        self.assertRaises(Unavailable, old.changed)
        self.assertEqual(len(self.notifier), 1)
        old.close()
        self.assertEqual(len(self.notifier), 1)
