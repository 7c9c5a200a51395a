"""
IP addresses as text and as bytes, with IPv4-mapped IPv6 addresses shown as IPv4.

A dual-stack socket shows an IPv4 peer as ``::ffff:192.0.2.1``. The server shows such an address as IPv4 to others.
"""

from __future__ import annotations

from ipaddress import IPv6Address

__all__ = [
    "IPV4_MAPPED", "Address", "ipv4_text", "is_link_local", "is_loopback", "is_private", "is_shared", "is_unicast",
    "packed", "shown",
]  # fmt: skip

Address = tuple[str, int]
"""An IP address as text, and a port."""

IPV4_MAPPED = bytes(10) + b"\xff\xff"
"""What an IPv4 address has before it in the form of an IPv6 address (RFC 4291, section 2.5.5.2)."""

_MAPPED_TEXT = "::ffff:"
_LOOPBACK = bytes(15) + b"\x01"


def packed(host: str) -> bytes:
    """
    Turn an address into network order bytes, quickly.

    :param host: an address as a socket shows it; a scope (``%eth0``) is left out, and no care is taken to refuse
        spellings of IPv4 that no socket produces.
    :returns: 4 bytes for IPv4 and for IPv4-mapped IPv6 (RFC 4291, section 2.5.5.2), 16 for all other IPv6.
    :raises ValueError: for text that is no address.
    """
    if host.startswith(_MAPPED_TEXT) and "." in host:
        host = host[len(_MAPPED_TEXT) :]
    if ":" in host:
        address = IPv6Address(host).packed
        return address[12:] if address.startswith(IPV4_MAPPED) else address
    octets = bytes(map(int, host.split(".")))
    if len(octets) != 4:
        raise ValueError("not an IP address")
    return octets


def shown(host: str) -> str:
    """
    Spell an address the way other peers should see it: IPv4 where it is IPv4, and never with a scope.

    :param host: an address as a socket shows it.
    :raises ValueError: for text that is no address.
    """
    if ":" not in host:
        return host
    address = packed(host)
    return ipv4_text(address) if len(address) == 4 else str(IPv6Address(address))


def ipv4_text(address: bytes) -> str:
    """
    Spell an IPv4 address. It takes a quarter of the time of :class:`ipaddress.IPv4Address`, at each look-up.

    :param address: 4 bytes.
    """
    first, second, third, fourth = address
    return f"{first}.{second}.{third}.{fourth}"


def is_private(address: bytes) -> bool:
    """
    Tell whether an address is one that a site gives its own hosts: RFC 1918, or RFC 4193 (``fc00::/7``).

    Loopback and link-local addresses are not: they name a different host at each reader. Neither is 100.64.0.0/10
    (RFC 6598), which belongs to a carrier and not to the hosts behind one NAT.

    :param address: 4 or 16 bytes, as :func:`packed` gives them.
    """
    first, second = address[0], address[1]
    if len(address) == 16:
        return first & 0xFE == 0xFC
    return first == 10 or (first == 172 and 16 <= second < 32) or (first == 192 and second == 168)


def is_shared(address: bytes) -> bool:
    """
    Tell whether an address is one that a carrier gives its customers: 100.64.0.0/10 (RFC 6598).

    :param address: 4 or 16 bytes, as :func:`packed` gives them.
    """
    return len(address) == 4 and address[0] == 100 and address[1] & 0xC0 == 64


def is_loopback(address: bytes) -> bool:
    """
    Tell whether an address is that of the host itself: 127.0.0.0/8 or ``::1`` (RFC 6890).

    :param address: 4 or 16 bytes, as :func:`packed` gives them.
    """
    return address[0] == 127 if len(address) == 4 else address == _LOOPBACK


def is_link_local(address: bytes) -> bool:
    """
    Tell whether an address has a meaning on one link only: 169.254.0.0/16 (RFC 3927) or ``fe80::/10`` (RFC 4291).

    :param address: 4 or 16 bytes, as :func:`packed` gives them.
    """
    first, second = address[0], address[1]
    return (first, second) == (169, 254) if len(address) == 4 else first == 0xFE and second & 0xC0 == 0x80


def is_unicast(address: bytes) -> bool:
    """
    Tell whether an address may be that of one host. Those of "this network" (0.0.0.0/8), unspecified, multicast,
    broadcast and reserved ones (RFC 6890) are not.

    :param address: 4 or 16 bytes, as :func:`packed` gives them.
    """
    return 0 < address[0] < 224 if len(address) == 4 else address[0] != 0xFF and any(address)
