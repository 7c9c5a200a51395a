"""The Bloom filter of known peers, against vectors worked out by hand."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.signaling.bloom import Bloom, code_units
from rendezvous.errors import Malformed
from rendezvous.limits import SignalingLimits

# One round of FNV-1a is (hash XOR unit) * 0x01000193, kept to 32 bits; hash k begins with 0x811c9dc5 XOR k.
#
#   "a" = 0061            k=0: e40c292c            k=1: e50c2abf            k=2: e60c2c52
#       mod 8:  4, 7, 2       bits 2, 4, 7 of one byte        = 94            base64 lA==
#       mod 16: 12, 15, 2     byte 0: bit 2, byte 1: bits 4, 7 = 04 90        base64 BJA=
#
#   "ab" = 0061 0062      k=0: e40c292c 4d2505ca   k=1: e50c2abf 6f2779e7   k=2: e60c2c52 55298f90
#       mod 64: 10, 39, 16    byte 1: bit 2, byte 2: bit 0, byte 4: bit 7
#                                              = 00 04 01 00 80 00 00 00      base64 AAQBAIAAAAA=
#
#   U+1F600 = d83d de00   k=0: 37822568 cb31c4b8   k=1: 388226fb f12df321   k=2: 3982288e 172a218a
#       mod 16: 8, 1, 10      byte 0: bit 1, byte 1: bits 0, 2 = 02 05        base64 AgU=
#
#   U+00E9 = 00e9         k=0: 6c0b6c44            k=1: 6d0b6dd7            k=2: 6e0b6f6a
#       mod 16: 4, 7, 10      byte 0: bits 4, 7, byte 1: bit 2 = 90 04        base64 kAQ=
VECTORS = [
    ("a", "lA=="),
    ("a", "BJA="),
    ("ab", "AAQBAIAAAAA="),
    ("\U0001f600", "AgU="),
    ("\u00e9", "kAQ="),
]


def single_bits(data: bytes) -> list[int]:
    """The masks of the bits that are set, with the array read as one little-endian number."""
    number = int.from_bytes(data, "little")
    return [1 << index for index in range(number.bit_length()) if number >> index & 1]


class BloomTests(SynchronousTestCase):
    """Membership and parsing."""

    def test_vectors_hold_their_peer(self) -> None:
        """The bits worked out by hand are enough for a peer to be found."""
        for peer, text in VECTORS:
            self.assertIn(peer, Bloom.parse(text), (peer, text))

    def test_every_bit_of_a_vector_is_needed(self) -> None:
        """A filter that lacks any one of a peer's three bits does not hold it."""
        for peer, text in VECTORS:
            data = base64.b64decode(text)
            masks = single_bits(data)
            self.assertEqual(len(masks), 3)
            for mask in masks:
                less = (int.from_bytes(data, "little") & ~mask).to_bytes(len(data), "little")
                self.assertNotIn(peer, Bloom(less), (peer, text, mask))

    def test_other_peers_are_not_held(self) -> None:
        """The filter of one peer does not hold the others of the vectors."""
        self.assertNotIn("ab", Bloom.parse("BJA="))
        self.assertNotIn("a", Bloom.parse("AgU="))
        self.assertNotIn("\u00e9", Bloom.parse("AgU="))

    def test_strings_are_utf_16_code_units(self) -> None:
        """A character beyond the basic plane counts as its two surrogates, as in JavaScript."""
        self.assertEqual(code_units("a\U0001f600"), (0x61, 0xD83D, 0xDE00))
        self.assertEqual(code_units("\ud83d"), (0xD83D,))

    def test_all_ones_hold_every_peer_and_zeros_none(self) -> None:
        """A full filter holds any peer, an empty array none, not even the empty name."""
        for peer in ("", "a", "0" * 32):
            self.assertIn(peer, Bloom(b"\xff" * 3))
            self.assertNotIn(peer, Bloom(b"\x00" * 3))

    def test_bad_base64_is_malformed(self) -> None:
        """Foreign characters, the URL-safe alphabet, and missing or extra padding are refused."""
        for text in (
            "!",
            "B",
            "BJA",
            "BJ-_",
            "BJ A",
            "BJA==",
            "BJA=BJA=",
            "====",
            "\u00e9\u00e9\u00e9\u00e9",
            "\ud800",
        ):
            error = self.assertRaises(Malformed, Bloom.parse, text)
            self.assertIn("bloom", error.message)

    def test_empty_filter_is_malformed(self) -> None:
        """No bits cannot be a filter."""
        self.assertRaises(Malformed, Bloom.parse, "")

    def test_size_limit(self) -> None:
        """A filter of just the limit is read, one byte more is not."""
        for size in (1, 2, 3, 4, SignalingLimits().bloom_size):
            Bloom.parse(base64.b64encode(bytes(size)).decode(), size)
            if size > 1:
                Bloom.parse(base64.b64encode(bytes(size - 1)).decode(), size)
            error = self.assertRaises(Malformed, Bloom.parse, base64.b64encode(bytes(size + 1)).decode(), size)
            self.assertEqual(error.code, "too-long")

    @given(st.text(max_size=40))
    def test_any_text_parses_or_is_malformed(self, text: str) -> None:
        """Nothing but Malformed comes out of parsing, and what parses answers for any peer."""
        try:
            bloom = Bloom.parse(text)
        except Malformed:
            return
        self.assertIn("a" in bloom, (True, False))
