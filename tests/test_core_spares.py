"""
Tests of when a path probes: :mod:`rendezvous.core.punching.silence`, :mod:`rendezvous.core.punching.spares`,
:mod:`rendezvous.core.punching.renewal` and :mod:`rendezvous.core.punching.nomination`.
"""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.connect import CandidateKind
from rendezvous.core.punching.actions import Action, Send
from rendezvous.core.punching.checks import Checks
from rendezvous.core.punching.nomination import Nomination
from rendezvous.core.punching.pairs import Local, Pair
from rendezvous.core.punching.renewal import Renewal
from rendezvous.core.punching.silence import Silence, Step
from rendezvous.core.punching.spares import MAX_SPARE, has_failed, probe_due, proven_at, spare
from rendezvous.wire.probe import PairCodec


def pair(number: int = 1, rtt: float | None = 0.04) -> Pair:
    """:returns: a direct pair with a round trip."""
    return Pair(Local("ipv4"), (f"198.51.100.{number}", 4000), CandidateKind.SERVER_REFLEXIVE, valid=True, rtt=rtt)


class SilenceTests(SynchronousTestCase):
    """How soon a side notices that the pair in use is silent."""

    def steps(self, rtt: float | None, count: int) -> list[tuple[float, Step]]:
        """:returns: when something is to be probed after a datagram that was sent at 100 s, and what."""
        silence, used, found = Silence(), pair(rtt=rtt), []
        silence.sent(100.0, used)
        for _ in range(count):
            due = silence.due()
            assert due is not None
            self.assertIs(silence.next(due - 0.001, used), Step.NOTHING)
            found.append((round(due - 100.0, 6), silence.next(due, used)))
        return found

    def test_short_round_trip(self) -> None:
        """The pair in use after 200 ms, all others 100 ms later, and then with pauses that double up to 2 s."""
        times = [0.2, 0.3, 0.4, 0.6, 1.0, 1.8, 3.4, 5.4, 7.4]
        for rtt in (None, 0.04):
            self.assertEqual(self.steps(rtt, 9), list(zip(times, [Step.PAIR] + [Step.ALL] * 8, strict=True)))

    def test_long_round_trip(self) -> None:
        """After three round trips, and two more."""
        self.assertEqual(self.steps(0.5, 4), [(1.5, Step.PAIR), (2.5, Step.ALL), (3.5, Step.ALL), (5.5, Step.ALL)])

    def test_first_unanswered_datagram_counts(self) -> None:
        """What is sent later does not put the probe off. What is heard ends the watch."""
        silence, used = Silence(), pair()
        self.assertIsNone(silence.due())
        self.assertIs(silence.next(5.0, used), Step.NOTHING)
        silence.sent(10.0, used)
        silence.sent(10.1, used)
        self.assertEqual((silence.since, silence.due()), (10.0, 10.2))
        silence.next(10.2, used)
        silence.heard()
        self.assertEqual((silence.since, silence.step, silence.due()), (None, Step.NOTHING, None))
        silence.sent(20.0, used)
        self.assertEqual(silence.due(), 20.2)


