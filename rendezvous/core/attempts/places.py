"""Where the host of an address is, so that no client is made to send to a host that the address does not mean."""

from __future__ import annotations

from enum import Enum
from functools import lru_cache

import attrs

from rendezvous.core.addresses import is_link_local, is_loopback, is_private, is_shared, is_unicast, packed

__all__ = ["Place", "Reach", "place_of"]

# RFC 6052, section 2.1, and RFC 8215: each address with one of these prefixes stands for an IPv4 address.
_NAT64 = (bytes.fromhex("0064ff9b0000000000000000"), bytes.fromhex("0064ff9b0001"))
# Besides the unspecified and the loopback address, it has the IPv4-compatible ones (RFC 4291, section 2.5.5.1).
_ZERO = bytes(8)


class Reach(Enum):
    """From where an address leads to the same host."""

    #: From everywhere.
    WORLD = 1
    #: From the networks of one site.
    SITE = 2
    #: From the machine itself.
    MACHINE = 3
    #: It leads to no host, to many, or needs a scope.
    NOWHERE = 4


@attrs.frozen
class Place:
    """
    Where an address is.

    :ivar network: an IPv4 address, or the /64 of an IPv6 address. Of an address that stands for an IPv4 address it is
        all of it, since one /64 has all of IPv4.
    """

    network: bytes
    reach: Reach
    is_ipv6: bool


@lru_cache(16_384)
def place_of(host: str) -> Place:
    """
    Find out where an address is. It is cached, because each change of an attempt asks for all of its addresses.

    :raises ValueError: the text is no address.
    """
    address = packed(host)
    is_ipv6 = len(address) == 16
    network = address[:8] if is_ipv6 and not address.startswith(_NAT64) else address
    return Place(network, _reach_of(address), is_ipv6)


def _reach_of(address: bytes) -> Reach:
    if is_loopback(address):
        return Reach.MACHINE
    if not is_unicast(address) or is_link_local(address) or (len(address) == 16 and address.startswith(_ZERO)):
        return Reach.NOWHERE
    return Reach.SITE if is_private(address) or is_shared(address) else Reach.WORLD
