"""Tests for the codec of :mod:`rendezvous.wire.stun`."""

from __future__ import annotations

from typing import Any
from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.errors import WireError
from rendezvous.wire.attributes import ATTRIBUTES
from rendezvous.wire.stun import BINDING, MAX_ATTRIBUTES, Message, MessageClass, decode, encode, looks_like
from tests.stun_samples import (
    IPV4,
    IPV6,
    SAMPLE_IPV4_RESPONSE,
    SAMPLE_IPV6_RESPONSE,
    SAMPLE_LONG_TERM_REQUEST,
    SAMPLE_REQUEST,
    SAMPLES,
    TRANSACTION,
    raw,
    request,
)

NUMBERS = {attribute.name: number for number, attribute in ATTRIBUTES.items()}


class ShapeTests(SynchronousTestCase):
    """Telling STUN from other datagrams."""

    def test_samples_look_like_stun(self) -> None:
        """Every message of RFC 5769 is recognised."""
        self.assertEqual([looks_like(sample) for sample in SAMPLES], [True] * 4)

    def test_every_condition_is_needed(self) -> None:
        """Top bits, cookie, and a length that agrees and is divisible by four: without one, it is something else."""
        bare = request()
        others = {
            "empty": b"",
            "short": bare[:19],
            "top bit": b"\x80" + bare[1:],
            "second bit": b"\x40" + bare[1:],
            "cookie": bare[:7] + b"\x43" + bare[8:],
            "longer than it says": bare + bytes(4),
            "shorter than it says": bare[:3] + b"\x04" + bare[4:],
            "not divisible by four": bare[:3] + b"\x02" + bare[4:] + bytes(2),
        }
        self.assertEqual([name for name, datagram in others.items() if looks_like(datagram)], [])

    def test_length_is_read_in_full(self) -> None:
        """A message above 255 bytes is recognised by both bytes of its length."""
        self.assertTrue(looks_like(raw((0x8022, bytes(700)))))


class SampleTests(SynchronousTestCase):
    """The test vectors of RFC 5769."""

    def test_request(self) -> None:
        """The request of an ICE agent shows each of its attributes."""
        expected = (
            (NUMBERS["SOFTWARE"], "STUN test client"),
            (NUMBERS["PRIORITY"], 0x6E0001FF),
            (NUMBERS["ICE-CONTROLLED"], 0x932FF9B151263B36),
            (NUMBERS["USERNAME"], "evtj:h6vY"),
            (NUMBERS["MESSAGE-INTEGRITY"], SAMPLE_REQUEST[-28:-8]),
        )
        self.assertEqual(decode(SAMPLE_REQUEST), Message(BINDING, MessageClass.REQUEST, TRANSACTION, expected, True))

    def test_responses(self) -> None:
        """Both responses show the address that the RFC says they hold."""
        for sample, address in ((SAMPLE_IPV4_RESPONSE, IPV4), (SAMPLE_IPV6_RESPONSE, IPV6)):
            message = decode(sample)
            self.assertEqual((message.kind, message.fingerprint), (MessageClass.SUCCESS, True))
            self.assertEqual(dict(message.attributes)[0x0020], address)
            self.assertEqual(dict(message.attributes)[0x8022], "test vector")

    def test_long_term_request(self) -> None:
        """A request with long-term credentials shows them, without FINGERPRINT."""
        message = decode(SAMPLE_LONG_TERM_REQUEST)
        values = dict(message.attributes)
        self.assertEqual(values[0x0006], "\u30de\u30c8\u30ea\u30c3\u30af\u30b9")
        self.assertEqual((values[0x0015], values[0x0014]), ("f//499k954d6OL34oL9FSTvy64sA", "example.org"))
        self.assertFalse(message.fingerprint)

    def test_samples_round_trip_byte_for_byte(self) -> None:
        """Each sample is written exactly as the RFC has it, FINGERPRINT included; three of them pad with spaces."""
        for sample, padding in zip(SAMPLES, (b" ", b" ", b" ", b"\x00"), strict=True):
            self.assertEqual(encode(decode(sample), padding), sample)


