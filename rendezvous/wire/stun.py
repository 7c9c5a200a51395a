"""
STUN messages to records and back, and the whole of a Binding server (RFC 8489; RFC 5389 clients are served alike).

The server does not authenticate clients, so it can be a pure function from a request and its source to a response. It
answers Binding requests only, sends no SOFTWARE and no reason phrase (a response should not outgrow its request more
than it must), and drops whatever it cannot make sense of:

* A wrong FINGERPRINT, or anything after it, means that the datagram is not STUN (RFC 8489, sections 6.3 and 14.7).
* USERNAME, MESSAGE-INTEGRITY and their kin are understood and ignored, as are attributes that have no place in a
  request (section 6.3). So is all that follows MESSAGE-INTEGRITY, except FINGERPRINT (section 14.5).
* PRIORITY and USE-CANDIDATE (RFC 8445) get error 420. They belong to a connectivity check between two ICE agents,
  which a server must not seem to pass. CHANGE-REQUEST (RFC 5780) gets it too: there is no other address to answer from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct
from typing import Any
from zlib import crc32

from attrs import frozen

from rendezvous.core.addresses import packed
from rendezvous.errors import WireError

__all__ = [
    "ATTRIBUTES",
    "BINDING",
    "MAX_ATTRIBUTES",
    "MAX_UNKNOWN",
    "Message",
    "MessageClass",
    "answer",
    "decode",
    "encode",
    "looks_like",
]

BINDING = 0x001
MAX_ATTRIBUTES = 32
"""Attributes in one message beside FINGERPRINT; no message of RFC 8489 or RFC 8445 has more than a dozen."""
MAX_UNKNOWN = 8
"""Attributes that one error 420 lists; the client learns of further ones when it asks again without these."""

_COOKIE = 0x2112A442
_COOKIE_BYTES = _COOKIE.to_bytes(4, "big")
_FINGERPRINT = 0x8028
_FINGERPRINT_MASK = 0x5354554E
_FINGERPRINT_SIZE = 8
_HEADER_SIZE = 20

_HEADER = Struct("!HH4s12s")
_HEAD = Struct("!HH")
_UINT16 = Struct("!H")
_UINT32 = Struct("!I")
_UINT64 = Struct("!Q")
_BARE_REQUEST = _HEADER.pack(BINDING, 0, _COOKIE_BYTES, bytes(12))[:8]
# Whole success responses: header, then XOR-MAPPED-ADDRESS.
_SUCCESS_IPV4 = Struct("!HH16sHHHHI")
_SUCCESS_IPV6 = Struct("!HH16sHHHH16s")


class MessageClass(IntEnum):
    """The class of a message (RFC 8489, section 5)."""

    REQUEST = 0
    INDICATION = 1
    SUCCESS = 2
    ERROR = 3


@frozen
class Message:
    """
    One STUN message.

    :ivar method: 12 bits; :data:`BINDING` is the only one that the server answers.
    :ivar kind: request, indication, success or error.
    :ivar transaction_id: 12 bytes.
    :ivar attributes: (number, value) in the order of the message, at most :data:`MAX_ATTRIBUTES`, FINGERPRINT left
        out. What a value looks like is up to the entry in :data:`ATTRIBUTES`; a number without one has its bytes.
    :ivar fingerprint: whether the message ends in FINGERPRINT, which is always right in a decoded message.
    """

    method: int
    kind: MessageClass
    transaction_id: bytes
    attributes: tuple[tuple[int, Any], ...] = ()
    fingerprint: bool = False


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


def _address(name: str) -> Attribute:
    """Describe an attribute that holds a plain (host, port)."""
    return Attribute(name, _decode_address, _encode_address)


def _text(name: str, limit: int) -> Attribute:
    """Describe an attribute that holds at most ``limit`` bytes of UTF-8."""

    def decode_text(value: bytes, transaction_id: bytes) -> str:
        if len(value) > limit:
            raise ValueError(f"{name} is too long")
        return value.decode()

    return Attribute(name, decode_text, lambda value, transaction_id: value.encode())


def _opaque(name: str, *sizes: int) -> Attribute:
    """Describe an attribute that holds bytes, of one of these sizes if any are given."""

    def decode_opaque(value: bytes, transaction_id: bytes) -> bytes:
        if sizes and len(value) not in sizes:
            raise ValueError(f"{name} has the wrong size")
        return value

    return Attribute(name, decode_opaque, lambda value, transaction_id: value)


def _number(name: str, layout: Struct) -> Attribute:
    """Describe an attribute that holds one unsigned integer."""

    def decode_number(value: bytes, transaction_id: bytes) -> int:
        if len(value) != layout.size:
            raise ValueError(f"{name} has the wrong size")
        return int(layout.unpack(value)[0])

    return Attribute(name, decode_number, lambda value, transaction_id: layout.pack(value))


ATTRIBUTES: dict[int, Attribute] = {
    0x0001: _address("MAPPED-ADDRESS"),
    0x0006: _text("USERNAME", 508),
    0x0008: _opaque("MESSAGE-INTEGRITY", 20),
    0x0009: Attribute("ERROR-CODE", _decode_error, _encode_error),
    0x000A: Attribute("UNKNOWN-ATTRIBUTES", _decode_numbers, _encode_numbers),
    0x0014: _text("REALM", 763),
    0x0015: _text("NONCE", 763),
    0x001C: _opaque("MESSAGE-INTEGRITY-SHA256", 16, 20, 24, 28, 32),
    0x001D: _opaque("PASSWORD-ALGORITHM"),
    0x001E: _opaque("USERHASH", 32),
    0x0020: Attribute("XOR-MAPPED-ADDRESS", _decode_xor_address, _encode_xor_address),
    0x0024: _number("PRIORITY", _UINT32),
    0x0025: _opaque("USE-CANDIDATE", 0),
    0x8002: _opaque("PASSWORD-ALGORITHMS"),
    0x8003: _text("ALTERNATE-DOMAIN", 255),
    0x8022: _text("SOFTWARE", 763),
    0x8023: _address("ALTERNATE-SERVER"),
    0x8029: _number("ICE-CONTROLLED", _UINT64),
    0x802A: _number("ICE-CONTROLLING", _UINT64),
}
"""Every attribute of RFC 8489, section 18.3 and RFC 8445, section 16.1 except FINGERPRINT, by number."""

_NUMBERS = {attribute.name: number for number, attribute in ATTRIBUTES.items()}
_INTEGRITY = frozenset({_NUMBERS["MESSAGE-INTEGRITY"], _NUMBERS["MESSAGE-INTEGRITY-SHA256"]})
_BETWEEN_PEERS = frozenset({_NUMBERS["PRIORITY"], _NUMBERS["USE-CANDIDATE"]})
_UNDERSTOOD = frozenset(ATTRIBUTES) - _BETWEEN_PEERS


def looks_like(datagram: bytes) -> bool:
    """
    Tell STUN from everything else on the port (RFC 8489, section 6.3), at the cost of a few comparisons.

    :returns: whether the top two bits are zero, the magic cookie is there, and the length field is divisible by four
        and agrees with the datagram's size.
    """
    return (
        datagram[4:8] == _COOKIE_BYTES
        and len(datagram) >= _HEADER_SIZE
        and datagram[0] < 0x40
        and not len(datagram) & 3
        and datagram[2] << 8 | datagram[3] == len(datagram) - _HEADER_SIZE
    )


def decode(datagram: bytes) -> Message:
    """
    Read a STUN message (RFC 8489, section 5).

    :raises WireError: for anything that :func:`looks_like` does not accept, a malformed or superfluous attribute, and a
        FINGERPRINT that is wrong or not last.
    """
    if not looks_like(datagram):
        raise WireError("not a STUN message")
    number, _, _, transaction_id = _HEADER.unpack_from(datagram)
    kind = MessageClass((number & 0x0010) >> 4 | (number & 0x0100) >> 7)
    method = number & 0x000F | (number & 0x00E0) >> 1 | (number & 0x3E00) >> 2
    attributes, fingerprint = _decode_attributes(datagram, transaction_id)
    return Message(method, kind, transaction_id, attributes, fingerprint)


def _decode_attributes(datagram: bytes, transaction_id: bytes) -> tuple[tuple[tuple[int, Any], ...], bool]:
    """Read all attributes (section 14), and whether FINGERPRINT closes them."""
    attributes: list[tuple[int, Any]] = []
    for number, value in _walk(datagram):
        if number == _FINGERPRINT:
            return tuple(attributes), True
        attributes.append((number, _decode_value(number, value, transaction_id)))
    return tuple(attributes), False


def _walk(datagram: bytes) -> Iterator[tuple[int, bytes]]:
    """Find the number and the bytes of each attribute (section 14). FINGERPRINT is checked and is the last."""
    position, end, count = _HEADER_SIZE, len(datagram), 0
    while position < end:
        # Positions and the end are multiples of four, so there is always room for an attribute's head.
        number, size = _HEAD.unpack_from(datagram, position)
        start, position = position + 4, position + 4 + (size + 3 & ~3)
        if position > end:
            raise WireError("an attribute is longer than its message")
        if number == _FINGERPRINT:
            if size != 4 or position != end or datagram[start:] != _fingerprint(datagram[: start - 4]):
                raise WireError("the fingerprint is wrong or not the last attribute")
        elif count == MAX_ATTRIBUTES:
            raise WireError("too many attributes")
        count += 1
        yield number, datagram[start : start + size]


def _decode_value(number: int, value: bytes, transaction_id: bytes) -> Any:
    """Read the value of one attribute."""
    attribute = ATTRIBUTES.get(number)
    if attribute is None:
        return value
    try:
        return attribute.decode(value, transaction_id)
    except ValueError as error:
        raise WireError(f"malformed {attribute.name}") from error


def encode(message: Message, padding: bytes = b"\x00") -> bytes:
    """
    Write a STUN message (RFC 8489, section 5), computing its FINGERPRINT.

    :param message: a valid message; what its attributes may hold is what :func:`decode` gives.
    :param padding: the byte that fills an attribute up to four; older RFCs let a sender choose it.
    """
    parts = []
    for number, value in message.attributes:
        attribute = ATTRIBUTES.get(number)
        content = value if attribute is None else attribute.encode(value, message.transaction_id)
        parts.append(_HEAD.pack(number, len(content)) + content + padding * (-len(content) & 3))
    body = b"".join(parts)
    kind, method = message.kind, message.method
    number = (kind & 1) << 4 | (kind & 2) << 7 | method & 0xF | (method & 0x70) << 1 | (method & 0xF80) << 2
    size = len(body) + (_FINGERPRINT_SIZE if message.fingerprint else 0)
    datagram = _HEADER.pack(number, size, _COOKIE_BYTES, message.transaction_id) + body
    return _seal(datagram) if message.fingerprint else datagram


def _seal(datagram: bytes) -> bytes:
    """Append FINGERPRINT to a message whose header already counts it."""
    return datagram + _HEAD.pack(_FINGERPRINT, 4) + _fingerprint(datagram)


def _fingerprint(covered: bytes) -> bytes:
    """Compute the value of FINGERPRINT (section 14.7); over all that comes before the attribute."""
    return _UINT32.pack(crc32(covered) ^ _FINGERPRINT_MASK)


def answer(datagram: bytes, address: tuple[str, int]) -> bytes | None:
    """
    Serve one datagram as a Binding server without authentication (RFC 8489, sections 6.3.1 and 12).

    :param datagram: anything at all.
    :param address: the source: a host as a socket shows it, and a port. IPv4-mapped IPv6 is answered as IPv4.
    :returns: the response, or ``None`` to stay silent. A success is 32 bytes for IPv4 and 44 for IPv6; 8 more with
        FINGERPRINT, which is there if the request had it. Error 420 lists each unknown attribute once, and at most
        :data:`MAX_UNKNOWN` of them.
    """
    if len(datagram) == _HEADER_SIZE and datagram[:8] == _BARE_REQUEST:
        return _success(datagram[8:20], address, False)
    if datagram[:2] != _BARE_REQUEST[:2] or not looks_like(datagram):
        return None
    transaction_id = datagram[8:20]
    try:
        unknown, fingerprint = _examine(datagram, transaction_id)
    except WireError:
        return None
    if unknown:
        return _unknown_attributes(transaction_id, unknown, fingerprint)
    return _success(transaction_id, address, fingerprint)


def _examine(datagram: bytes, transaction_id: bytes) -> tuple[tuple[int, ...], bool]:
    """
    Check a request (section 6.3), reading of each attribute the first only, which is all that counts (section 14).

    :returns: the first comprehension-required attributes that the server does not understand (section 6.3.1), and
        whether FINGERPRINT closes the request.
    :raises WireError: for a malformed request.
    """
    seen: set[int] = set()
    unknown: list[int] = []
    is_over = False
    for number, value in _walk(datagram):
        if number == _FINGERPRINT:
            return tuple(unknown), True
        if is_over or number in seen:
            continue
        seen.add(number)
        if number in _UNDERSTOOD:
            _decode_value(number, value, transaction_id)
            is_over = number in _INTEGRITY
        elif number < 0x8000 and len(unknown) < MAX_UNKNOWN:
            _decode_value(number, value, transaction_id)
            unknown.append(number)
    return tuple(unknown), False


def _unknown_attributes(transaction_id: bytes, unknown: tuple[int, ...], fingerprint: bool) -> bytes:
    """Write error 420, its reason phrase left empty because every byte of it would be amplification."""
    attributes = ((_NUMBERS["ERROR-CODE"], (420, "")), (_NUMBERS["UNKNOWN-ATTRIBUTES"], unknown))
    return encode(Message(BINDING, MessageClass.ERROR, transaction_id, attributes, fingerprint))


def _success(transaction_id: bytes, address: tuple[str, int], fingerprint: bool) -> bytes:
    """Write the success response in one go, without a :class:`Message` on the way."""
    host, port = packed(address[0]), address[1] ^ _COOKIE >> 16
    mask, extra = _COOKIE_BYTES + transaction_id, _FINGERPRINT_SIZE if fingerprint else 0
    if len(host) == 4:
        masked = int.from_bytes(host, "big") ^ _COOKIE
        datagram = _SUCCESS_IPV4.pack(0x0101, 12 + extra, mask, 0x0020, 8, 1, port, masked)
    else:
        masked = int.from_bytes(host, "big") ^ int.from_bytes(mask, "big")
        datagram = _SUCCESS_IPV6.pack(0x0101, 24 + extra, mask, 0x0020, 20, 2, port, masked.to_bytes(16, "big"))
    return _seal(datagram) if fingerprint else datagram
