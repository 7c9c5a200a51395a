"""
The pulse: a client's private key in a datagram, and the four bytes that answer it.

The reply is the code as a 4-byte big-endian signed integer. (One description says one byte; no byte holds 1020.)
"""

from __future__ import annotations

import struct

from rendezvous.core.identity import KEY_SIZE
from rendezvous.core.presence.states import PulseCode
from rendezvous.errors import WireError

__all__ = ["REPLY_SIZE", "PulseCode", "decode", "decode_reply", "encode_reply"]

_REPLY = struct.Struct("!i")
REPLY_SIZE = _REPLY.size
_HEX_DIGITS = frozenset(b"0123456789abcdefABCDEF")


def decode(datagram: bytes) -> bytes:
    """
    :param datagram: 32 bytes, or the same as 64 hex digits.
    :returns: the key, 32 bytes.
    :raises WireError: it is neither.
    """
    if len(datagram) == KEY_SIZE:
        return datagram
    if len(datagram) == 2 * KEY_SIZE and _HEX_DIGITS.issuperset(datagram):
        return bytes.fromhex(datagram.decode("ascii"))
    raise WireError("a pulse is 32 bytes or 64 hex digits")


def encode_reply(code: PulseCode) -> bytes:
    """:returns: the code as 4 bytes, big-endian, signed."""
    return _REPLY.pack(code)


def decode_reply(datagram: bytes) -> PulseCode:
    """
    Read a reply, at the client's end.

    :raises WireError: it is not four bytes, or the code is none of the three.
    """
    if len(datagram) != REPLY_SIZE:
        raise WireError("a reply to a pulse is four bytes")
    try:
        return PulseCode(_REPLY.unpack(datagram)[0])
    except ValueError as e:
        raise WireError("a reply to a pulse is 1020, 1050 or 1060") from e
