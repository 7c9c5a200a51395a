"""
Attributes of STUN messages to values and back (RFC 8489, section 14). Each protocol that is made of such messages has a
table of the attributes that it knows.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct
from typing import Any

from attrs import frozen

__all__ = ["ATTRIBUTES", "COOKIE", "Attribute", "address", "number", "opaque", "text", "xor_address"]

COOKIE = 0x2112A442
"""The magic cookie of every STUN message (RFC 8489, section 5)."""

_COOKIE_BYTES = COOKIE.to_bytes(4, "big")
_UINT16 = Struct("!H")
_UINT32 = Struct("!I")
_UINT64 = Struct("!Q")


@frozen
class Attribute:
    """
    How one type of attribute is read and written.

    :ivar name: as the RFC spells it.
    :ivar decode: value bytes and transaction id to a value; raises :exc:`ValueError` for what is malformed.
    :ivar encode: the inverse.
    """

    name: str
    decode: Callable[[bytes, bytes], Any]
    encode: Callable[[Any, bytes], bytes]


def _decode_address(value: bytes, transaction_id: bytes) -> tuple[str, int]:
    """Read MAPPED-ADDRESS (section 14.1) as (host, port)."""
    if (len(value), value[1:2]) not in ((8, b"\x01"), (20, b"\x02")):
        raise ValueError("an address has family 1 and 8 bytes, or family 2 and 20")
    host = IPv4Address(value[4:]) if len(value) == 8 else IPv6Address(value[4:])
    return str(host), _UINT16.unpack_from(value, 2)[0]


def _encode_address(value: tuple[str, int], transaction_id: bytes) -> bytes:
    """Write (host, port) as MAPPED-ADDRESS (section 14.1)."""
    host = ip_address(value[0])
    return (b"\x00\x01" if host.version == 4 else b"\x00\x02") + _UINT16.pack(value[1]) + host.packed


def _xor(value: bytes, transaction_id: bytes) -> bytes:
    """Turn the value of MAPPED-ADDRESS into that of XOR-MAPPED-ADDRESS or back (section 14.2)."""
    mask = (b"\x00\x00" + _COOKIE_BYTES[:2] + _COOKIE_BYTES + transaction_id)[: len(value)]
    return (int.from_bytes(value, "big") ^ int.from_bytes(mask, "big")).to_bytes(len(value), "big")


def _decode_xor_address(value: bytes, transaction_id: bytes) -> tuple[str, int]:
    """Read XOR-MAPPED-ADDRESS (section 14.2) as (host, port)."""
    return _decode_address(_xor(value[:20], transaction_id) + value[20:], transaction_id)


def _encode_xor_address(value: tuple[str, int], transaction_id: bytes) -> bytes:
    """Write (host, port) as XOR-MAPPED-ADDRESS (section 14.2)."""
    return _xor(_encode_address(value, transaction_id), transaction_id)


def _decode_error(value: bytes, transaction_id: bytes) -> tuple[int, str]:
    """Read ERROR-CODE (section 14.8) as (code, reason)."""
    if not 4 <= len(value) <= 767 or not 3 <= value[2] & 7 <= 6 or value[3] > 99:
        raise ValueError("an error code has a class of 3 to 6 and a number below 100")
    return (value[2] & 7) * 100 + value[3], value[4:].decode()


def _encode_error(value: tuple[int, str], transaction_id: bytes) -> bytes:
    """Write (code, reason) as ERROR-CODE (section 14.8)."""
    return bytes((0, 0, *divmod(value[0], 100))) + value[1].encode()


def _decode_numbers(value: bytes, transaction_id: bytes) -> tuple[int, ...]:
    """Read UNKNOWN-ATTRIBUTES (section 14.9) as attribute numbers."""
    if len(value) % 2:
        raise ValueError("unknown attributes are two bytes each")
    return tuple(number for (number,) in _UINT16.iter_unpack(value))


def _encode_numbers(value: tuple[int, ...], transaction_id: bytes) -> bytes:
    """Write attribute numbers as UNKNOWN-ATTRIBUTES (section 14.9)."""
    return b"".join(map(_UINT16.pack, value))


def address(name: str) -> Attribute:
    """Describe an attribute that holds a plain (host, port)."""
    return Attribute(name, _decode_address, _encode_address)


def xor_address(name: str) -> Attribute:
    """Describe an attribute that holds a (host, port) in the form of XOR-MAPPED-ADDRESS."""
    return Attribute(name, _decode_xor_address, _encode_xor_address)


def text(name: str, limit: int) -> Attribute:
    """Describe an attribute that holds at most ``limit`` bytes of UTF-8."""

    def decode_text(value: bytes, transaction_id: bytes) -> str:
        if len(value) > limit:
            raise ValueError(f"{name} is too long")
        return value.decode()

    return Attribute(name, decode_text, lambda value, transaction_id: value.encode())


def opaque(name: str, *sizes: int) -> Attribute:
    """Describe an attribute that holds bytes, of one of these sizes if any are given."""

    def decode_opaque(value: bytes, transaction_id: bytes) -> bytes:
        if sizes and len(value) not in sizes:
            raise ValueError(f"{name} has the wrong size")
        return value

    return Attribute(name, decode_opaque, lambda value, transaction_id: value)


def number(name: str, layout: Struct) -> Attribute:
    """Describe an attribute that holds one unsigned integer; the layout says its size, and the padding after it."""

    def decode_number(value: bytes, transaction_id: bytes) -> int:
        if len(value) != layout.size:
            raise ValueError(f"{name} has the wrong size")
        return int(layout.unpack(value)[0])

    return Attribute(name, decode_number, lambda value, transaction_id: layout.pack(value))


ATTRIBUTES: dict[int, Attribute] = {
    0x0001: address("MAPPED-ADDRESS"),
    0x0006: text("USERNAME", 508),
    0x0008: opaque("MESSAGE-INTEGRITY", 20),
    0x0009: Attribute("ERROR-CODE", _decode_error, _encode_error),
    0x000A: Attribute("UNKNOWN-ATTRIBUTES", _decode_numbers, _encode_numbers),
    0x0014: text("REALM", 763),
    0x0015: text("NONCE", 763),
    0x001C: opaque("MESSAGE-INTEGRITY-SHA256", 16, 20, 24, 28, 32),
    0x001D: opaque("PASSWORD-ALGORITHM"),
    0x001E: opaque("USERHASH", 32),
    0x0020: xor_address("XOR-MAPPED-ADDRESS"),
    0x0024: number("PRIORITY", _UINT32),
    0x0025: opaque("USE-CANDIDATE", 0),
    0x8002: opaque("PASSWORD-ALGORITHMS"),
    0x8003: text("ALTERNATE-DOMAIN", 255),
    0x8022: text("SOFTWARE", 763),
    0x8023: address("ALTERNATE-SERVER"),
    0x8029: number("ICE-CONTROLLED", _UINT64),
    0x802A: number("ICE-CONTROLLING", _UINT64),
}
"""Every attribute of RFC 8489, section 18.3 and RFC 8445, section 16.1 except FINGERPRINT, by number."""
