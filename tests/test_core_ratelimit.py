"""Tests for :mod:`rendezvous.core.ratelimit`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.ratelimit import RateLimit

NOW = 1_800_000_000.0
HOST = "192.0.2.1"


def allowed(limit: RateLimit, host: str, now: float, tries: int = 1000) -> int:
    """Count how many of so many tries at one instant are allowed."""
    return sum(limit.allow(host, now) for _ in range(tries))


class TokenTests(SynchronousTestCase):
    """How much one source may do."""

    def test_new_source_has_exactly_the_burst(self) -> None:
        """The last token of the burst is given, and the one after it is not."""
        limit = RateLimit(50, 100)
        self.assertEqual([limit.allow(HOST, NOW) for _ in range(101)], [True] * 100 + [False])

    def test_token_comes_back_after_its_interval_and_not_before(self) -> None:
        """At 4 a second, an empty bucket gives one after a quarter of a second, and only one."""
        limit = RateLimit(4, 2)
        allowed(limit, HOST, NOW)
        self.assertFalse(limit.allow(HOST, NOW + 0.2499))
        self.assertTrue(limit.allow(HOST, NOW + 0.25))
        self.assertFalse(limit.allow(HOST, NOW + 0.25))

    def test_bucket_never_holds_more_than_the_burst(self) -> None:
        """A long silence earns the burst and nothing above it."""
        limit = RateLimit(4, 10)
        allowed(limit, HOST, NOW)
        self.assertEqual(allowed(limit, HOST, NOW + 3600), 10)

    def test_refusals_cost_nothing(self) -> None:
        """A source that was refused many times regains tokens as fast as any."""
        limit = RateLimit(4, 1)
        allowed(limit, HOST, NOW, 10_000)
        self.assertTrue(limit.allow(HOST, NOW + 0.25))

    def test_rate_zero_turns_the_limit_off(self) -> None:
        """Everything is allowed and nothing remembered."""
        limit = RateLimit(0, 1)
        self.assertEqual((allowed(limit, HOST, NOW), len(limit)), (1000, 0))

    def test_clock_set_back_neither_gains_nor_costs(self) -> None:
        """After a step back, an empty bucket is still empty, and refills at the usual rate."""
        limit = RateLimit(4, 4)
        allowed(limit, HOST, NOW)
        self.assertFalse(limit.allow(HOST, NOW - 3600))
        self.assertEqual(allowed(limit, HOST, NOW - 3599), 4)

    def test_parameters_out_of_range_are_refused(self) -> None:
        """A negative or endless rate, no burst and no table are value errors; the least of each is not."""
        for rate, burst, sources in ((-1, 1, 2), (float("inf"), 1, 2), (float("nan"), 1, 2), (1, 0, 2), (1, 1, 1)):
            with self.assertRaises(ValueError):
                RateLimit(rate, burst, sources)
        self.assertTrue(RateLimit(1, 1, 2).allow(HOST, NOW))

    @given(
        st.floats(0.1, 200),
        st.integers(1, 20),
        st.lists(st.floats(0, 2), min_size=1, max_size=200),
    )
    def test_no_window_has_more_than_burst_and_rate_allow(self, rate: float, burst: int, pauses: list[float]) -> None:
        """Between any two allowed requests, t seconds apart, lie at most burst + rate * t."""
        limit = RateLimit(rate, burst)
        now, times = NOW, []
        for pause in pauses:
            now += pause if pause > 1 else pause / 64
            if limit.allow(HOST, now):
                times.append(now)
        for first, start in enumerate(times):
            for last in range(first, len(times)):
                self.assertLessEqual(last - first + 1, burst + rate * (times[last] - start) + 1e-3)


class SourceTests(SynchronousTestCase):
    """What counts as one source."""

    def assert_shared(self, one: str, other: str, shared: bool) -> None:
        """Assert whether two addresses draw on one bucket."""
        limit = RateLimit(1, 1)
        self.assertTrue(limit.allow(one, NOW))
        self.assertEqual(limit.allow(other, NOW), not shared)

    def test_ipv4_addresses_are_separate(self) -> None:
        """Neighbours do not share a bucket."""
        self.assert_shared("192.0.2.1", "192.0.2.2", False)

    def test_mapped_ipv4_is_the_same_source(self) -> None:
        """An IPv4 address is one source on an IPv4 and on a dual-stack socket."""
        self.assert_shared("192.0.2.1", "::ffff:192.0.2.1", True)
        self.assert_shared("::ffff:192.0.2.1", "::ffff:192.0.2.2", False)

    def test_ipv6_sources_are_networks_of_64_bits(self) -> None:
        """The 65th bit makes no difference, and the 64th does."""
        self.assert_shared("2001:db8:0:1::1", "2001:db8:0:1:8000::1", True)
        self.assert_shared("2001:db8:0:1::1", "2001:db8:0:0::1", False)


class BoundTests(SynchronousTestCase):
    """How much the table may hold."""

    def test_table_never_exceeds_its_bound(self) -> None:
        """Whatever number of sources come, the table stays within what it was given."""
        for bound in (2, 3, 10, 11):
            limit = RateLimit(1, 1, bound)
            sizes = []
            for number in range(100):
                limit.allow(f"192.0.2.{number}", NOW)
                sizes.append(len(limit))
            self.assertLessEqual(max(sizes), bound)
            self.assertGreaterEqual(max(sizes), bound - 1)

    def test_source_that_keeps_sending_is_kept(self) -> None:
        """A busy source stays limited while many others pass through the table."""
        limit = RateLimit(1, 1, 10)
        limit.allow(HOST, NOW)
        for number in range(100):
            limit.allow(f"198.51.100.{number}", NOW)
            self.assertFalse(limit.allow(HOST, NOW))

    def test_forgotten_source_starts_anew(self) -> None:
        """A source that was pushed out has the whole burst again, so a flood locks nobody out."""
        limit = RateLimit(1, 2, 10)
        allowed(limit, HOST, NOW)
        for number in range(10):
            limit.allow(f"198.51.100.{number}", NOW)
        self.assertEqual(allowed(limit, HOST, NOW), 2)