class SpareTests(SynchronousTestCase):
    """The pairs beside the one in use."""

    def test_best_four_that_work_or_have_worked(self) -> None:
        """Neither the one in use, nor one that was never acknowledged, is among them."""
        pairs = [pair(number, rtt=number / 100) for number in range(1, 8)]
        pairs[3].valid = False
        never = pair(8, rtt=None)
        found = spare([*reversed(pairs), never], pairs[1])
        self.assertEqual(found, [pairs[0], *pairs[2:5]])
        self.assertEqual(len(found), MAX_SPARE)
        self.assertEqual(spare([never], pairs[0]), [])

    def test_pair_that_is_silent_for_ten_minutes_is_given_up(self) -> None:
        """A probe that was sent within ten minutes of the first unanswered one is followed by another one."""
        used, silent = pair(1), pair(2)
        silent.silent_since, silent.probed = 50.0, 649.0
        self.assertEqual(spare([silent], used), [silent])
        silent.probed = 650.0
        self.assertEqual(spare([silent], used), [])
        silent.silent_since = None
        self.assertEqual(spare([silent], used), [silent])

    def test_probes(self) -> None:
        """A pair that works is probed each 15 s; one that has failed after 1 s, and then after pauses that double."""
        each = pair()
        self.assertLess(probe_due(each), 0.0)
        each.probed = 100.0
        self.assertEqual(probe_due(each), 115.0)
        each.silent_since, times = 100.0, []
        for _ in range(8):
            each.probed = probe_due(each)
            times.append(each.probed - 100.0)
        self.assertEqual(times, [1.0, 2.0, 4.0, 8.0, 16.0, 31.0, 46.0, 61.0])

    def test_failure(self) -> None:
        """Four seconds without an answer."""
        each = pair()
        self.assertFalse(has_failed(each, 1000.0))
        each.silent_since = 100.0
        self.assertFalse(has_failed(each, 103.9))
        self.assertTrue(has_failed(each, 104.0))

    def test_proof(self) -> None:
        """A pair that never failed may be used at once; then after 2, 4 and up to 60 s. One that is silent may not."""
        each = pair()
        self.assertIsNone(proven_at(each))
        each.valid_since = 10.0
        found = []
        for failures in range(8):
            each.failures = failures
            at = proven_at(each)
            assert at is not None
            found.append(at - 10.0)
        self.assertEqual(found, [0.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0])
        each.silent_since = 11.0
        self.assertIsNone(proven_at(each))
        each.silent_since, each.valid = None, False
        self.assertIsNone(proven_at(each))


class RenewalTests(SynchronousTestCase):
    """When a new attempt is asked for."""

    def test_silence(self) -> None:
        """After 2 s, and then with pauses of 5, 10, 30 and 60 s."""
        renewal, times = Renewal(), []
        self.assertIsNone(renewal.due(None))
        self.assertFalse(renewal.take(1000.0, None))
        for _ in range(6):
            due = renewal.due(100.0)
            assert due is not None
            self.assertFalse(renewal.take(due - 0.001, 100.0))
            self.assertTrue(renewal.take(due, 100.0))
            times.append(due - 100.0)
        self.assertEqual(times, [2.0, 7.0, 17.0, 47.0, 107.0, 167.0])

    def test_relay(self) -> None:
        """After 10 s on it. A silence comes first, and the pause before it counts for both."""
        renewal = Renewal()
        renewal.relayed_since = 100.0
        self.assertEqual(renewal.due(None), 110.0)
        self.assertEqual(renewal.due(101.0), 103.0)
        self.assertTrue(renewal.take(109.0, 101.0))
        self.assertEqual(renewal.due(None), 114.0)

    def test_attempt_that_connects_makes_the_pauses_short_again(self) -> None:
        """Unless it uses a relay as well: then another one would hardly help sooner."""
        for relayed, pause in ((False, 5.0), (True, 10.0)):
            renewal = Renewal()
            self.assertTrue(renewal.take(102.0, 100.0))
            renewal.relayed_since = 105.0 if relayed else None
            renewal.started()
            self.assertTrue(renewal.take(200.0, 190.0))
            self.assertEqual(renewal.due(190.0), 200.0 + pause)


class NominationTests(SynchronousTestCase):
    """The probes that nominate a pair."""

    def probes(self, rtt: float | None) -> list[float]:
        """:returns: when probes were sent that nominate the pair, in seconds after the first one."""
        checks = Checks(PairCodec(bytes(32), bytes(8), True), Random(1))
        chosen = pair(rtt=rtt)
        nomination, times, actions = Nomination(100.0, checks, chosen), [], list[Action]()
        self.assertTrue(nomination.tick(99.9, actions))
        self.assertEqual(actions, [])
        while nomination.tick(nomination.at, actions):
            times.append(round(nomination.at - 100.0, 6))
        self.assertTrue(all(isinstance(each, Send) and each.datagram[3] & 2 for each in actions))
        self.assertEqual(len(actions), len(times))
        return times

    def test_it_is_repeated_and_given_up(self) -> None:
        """Twelve probes, after 50, 100 and then 200 ms; the pair has failed 200 ms after the last one."""
        expected = [0.05, 0.15, *(0.35 + 0.2 * number for number in range(10))]
        for rtt in (None, 0.01):
            self.assertEqual(self.probes(rtt), [round(each, 6) for each in expected])

    def test_long_round_trip(self) -> None:
        """The next probe waits for one and a half round trips."""
        self.assertEqual(self.probes(0.4)[:3], [0.6, 1.2, 1.8])
