"""The codecs of signed requests, their replies, and datagrams of 32 bytes, byte for byte."""

from __future__ import annotations

from hashlib import blake2s

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.macs import datagram_key, derive_key, is_authentic, mac
from rendezvous.core.presence.states import PulseCode
from rendezvous.errors import WireError
from rendezvous.wire.connect import decode_address, encode_address
from rendezvous.wire.signed import (
    SHORT_SIZE,
    SIGNED_SIZE,
    Reply,
    Request,
    Short,
    ShortKind,
    decode_reply,
    decode_request,
    decode_short,
    encode_request,
    encode_short,
    reply_to,
)

PRIVATE = bytes(range(0xE0, 0x100))
KEY = datagram_key(PRIVATE)
CLIENT = bytes(range(0x10, 0x20))
ATTEMPT = b"attempt!"
ADDRESS = ("192.0.2.7", 40000)
REQUESTS = st.builds(
    Request,
    st.binary(min_size=16, max_size=16),
    st.integers(0, 2**64 - 1),
    st.binary(min_size=8, max_size=8),
    port=st.integers(0, 255),
) | st.builds(
    Request,
    st.binary(min_size=16, max_size=16),
    st.integers(0, 2**64 - 1),
    st.binary(min_size=8, max_size=8),
    st.binary(min_size=8, max_size=8).filter(any),
    st.integers(1, 65535),
    st.integers(0, 255),
)
HOSTS = st.ip_addresses().map(str)


def signed(body: bytes) -> bytes:
    """:returns: a body with the MAC that fits."""
    return body + mac(KEY, body)


class KeyTests(SynchronousTestCase):
    """Keys and MACs."""

    def test_a_key_is_keyed_blake2s_of_nothing_with_its_purpose(self) -> None:
        """The purpose is the personalisation string, padded with zero bytes."""
        self.assertEqual(derive_key(PRIVATE, b"probe"), blake2s(b"", key=PRIVATE, person=b"probe\0\0\0").digest())
        self.assertEqual(derive_key(PRIVATE, b"datagram"), datagram_key(PRIVATE))

    def test_keys_have_known_values(self) -> None:
        """A change of the derivation would lock out every client of another version."""
        self.assertEqual(KEY.hex(), "f16b4c4b1df7f2b4c13db41091982497b7950d70215fb6d01a41f152dc467b73")
        self.assertEqual(mac(KEY, b"message").hex(), "27ecb214f80eafd4a864b32f45b7c7b0")

    def test_one_changed_bit_is_found(self) -> None:
        """In the message as well as in the code."""
        datagram = signed(b"message")
        self.assertTrue(is_authentic(KEY, datagram))
        for at in range(len(datagram)):
            changed = datagram[:at] + bytes([datagram[at] ^ 1]) + datagram[at + 1 :]
            self.assertFalse(is_authentic(KEY, changed))

    def test_another_key_is_found(self) -> None:
        """The private key itself is not the datagram key."""
        self.assertFalse(is_authentic(PRIVATE, signed(b"message")))

    def test_what_is_shorter_than_a_code_is_not_authentic(self) -> None:
        """Nothing at all has no code."""
        for datagram in (b"", bytes(15)):
            self.assertFalse(is_authentic(KEY, datagram))


class PlaceTests(SynchronousTestCase):
    """Addresses in 18 bytes."""

    def test_ipv4_is_mapped(self) -> None:
        """An IPv4 address is written as one mapped into IPv6, and read as IPv4."""
        data = bytes.fromhex("00000000000000000000ffffc0000207") + (40000).to_bytes(2, "big")
        self.assertEqual(encode_address(ADDRESS), data)
        self.assertEqual(encode_address(("::ffff:192.0.2.7", 40000)), data)
        self.assertEqual(decode_address(data), ADDRESS)

    def test_other_lengths_are_wire_errors(self) -> None:
        """One byte less or more."""
        for size in (0, 17, 19):
            self.assertRaises(WireError, decode_address, bytes(size))

    @given(HOSTS, st.integers(0, 65535))
    def test_what_is_written_is_read(self, host: str, port: int) -> None:
        """Both kinds of addresses."""
        shown, read = decode_address(encode_address((host, port)))
        self.assertEqual((encode_address((shown, read)), read), (encode_address((host, port)), port))

    @given(st.binary(min_size=18, max_size=18))
    def test_any_18_bytes_are_read(self, data: bytes) -> None:
        """And give the same bytes again."""
        self.assertEqual(encode_address(decode_address(data)), data)


