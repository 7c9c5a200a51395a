"""
What two peers send each other, as records: probes, and the numbers that keep a datagram from being taken twice.

How they become bytes is in :mod:`rendezvous.wire.probe`, and what they mean is in ``docs/protocol/connect.rst``.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Protocol

import attrs

from rendezvous.core.addresses import Address

__all__ = [
    "MAX_PAYLOAD", "NEW_PATH", "PATH_ID_SIZE", "Codec", "Data", "Probe", "ProbeType", "RandomSource", "Window",
]  # fmt: skip

MAX_PAYLOAD = 1200
"""Bytes of the largest payload of a datagram on a path."""

PATH_ID_SIZE = 6
"""Bytes of the name of a path: the first ones of the attempt that began it."""

NEW_PATH = bytes(PATH_ID_SIZE)
"""The name that a probe carries if its attempt goes on with no earlier path."""


class ProbeType(IntEnum):
    """What a probe is for; the value is its second byte."""

    PROBE = 0x10
    PROBE_ACK = 0x90
    BYE = 0x1F


@attrs.frozen
class Probe:
    """
    A probe from one peer to the other.

    :ivar nominate: whether the controlling side has chosen the pair of addresses that this is sent on.
    :ivar sequence: 32 bits, larger by one with each probe of a side.
    :ivar nonce: 8 bytes; an acknowledgement has those of its probe.
    :ivar address: in a probe, where it is sent to; in an acknowledgement, where its probe came from.
    :ivar path: 6 bytes, the path that the attempt goes on with, or :data:`NEW_PATH`.
    :ivar to_mapping: in an acknowledgement, whether its probe came through a port mapping of the sender.
    :ivar birthday: whether it was sent from one of the many sockets of birthday probing.
    :ivar relayed: whether it was sent through a relay.
    """

    type: ProbeType
    sequence: int
    nonce: bytes
    address: Address
    nominate: bool = False
    path: bytes = NEW_PATH
    to_mapping: bool = False
    birthday: bool = False
    relayed: bool = False


@attrs.frozen
class Data:
    """
    A payload from one peer to the other.

    :ivar sequence: 48 bits, larger by one with each datagram of data of a side, over all addresses of the path.
    """

    sequence: int
    payload: bytes


class RandomSource(Protocol):
    """Randomness, as :class:`random.Random` and :class:`random.SystemRandom` give it."""

    def random(self) -> float:
        """:returns: a number in ``[0, 1)``."""
        ...

    def randbytes(self, n: int, /) -> bytes:
        """:returns: so many bytes."""
        ...


class Codec(Protocol):
    """
    Writes and reads the datagrams of one attempt, for one of its two sides.

    It knows the keys, the attempt and the role. It refuses whatever the other side of this attempt has not made.
    """

    def encode_probe(self, probe: Probe) -> bytes:
        """:returns: the datagram, 64 bytes."""
        ...

    def encode_data(self, data: Data) -> bytes:
        """
        :param data: with at most :data:`MAX_PAYLOAD` bytes of payload.
        :returns: the datagram, 24 bytes longer than the payload.
        """
        ...

    def decode(self, datagram: bytes) -> Probe | Data:
        """
        :returns: what the other side has sent.
        :raises WireError: it is no datagram of the other side of this attempt.
        """
        ...


class Window:
    """
    The sequence numbers that were seen, so that each is taken once (as in RFC 4303, section 3.4.3).

    For example, with a size of 1024, after 5000 the number 3977 is still taken and 3976 is not.

    :param size: how far behind the largest a number may be, in numbers.
    """

    __slots__ = ("_largest", "_seen", "_size")

    def __init__(self, size: int = 1024) -> None:
        self._size = size
        self._largest = -1
        # Bit n is set if the number that is n behind the largest was seen.
        self._seen = 0

    def take(self, number: int) -> bool:
        """
        Take a number, if it is new.

        :param number: at least 0.
        :returns: whether it is new and not too old.
        """
        ahead = number - self._largest
        if ahead > 0:
            kept = self._seen << ahead if ahead < self._size else 0
            self._seen = (kept | 1) & ((1 << self._size) - 1)
            self._largest = number
            return True
        # The size is looked at first: a shift by 2^48 bits would take all memory.
        if -ahead >= self._size or self._seen >> -ahead & 1:
            return False
        self._seen |= 1 << -ahead
        return True
