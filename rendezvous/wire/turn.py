"""
TURN messages to records and back (RFC 8656), as a client needs them, and the long-term credential of STUN (RFC 8489,
section 9.2).

A message is a STUN message with the attributes of :data:`ATTRIBUTES`. A frame of ChannelData carries data with four
bytes more than its payload. Both are datagrams over UDP; over TCP and TLS :class:`Frames` finds where they end.

The libraries for Python (aioice, and aiortc on top of it) bring asyncio and sockets of their own, and so cannot be used
below Twisted; their codecs do not stand alone.

Only MESSAGE-INTEGRITY with a key made by MD5 is written. A server that offers PASSWORD-ALGORITHMS has to accept it from
a client that does not name an algorithm (RFC 8489, section 9.2.4), and coturn knows nothing else.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from enum import IntEnum
from hashlib import md5
from struct import Struct
from typing import Any

from attrs import evolve

from rendezvous.errors import WireError
from rendezvous.wire import stun
from rendezvous.wire.attributes import ATTRIBUTES as STUN_ATTRIBUTES
from rendezvous.wire.attributes import Attribute, number, opaque, xor_address
from rendezvous.wire.stun import Message

__all__ = [
    "ATTRIBUTES",
    "CHANNELS",
    "Frames",
    "Method",
    "Name",
    "decode",
    "encode",
    "encode_channel_data",
    "first",
    "is_authentic",
    "is_channel_data",
    "long_term_key",
    "read_channel_data",
]

CHANNELS = range(0x4000, 0x5000)
"""Numbers of channels (RFC 8656, section 12)."""

_HEAD = Struct("!HH")
_HEADER_SIZE = 20
_INTEGRITY_SIZE = 24


class Method(IntEnum):
    """Methods (RFC 8656, section 17)."""

    ALLOCATE = 0x003
    REFRESH = 0x004
    SEND = 0x006
    DATA = 0x007
    CREATE_PERMISSION = 0x008
    CHANNEL_BIND = 0x009


class Name(IntEnum):
    """Numbers of the attributes that a client reads or writes."""

    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    CHANNEL_NUMBER = 0x000C
    LIFETIME = 0x000D
    XOR_PEER_ADDRESS = 0x0012
    DATA = 0x0013
    REALM = 0x0014
    NONCE = 0x0015
    XOR_RELAYED_ADDRESS = 0x0016
    REQUESTED_TRANSPORT = 0x0019
    XOR_MAPPED_ADDRESS = 0x0020
    ALTERNATE_SERVER = 0x8023


ATTRIBUTES: dict[int, Attribute] = STUN_ATTRIBUTES | {
    # Two or three reserved bytes follow some of the numbers (RFC 8656, section 18).
    Name.CHANNEL_NUMBER: number("CHANNEL-NUMBER", Struct("!Hxx")),
    Name.LIFETIME: number("LIFETIME", Struct("!I")),
    Name.XOR_PEER_ADDRESS: xor_address("XOR-PEER-ADDRESS"),
    Name.DATA: opaque("DATA"),
    Name.XOR_RELAYED_ADDRESS: xor_address("XOR-RELAYED-ADDRESS"),
    Name.REQUESTED_TRANSPORT: number("REQUESTED-TRANSPORT", Struct("!Bxxx")),
}
"""The attributes of STUN, and those of RFC 8656, section 18 that a client needs."""


def long_term_key(username: str, realm: str, password: str) -> bytes:
    """
    Make the key of a long-term credential (RFC 8489, section 9.2.2).

    The texts are used as they are: :rfc:`8265` changes nothing in the ASCII that servers make up.

    :returns: 16 bytes.
    """
    return md5(f"{username}:{realm}:{password}".encode(), usedforsecurity=False).digest()


def encode(message: Message, key: bytes | None = None) -> bytes:
    """
    Write a message.

    :param key: of the credential, with which MESSAGE-INTEGRITY is made and appended (RFC 8489, section 14.5); a message
        that gets it has no FINGERPRINT.
    """
    if key is None:
        return stun.encode(message, table=ATTRIBUTES)
    bare = stun.encode(evolve(message, fingerprint=False), table=ATTRIBUTES)
    covered = bare[:2] + (len(bare) - _HEADER_SIZE + _INTEGRITY_SIZE).to_bytes(2, "big") + bare[4:]
    return covered + _HEAD.pack(Name.MESSAGE_INTEGRITY, 20) + hmac.digest(key, covered, "sha1")


def decode(datagram: bytes) -> Message:
    """
    Read a message. What follows MESSAGE-INTEGRITY is left out (RFC 8489, section 14.5).

    :raises WireError: for what :func:`rendezvous.wire.stun.decode` refuses, and for an attribute that has to be
        understood and is not known (section 6.3).
    """
    message = stun.decode(datagram, ATTRIBUTES)
    numbers = [known for known, _ in message.attributes]
    if Name.MESSAGE_INTEGRITY in numbers:
        end = numbers.index(Name.MESSAGE_INTEGRITY) + 1
        message = evolve(message, attributes=message.attributes[:end])
    if any(known < 0x8000 and known not in ATTRIBUTES for known, _ in message.attributes):
        raise WireError("an attribute has to be understood, and is not known")
    return message


def is_authentic(datagram: bytes, key: bytes) -> bool:
    """
    Check the MESSAGE-INTEGRITY of a message that :func:`decode` accepts (RFC 8489, section 14.5).

    :returns: whether it is there and right.
    """
    position = _HEADER_SIZE
    for known, value in stun.walk(datagram):
        if known == Name.MESSAGE_INTEGRITY:
            # The header that was covered ends the message with this attribute.
            size = position - _HEADER_SIZE + _INTEGRITY_SIZE
            covered = datagram[:2] + size.to_bytes(2, "big") + datagram[4:position]
            return hmac.compare_digest(hmac.digest(key, covered, "sha1"), value)
        position += 4 + (len(value) + 3 & ~3)
    return False


def first(message: Message, name: Name) -> Any:
    """:returns: the value of an attribute, its first if there are several (section 14), or ``None``."""
    return next((value for known, value in message.attributes if known == name), None)


def encode_channel_data(channel: int, payload: bytes, *, padded: bool) -> bytes:
    """
    Write ChannelData (RFC 8656, section 12.4).

    :param channel: one of :data:`CHANNELS`.
    :param payload: at most 65535 bytes.
    :param padded: whether to fill up to four bytes, as TCP and TLS need it.
    """
    frame = _HEAD.pack(channel, len(payload)) + payload
    return frame + bytes(-len(frame) & 3) if padded else frame


def is_channel_data(frame: bytes) -> bool:
    """:returns: whether the first byte is one of ChannelData (RFC 8656, section 12)."""
    return frame[:1] != b"" and 0x40 <= frame[0] <= 0x4F


def read_channel_data(frame: bytes) -> tuple[int, bytes]:
    """
    Read ChannelData (RFC 8656, section 12.6).

    :returns: the channel and the payload.
    :raises WireError: for what is too short for its length field, or has another first byte.
    """
    if len(frame) < 4 or not is_channel_data(frame):
        raise WireError("not ChannelData")
    channel, size = _HEAD.unpack_from(frame)
    if len(frame) < 4 + size:
        raise WireError("ChannelData is shorter than its length field says")
    return channel, frame[4 : 4 + size]


class Frames:
    """
    Finds messages and ChannelData in a stream of bytes (RFC 8656, section 3.1; RFC 8489, section 6.2.2).

    It keeps less than one frame, which is at most 65556 bytes.
    """

    def __init__(self) -> None:
        self._kept = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """
        Take what has arrived.

        :returns: the frames that are complete now, with their padding.
        :raises WireError: when neither kind of frame begins where one has to. The stream is of no use from there on.
        """
        data = self._kept + data
        self._kept = b""
        start = 0
        while len(data) - start >= 4:
            end = start + _frame_size(data, start)
            if end > len(data):
                break
            yield data[start:end]
            start = end
        self._kept = data[start:]


def _frame_size(data: bytes, start: int) -> int:
    """
    Find the size of the frame that begins somewhere.

    :raises WireError: when none does.
    """
    _, size = _HEAD.unpack_from(data, start)
    if data[start] < 0x40 and not size & 3:
        return _HEADER_SIZE + int(size)
    if 0x40 <= data[start] <= 0x4F:
        return 4 + (int(size) + 3 & ~3)
    raise WireError("neither a message nor ChannelData")
