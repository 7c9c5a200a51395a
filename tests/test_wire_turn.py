"""TURN messages: RFC 5769's vectors, samples byte for byte, aioice's codec for comparison, and anything at all."""

from __future__ import annotations

import contextlib
from typing import Any

from aioice import stun as aioice_stun
from hypothesis import example, given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.errors import WireError
from rendezvous.wire.stun import Message, MessageClass
from rendezvous.wire.turn import (
    ATTRIBUTES,
    CHANNELS,
    Frames,
    Method,
    Name,
    decode,
    encode,
    encode_channel_data,
    first,
    is_authentic,
    is_channel_data,
    long_term_key,
    read_channel_data,
)
from tests.stun_samples import (
    IPV4,
    IPV6,
    SAMPLE_IPV4_RESPONSE,
    SAMPLE_IPV6_RESPONSE,
    SAMPLE_LONG_TERM_REQUEST,
    SAMPLE_REQUEST,
    SAMPLES,
    TRANSACTION,
)

# RFC 5769, section 2: the password of the short-term vectors, and the credential of the long-term one.
SHORT_TERM_KEY = b"VOkJxbRl1RmTxUk/WvJxBt"
LONG_TERM_KEY = long_term_key("\u30de\u30c8\u30ea\u30c3\u30af\u30b9", "example.org", "TheMatrIX")


def message(method: int, kind: MessageClass, *attributes: tuple[int, Any]) -> Message:
    """Make a message with the transaction id of the samples."""
    return Message(method, kind, TRANSACTION, attributes)


#: Messages and their bytes, laid out by hand from RFC 8656, section 18. The addresses are those of RFC 5769.
MESSAGES = (
    (
        message(Method.ALLOCATE, MessageClass.REQUEST, (Name.REQUESTED_TRANSPORT, 17), (Name.LIFETIME, 600)),
        "00030010 2112a442 b7e7a701bc34d686fa87dfae 00190004 11000000 000d0004 00000258",
    ),
    (
        message(Method.ALLOCATE, MessageClass.SUCCESS, (Name.XOR_RELAYED_ADDRESS, IPV4), (Name.LIFETIME, 600)),
        "01030014 2112a442 b7e7a701bc34d686fa87dfae 00160008 0001a147e112a643 000d0004 00000258",
    ),
    (
        message(Method.REFRESH, MessageClass.REQUEST, (Name.LIFETIME, 0)),
        "00040008 2112a442 b7e7a701bc34d686fa87dfae 000d0004 00000000",
    ),
    (
        message(Method.CREATE_PERMISSION, MessageClass.REQUEST, (Name.XOR_PEER_ADDRESS, IPV6)),
        "00080018 2112a442 b7e7a701bc34d686fa87dfae 00120014 0002a147 0113a9faa5d3f179bc25f4b5bed2b9d9",
    ),
    (
        message(
            Method.CHANNEL_BIND, MessageClass.REQUEST, (Name.CHANNEL_NUMBER, 0x4001), (Name.XOR_PEER_ADDRESS, IPV4)
        ),
        "00090014 2112a442 b7e7a701bc34d686fa87dfae 000c0004 40010000 00120008 0001a147e112a643",
    ),
    (
        message(Method.SEND, MessageClass.INDICATION, (Name.XOR_PEER_ADDRESS, IPV4), (Name.DATA, b"abcde")),
        "00160018 2112a442 b7e7a701bc34d686fa87dfae 00120008 0001a147e112a643 00130005 6162636465000000",
    ),
    (
        message(Method.DATA, MessageClass.INDICATION, (Name.XOR_PEER_ADDRESS, IPV4), (Name.DATA, b"")),
        "00170010 2112a442 b7e7a701bc34d686fa87dfae 00120008 0001a147e112a643 00130000",
    ),
    (
        message(Method.REFRESH, MessageClass.ERROR, (Name.ERROR_CODE, (438, "Stale")), (Name.NONCE, "n")),
        "01140018 2112a442 b7e7a701bc34d686fa87dfae 00090009 00000426 5374616c65000000 00150001 6e000000",
    ),
)


