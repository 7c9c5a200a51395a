"""Slices of long looks at the tables: one in each turn of the reactor."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.storage.slices import Slices


class SlicesTests(SynchronousTestCase):
    """Several look at the tables at the same time."""

    def setUp(self) -> None:
        """Nothing is looked at."""
        self.calls = list[Callable[[], None]]()
        self.slices = Slices(lambda seconds, call: self.calls.append(call))
        self.taken = list[str]()

    def turn(self) -> None:
        """Run what was to run in the next turn of the reactor."""
        calls = list(self.calls)
        self.calls.clear()
        for call in calls:
            call()

    def look(self, name: str, slices: int) -> Deferred[None]:
        """:returns: fires when so many slices were taken."""

        async def look() -> None:
            for _ in range(slices):
                await self.slices.next()
                self.taken.append(name)

        return Deferred.fromCoroutine(look())

    def test_one_in_each_turn(self) -> None:
        """They take their slices in turn, and none waits for the end of another."""
        looks = [self.look(name, 2) for name in "abc"]
        self.assertEqual(self.taken, [])
        counts = []
        while self.calls:
            self.assertEqual(len(self.calls), 1)
            self.turn()
            counts.append(len(self.taken))
        self.assertEqual((counts, "".join(self.taken)), ([1, 2, 3, 4, 5, 6], "abcabc"))
        for look in looks:
            self.successResultOf(look)

    def test_one_that_comes_later(self) -> None:
        """It takes the slice after those that wait already; and one alone goes on after a pause of all."""
        self.look("a", 3)
        self.turn()
        self.look("b", 1)
        self.turn()
        self.turn()
        self.assertEqual("".join(self.taken), "aab")
        self.turn()
        self.assertEqual(self.calls, [])
        self.look("c", 1)
        self.turn()
        self.assertEqual("".join(self.taken), "aabac")

    def test_those_that_have_left(self) -> None:
        """They take no turn from the others, and the last of them does no harm."""
        left = [self.look(name, 5) for name in "ab"]
        self.look("c", 1)
        for each in left:
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.turn()
        self.assertEqual(self.taken, ["c"])
        self.assertEqual(self.calls, [])
        last = self.look("d", 5)
        last.cancel()
        self.failureResultOf(last, CancelledError)
        self.turn()
        self.assertEqual((self.taken, self.calls), (["c"], []))
