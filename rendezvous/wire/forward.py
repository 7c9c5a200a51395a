"""
The frames in which ``rendezvous forward`` and ``rendezvous serve`` carry UDP datagrams of other programs over one path.

A frame has 5 bytes in front of the payload, big-endian:

=======  ======  ==============================================================================
Offset   Bytes   Field
=======  ======  ==============================================================================
0        1       0xFE: a datagram; 0xFF: the port is not served, without a payload. Neither byte
                 occurs in UTF-8 (RFC 3629), so that a frame is no line of text.
1        2       the UDP port at the side that serves, 1 to 65535
3        2       the flow: one program at the side that forwards, by a number that this side chooses
5        n       the payload
=======  ======  ==============================================================================
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct

from attrs import frozen

from rendezvous.errors import WireError

__all__ = ["OVERHEAD", "Frame", "FrameKind", "decode", "encode"]

_HEADER = Struct("!BHH")

OVERHEAD = _HEADER.size
"""Bytes of a frame in front of the payload."""


class FrameKind(IntEnum):
    """What a frame is."""

    DATAGRAM = 0xFE
    NOT_SERVED = 0xFF


@frozen
class Frame:
    """
    One frame.

    :ivar kind: what it is.
    :ivar port: 1 to 65535, at the side that serves.
    :ivar flow: 0 to 65535.
    :ivar payload: bytes of a datagram, of any length that fits into a datagram of the path.
    """

    kind: FrameKind
    port: int
    flow: int
    payload: bytes = b""


def encode(frame: Frame) -> bytes:
    """
    Write a frame.

    :param frame: a valid one.
    """
    return _HEADER.pack(frame.kind, frame.port, frame.flow) + frame.payload


def decode(datagram: bytes) -> Frame:
    """
    Read a frame.

    :raises WireError: the datagram is too short, of another kind, names port 0, or refuses with a payload.
    """
    if len(datagram) < OVERHEAD:
        raise WireError("a frame has at least 5 bytes")
    kind, port, flow = _HEADER.unpack_from(datagram)
    if kind not in (FrameKind.DATAGRAM, FrameKind.NOT_SERVED):
        raise WireError("not a frame")
    if port == 0:
        raise WireError("a frame names a port")
    if kind == FrameKind.NOT_SERVED and len(datagram) > OVERHEAD:
        raise WireError("a refusal has no payload")
    return Frame(FrameKind(kind), port, flow, datagram[OVERHEAD:])