class RequestTests(SynchronousTestCase):
    """Signed requests."""

    def test_a_pulse_byte_for_byte(self) -> None:
        """Each field is at the place that the protocol gives it."""
        datagram = encode_request(Request(CLIENT, 0x0102030405060708, b"nonce..8", port=1), KEY)
        body = b"\x0b\x01\0\0" + CLIENT + bytes(range(1, 9)) + b"nonce..8" + bytes(8) + bytes(18) + b"\1\0"
        self.assertEqual(datagram, signed(body))
        self.assertEqual(len(datagram), SIGNED_SIZE)

    def test_an_observation_byte_for_byte(self) -> None:
        """It has an attempt and a round."""
        datagram = encode_request(Request(CLIENT, 1, b"nonce..8", ATTEMPT, 258), KEY)
        body = b"\x0b\x01\1\2" + CLIENT + bytes(7) + b"\1nonce..8" + ATTEMPT + bytes(20)
        self.assertEqual(datagram, signed(body))

    @given(REQUESTS)
    def test_what_is_written_is_read(self, request: Request) -> None:
        """Every field comes back, and the MAC holds."""
        datagram = encode_request(request, KEY)
        self.assertEqual(decode_request(datagram), request)
        self.assertTrue(is_authentic(KEY, datagram))

    def test_reserved_bytes_are_zero(self) -> None:
        """Each of them that is not zero makes it another datagram, also with a MAC that holds."""
        body = encode_request(Request(CLIENT, 1, b"nonce..8"), KEY)[:64]
        for at in (*range(44, 62), 63):
            self.assertRaises(WireError, decode_request, signed(body[:at] + b"\1" + body[at + 1 :]))

    def test_a_round_belongs_to_an_attempt(self) -> None:
        """A pulse has no round, and an observation has one."""
        for request in (Request(CLIENT, 1, b"nonce..8", round=1), Request(CLIENT, 1, b"nonce..8", ATTEMPT)):
            self.assertRaises(WireError, decode_request, encode_request(request, KEY))

    def test_other_datagrams_are_wire_errors(self) -> None:
        """Another length, and other first bytes."""
        datagram = encode_request(Request(CLIENT, 1, b"nonce..8"), KEY)
        for other in (b"", datagram[:-1], datagram + b"\0", b"\x0c" + datagram[1:], b"\x0b\x81" + datagram[2:]):
            self.assertRaises(WireError, decode_request, other)

    @given(st.binary(max_size=100) | st.binary(min_size=78, max_size=78).map(lambda data: b"\x0b\x01" + data))
    def test_any_bytes_are_a_request_or_a_wire_error(self, datagram: bytes) -> None:
        """A request that is read is written with the same bytes again."""
        try:
            request = decode_request(datagram)
        except WireError:
            return
        self.assertEqual(encode_request(request, KEY)[:64], datagram[:64])


