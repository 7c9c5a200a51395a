"""Tests of remembered logouts by themselves; those of presence show what a logout means for credentials."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.presence.logouts import Logouts
from rendezvous.core.shares import Shares
from rendezvous.core.sources import source_network
from rendezvous.errors import TooMany

MEMORY = 100.0
HERE = source_network("192.0.2.1")
ONE, TWO, THREE = b"1" * 16, b"2" * 16, b"3" * 16


def remembered(most: int = 10, share: int = 2) -> Logouts:
    """:returns: an empty table with room for so many, and for so many of one source."""
    return Logouts(MEMORY, most, Shares("remembered logouts", share, share))


class LogoutsTests(SynchronousTestCase):
    """The table of remembered logouts."""

    def test_larger_bound_is_used_at_once(self) -> None:
        """A logout that had no room before is remembered beside the others."""
        logouts = remembered(most=1)
        logouts.add(ONE, HERE, 0.0)
        logouts.change(2, (5, 5))
        logouts.add(TWO, HERE, 1.0)
        self.assertEqual((len(logouts), logouts.live_only(1.0)), (2, False))
        logouts.add(THREE, HERE, 2.0)
        self.assertEqual((len(logouts), logouts.live_only(2.0)), (2, True))

    def test_smaller_bound_forgets_nothing_by_itself(self) -> None:
        """What is remembered stays; each logout from then on takes the place of another one."""
        logouts = remembered()
        logouts.add(ONE, HERE, 0.0)
        logouts.add(TWO, HERE, 1.0)
        logouts.change(1, (5, 5))
        self.assertEqual((len(logouts), logouts.live_only(2.0)), (2, False))
        logouts.add(THREE, HERE, 2.0)
        self.assertEqual([each in logouts for each in (ONE, TWO, THREE)], [False, True, True])

    def test_changed_share_is_used_at_once(self) -> None:
        """A source that had caused its share may register again, and the other way round."""
        logouts = remembered(share=1)
        logouts.add(ONE, HERE, 0.0)
        self.assertRaises(TooMany, logouts.check, HERE)
        logouts.change(10, (2, 2))
        logouts.check(HERE)
        logouts.change(10, (1, 1))
        self.assertRaises(TooMany, logouts.check, HERE)

    def test_logout_that_is_remembered_anew_counts_once(self) -> None:
        """Its time was over, and nothing had removed it yet. It is not counted twice for its source."""
        logouts = remembered(share=2)
        logouts.add(ONE, HERE, 0.0)
        logouts.add(ONE, HERE, MEMORY + 1)
        self.assertEqual(len(logouts), 1)
        self.assertTrue(logouts.has_revoked(ONE, MEMORY + 2))
        logouts.check(HERE)
        logouts.forget(2 * MEMORY + 2, 9)
        self.assertEqual((len(logouts), ONE in logouts), (0, False))

    def test_nothing_is_left_after_clearing(self) -> None:
        """As before the first logout: no logout, no share, no rule, and nothing that is due."""
        logouts = remembered(most=1, share=1)
        logouts.add(ONE, HERE, 0.0)
        logouts.add(TWO, HERE, 1.0)
        logouts.clear()
        self.assertEqual((len(logouts), TWO in logouts, logouts.live_only(1.0)), (0, False, False))
        logouts.check(HERE)
        logouts.add(TWO, HERE, 50.0)
        self.assertFalse(logouts.is_due(50.0 + MEMORY))
        self.assertTrue(logouts.is_due(51.0 + MEMORY))
