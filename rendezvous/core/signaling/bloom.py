"""
The Bloom filter in which a caller sends the peers that it already knows.

Its bits are set by JavaScript clients, so the hash runs over UTF-16 code units (offers protocol, Bloom filter).
"""

from __future__ import annotations

import base64
import struct

from rendezvous.errors import Malformed
from rendezvous.limits import SignalingLimits

__all__ = ["Bloom", "code_units", "hashes"]

#: Three hashes are computed as one number, each in a lane of 64 bits: FNV-1a multiplies 32 bits by 25.
_LANES = 1 | 1 << 64 | 1 << 128
_OFFSET_BASES = 2166136261 | (2166136261 ^ 1) << 64 | (2166136261 ^ 2) << 128
_PRIME = 16777619
_WORD = 0xFFFFFFFF
_WORDS = _WORD * _LANES


def code_units(text: str) -> tuple[int, ...]:
    """
    What JavaScript sees as the characters of a string.

    :param text: any string, lone surrogates included.
    :returns: its UTF-16 code units.
    """
    data = text.encode("utf-16-le", "surrogatepass")
    return struct.unpack(f"<{len(data) // 2}H", data)


def hashes(peer: str) -> tuple[int, ...]:
    """
    Hash a peer id for any filter: 32-bit FNV-1a with three offset bases.

    :param peer: any string.
    :returns: three numbers. They cost some 5 us, so they are worth keeping with the peer.
    """
    value = _OFFSET_BASES
    for unit in code_units(peer):
        value = (value ^ unit * _LANES) * _PRIME & _WORDS
    return value & _WORD, value >> 64 & _WORD, value >> 128


class Bloom:
    """
    A set of peer ids that may hold a few more than were put in.

    :param bits: the bit array; bit ``i % 8`` (least significant first) of byte ``i // 8``. Not empty.
    """

    __slots__ = ("_bits",)

    def __init__(self, bits: bytes) -> None:
        self._bits = bits

    @classmethod
    def parse(cls, text: str, size: int = SignalingLimits().bloom_size) -> Bloom:
        """
        Read a filter from a query string.

        :param text: base64 in the standard alphabet, with its padding.
        :param size: the most bytes it may decode to.
        :raises Malformed: if it is anything else, empty, or larger.
        """
        # Four characters hold three bytes: what is too long is refused before it is decoded.
        if len(text) > 4 * -(-size // 3):
            raise Malformed(f"bloom must be at most {size} bytes.", code="too-long")
        try:
            bits = base64.b64decode(text, validate=True)
        except ValueError:
            bits = None
        if bits is None or len(text) % 4:
            raise Malformed("bloom must be base64 in the standard alphabet, with padding.")
        if not bits:
            raise Malformed("bloom must not be empty.")
        if len(bits) > size:
            raise Malformed(f"bloom must be at most {size} bytes.", code="too-long")
        return cls(bits)

    def __contains__(self, peer: str) -> bool:
        """Whether every bit of this peer is set; one clear bit is proof that it was never put in."""
        return self.holds(hashes(peer))

    def holds(self, hashes: tuple[int, ...]) -> bool:
        """:returns: whether every bit of the peer with these :func:`hashes` is set."""
        bits = self._bits
        size = 8 * len(bits)
        for value in hashes:
            index = value % size
            if not bits[index >> 3] >> (index & 7) & 1:
                return False
        return True