class ReplyTests(SynchronousTestCase):
    """Replies to signed requests."""

    def test_a_reply_byte_for_byte(self) -> None:
        """It repeats what identifies the request, and adds the code and the address."""
        request = encode_request(Request(CLIENT, 1, b"nonce..8", ATTEMPT, 3, 1), KEY)
        reply = reply_to(request, PulseCode.ON_TIME, ADDRESS, KEY)
        body = b"\x0b\x81\x03\xfc" + request[4:44] + encode_address(ADDRESS) + b"\1\0"
        self.assertEqual(reply, signed(body))
        self.assertEqual(len(reply), SIGNED_SIZE)

    @given(REQUESTS, st.sampled_from(PulseCode), HOSTS, st.integers(0, 65535))
    def test_what_is_written_is_read(self, request: Request, code: PulseCode, host: str, port: int) -> None:
        """All codes and all kinds of addresses."""
        address = decode_address(encode_address((host, port)))
        read = decode_reply(reply_to(encode_request(request, KEY), code, (host, port), KEY), KEY)
        repeated = Request(request.client_id, request.time, request.nonce, request.attempt, 0, request.port)
        self.assertEqual(read, Reply(code, repeated, address))

    def test_a_reply_with_a_wrong_mac_is_a_wire_error(self) -> None:
        """A client believes no address that somebody else has written."""
        reply = reply_to(encode_request(Request(CLIENT, 1, b"nonce..8"), KEY), PulseCode.ON_TIME, ADDRESS, KEY)
        self.assertRaises(WireError, decode_reply, reply, PRIVATE)
        self.assertRaises(WireError, decode_reply, reply[:50] + b"\xee" + reply[51:], KEY)

    def test_other_datagrams_are_wire_errors(self) -> None:
        """A request, another length, another code, and a reserved byte that is not zero."""
        request = encode_request(Request(CLIENT, 1, b"nonce..8"), KEY)
        body = reply_to(request, PulseCode.ON_TIME, ADDRESS, KEY)[:64]
        strange = signed(body[:2] + b"\0\1" + body[4:])
        for other in (b"", request, signed(body)[:-1], signed(body) + b"\0", strange, signed(body[:63] + b"\1")):
            self.assertRaises(WireError, decode_reply, other, KEY)

    @given(st.binary(min_size=62, max_size=62).map(lambda data: signed(b"\x0b\x81" + data)) | st.binary(max_size=100))
    def test_any_bytes_are_a_reply_or_a_wire_error(self, datagram: bytes) -> None:
        """Also with a MAC that holds."""
        try:
            decode_reply(datagram, KEY)
        except WireError:
            return
        self.assertTrue(is_authentic(KEY, datagram))


class ShortTests(SynchronousTestCase):
    """Invitations, address checks and their answers."""

    def test_each_kind_byte_for_byte(self) -> None:
        """They differ in the second byte."""
        for kind, second in ((ShortKind.ADDRESS_CHECK, 2), (ShortKind.CHECK_ANSWER, 0x82), (ShortKind.INVITATION, 3)):
            datagram = encode_short(Short(kind, ATTEMPT, b"four"), KEY)
            self.assertEqual(datagram, signed(bytes([0x0B, second, 0, 0]) + ATTEMPT + b"four"))
            self.assertEqual(len(datagram), SHORT_SIZE)

    @given(st.sampled_from(ShortKind), st.binary(min_size=8, max_size=8), st.binary(min_size=4, max_size=4))
    def test_what_is_written_is_read(self, kind: ShortKind, attempt: bytes, nonce: bytes) -> None:
        """Every field comes back, and the MAC holds."""
        datagram = encode_short(Short(kind, attempt, nonce), KEY)
        self.assertEqual(decode_short(datagram), Short(kind, attempt, nonce))
        self.assertTrue(is_authentic(KEY, datagram))

    def test_other_datagrams_are_wire_errors(self) -> None:
        """Another length, another first or second byte, and reserved bytes that are not zero."""
        good = encode_short(Short(ShortKind.INVITATION, ATTEMPT, b"four"), KEY)
        others = [b"", good[:-1], good + b"\0", b"\x0c" + good[1:], b"\x0b\x04" + good[2:]]
        others += [good[:at] + b"\1" + good[at + 1 :] for at in (2, 3)]
        for other in others:
            self.assertRaises(WireError, decode_short, other)

    @given(st.binary(max_size=40) | st.binary(min_size=31, max_size=31).map(lambda data: b"\x0b" + data))
    def test_any_bytes_are_read_or_a_wire_error(self, datagram: bytes) -> None:
        """What is read is written with the same bytes again."""
        try:
            short = decode_short(datagram)
        except WireError:
            return
        self.assertEqual(encode_short(short, KEY)[:16], datagram[:16])
