"""Addresses as sockets give them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from hypothesis import assume, given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.addresses import unmapped


class UnmappedTests(SynchronousTestCase):
    """IPv4 as a socket for both families shows it."""

    @given(st.ip_addresses(v=4))
    def test_ipv4_is_the_same_through_either_socket(self, address: IPv4Address) -> None:
        """RFC 4291, section 2.5.5.2: the mapped form is told as the address inside it."""
        self.assertEqual([unmapped(str(address)), unmapped(f"::ffff:{address}")], [str(address)] * 2)

    @given(st.ip_addresses(v=6))
    def test_ipv6_stays_what_it_is(self, address: IPv6Address) -> None:
        """Every other address is left alone."""
        assume(address.ipv4_mapped is None)
        self.assertEqual(unmapped(str(address)), str(address))

    def test_lookalikes_stay_what_they_are(self) -> None:
        """An address that only begins or ends like a mapped one is left alone."""
        for host in ("::ffff:1:2", "::192.0.2.1", "64:ff9b::192.0.2.1", "::1", "fe80::1"):
            self.assertEqual(unmapped(host), host)
