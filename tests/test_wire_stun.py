"""Tests for :mod:`rendezvous.wire.stun`."""

from __future__ import annotations

from typing import Any
from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.errors import WireError
from rendezvous.wire.stun import (
    ATTRIBUTES,
    BINDING,
    MAX_ATTRIBUTES,
    Kind,
    Message,
    answer,
    decode,
    encode,
    looks_like,
)

# RFC 5769, sections 2.1 to 2.4.
SAMPLE_REQUEST = bytes.fromhex(
    "00010058 2112a442 b7e7a701 bc34d686 fa87dfae"
    "80220010 5354554e 20746573 7420636c 69656e74"
    "00240004 6e0001ff"
    "80290008 932ff9b1 51263b36"
    "00060009 6576746a 3a683676 59202020"
    "00080014 9aeaa70c bfd8cb56 781ef2b5 b2d3f249 c1b571a2"
    "80280004 e57a3bcf"
)
SAMPLE_IPV4_RESPONSE = bytes.fromhex(
    "0101003c 2112a442 b7e7a701 bc34d686 fa87dfae"
    "8022000b 74657374 20766563 746f7220"
    "00200008 0001a147 e112a643"
    "00080014 2b91f599 fd9e90c3 8c7489f9 2af9ba53 f06be7d7"
    "80280004 c07d4c96"
)
SAMPLE_IPV6_RESPONSE = bytes.fromhex(
    "01010048 2112a442 b7e7a701 bc34d686 fa87dfae"
    "8022000b 74657374 20766563 746f7220"
    "00200014 0002a147 0113a9fa a5d3f179 bc25f4b5 bed2b9d9"
    "00080014 a382954e 4be67bf1 1784c97c 8292c275 bfe3ed41"
    "80280004 c8fb0b4c"
)
SAMPLE_LONG_TERM_REQUEST = bytes.fromhex(
    "00010060 2112a442 78ad3433 c6ad72c0 29da412e"
    "00060012 e3839ee3 8388e383 aae38383 e382afe3 82b90000"
    "0015001c 662f2f34 39396b39 35346436 4f4c3334 6f4c3946 53547679 36347341"
    "0014000b 6578616d 706c652e 6f726700"
    "00080014 f6702465 6dd64a3e 02b8e071 2e85c9a2 8ca89666"
)
SAMPLES = (SAMPLE_REQUEST, SAMPLE_IPV4_RESPONSE, SAMPLE_IPV6_RESPONSE, SAMPLE_LONG_TERM_REQUEST)

TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
IPV4 = ("192.0.2.1", 32853)
IPV6 = ("2001:db8:1234:5678:11:2233:4455:6677", 32853)
NUMBERS = {attribute.name: number for number, attribute in ATTRIBUTES.items()}

USERNAME = (0x0006, "evtj:h6vY")
INTEGRITY = (0x0008, bytes(20))
CHANGE_REQUEST = (0x0003, bytes(4))


def request(*attributes: tuple[int, Any], fingerprint: bool = False, kind: Kind = Kind.REQUEST) -> bytes:
    """Write a Binding message, a request if nothing else is said."""
    return encode(Message(BINDING, kind, TRANSACTION, attributes, fingerprint))


def raw(*attributes: tuple[int, bytes]) -> bytes:
    """Write a Binding request around attribute values that no encoder would write."""
    body = b""
    for number, value in attributes:
        body += number.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value + bytes(-len(value) % 4)
    return b"\x00\x01" + len(body).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + TRANSACTION + body


