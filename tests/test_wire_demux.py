"""What a datagram is, against the order written down in the protocol."""

from __future__ import annotations

import struct

from hypothesis import example, given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.errors import WireError
from rendezvous.wire import pulse
from rendezvous.wire.demux import Kind, classify, mistakable

COOKIE = 0x2112A442


def stun(body: bytes = b"", *, kind: int = 1, length: int | None = None, cookie: int = COOKIE) -> bytes:
    """:returns: a STUN message (RFC 8489, section 5), honest unless told otherwise."""
    return struct.pack("!HHI12s", kind, len(body) if length is None else length, cookie, b"transaction!") + body


def by_the_book(datagram: bytes) -> Kind | None:
    """:returns: the first of the rules that fits, each spelled out anew."""
    if len(datagram) == 80 and datagram.startswith(b"\x0b\x01"):
        return Kind.SIGNED
    if len(datagram) == 32 and datagram.startswith(b"\x0b\x82"):
        return Kind.CHECK_ANSWER
    if len(datagram) >= 20:
        kind, length, cookie = struct.unpack_from("!HHI", datagram)
        if kind >> 14 == 0 and cookie == COOKIE and length == len(datagram) - 20 and length % 4 == 0:
            return Kind.STUN
    if datagram.startswith(b"{"):
        return Kind.TRACKER
    if len(datagram) == 32 or (len(datagram) == 64 and all(chr(byte) in "0123456789abcdefABCDEF" for byte in datagram)):
        return Kind.PULSE
    return None


STUNS = st.builds(
    stun,
    st.binary(max_size=24) | st.sampled_from([bytes(12), bytes(44), bytes(60)]),
    kind=st.sampled_from([0, 1, 0x101, 0xB01, 0x3FFF, 0x4000, 0x7B01, 0x8000, 0xFFFF]),
    length=st.none() | st.sampled_from([0, 4, 12, 13, 44, 0xFFFF]),
    cookie=st.sampled_from([COOKIE, COOKIE ^ 1, COOKIE ^ 1 << 31]),
)
SIZES = [0, 1, 19, 20, 31, 32, 33, 63, 64, 65, 79, 80, 81]
SIZED = st.sampled_from(SIZES).flatmap(lambda size: st.binary(min_size=size, max_size=size))
DIGITS = st.sampled_from(SIZES).flatmap(lambda n: st.text("0123456789abcdefABCDEFg{", min_size=n, max_size=n))
OURS = SIZED.map(lambda tail: b"\x0b\x01" + tail[2:]) | SIZED.map(lambda tail: b"\x0b\x82" + tail[2:])
ANYTHING = OURS | st.binary() | STUNS | SIZED | SIZED.map(lambda tail: b"{" + tail[1:]) | DIGITS.map(str.encode)