class MessageTests(SynchronousTestCase):
    """Messages as RFC 8656 lays them out."""

    def test_each_message_has_the_bytes_of_the_rfc_both_ways(self) -> None:
        """What is written is the sample, and what is read from it is the message."""
        for record, sample in MESSAGES:
            self.assertEqual(encode(record).hex(), sample.replace(" ", ""))
            self.assertEqual(decode(bytes.fromhex(sample)), record)

    def test_another_library_reads_the_same(self) -> None:
        """The codec of aioice finds the method and the addresses in what we write."""
        for record, _ in MESSAGES:
            theirs = aioice_stun.parse_message(encode(record, LONG_TERM_KEY))
            self.assertEqual(int(theirs.message_method), record.method)
            for name in (Name.XOR_PEER_ADDRESS, Name.XOR_RELAYED_ADDRESS, Name.LIFETIME, Name.CHANNEL_NUMBER):
                self.assertEqual(theirs.attributes.get(name.name.replace("_", "-")), first(record, name))

    def test_what_another_library_writes_is_read(self) -> None:
        """A message of aioice is authentic under its key, and not under another one."""
        theirs = aioice_stun.Message(
            message_method=aioice_stun.Method.ALLOCATE,
            message_class=aioice_stun.Class.RESPONSE,
            transaction_id=TRANSACTION,
        )
        theirs.attributes["XOR-RELAYED-ADDRESS"] = IPV4
        theirs.attributes["LIFETIME"] = 600
        theirs.add_message_integrity(LONG_TERM_KEY)
        datagram = bytes(theirs)
        self.assertTrue(is_authentic(datagram, LONG_TERM_KEY))
        self.assertFalse(is_authentic(datagram, SHORT_TERM_KEY))
        read = decode(datagram)
        self.assertEqual((read.method, read.kind), (Method.ALLOCATE, MessageClass.SUCCESS))
        self.assertEqual((first(read, Name.XOR_RELAYED_ADDRESS), first(read, Name.LIFETIME)), (IPV4, 600))

    def test_names_and_table_agree(self) -> None:
        """Each attribute that the client names is in the table, under the name that the RFC gives it."""
        for name in Name:
            self.assertEqual(ATTRIBUTES[name].name, name.name.replace("_", "-"))

    def test_unknown_attribute_below_0x8000_is_refused(self) -> None:
        """It has to be understood; one above may be passed over."""
        with self.assertRaises(WireError):
            decode(encode(message(Method.REFRESH, MessageClass.SUCCESS, (0x7FFF, b""))))
        optional = message(Method.REFRESH, MessageClass.SUCCESS, (0xC000, b"abcd"))
        self.assertEqual(decode(encode(optional)), optional)

    def test_value_of_the_wrong_size_is_refused(self) -> None:
        """A lifetime, a channel number, a transport and an address each have one size."""
        for number, value in ((0x000D, b"abc"), (0x000C, b"ab"), (0x0019, b"\x11"), (0x0012, b"abcdefg")):
            sample = len(value).to_bytes(2, "big") + value + bytes(-len(value) % 4)
            body = number.to_bytes(2, "big") + sample
            datagram = b"\x01\x04" + len(body).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + TRANSACTION + body
            with self.assertRaises(WireError):
                decode(datagram)


