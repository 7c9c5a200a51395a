"""
Datagrams between a client and the server that have a MAC under the client's datagram key.

``docs/protocol/connect.rst`` describes them. A codec here reads what is written. Whether the MAC holds is asked with
:func:`~rendezvous.core.macs.is_authentic`, because the server finds the key only by what a request says.
"""

from __future__ import annotations

import struct
from enum import IntEnum

import attrs

from rendezvous.core.addresses import Address
from rendezvous.core.macs import is_authentic, mac
from rendezvous.core.presence.signedrequests import NO_ATTEMPT, Request
from rendezvous.core.presence.states import PulseCode
from rendezvous.errors import WireError
from rendezvous.wire.connect import ADDRESS_SIZE, MAGIC, decode_address, encode_address

__all__ = [
    "NO_ATTEMPT",
    "REPLY",
    "REQUEST",
    "SHORT_SIZE",
    "SIGNED_SIZE",
    "Reply",
    "Request",
    "Short",
    "ShortKind",
    "decode_reply",
    "decode_request",
    "decode_short",
    "encode_request",
    "encode_short",
    "looks_like_answer",
    "looks_like_request",
    "reply_to",
]

#: Bytes of a request and of its reply; bytes of the other datagrams.
SIGNED_SIZE, SHORT_SIZE = 80, 32

#: The first two bytes of a request and of its reply.
REQUEST, REPLY = bytes([MAGIC, 0x01]), bytes([MAGIC, 0x81])
_CHECK_ANSWER = bytes([MAGIC, 0x82])

_REQUEST_BODY = struct.Struct("!2sH16sQ8s8s18sBx")
_RESERVED = bytes(ADDRESS_SIZE)
_SHORT_BODY = struct.Struct("!BBxx8s4s")


class ShortKind(IntEnum):
    """What a datagram of 32 bytes is; the value is its second byte."""

    #: From the server, to an address that may be the client's.
    ADDRESS_CHECK = 0x02
    #: From the client, to the server: the answer to a check.
    CHECK_ANSWER = 0x82
    #: From the server: there is an attempt that the client has not accepted yet.
    INVITATION = 0x03


@attrs.frozen
class Reply:
    """
    What a signed request is answered with.

    :ivar code: what the request has led to.
    :ivar request: the fields that it repeats; :attr:`Request.round` is not among them, and is 0.
    :ivar address: the host and the port that the request came from.
    """

    code: PulseCode
    request: Request
    address: Address


@attrs.frozen
class Short:
    """
    A datagram of 32 bytes.

    :ivar attempt: 8 bytes.
    :ivar nonce: 4 bytes; an answer has that of its check.
    """

    kind: ShortKind
    attempt: bytes
    nonce: bytes


def looks_like_request(datagram: bytes) -> bool:
    """:returns: whether it has the length and the first bytes of a signed request."""
    return len(datagram) == SIGNED_SIZE and datagram.startswith(REQUEST)


def looks_like_answer(datagram: bytes) -> bool:
    """:returns: whether it has the length and the first bytes of the answer to an address check."""
    return len(datagram) == SHORT_SIZE and datagram.startswith(_CHECK_ANSWER)


def encode_request(request: Request, key: bytes) -> bytes:
    """
    :param key: the datagram key.
    :returns: 80 bytes.
    """
    body = _REQUEST_BODY.pack(
        REQUEST,
        request.round,
        request.client_id,
        request.time,
        request.nonce,
        request.attempt,
        _RESERVED,
        request.port,
    )
    return body + mac(key, body)


def decode_request(datagram: bytes) -> Request:
    """
    Read a request. Its MAC is not looked at.

    :raises WireError: it is none, reserved bytes are not zero, or it has a round without an attempt, or none with one.
    """
    if not looks_like_request(datagram):
        raise WireError("a signed request has 80 bytes and begins with 0b 01")
    _, round_, client_id, time, nonce, attempt, reserved, port = _REQUEST_BODY.unpack_from(datagram)
    if reserved != _RESERVED or datagram[63]:
        raise WireError("reserved bytes of a signed request are zero")
    if (round_ == 0) != (attempt == NO_ATTEMPT):
        raise WireError("a signed request has a round if it has an attempt")
    return Request(client_id, time, nonce, attempt, round_, port)


def reply_to(datagram: bytes, code: PulseCode, address: Address, key: bytes) -> bytes:
    """
    Answer a request.

    :param datagram: the request.
    :param address: where it came from.
    :param key: the datagram key.
    :returns: 80 bytes.
    """
    body = b"%b%b%b%b%b" % (REPLY, code.to_bytes(2, "big"), datagram[4:44], encode_address(address), datagram[62:64])
    return body + mac(key, body)


def decode_reply(datagram: bytes, key: bytes) -> Reply:
    """
    Read a reply, at the client's end. The caller compares its nonce with those of the requests that it has sent.

    :param key: the datagram key.
    :raises WireError: it is none, its MAC does not hold, or it has another code than a pulse can have.
    """
    if len(datagram) != SIGNED_SIZE or not datagram.startswith(REPLY):
        raise WireError("a signed reply has 80 bytes and begins with 0b 81")
    if not is_authentic(key, datagram):
        raise WireError("the MAC of a signed reply does not hold")
    _, number, client_id, time, nonce, attempt, place, port = _REQUEST_BODY.unpack_from(datagram)
    if datagram[63]:
        raise WireError("reserved bytes of a signed reply are zero")
    try:
        code = PulseCode(number)
    except ValueError as e:
        raise WireError("the code of a signed reply is 1020, 1050 or 1060") from e
    return Reply(code, Request(client_id, time, nonce, attempt, 0, port), decode_address(place))


def encode_short(short: Short, key: bytes) -> bytes:
    """
    :param key: the datagram key.
    :returns: 32 bytes.
    """
    body = _SHORT_BODY.pack(MAGIC, short.kind, short.attempt, short.nonce)
    return body + mac(key, body)


def decode_short(datagram: bytes) -> Short:
    """
    Read an invitation, an address check or its answer. Its MAC is not looked at.

    :raises WireError: it is none of them, or reserved bytes are not zero.
    """
    if len(datagram) != SHORT_SIZE or datagram[0] != MAGIC:
        raise WireError("this datagram has 32 bytes and begins with 0b")
    if datagram[2:4] != bytes(2):
        raise WireError("reserved bytes of this datagram are zero")
    _, kind, attempt, nonce = _SHORT_BODY.unpack_from(datagram)
    try:
        return Short(ShortKind(kind), attempt, nonce)
    except ValueError as e:
        raise WireError("this datagram is an invitation, an address check or its answer") from e
