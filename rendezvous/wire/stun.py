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

from collections.abc import Iterator, Mapping
from enum import IntEnum
from struct import Struct
from typing import Any
from zlib import crc32

from attrs import frozen

from rendezvous.core.addresses import packed
from rendezvous.errors import WireError
from rendezvous.wire.attributes import ATTRIBUTES, COOKIE, Attribute

__all__ = [
    "BINDING",
    "MAX_ATTRIBUTES",
    "MAX_UNKNOWN",
    "Message",
    "MessageClass",
    "answer",
    "decode",
    "encode",
    "looks_like",
    "walk",
]

BINDING = 0x001
MAX_ATTRIBUTES = 32
"""Attributes in one message beside FINGERPRINT; no message of RFC 8489 or RFC 8445 has more than a dozen."""
MAX_UNKNOWN = 8
"""Attributes that one error 420 lists; the client learns of further ones when it asks again without these."""

_COOKIE_BYTES = COOKIE.to_bytes(4, "big")
_FINGERPRINT = 0x8028
_FINGERPRINT_MASK = 0x5354554E
_FINGERPRINT_SIZE = 8
_HEADER_SIZE = 20

_HEADER = Struct("!HH4s12s")
_HEAD = Struct("!HH")
_UINT32 = Struct("!I")
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
        out. What a value looks like is up to the entry in
        :data:`~rendezvous.wire.attributes.ATTRIBUTES`; a number without one has its bytes.
    :ivar fingerprint: whether the message ends in FINGERPRINT, which is always right in a decoded message.
    """

    method: int
    kind: MessageClass
    transaction_id: bytes
    attributes: tuple[tuple[int, Any], ...] = ()
    fingerprint: bool = False


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


def decode(datagram: bytes, table: Mapping[int, Attribute] = ATTRIBUTES) -> Message:
    """
    Read a STUN message (RFC 8489, section 5).

    :param table: the attributes whose values are read.
    :raises WireError: for anything that :func:`looks_like` does not accept, a malformed or superfluous attribute, and a
        FINGERPRINT that is wrong or not last.
    """
    if not looks_like(datagram):
        raise WireError("not a STUN message")
    number, _, _, transaction_id = _HEADER.unpack_from(datagram)
    kind = MessageClass((number & 0x0010) >> 4 | (number & 0x0100) >> 7)
    method = number & 0x000F | (number & 0x00E0) >> 1 | (number & 0x3E00) >> 2
    attributes, fingerprint = _decode_attributes(datagram, transaction_id, table)
    return Message(method, kind, transaction_id, attributes, fingerprint)


def _decode_attributes(
    datagram: bytes, transaction_id: bytes, table: Mapping[int, Attribute]
) -> tuple[tuple[tuple[int, Any], ...], bool]:
    """Read all attributes (section 14), and whether FINGERPRINT closes them."""
    attributes: list[tuple[int, Any]] = []
    for number, value in walk(datagram):
        if number == _FINGERPRINT:
            return tuple(attributes), True
        attributes.append((number, _decode_value(number, value, transaction_id, table)))
    return tuple(attributes), False


def walk(datagram: bytes) -> Iterator[tuple[int, bytes]]:
    """
    Find the number and the bytes of each attribute (section 14). FINGERPRINT is checked and is the last.

    :param datagram: what :func:`looks_like` accepts.
    :raises WireError: for an attribute that exceeds the message, too many of them, and a FINGERPRINT that is wrong.
    """
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


def _decode_value(number: int, value: bytes, transaction_id: bytes, table: Mapping[int, Attribute] = ATTRIBUTES) -> Any:
    """Read the value of one attribute."""
    attribute = table.get(number)
    if attribute is None:
        return value
    try:
        return attribute.decode(value, transaction_id)
    except ValueError as error:
        raise WireError(f"malformed {attribute.name}") from error


def encode(message: Message, padding: bytes = b"\x00", table: Mapping[int, Attribute] = ATTRIBUTES) -> bytes:
    """
    Write a STUN message (RFC 8489, section 5), computing its FINGERPRINT.

    :param message: a valid message; what its attributes may hold is what :func:`decode` gives.
    :param padding: the byte that fills an attribute up to four; older RFCs let a sender choose it.
    :param table: the attributes whose values are written; that of any other has bytes.
    """
    parts = []
    for number, value in message.attributes:
        attribute = table.get(number)
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
    for number, value in walk(datagram):
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
    host, port = packed(address[0]), address[1] ^ COOKIE >> 16
    mask, extra = _COOKIE_BYTES + transaction_id, _FINGERPRINT_SIZE if fingerprint else 0
    if len(host) == 4:
        masked = int.from_bytes(host, "big") ^ COOKIE
        datagram = _SUCCESS_IPV4.pack(0x0101, 12 + extra, mask, 0x0020, 8, 1, port, masked)
    else:
        masked = int.from_bytes(host, "big") ^ int.from_bytes(mask, "big")
        datagram = _SUCCESS_IPV6.pack(0x0101, 24 + extra, mask, 0x0020, 20, 2, port, masked.to_bytes(16, "big"))
    return _seal(datagram) if fingerprint else datagram
