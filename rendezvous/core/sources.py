"""
Who is behind a source address: one subscriber, and the site that the subscriber belongs to.

Limits count sources. One IPv4 address, or one IPv6 /64, is what one subscriber holds. A site is the next larger
block that is usually handed out: an IPv4 /24, or an IPv6 /48. Without a limit for sites, the
holder of a whole site could use the limits of all of its subscribers.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address

import attrs

from rendezvous.core.addresses import packed

__all__ = ["SITE_FACTOR", "UNKNOWN", "SourceNetwork", "source_network"]

#: How many times as much as one subscriber a site may do in a time, or have open at one time. Of what a table holds a
#: site may have less: see :data:`rendezvous.core.shares.SITE_SHARE`.
SITE_FACTOR = 4


@attrs.frozen
class SourceNetwork:
    """
    The two networks that a source address is counted in.

    :ivar subscriber: an IPv4 address (``198.51.100.7``), or an IPv6 /64 (``2001:db8:1:2::/64``).
    :ivar site: an IPv4 /24 (``198.51.100.0/24``), or an IPv6 /48 (``2001:db8:1::/48``).
    """

    subscriber: str
    site: str


#: A source that no limit counts: a caller inside this process, or an address that is not IP, such as a UNIX socket.
UNKNOWN = SourceNetwork("", "")


@lru_cache(65_536)
def source_network(host: str) -> SourceNetwork:
    """
    Find the networks of an address.

    :param host: an address as a socket shows it, or an IPv6 /64 as :attr:`SourceNetwork.subscriber` spells it.
        IPv4-mapped IPv6 counts as IPv4 (RFC 4291, section 2.5.5.2).
    :returns: :data:`UNKNOWN` for what is not an IP address.
    """
    try:
        address = packed(host.removesuffix("/64"))
    except ValueError:
        return UNKNOWN
    if len(address) == 4:
        first, second, third, fourth = address
        return SourceNetwork(f"{first}.{second}.{third}.{fourth}", f"{first}.{second}.{third}.0/24")
    return SourceNetwork(f"{IPv6Address(address[:8] + bytes(8))}/64", f"{IPv6Address(address[:6] + bytes(10))}/48")
