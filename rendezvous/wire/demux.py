"""
Which dialect a datagram belongs to.

Total and ordered: every datagram belongs to the first that fits, or to none. Whether it is the key of a client that is
here is looked up before this is asked.
"""

from __future__ import annotations

from enum import Enum

from rendezvous.errors import WireError
from rendezvous.wire import pulse

__all__ = ["Dialect", "classify", "mistakable"]

_STUN_COOKIE = b"\x21\x12\xa4\x42"
_STUN_HEADER = 20


class Dialect(Enum):
    """The dialects of the UDP port, in the order in which they are tried."""

    STUN = "stun"
    TRACKER = "tracker"
    PULSE = "pulse"


def looks_like_stun(datagram: bytes) -> bool:
    """:returns: whether the header is that of RFC 8489, section 5: two zero bits, the cookie, a length that agrees."""
    return (
        len(datagram) >= _STUN_HEADER
        and datagram[4:8] == _STUN_COOKIE
        and datagram[0] < 0x40
        and int.from_bytes(datagram[2:4], "big") == len(datagram) - _STUN_HEADER
        and len(datagram) % 4 == 0
    )


def classify(datagram: bytes) -> Dialect | None:
    """:returns: the dialect that the datagram belongs to, or ``None``: then it is dropped."""
    if looks_like_stun(datagram):
        return Dialect.STUN
    if datagram[:1] == b"{":
        return Dialect.TRACKER
    try:
        pulse.decode(datagram)
    except WireError:
        return None
    return Dialect.PULSE


def mistakable(key: bytes) -> bool:
    """:returns: whether a pulse with this key would look like another dialect's datagram once the key is unknown."""
    return classify(key) is not Dialect.PULSE