def answered(datagram: bytes, address: tuple[str, int] = IPV4) -> Message:
    """Decode the response that a datagram gets, failing without one."""
    response = answer(datagram, address)
    assert response is not None
    return decode(response)


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
        self.assertEqual(decode(SAMPLE_REQUEST), Message(BINDING, Kind.REQUEST, TRANSACTION, expected, True))

    def test_responses(self) -> None:
        """Both responses show the address that the RFC says they hold."""
        for sample, address in ((SAMPLE_IPV4_RESPONSE, IPV4), (SAMPLE_IPV6_RESPONSE, IPV6)):
            message = decode(sample)
            self.assertEqual((message.kind, message.fingerprint), (Kind.SUCCESS, True))
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
    st.sampled_from(Kind),
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
        """Any valid message is read back as it was written, and is STUN to whoever looks."""
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
            "MESSAGE-INTEGRITY-SHA256": (bytes(12), bytes(17), bytes(36)),
            "USERHASH": (bytes(31), bytes(33)),
            "ERROR-CODE": (
                bytes(3),
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
        """The longest username, realm and domain, and the outermost error codes, are fine."""
        longest = {"USERNAME": b"x" * 508, "REALM": b"x" * 763, "ALTERNATE-DOMAIN": b"x" * 255}
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


class AnswerTests(SynchronousTestCase):
    """The Binding server."""

    def test_bare_request_is_answered_with_the_source(self) -> None:
        """A request without attributes gets XOR-MAPPED-ADDRESS and nothing else, for IPv4 and IPv6."""
        for address, size in ((IPV4, 32), (IPV6, 44)):
            response = answer(request(), address)
            assert response is not None
            self.assertEqual(decode(response), Message(BINDING, Kind.SUCCESS, TRANSACTION, ((0x0020, address),)))
            self.assertEqual(len(response), size)

    def test_address_is_written_as_in_the_rfc(self) -> None:
        """The attribute's bytes are those of RFC 5769, sections 2.2 and 2.3."""
        for address, sample, size in ((IPV4, SAMPLE_IPV4_RESPONSE, 12), (IPV6, SAMPLE_IPV6_RESPONSE, 24)):
            response = answer(request(), address)
            assert response is not None
            self.assertEqual(response[20:], sample[36 : 36 + size])

    @given(_ADDRESS, st.booleans())
    def test_any_source_is_answered(self, address: tuple[str, int], fingerprint: bool) -> None:
        """Every address and port comes back, IPv4-mapped IPv6 aside, with FINGERPRINT if the request had one."""
        response = answered(request(fingerprint=fingerprint), address)
        if not address[0].startswith("::ffff:"):
            self.assertEqual(response.attributes, ((0x0020, address),))
        self.assertEqual(response.fingerprint, fingerprint)

    def test_mapped_source_is_answered_as_ipv4(self) -> None:
        """What a dual-stack socket shows as IPv4-mapped IPv6 is an IPv4 address to its owner."""
        for host in ("::ffff:192.0.2.1", "::ffff:c000:201"):
            self.assertEqual(answer(request(), (host, 32853)), answer(request(), IPV4))

    def test_scope_of_a_source_is_left_out(self) -> None:
        """A link-local source is answered without the server's name for the link."""
        self.assertEqual(answered(request(), ("fe80::1%eth0", 1)).attributes, ((0x0020, ("fe80::1", 1)),))

    def test_optional_and_unexpected_attributes_are_ignored(self) -> None:
        """SOFTWARE, unknown optional attributes and those of a response change nothing."""
        ignored: tuple[tuple[int, Any], ...] = (
            (0x8022, "x"),
            (0x8000, b"?"),
            (0xFFFF, b""),
            (0x802A, 1),
            (0x0020, IPV4),
            (0x0009, (420, "")),
        )
        for attribute in ignored:
            self.assertEqual(answer(request(attribute), IPV4), answer(request(), IPV4))

    def test_credentials_are_understood_and_ignored(self) -> None:
        """A public server asks for no credentials and objects to none."""
        credentials: tuple[tuple[int, Any], ...] = (
            USERNAME,
            (0x0014, "example.org"),
            (0x0015, "nonce"),
            (0x001D, bytes(4)),
            (0x001E, bytes(32)),
            INTEGRITY,
            (0x001C, bytes(32)),
        )
        self.assertEqual(answer(request(*credentials), IPV4), answer(request(), IPV4))
        self.assertEqual(answered(SAMPLE_LONG_TERM_REQUEST).attributes, ((0x0020, IPV4),))

    def test_unknown_required_attributes_get_420(self) -> None:
        """Each unknown attribute is listed once, in the order of the request."""
        response = answered(request((0x7FFF, b""), CHANGE_REQUEST, (0x8000, b""), (0x7FFF, b"x"), (0, b"")))
        expected = ((0x0009, (420, "")), (0x000A, (0x7FFF, 0x0003, 0)))
        self.assertEqual(response, Message(BINDING, Kind.ERROR, TRANSACTION, expected))

    def test_connectivity_checks_do_not_pass(self) -> None:
        """PRIORITY and USE-CANDIDATE belong between ICE agents; a check with them fails, FINGERPRINT in place."""
        response = answered(SAMPLE_REQUEST)
        self.assertEqual((response.kind, response.fingerprint), (Kind.ERROR, True))
        self.assertEqual(dict(response.attributes)[0x000A], (0x0024,))
        self.assertEqual(dict(answered(request((0x0025, b""))).attributes)[0x000A], (0x0025,))

    def test_what_follows_integrity_is_ignored(self) -> None:
        """An unknown attribute counts before MESSAGE-INTEGRITY (either one), and not after it."""
        for integrity in (INTEGRITY, (0x001C, bytes(32))):
            self.assertEqual(answered(request(CHANGE_REQUEST, integrity)).kind, Kind.ERROR)
            self.assertEqual(answered(request(integrity, CHANGE_REQUEST)).kind, Kind.SUCCESS)

    def test_everything_else_is_dropped(self) -> None:
        """Other classes and methods, a wrong FINGERPRINT, malformed attributes and other datagrams get no answer."""
        allocate = encode(Message(0x003, Kind.REQUEST, TRANSACTION))
        good = request(fingerprint=True)
        dropped = [request(kind=kind) for kind in Kind if kind is not Kind.REQUEST]
        dropped += [
            allocate,
            SAMPLE_IPV4_RESPONSE,
            good[:-1] + bytes([good[-1] ^ 1]),
            raw((0x0006, b"\xff")),
            b"",
            bytes(20),
        ]
        dropped += [b"{}", b"\x00\x01", request() + bytes(4), request()[:19]]
        self.assertEqual([answer(datagram, IPV4) for datagram in dropped], [None] * len(dropped))

    def test_no_answer_is_itself_answered(self) -> None:
        """Two servers cannot be made to talk to each other."""
        for datagram in (request(), request(CHANGE_REQUEST)):
            response = answer(datagram, IPV4)
            assert response is not None
            self.assertIsNone(answer(response, IPV4))

    @given(
        st.sampled_from([*SAMPLES, request(), request(CHANGE_REQUEST, USERNAME), request(fingerprint=True)]),
        st.integers(0, 200),
        st.integers(0, 107),
        st.integers(0, 255),
        st.booleans(),
    )
    def test_cut_and_flipped_messages_never_raise(
        self, sample: bytes, length: int, position: int, flip: int, mend: bool
    ) -> None:
        """Any cut or flip of a valid message gets a well-formed response or none, also when its length is mended."""
        datagram = bytearray(sample[:length])
        if position < len(datagram):
            datagram[position] ^= flip
        if mend and len(datagram) >= 20:
            datagram[2:4] = (len(datagram) - 20).to_bytes(2, "big")
        response = answer(bytes(datagram), IPV4)
        if response is not None:
            self.assertIn(decode(response).kind, (Kind.SUCCESS, Kind.ERROR))

    @given(st.binary(max_size=100))
    def test_any_bytes_get_a_response_or_none(self, datagram: bytes) -> None:
        """Random attributes in a Binding request never raise, and what answers them is well-formed."""
        body = datagram[: len(datagram) & ~3]
        response = answer(request()[:2] + len(body).to_bytes(2, "big") + request()[4:] + body, IPV6)
        if response is not None:
            self.assertEqual(decode(response).transaction_id, TRANSACTION)
        self.assertIsNone(answer(datagram, IPV6))

    def test_error_is_never_much_longer_than_its_request(self) -> None:
        """The worst error is half as long again as its request, however many attributes it lists."""
        for count in (1, 2, 3, MAX_ATTRIBUTES):
            datagram = request(*((number, b"") for number in range(0x4000, 0x4000 + count)))
            response = answer(datagram, IPV4)
            assert response is not None
            self.assertLessEqual(len(response), 1.5 * len(datagram))