_TEXT = st.text(max_size=100)
_IP = st.ip_addresses().map(str)
_ADDRESS = st.tuples(_IP, st.integers(0, 65535))
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "MAPPED-ADDRESS": _ADDRESS,
    "USERNAME": _TEXT,
    "MESSAGE-INTEGRITY": st.binary(min_size=20, max_size=20),
    "ERROR-CODE": st.tuples(st.integers(300, 699), _TEXT),
    "UNKNOWN-ATTRIBUTES": st.lists(st.integers(0, 65535)).map(tuple),
    "REALM": _TEXT,
    "NONCE": _TEXT,
    "MESSAGE-INTEGRITY-SHA256": st.integers(4, 8).flatmap(lambda n: st.binary(min_size=4 * n, max_size=4 * n)),
    "PASSWORD-ALGORITHM": st.binary(max_size=20),
    "USERHASH": st.binary(min_size=32, max_size=32),
    "XOR-MAPPED-ADDRESS": _ADDRESS,
    "PRIORITY": st.integers(0, 2**32 - 1),
    "USE-CANDIDATE": st.just(b""),
    "PASSWORD-ALGORITHMS": st.binary(max_size=20),
    "ALTERNATE-DOMAIN": st.text(max_size=60),
    "SOFTWARE": _TEXT,
    "ALTERNATE-SERVER": _ADDRESS,
    "ICE-CONTROLLED": st.integers(0, 2**64 - 1),
    "ICE-CONTROLLING": st.integers(0, 2**64 - 1),
}
_OTHER = st.integers(0, 65535).filter(lambda number: number not in ATTRIBUTES and number != 0x8028)
_ATTRIBUTE = st.one_of(
    *(st.tuples(st.just(NUMBERS[name]), values) for name, values in _VALUES.items()),
    st.tuples(_OTHER, st.binary(max_size=50)),
)
_MESSAGE = st.builds(
    Message,
    st.integers(0, 0xFFF),
    st.sampled_from(MessageClass),
    st.binary(min_size=12, max_size=12),
    st.lists(_ATTRIBUTE, max_size=8).map(tuple),
    st.booleans(),
)