class IntegrityTests(SynchronousTestCase):
    """MESSAGE-INTEGRITY, with the vectors of RFC 5769."""

    def test_vectors_are_authentic(self) -> None:
        """Those with a short-term key are followed by FINGERPRINT; that of a long-term credential is not."""
        for sample in (SAMPLE_REQUEST, SAMPLE_IPV4_RESPONSE, SAMPLE_IPV6_RESPONSE):
            self.assertTrue(is_authentic(sample, SHORT_TERM_KEY))
        self.assertTrue(is_authentic(SAMPLE_LONG_TERM_REQUEST, LONG_TERM_KEY))

    def test_another_key_or_a_changed_bit_is_not_authentic(self) -> None:
        """Whichever byte before the end of the attribute is changed."""
        self.assertFalse(is_authentic(SAMPLE_LONG_TERM_REQUEST, SHORT_TERM_KEY))
        # The method, the transaction id, an attribute, and the integrity itself.
        for position in (1, 8, 30, len(SAMPLE_LONG_TERM_REQUEST) - 1):
            changed = bytearray(SAMPLE_LONG_TERM_REQUEST)
            changed[position] ^= 1
            self.assertFalse(is_authentic(bytes(changed), LONG_TERM_KEY), position)

    def test_message_without_integrity_is_not_authentic(self) -> None:
        """Also if the key is empty."""
        for record, _ in MESSAGES:
            self.assertFalse(is_authentic(encode(record), b""))

    def test_long_term_vector_is_written_byte_for_byte(self) -> None:
        """Its attributes, sealed with its credential, are the vector."""
        sample = decode(SAMPLE_LONG_TERM_REQUEST)
        bare = Message(sample.method, sample.kind, sample.transaction_id, sample.attributes[:-1])
        self.assertEqual(encode(bare, LONG_TERM_KEY), SAMPLE_LONG_TERM_REQUEST)

    def test_fingerprint_gives_way_to_integrity(self) -> None:
        """A message that gets MESSAGE-INTEGRITY has no FINGERPRINT, and its length counts what it has."""
        datagram = encode(Message(Method.REFRESH, MessageClass.REQUEST, TRANSACTION, (), True), SHORT_TERM_KEY)
        self.assertEqual(len(datagram), 44)
        self.assertFalse(decode(datagram).fingerprint)
        self.assertTrue(is_authentic(datagram, SHORT_TERM_KEY))

    def test_what_follows_the_integrity_is_left_out(self) -> None:
        """An attribute that somebody appended does not reach the reader, known or not."""
        sealed = encode(message(Method.REFRESH, MessageClass.SUCCESS, (Name.LIFETIME, 600)), SHORT_TERM_KEY)
        for appended in ("000d000400000001", "7fff0000"):
            body = sealed[20:] + bytes.fromhex(appended)
            read = decode(sealed[:2] + len(body).to_bytes(2, "big") + sealed[4:20] + body)
            self.assertEqual([number for number, _ in read.attributes], [Name.LIFETIME, Name.MESSAGE_INTEGRITY])
            self.assertEqual(first(read, Name.LIFETIME), 600)

    def test_key_is_that_of_the_rfc(self) -> None:
        """RFC 8489, section 9.2.2 (and RFC 5389, section 15.4) give an example."""
        self.assertEqual(long_term_key("user", "realm", "pass").hex(), "8493fbc53ba582fb4c044c456bdc40eb")


class ChannelDataTests(SynchronousTestCase):
    """ChannelData, over UDP and over streams."""

    def test_padding_is_for_streams_only(self) -> None:
        """The length field counts the payload alone, and what is read is the payload."""
        for payload, plain, padded in (
            (b"", "40000000", "40000000"),
            (b"a", "4000000161", "4000000161000000"),
            (b"abcd", "4000000461626364", "4000000461626364"),
        ):
            for is_padded, expected in ((False, plain), (True, padded)):
                frame = encode_channel_data(0x4000, payload, padded=is_padded)
                self.assertEqual(frame.hex(), expected)
                self.assertEqual(read_channel_data(frame), (0x4000, payload))

    def test_frame_that_is_none_is_refused(self) -> None:
        """It is too short, shorter than its length field says, or begins otherwise."""
        for frame in (
            b"",
            b"\x40\x00\x00",
            b"\x40\x00\x00\x02a",
            b"\x50\x00\x00\x00",
            b"\x3f\xff\x00\x00",
            SAMPLE_REQUEST,
        ):
            with self.assertRaises(WireError):
                read_channel_data(frame)

    def test_first_byte_tells_channels_from_messages(self) -> None:
        """Every channel is told, and no message is."""
        self.assertTrue(all(is_channel_data(channel.to_bytes(2, "big")) for channel in (CHANNELS[0], CHANNELS[-1])))
        self.assertFalse(any(is_channel_data(sample) for sample in (b"", b"\x50", *SAMPLES)))


