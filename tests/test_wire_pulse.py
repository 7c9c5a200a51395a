"""The pulse's codec, byte for byte."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.presence.states import PulseCode
from rendezvous.errors import WireError
from rendezvous.wire.pulse import REPLY_SIZE, decode, decode_reply, encode_reply

KEY = bytes(range(0xE0, 0x100))
KEYS = st.binary(min_size=32, max_size=32)
#: Bytes that are likely to be nearly a pulse: of its lengths, of hex digits, with what ``bytes.fromhex`` would forgive.
NEAR = st.sampled_from([0, 4, 31, 32, 33, 62, 63, 64, 65, 66, 128]).flatmap(
    lambda size: (
        st.binary(min_size=size, max_size=size)
        | st.lists(st.sampled_from(b"0123456789abcdefABCDEF \n\tgxX_"), min_size=size, max_size=size).map(bytes)
    )
)


class PulseDecodeTests(SynchronousTestCase):
    """A key in a datagram."""

    def test_both_forms_are_read(self) -> None:
        """32 bytes as they are, or the same as 64 hex digits in any case."""
        digits = KEY.hex().encode()
        for datagram in (KEY, digits, digits.upper(), digits[:32] + digits[32:].upper()):
            self.assertEqual(decode(datagram), KEY)

    def test_other_lengths_are_wire_errors(self) -> None:
        """Nothing at all, and one byte or digit too many or too few."""
        digits = KEY.hex().encode()
        for datagram in (b"", KEY[:-1], KEY + b"\0", digits[:-1], digits + b"0", digits + b"\n", KEY + KEY[:-1]):
            self.assertRaises(WireError, decode, datagram)

    def test_64_bytes_that_are_not_hex_are_wire_errors(self) -> None:
        """Not even where ``bytes.fromhex`` would be generous, as it is about blanks."""
        digits = KEY.hex().encode()
        for datagram in (KEY + KEY, b" " + digits[1:], digits[:-1] + b"g", b"  " + digits[:-2], b"0x" + digits[2:]):
            self.assertEqual(len(datagram), 64)
            self.assertRaises(WireError, decode, datagram)

    def test_32_hex_digits_are_32_bytes(self) -> None:
        """A text as long as a raw key is one: it is half a key, so no client has it."""
        self.assertEqual(decode(b"0123456789abcdef" * 2), b"0123456789abcdef" * 2)

    @given(KEYS)
    def test_every_key_is_read_in_both_forms(self, key: bytes) -> None:
        """There is no key that the codec changes."""
        self.assertEqual([decode(key), decode(key.hex().encode())], [key, key])

    @given(st.binary() | NEAR)
    def test_any_bytes_are_a_key_or_a_wire_error(self, datagram: bytes) -> None:
        """Nothing else comes out, whatever comes in."""
        try:
            key = decode(datagram)
        except WireError:
            self.assertNotEqual(len(datagram), 32)
            return
        self.assertEqual(len(key), 32)
        self.assertIn(datagram.lower(), (key.lower(), key.hex().encode()))


class PulseReplyTests(SynchronousTestCase):
    """The four bytes that answer."""

    def test_replies_are_these_bytes(self) -> None:
        """Big-endian, signed, four bytes: what clients in the field read."""
        replies = {code.value: encode_reply(code).hex() for code in PulseCode}
        self.assertEqual(replies, {1020: "000003fc", 1050: "0000041a", 1060: "00000424"})

    def test_reply_is_shorter_than_any_pulse(self) -> None:
        """So it amplifies nothing."""
        self.assertEqual({len(encode_reply(code)) for code in PulseCode}, {REPLY_SIZE})
        self.assertLess(REPLY_SIZE, len(KEY))

    def test_replies_are_read_back(self) -> None:
        """Each code survives the way there."""
        self.assertEqual([decode_reply(encode_reply(code)) for code in PulseCode], list(PulseCode))

    def test_what_is_no_reply_is_a_wire_error(self) -> None:
        """Other lengths, other codes, the other byte order."""
        good = encode_reply(PulseCode.ON_TIME)
        others = [(code).to_bytes(4, "big", signed=True) for code in (0, 1, 1019, 1021, 1051, 1061, -1020)]
        for datagram in (b"", good[:-1], good + b"\0", good[::-1], *others):
            self.assertRaises(WireError, decode_reply, datagram)

    @given(st.binary(max_size=8) | st.integers(1000, 1080).map(lambda code: code.to_bytes(4, "big")))
    def test_any_bytes_are_a_code_or_a_wire_error(self, datagram: bytes) -> None:
        """Only what a server can have sent is read."""
        try:
            code = decode_reply(datagram)
        except WireError:
            self.assertNotIn(datagram, [encode_reply(code) for code in PulseCode])
            return
        self.assertEqual(encode_reply(code), datagram)