class CodecTests(SynchronousTestCase):
    """Messages in general."""

    def test_every_attribute_has_a_strategy(self) -> None:
        """The properties below leave no attribute out."""
        self.assertEqual(set(_VALUES), set(NUMBERS))

    @given(_MESSAGE)
    def test_encode_then_decode_is_identity(self, message: Message) -> None:
        """Any valid message is read back as it was written, and is recognised as STUN."""
        datagram = encode(message)
        self.assertTrue(looks_like(datagram))
        self.assertEqual(decode(datagram), message)

    @given(
        st.one_of(st.binary(max_size=200), st.lists(st.tuples(_OTHER, st.binary(max_size=40))).map(lambda x: raw(*x)))
    )
    def test_any_bytes_decode_or_raise_wire_error(self, datagram: bytes) -> None:
        """Bytes that are no message end in WireError, and in nothing else."""
        try:
            message = decode(datagram)
        except WireError:
            return
        self.assertEqual(decode(encode(message)), message)

    @given(st.sampled_from(sorted(ATTRIBUTES)), st.binary(max_size=800))
    def test_any_value_decodes_or_raises_wire_error(self, number: int, value: bytes) -> None:
        """Any value of any known attribute is read, so that it can be written again, or refused with WireError."""
        try:
            message = decode(raw((number, value)))
        except WireError:
            return
        self.assertEqual(decode(encode(message)), message)

    def test_malformed_values_are_refused(self) -> None:
        """Each kind of attribute refuses a wrong size, a wrong family, text that is not UTF-8 and the like."""
        malformed = {
            "MAPPED-ADDRESS": (
                b"",
                bytes(8),
                b"\0\1" + bytes(5),
                b"\0\1" + bytes(7),
                b"\0\2" + bytes(6),
                b"\0\3" + bytes(6),
            ),
            "XOR-MAPPED-ADDRESS": (b"", b"\0\1" + bytes(18), b"\0\2" + bytes(17), b"\0\2" + bytes(19), bytes(700)),
            "USERNAME": (b"\xff", b"x" * 509),
            "REALM": (b"x" * 764,),
            "ALTERNATE-DOMAIN": (b"x" * 256,),
            "MESSAGE-INTEGRITY": (bytes(19), bytes(21)),
            "MESSAGE-INTEGRITY-SHA256": (
                bytes(12),
                *(bytes(size) for size in (15, 17, 19, 21, 23, 25, 27, 29, 31, 33, 36)),
            ),
            "USERHASH": (bytes(31), bytes(33)),
            "ERROR-CODE": (
                bytes(3),
                b"\0\0\4",
                b"\0\0\2\0",
                b"\0\0\7\0",
                b"\0\0\4\x64",
                b"\0\0\4\0\xff",
                b"\0\0\4\0" + b"x" * 764,
            ),
            "UNKNOWN-ATTRIBUTES": (bytes(3),),
            "PRIORITY": (bytes(3), bytes(5)),
            "USE-CANDIDATE": (bytes(1),),
            "ICE-CONTROLLED": (bytes(7), bytes(9)),
        }
        for name, values in malformed.items():
            for value in values:
                with self.assertRaises(WireError, msg=f"{name} {value!r}"):
                    decode(raw((NUMBERS[name], value)))

    def test_values_at_their_limits_are_read(self) -> None:
        """The longest username, realm and domain and integrity, and the outermost error codes, are fine."""
        longest = {"USERNAME": b"x" * 508, "REALM": b"x" * 763, "ALTERNATE-DOMAIN": b"x" * 255}
        for size in (16, 20, 24, 28, 32):
            integrity = (NUMBERS["MESSAGE-INTEGRITY-SHA256"], bytes(size))
            self.assertEqual(decode(raw(integrity)).attributes, (integrity,))
        for name, value in longest.items():
            self.assertEqual(decode(raw((NUMBERS[name], value))).attributes, ((NUMBERS[name], value.decode()),))
        for value, code in ((b"\0\0\3\0", 300), (b"\0\0\6\x63", 699)):
            self.assertEqual(decode(raw((9, value))).attributes, ((9, (code, "")),))

    def test_attribute_that_overruns_its_message_is_refused(self) -> None:
        """A length that reaches past the end is refused, one that ends there is not."""
        exact = raw((0x8022, b"abcd"))
        self.assertEqual(decode(exact).attributes, ((0x8022, "abcd"),))
        for size in (5, 8, 0xFFFF):
            with self.assertRaises(WireError):
                decode(exact[:22] + size.to_bytes(2, "big") + exact[24:])

    def test_number_of_attributes_is_bounded(self) -> None:
        """As many as the limit are read, and one more is refused; FINGERPRINT comes on top."""
        many = [(0x8022, "")] * MAX_ATTRIBUTES
        self.assertEqual(len(decode(request(*many, fingerprint=True)).attributes), MAX_ATTRIBUTES)
        with self.assertRaises(WireError):
            decode(request(*many, (0x8022, "")))

    def test_wrong_fingerprint_is_refused(self) -> None:
        """A FINGERPRINT of another value or another size is refused."""
        good = request(fingerprint=True)
        for bad in (
            good[:-1] + bytes([good[-1] ^ 1]),
            raw((0x8028, bytes(4))),
            raw((0x8028, b"")),
            raw((0x8028, bytes(5))),
        ):
            with self.assertRaises(WireError):
                decode(bad)

    def test_fingerprint_must_be_last(self) -> None:
        """Whatever follows a FINGERPRINT makes it wrong, even if it fits what came before."""
        header = raw((0x8000, bytes(8)))[:20]
        mark = b"\x80\x28\x00\x04" + (crc32(header) ^ 0x5354554E).to_bytes(4, "big")
        with self.assertRaises(WireError):
            decode(header + mark + b"\x80\x22\x00\x00")
