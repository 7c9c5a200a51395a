"""Sources and their shares."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.shares import LOOKED_AT, Shares, share_of
from rendezvous.core.sources import UNKNOWN, SourceNetwork, source_network
from rendezvous.errors import TooMany


class SourceNetworkTests(SynchronousTestCase):
    """The networks of an address."""

    def test_ipv4(self) -> None:
        """A subscriber is one address, a site is its /24; IPv4-mapped IPv6 is IPv4."""
        expected = SourceNetwork("198.51.100.7", "198.51.100.0/24")
        self.assertEqual(source_network("198.51.100.7"), expected)
        self.assertEqual(source_network("::ffff:198.51.100.7"), expected)

    def test_ipv6(self) -> None:
        """A subscriber is a /64, a site is its /48; a /64 leads to itself."""
        expected = SourceNetwork("2001:db8:1:2::/64", "2001:db8:1::/48")
        for host in ("2001:db8:1:2::9", "2001:db8:1:2:a:b:c:d", "2001:db8:1:2::1%eth0", "2001:db8:1:2::/64"):
            self.assertEqual(source_network(host), expected, host)

    def test_what_is_no_address_is_unknown(self) -> None:
        """Nothing raises: such a source is merely not counted."""
        for host in ("", "localhost", "1.2.3", "/run/socket", ":::"):
            self.assertIs(source_network(host), UNKNOWN, host)


class SharesTests(SynchronousTestCase):
    """What a source holds."""

    def setUp(self) -> None:
        """Three for a subscriber, four for a site."""
        self.shares = Shares("clients", 3, 4)
        self.one, self.two = source_network("198.51.100.1"), source_network("198.51.100.2")

    def test_subscriber_has_a_share(self) -> None:
        """The third fits, the fourth does not, and another site is not concerned."""
        for _ in range(3):
            self.shares.check(self.one)
            self.shares.add(self.one)
        error = self.assertRaises(TooMany, self.shares.check, self.one)
        self.assertEqual((error.code, error.message.count("198.51.100.1 ")), ("source-share", 1))
        self.shares.check(source_network("192.0.2.1"))

    def test_site_has_a_share(self) -> None:
        """Two subscribers of one site share its part."""
        self.shares.add(self.one, 3)
        self.shares.check(self.two, 1)
        self.assertIn("198.51.100.0/24", self.assertRaises(TooMany, self.shares.check, self.two, 2).message)

    def test_what_is_given_back_can_be_taken_again(self) -> None:
        """Nothing is left of a source that holds nothing."""
        self.shares.add(self.one, 3)
        self.shares.remove(self.one, 2)
        self.assertEqual(self.shares.held(self.one), 1)
        self.shares.check(self.one, 2)
        self.shares.remove(self.one)
        self.assertEqual(len(self.shares), 0)

    def test_one_is_taken_and_given_back_by_default(self) -> None:
        """A table counts its entries without naming an amount."""
        for held in (1, 2, 3):
            self.shares.add(self.one)
            self.assertEqual(self.shares.held(self.one), held)
        for held in (2, 1, 0):
            self.shares.remove(self.one)
            self.assertEqual(self.shares.held(self.one), held)

    def test_without_limits_everything_fits(self) -> None:
        """0 means no limit; an unknown source is never counted."""
        Shares("clients").check(self.one, 10**9)
        self.shares.add(UNKNOWN, 100)
        self.shares.check(UNKNOWN, 100)
        self.assertEqual(len(self.shares), 0)

    def test_parts_of_a_table(self) -> None:
        """A subscriber's part and a site's, rounded down, at least one, and no more than there is."""
        for total, part, shares in (
            (100, 0.1, (10, 25)), (10, 0.1, (1, 2)), (19, 0.1, (1, 4)), (1, 0.1, (1, 1)), (100, 0.5, (50, 100)),
            (100, 1.0, (100, 100)), (1000, 0.001, (1, 2)), (100, 0.0, (0, 0)),
        ):  # fmt: skip
            self.assertEqual(share_of(total, part), shares, (total, part))

    def test_largest_holder_is_named(self) -> None:
        """Of all networks; there is none while nothing is held."""
        shares = Shares("clients")
        self.assertIsNone(shares.largest())
        for host, amount in (("192.0.2.1", 2), ("203.0.113.1", 5)):
            shares.add(source_network(host), amount)
        self.assertEqual(shares.largest(), "203.0.113.1")
        shares.remove(source_network("203.0.113.1"), 5)
        self.assertEqual(shares.largest(), "192.0.2.1")

    def test_of_many_networks_few_are_looked_at(self) -> None:
        """The largest one is found nevertheless, whether it came first or last."""
        early, late = source_network("192.0.2.1"), source_network("203.0.113.1")
        for first, last in ((9, 0), (0, 9), (9, 8), (8, 9)):
            shares = Shares("clients")
            shares.add(early, first)
            for number in range(LOOKED_AT):
                shares.add(SourceNetwork(f"subscriber {number}", f"site {number}"))
            shares.add(late, last)
            self.assertEqual(shares.largest(), "192.0.2.1" if first > last else "203.0.113.1")
            shares.remove(late, last)
            self.assertEqual(shares.largest(), "192.0.2.1" if first else "subscriber 0")
            shares.clear()
            self.assertEqual((shares.largest(), len(shares)), (None, 0))
