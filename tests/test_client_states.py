"""When a client pulses and what leads to what, by values."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.client._backoff import pulse_delay, pulse_period, retry_delay
from rendezvous.client._keepalive_states import AWAITING, TRANSITIONS, KeepAliveEvent, KeepAliveState
from tests._keepalive_case import MIDDLE


class BackoffTests(SynchronousTestCase):
    """How long to wait, by values."""

    def test_period_is_two_thirds_of_the_interval(self) -> None:
        """A pulse every 20 s keeps a client online whose interval is 30 s."""
        self.assertEqual(pulse_period(30), 20)

    def test_jitter_is_a_tenth_either_way(self) -> None:
        """The sample's range is the delay's range."""
        self.assertAlmostEqual(pulse_delay(30, 0.0), 18)
        self.assertAlmostEqual(pulse_delay(30, MIDDLE), 20)
        self.assertAlmostEqual(pulse_delay(30, 1.0), 22)

    def test_retries_double_up_to_the_period(self) -> None:
        """Each failure doubles the wait, until it is as long as between pulses."""
        self.assertEqual([retry_delay(30, n, MIDDLE) for n in range(1, 8)], [1, 2, 4, 8, 16, 20, 20])

    def test_retries_are_jittered(self) -> None:
        """Clients that lost the server together do not come back together."""
        self.assertAlmostEqual(retry_delay(30, 3, 0.0), 3.6)
        self.assertAlmostEqual(retry_delay(30, 3, 1.0), 4.4)

    def test_any_number_of_failures_is_bearable(self) -> None:
        """A server that is away for years overflows nothing."""
        self.assertEqual(retry_delay(30, 10**9, MIDDLE), 20)

    def test_short_interval_shortens_the_first_retry(self) -> None:
        """The cap holds from the first retry on."""
        self.assertAlmostEqual(retry_delay(0.3, 1, MIDDLE), 0.2)

    def test_servers_pause_is_honoured_up_to_an_interval(self) -> None:
        """What the server asks for counts, unless it is shorter than our own wait, or longer than an interval."""
        pauses = {0: 4, 4: 4, 5: 5, 30: 30, 31: 30, 10**9: 30}
        self.assertEqual({p: max(4, retry_delay(30, 3, 0.0, retry_after=p)) for p in pauses}, pauses)

    def test_servers_pause_is_only_ever_made_longer(self) -> None:
        """By a tenth at most, so that clients which were refused together come back one by one."""
        self.assertEqual([retry_delay(30, 1, sample, retry_after=20) for sample in (0.0, 0.5, 1.0)], [20, 21, 22])


class TransitionTests(SynchronousTestCase):
    """What the table promises as a whole."""

    def test_every_state_can_be_stopped(self) -> None:
        """There is no state that stopping does not end."""
        self.assertEqual(
            {TRANSITIONS[state, KeepAliveEvent.STOP] for state in KeepAliveState}, {KeepAliveState.STOPPED}
        )

    def test_gone_ends_all_but_stopping(self) -> None:
        """A client that is gone stays gone."""
        self.assertEqual([event for state, event in TRANSITIONS if state is KeepAliveState.GONE], [KeepAliveEvent.STOP])

    def test_every_state_is_reached(self) -> None:
        """The table has no state that nothing leads to."""
        self.assertEqual(set(TRANSITIONS.values()), set(KeepAliveState))

    def test_every_answer_is_expected_where_a_pulse_is_outstanding(self) -> None:
        """Wherever an answer is taken, each answer has a row, and nowhere else does a pulse's answer on time count."""
        for event in (KeepAliveEvent.ON_TIME, KeepAliveEvent.VERIFY, KeepAliveEvent.UNKNOWN, KeepAliveEvent.FAILED):
            self.assertLessEqual(AWAITING, {state for state, known in TRANSITIONS if known is event})
        self.assertEqual({state for state, event in TRANSITIONS if event is KeepAliveEvent.ON_TIME}, AWAITING)
