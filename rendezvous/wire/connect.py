"""
What the datagrams of the connect protocol have in common: the first byte, and addresses of 18 bytes.

``docs/protocol/connect.rst`` describes them. :mod:`rendezvous.wire.signed` has those between a client and the server,
:mod:`rendezvous.wire.probe` those between two peers.
"""

from __future__ import annotations

from ipaddress import IPv6Address

from rendezvous.core.addresses import IPV4_MAPPED, Address, ipv4_text, packed
from rendezvous.errors import WireError

__all__ = ["ADDRESS_SIZE", "MAGIC", "decode_address", "encode_address"]

#: The first byte.
MAGIC = 0x0B

#: Bytes of an IP address and a port.
ADDRESS_SIZE = 18


def encode_address(address: Address) -> bytes:
    """
    :param address: a host as a socket shows it, and a port.
    :returns: 18 bytes; IPv4 in the form of RFC 4291, section 2.5.5.2 (``::ffff:192.0.2.1``).
    """
    host = packed(address[0])
    return (IPV4_MAPPED + host if len(host) == 4 else host) + address[1].to_bytes(2, "big")


def decode_address(data: bytes) -> Address:
    """
    :returns: a host, IPv4 where it is IPv4, and a port.
    :raises WireError: these are not 18 bytes.
    """
    if len(data) != ADDRESS_SIZE:
        raise WireError("an address has 18 bytes")
    host = ipv4_text(data[12:16]) if data.startswith(IPV4_MAPPED) else str(IPv6Address(data[:16]))
    return host, int.from_bytes(data[16:], "big")
