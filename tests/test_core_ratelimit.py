"""Tests for :mod:`rendezvous.core.ratelimit`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.ratelimit import MAX_SOURCES, RateLimit
from rendezvous.core.sources import UNKNOWN, source_network

NOW = 1_800_000_000.0
HOST = "192.0.2.1"


def allowed(limit: RateLimit, host: str, now: float, tries: int = 1000) -> int:
    """Count how many of so many tries at one instant are allowed."""
    return sum(limit.allow(host, now) for _ in range(tries))


def host(number: int) -> str:
    """:returns: an address of a site of its own for each number."""
    return f"10.{number >> 8}.{number & 255}.1"


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

    def test_time_that_fills_a_bucket_is_not_saved_up(self) -> None:
        """A bucket that has been full for half a token's time waits for the next token as long as any other."""
        limit = RateLimit(1, 1)
        self.assertEqual(limit.take(source_network(HOST), NOW), 0.0)
        self.assertEqual(limit.take(source_network(HOST), NOW + 1.5), 0.0)
        self.assertEqual(limit.take(source_network(HOST), NOW + 1.5), 1.0)

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

    def test_changed_parameters_are_checked_too(self) -> None:
        """Those in use stay when others are refused; a burst of 1 is the least."""
        limit = RateLimit(4, 2)
        for rate, burst in ((-1, 2), (float("inf"), 2), (float("nan"), 2), (1, 0.9)):
            self.assertRaises(ValueError, limit.change, rate, burst)
        self.assertEqual(allowed(limit, HOST, NOW), 2)
        limit.change(4, 1)
        self.assertEqual(allowed(limit, HOST, NOW + 3600), 1)
        self.assertEqual(limit.take(source_network(HOST), NOW + 3600), 0.25)

    def test_parameters_out_of_range_are_refused(self) -> None:
        """A negative or endless rate, no burst and no table are value errors; the least of each is not."""
        nan = float("nan")
        for rate, burst, sources in ((-1, 1, 2), (float("inf"), 1, 2), (nan, 1, 2), (1, 0, 2), (1, 1, 1)):
            with self.assertRaises(ValueError):
                RateLimit(rate, burst, sources)
        with self.assertRaises(ValueError):
            RateLimit(1, 1, 2, 0.9)
        self.assertTrue(RateLimit(1, 1, 2, 1).allow(HOST, NOW))

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


class CostTests(SynchronousTestCase):
    """Actions that take more or less than one token, and how long a source has to wait."""

    def setUp(self) -> None:
        """Make a limit of 4 tokens a second and 10 at once, for a source."""
        self.limit = RateLimit(4, 10)
        self.source = source_network(HOST)

    def test_cost_is_taken_whole_or_not_at_all(self) -> None:
        """With 10 tokens, 7 and then 3 can be had; 3.5 instead of 3 cannot, and takes nothing."""
        self.assertEqual(self.limit.take(self.source, NOW, 7), 0)
        self.assertGreater(self.limit.take(self.source, NOW, 3.5), 0)
        self.assertEqual(self.limit.take(self.source, NOW, 3), 0)
        self.assertGreater(self.limit.take(self.source, NOW, 0.5), 0)

    def test_wait_is_the_time_until_the_tokens_are_there(self) -> None:
        """After a wait of that length, and not before, the same cost can be taken."""
        self.limit.take(self.source, NOW, 10)
        self.assertAlmostEqual(self.limit.take(self.source, NOW, 6), 1.5)
        self.assertAlmostEqual(self.limit.take(self.source, NOW + 1, 6), 0.5)
        self.assertGreater(self.limit.take(self.source, NOW + 1.499, 6), 0)
        self.assertEqual(self.limit.take(self.source, NOW + 1.5, 6), 0)

    def test_cost_over_the_burst_empties_a_full_bucket(self) -> None:
        """It would otherwise never be let through."""
        self.limit.take(self.source, NOW)
        self.assertAlmostEqual(self.limit.take(self.source, NOW, 1000), 0.25)
        self.assertEqual(self.limit.take(self.source, NOW + 0.25, 1000), 0)
        self.assertGreater(self.limit.take(self.source, NOW + 0.25, 0.1), 0)

    def test_unknown_source_is_never_limited(self) -> None:
        """A caller inside the process has no bucket."""
        self.assertEqual([self.limit.take(UNKNOWN, NOW, 10) for _ in range(3)], [0, 0, 0])
        self.assertEqual(len(self.limit), 0)


class SomeTests(SynchronousTestCase):
    """Tokens for several requests that came at once."""

    @given(
        st.sampled_from([(0.0, 1.0), (0.7, 1.0), (2.0, 4.0), (3.3, 6.6), (50.0, 100.0)]),
        st.lists(
            st.tuples(
                st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1", "unix"]),
                st.sampled_from([0.0, 0.1, 1 / 3, 1.0, 60.0]),
                st.integers(1, 30),
            ),
            max_size=30,
        ),
    )
    def test_as_many_as_one_by_one(self, rate: tuple[float, float], asked: list[tuple[str, float, int]]) -> None:
        """The first so many are allowed, and what is left afterwards is the same."""
        together, one_by_one, now = RateLimit(*rate), RateLimit(*rate), NOW
        for name, pause, count in asked:
            now += pause
            taken = together.take_some(source_network(name), now, count)
            self.assertEqual([one_by_one.allow(name, now) for _ in range(count)], [n < taken for n in range(count)])


