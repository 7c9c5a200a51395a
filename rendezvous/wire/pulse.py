"""
The rendezvous dialect's datagrams: what a pulse is answered with.

A pulse is the client's private key, 32 raw bytes; the reply is one number. This module turns that number into bytes
and back, and decides nothing.
"""

from __future__ import annotations

from enum import IntEnum

from rendezvous.errors import WireError

__all__ = ["REPLY_SIZE", "PulseCode", "decode_reply", "encode_reply"]

REPLY_SIZE = 4
"""Bytes in a reply: one big-endian signed integer."""


class PulseCode(IntEnum):
    """What the server says to a pulse."""

    ON_TIME = 1020
    VERIFY = 1050
    UNKNOWN = 1060


def encode_reply(code: PulseCode) -> bytes:
    """
    The datagram that carries a response code.

    :param code: what to say to the pulse.
    :returns: :data:`REPLY_SIZE` bytes.
    """
    return int(code).to_bytes(REPLY_SIZE, "big", signed=True)


def decode_reply(datagram: bytes) -> PulseCode:
    """
    The response code that a datagram carries.

    :param datagram: the whole datagram, as it came.
    :returns: the code.
    :raises WireError: when the datagram has another size or its number is not a response code.
    """
    if len(datagram) != REPLY_SIZE:
        raise WireError(f"a pulse reply has {REPLY_SIZE} bytes, not {len(datagram)}")
    number = int.from_bytes(datagram, "big", signed=True)
    try:
        return PulseCode(number)
    except ValueError:
        raise WireError(f"{number} is not a response code") from None