class FramesTests(SynchronousTestCase):
    """Frames in a stream."""

    STREAM = (SAMPLE_REQUEST, encode_channel_data(0x4001, b"abcde", padded=True), SAMPLE_IPV4_RESPONSE)

    def test_frames_are_found_however_the_stream_is_cut(self) -> None:
        """In pieces of any size."""
        stream = b"".join(self.STREAM)
        for size in range(1, len(stream) + 1):
            frames = Frames()
            found = [
                frame for start in range(0, len(stream), size) for frame in frames.feed(stream[start : start + size])
            ]
            self.assertEqual(found, list(self.STREAM), size)

    def test_longest_frames_are_found(self) -> None:
        """A length field may say 65535 for ChannelData, and 65532 for a message."""
        longest = encode_channel_data(0x4001, bytes(65535), padded=True)
        message = b"\x00\x01\xff\xfc" + bytes(16 + 65532)
        self.assertEqual(list(Frames().feed(longest + message)), [longest, message])

    def test_stream_that_is_none_is_refused(self) -> None:
        """Frames before the place are still given."""
        for garbage in (b"\x50\x00\x00\x00", b"\x00\x01\x00\x02", b"\x3f\xff\x00\x01", b"SSH-"):
            frames, found = Frames(), []
            with self.assertRaises(WireError):
                for frame in frames.feed(SAMPLE_REQUEST + garbage):
                    found.append(frame)
            self.assertEqual(found, [SAMPLE_REQUEST])


class AnythingTests(SynchronousTestCase):
    """Any bytes are read, or refused with a WireError."""

    @given(st.binary(max_size=200) | st.sampled_from(SAMPLES).flatmap(lambda sample: st.binary().map(sample.__add__)))
    @example(b"")
    def test_any_bytes_are_read_or_refused(self, data: bytes) -> None:
        """Whatever is read can be written again."""
        try:
            record = decode(data)
        except WireError:
            pass
        else:
            self.assertEqual(decode(encode(record)), record)
            is_authentic(data, b"key")
        for reader in (read_channel_data, lambda stream: list(Frames().feed(stream))):
            with contextlib.suppress(WireError):
                reader(data)

    @given(
        st.binary(max_size=12), st.lists(st.sampled_from((0x000C, 0x000D, 0x0012, 0x0013, 0x0016, 0x0019)), max_size=4)
    )
    def test_any_value_of_an_attribute_is_read_or_refused(self, value: bytes, numbers: list[int]) -> None:
        """The header is right, and the value is anything."""
        body = b"".join(
            number.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value + bytes(-len(value) % 4)
            for number in numbers
        )
        with contextlib.suppress(WireError):
            decode(b"\x01\x03" + len(body).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + TRANSACTION + body)

    @given(st.binary(max_size=100), st.lists(st.integers(1, 50), max_size=20))
    def test_any_stream_gives_the_same_however_it_is_cut(self, stream: bytes, cuts: list[int]) -> None:
        """The same frames, and the same end."""

        def read(pieces: list[bytes]) -> tuple[list[bytes], bool]:
            frames, found = Frames(), []
            try:
                for piece in pieces:
                    for frame in frames.feed(piece):
                        found.append(frame)
            except WireError:
                return found, True
            return found, False

        pieces, rest = [], stream
        for cut in cuts:
            pieces.append(rest[:cut])
            rest = rest[cut:]
        self.assertEqual(read([stream]), read([*pieces, rest]))
