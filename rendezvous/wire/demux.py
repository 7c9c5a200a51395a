"""
Which protocol a datagram belongs to.

Total and ordered: every datagram belongs to the first that fits, or to none. Whether it is the key of a client that is
here is looked up before this is asked.
"""

from __future__ import annotations

from enum import Enum, auto

from rendezvous.errors import WireError
from rendezvous.wire import pulse, signed, stun

__all__ = ["Kind", "classify", "mistakable"]


class Kind(Enum):
    """What a datagram is, by its form."""

    PULSE = auto()
    #: A signed pulse, or an observation.
    SIGNED = auto()
    #: The answer to an address check.
    CHECK_ANSWER = auto()
    STUN = auto()
    TRACKER = auto()


def classify(datagram: bytes) -> Kind | None:
    """:returns: what the datagram is, or ``None``: then it is dropped."""
    # No STUN message begins with this byte: its two highest bits are not zero.
    if datagram[:1] == b"{":
        return Kind.TRACKER
    # A STUN message may begin with the same byte, but no method that STUN or TURN has defined does.
    if signed.looks_like_request(datagram):
        return Kind.SIGNED
    if signed.looks_like_answer(datagram):
        return Kind.CHECK_ANSWER
    if stun.looks_like(datagram):
        return Kind.STUN
    try:
        pulse.decode(datagram)
    except WireError:
        return None
    return Kind.PULSE


def mistakable(key: bytes) -> bool:
    """:returns: whether a pulse with this key would look like another protocol's datagram once the key is unknown."""
    return classify(key) is not Kind.PULSE
