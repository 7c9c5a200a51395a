"""Tests for :mod:`rendezvous.core.addresses`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.addresses import is_link_local, is_loopback, is_private, is_shared, is_unicast, packed, shown


class PackedTests(SynchronousTestCase):
    """Addresses as bytes."""

    @given(st.ip_addresses(v=4))
    def test_ipv4_is_four_bytes(self, address: IPv4Address) -> None:
        """Every IPv4 address gives its network order bytes."""
        self.assertEqual(packed(str(address)), address.packed)

    @given(st.ip_addresses(v=4))
    def test_mapped_ipv4_is_ipv4(self, address: IPv4Address) -> None:
        """An IPv4-mapped address gives the bytes of the IPv4 address, in either spelling."""
        number = int(address)
        self.assertEqual(packed(f"::ffff:{address}"), address.packed)
        self.assertEqual(packed(f"0::FFFF:{number >> 16:x}:{number & 0xFFFF:x}"), address.packed)

    def test_ipv6_is_sixteen_bytes_without_its_scope(self) -> None:
        """An IPv6 address gives 16 bytes, with or without a scope."""
        expected = IPv6Address("fe80::1").packed
        self.assertEqual((packed("fe80::1"), packed("fe80::1%eth0")), (expected, expected))

    def test_what_is_no_address_is_refused(self) -> None:
        """Names, cut addresses and numbers out of range are value errors."""
        for host in ("", "localhost", "192.0.2", "192.0.2.1.1", "192.0.2.256", "::ffff:192.0.2", "2001:db8:", "::g"):
            with self.assertRaises(ValueError, msg=host):
                packed(host)


class ShownTests(SynchronousTestCase):
    """Addresses as other peers see them."""

    def test_ipv4_and_ipv6_stay_what_they_are(self) -> None:
        """An ordinary address is shown as it is."""
        self.assertEqual([shown(host) for host in ("192.0.2.1", "2001:db8::1")], ["192.0.2.1", "2001:db8::1"])

    def test_mapped_ipv4_is_shown_as_ipv4(self) -> None:
        """A dual-stack socket's spelling of IPv4 is hidden."""
        self.assertEqual(shown("::ffff:192.0.2.1"), "192.0.2.1")

    def test_scope_is_left_out(self) -> None:
        """A scope means nothing to another host."""
        self.assertEqual(shown("fe80::1%eth0"), "fe80::1")


class PrivateTests(SynchronousTestCase):
    """Which addresses are a site's own."""

    def test_edges_of_the_private_ranges_are_private(self) -> None:
        """The first and the last address of each range of RFC 1918 and RFC 4193 are private."""
        edges = ["10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0", "192.168.255.255"]
        edges += ["fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]
        self.assertEqual([host for host in edges if not is_private(packed(host))], [])

    def test_neighbours_of_the_private_ranges_are_not(self) -> None:
        """Just outside of each range, and for loopback, link-local and carrier addresses, the answer is no."""
        others = ["9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0"]
        others += ["fbff::", "fe00::", "127.0.0.1", "::1", "169.254.1.1", "fe80::1", "100.64.0.1"]
        self.assertEqual([host for host in others if is_private(packed(host))], [])


class RangeTests(SynchronousTestCase):
    """Addresses with a meaning of their own."""

    def assertRange(self, is_in: Callable[[bytes], bool], inside: Sequence[str], outside: Sequence[str]) -> None:
        """The first and the last address of each part are in a range, and those beside them are not."""
        self.assertEqual([host for host in inside if not is_in(packed(host))], [])
        self.assertEqual([host for host in outside if is_in(packed(host))], [])

    def test_addresses_that_a_carrier_shares_out(self) -> None:
        """100.64.0.0/10. There is no such range of IPv6."""
        self.assertRange(
            is_shared, ["100.64.0.0", "100.127.255.255"], ["100.63.255.255", "100.128.0.0", "101.64.0.0", "6440::"]
        )

    def test_loopback_addresses(self) -> None:
        """127.0.0.0/8 and ::1."""
        self.assertRange(
            is_loopback,
            ["127.0.0.0", "127.255.255.255", "::1", "::ffff:127.0.0.1"],
            ["126.255.255.255", "128.0.0.0", "::", "::2", "7f00::1", "1::1"],
        )

    def test_link_local_addresses(self) -> None:
        """169.254.0.0/16 and fe80::/10."""
        self.assertRange(
            is_link_local,
            ["169.254.0.0", "169.254.255.255", "fe80::", "febf:ffff::1", "fe80::1%eth0"],
            ["169.253.255.255", "169.255.0.0", "168.254.0.1", "fe7f::1", "fec0::", "fd80::1", "a9fe::1"],
        )

    def test_addresses_of_one_host(self) -> None:
        """All but those of this network, multicast, broadcast and reserved ones."""
        self.assertRange(
            is_unicast,
            ["1.0.0.0", "223.255.255.255", "127.0.0.1", "169.254.1.1", "::1", "fe80::1", "2001:db8::1", "e000::1"],
            ["0.0.0.0", "0.255.255.255", "224.0.0.0", "255.255.255.255", "::", "ff00::", "ff02::1"],
        )
