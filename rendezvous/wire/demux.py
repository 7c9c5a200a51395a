"""
Which protocol a datagram belongs to.

Total and ordered: every datagram belongs to the first that fits, or to none. Whether it is the key of a client that is
here is looked up before this is asked.
"""

from __future__ import annotations

from rendezvous.core.protocols import Protocol
from rendezvous.errors import WireError
from rendezvous.wire import pulse, stun

__all__ = ["classify", "mistakable"]


def classify(datagram: bytes) -> Protocol | None:
    """:returns: the protocol that the datagram belongs to, or ``None``: then it is dropped."""
    # No STUN message begins with this byte: its two highest bits are not zero.
    if datagram[:1] == b"{":
        return Protocol.TRACKER
    if stun.looks_like(datagram):
        return Protocol.STUN
    try:
        pulse.decode(datagram)
    except WireError:
        return None
    return Protocol.RENDEZVOUS


def mistakable(key: bytes) -> bool:
    """:returns: whether a pulse with this key would look like another protocol's datagram once the key is unknown."""
    return classify(key) is not Protocol.RENDEZVOUS