class SiteTests(SynchronousTestCase):
    """The bucket that the subscribers of one site share."""

    def test_site_has_four_times_the_burst_and_the_rate(self) -> None:
        """Of 100 addresses of one /24, each with two tries, eight tries are allowed; a second later eight more."""
        limit = RateLimit(2, 2)
        for now in (NOW, NOW + 1):
            self.assertEqual(sum(allowed(limit, f"192.0.2.{number}", now, 2) for number in range(100)), 8)
        self.assertEqual(allowed(limit, "192.0.3.1", NOW), 2)

    def test_ipv6_site_is_a_network_of_48_bits(self) -> None:
        """The 49th bit makes no difference, and the 48th does."""
        limit = RateLimit(1, 1, site_factor=2)
        self.assertEqual([limit.allow(f"2001:db8:0:{number:x}::1", NOW) for number in range(3)], [True, True, False])
        self.assertTrue(limit.allow("2001:db8:1::1", NOW))

    def test_wait_is_that_of_the_emptier_bucket(self) -> None:
        """A subscriber with a full bucket waits for its site: half a token is missing, at two a second."""
        limit = RateLimit(1, 2, site_factor=2)
        for number in range(4):
            limit.allow(f"192.0.2.{number}", NOW)
        self.assertAlmostEqual(limit.take(source_network("192.0.2.9"), NOW + 0.25), 0.25)

    def test_site_pays_nothing_for_a_refused_subscriber(self) -> None:
        """However often one address is refused, its neighbours keep their part."""
        limit = RateLimit(1, 1, site_factor=2)
        self.assertEqual(allowed(limit, "192.0.2.1", NOW), 1)
        self.assertEqual(allowed(limit, "192.0.2.2", NOW), 1)

    def test_subscriber_pays_nothing_for_a_full_site(self) -> None:
        """An address that was refused because of its neighbours has its own burst as soon as the site has tokens."""
        limit = RateLimit(1, 2, site_factor=1)
        self.assertEqual(allowed(limit, "192.0.2.1", NOW), 2)
        self.assertEqual(allowed(limit, "192.0.2.2", NOW), 0)
        self.assertEqual(allowed(limit, "192.0.2.2", NOW + 2), 2)


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
        """However many sources come, subscribers and sites each stay within what the table was given."""
        for bound in (2, 3, 10, 11):
            limit = RateLimit(1, 1, bound)
            sizes = []
            for number in range(100):
                limit.allow(host(number), NOW)
                sizes.append(len(limit))
            self.assertLessEqual(max(sizes), 2 * bound)
            self.assertGreaterEqual(max(sizes), 2 * (bound - 1))

    def test_default_bound_is_65536_networks_of_each_kind(self) -> None:
        """As many sites as the table holds, and some more, leave it within its bound."""
        self.assertEqual(MAX_SOURCES, 65_536)
        limit = RateLimit(1, 1)
        most = 0
        for number in range(MAX_SOURCES + 2):
            limit.allow(f"{10 + (number >> 16)}.{number >> 8 & 255}.{number & 255}.1", NOW)
            most = max(most, len(limit))
        self.assertEqual(most, 2 * MAX_SOURCES)

    def test_source_that_keeps_sending_is_kept(self) -> None:
        """A busy source stays limited while many others pass through the table."""
        limit = RateLimit(1, 1, 10)
        limit.allow(HOST, NOW)
        for number in range(100):
            limit.allow(host(number), NOW)
            self.assertFalse(limit.allow(HOST, NOW))

    def test_site_that_keeps_sending_is_kept(self) -> None:
        """A site stays limited while many others pass through the table, though all that it sends is refused."""
        limit = RateLimit(1, 1, 10, site_factor=1)
        limit.allow("192.0.2.1", NOW)
        for number in range(100):
            limit.allow(host(number), NOW)
            self.assertFalse(limit.allow("192.0.2.2", NOW), number)

    def test_busy_source_has_no_others_forgotten(self) -> None:
        """Many requests of one source take one place in the table, and others stay limited meanwhile."""
        limit = RateLimit(1, 1, 10)
        others = [host(number) for number in range(4)]
        for other in others:
            self.assertTrue(limit.allow(other, NOW))
        allowed(limit, HOST, NOW)
        self.assertEqual([limit.allow(other, NOW) for other in others], [False] * 4)
        self.assertEqual(len(limit), 2 * 5)

    def test_forgotten_source_starts_anew(self) -> None:
        """A source that was pushed out has the whole burst again, so a flood locks no source out."""
        limit = RateLimit(1, 2, 10)
        allowed(limit, HOST, NOW)
        for number in range(10):
            limit.allow(host(number), NOW)
        self.assertEqual(allowed(limit, HOST, NOW), 2)