class ClassifyTests(SynchronousTestCase):
    """One datagram, one dialect or none."""

    @given(ANYTHING)
    @example(b"")
    @example(b"{")
    def test_any_bytes_are_sorted_by_the_book(self, datagram: bytes) -> None:
        """Every datagram gets an answer, and it is the first rule that fits."""
        self.assertIs(classify(datagram), by_the_book(datagram))

    @given(ANYTHING)
    def test_whatever_is_a_pulse_can_be_read(self, datagram: bytes) -> None:
        """The dialect and its decoder agree."""
        if classify(datagram) is Kind.PULSE:
            self.assertEqual(len(pulse.decode(datagram)), 32)
        elif classify(datagram) is None:
            self.assertRaises(WireError, pulse.decode, datagram)

    def test_stun_is_known_by_its_whole_header(self) -> None:
        """Zero bits, cookie, a length that agrees and is divisible by four."""
        for datagram in (stun(), stun(bytes(4)), stun(bytes(12)), stun(kind=0), stun(kind=0x3FFF)):
            self.assertIs(classify(datagram), Kind.STUN)

    def test_nearly_stun_is_not_stun(self) -> None:
        """Each part of the header by itself keeps a datagram out."""
        near = {
            "short": stun()[:-1],
            "long": stun() + b"\0",
            "odd, though the length agrees": stun(bytes(2)),
            "length too small": stun(bytes(8), length=4),
            "length too great": stun(bytes(8), length=12),
            "first bit": stun(kind=0x8001),
            "second bit": stun(kind=0x4001),
        } | {f"cookie bit {bit}": stun(cookie=COOKIE ^ 1 << bit) for bit in range(32)}
        self.assertEqual({why: classify(datagram) for why, datagram in near.items()}, dict.fromkeys(near))

    def test_stun_of_a_pulses_size_is_stun(self) -> None:
        """The first that fits: 32 bytes with a STUN header are no pulse."""
        datagram = stun(bytes(12))
        self.assertEqual((len(datagram), classify(datagram)), (32, Kind.STUN))

    def test_brace_of_a_pulses_size_is_the_trackers(self) -> None:
        """The second that fits; whether it is JSON is the tracker's business."""
        for datagram in (b"{", b"{}", b"{" + bytes(31), b"{" + b"0" * 63, b"{\xff"):
            self.assertIs(classify(datagram), Kind.TRACKER)

    def test_brace_is_the_first_byte_or_none(self) -> None:
        """Blanks and marks that JSON might have in front are not looked through."""
        for datagram in (b" {}", b"\n{}", b"[{}]", b"\xef\xbb\xbf{}"):
            self.assertIsNone(classify(datagram))

    def test_signed_requests_are_known_by_two_bytes_and_their_size(self) -> None:
        """80 bytes; whether they can be read is for the codec, also if a STUN message would be read so."""
        self.assertIs(classify(b"\x0b\x01" + bytes(78)), Kind.SIGNED)
        self.assertIs(classify(stun(bytes(60), kind=0xB01)), Kind.SIGNED)
        for datagram in (b"\x0b\x01" + bytes(77), b"\x0b\x01" + bytes(79), b"\x0b\x81" + bytes(78), bytes(80)):
            self.assertIsNone(classify(datagram))

    def test_answers_to_checks_are_known_by_two_bytes_and_their_size(self) -> None:
        """32 bytes, which would otherwise be a pulse with an unknown key."""
        self.assertIs(classify(b"\x0b\x82" + bytes(30)), Kind.CHECK_ANSWER)
        for second in (0x01, 0x02, 0x03, 0x81):
            self.assertIs(classify(bytes((0x0B, second)) + bytes(30)), Kind.PULSE)

    def test_pulse_has_exactly_its_size(self) -> None:
        """32 bytes or 64 hex digits, and nothing one shorter or longer."""
        sizes = {n: classify(b"0" * n) for n in (0, 1, 31, 32, 33, 63, 64, 65, 1024, 65507)}
        self.assertEqual({n for n, dialect in sizes.items() if dialect is Kind.PULSE}, {32, 64})
        self.assertEqual({dialect for n, dialect in sizes.items() if n not in (32, 64)}, {None})


class MistakableTests(SynchronousTestCase):
    """Which keys no client is given."""

    def test_keys_like_other_datagrams_are_mistakable(self) -> None:
        """As a pulse with an unknown key they would get another dialect's answer."""
        self.assertTrue(mistakable(stun(bytes(12))))
        self.assertTrue(mistakable(b"{" + bytes(31)))
        self.assertTrue(mistakable(b"\x0b\x82" + bytes(30)))
        self.assertFalse(mistakable(bytes(32)))
        self.assertFalse(mistakable(stun(bytes(12), cookie=COOKIE + 1)))

    @given(st.binary(min_size=32, max_size=32) | (STUNS | OURS).filter(lambda datagram: len(datagram) == 32))
    def test_key_that_is_not_mistakable_is_a_pulse_in_both_forms(self, key: bytes) -> None:
        """Hex digits never begin like another dialect, so it is the raw form that decides."""
        self.assertIs(classify(key.hex().encode()), Kind.PULSE)
        self.assertEqual(mistakable(key), by_the_book(key) is not Kind.PULSE)
