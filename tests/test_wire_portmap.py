"""Tests for :mod:`rendezvous.wire.portmap`."""

from __future__ import annotations

import contextlib
import struct

from hypothesis import example, given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.errors import WireError
from rendezvous.wire.portmap import (
    AddressReply,
    AnnounceReply,
    MapReply,
    Protocol,
    Refusal,
    Reply,
    decode_reply,
    encode_address_request,
    encode_announce_request,
    encode_natpmp_map,
    encode_pcp_map,
)

NONCE = bytes.fromhex("00112233445566778899aabb")

# Laid out as the RFCs draw them.
NATPMP_ADDRESS = bytes.fromhex("0080 0000 00000007 0b08010a")
NATPMP_MAP = bytes.fromhex("0081 0000 00000007 9c40 9c41 00001c20")
PCP_MAP = bytes.fromhex(
    "02810000 00001c20 00000007 000000000000000000000000"
    "00112233445566778899aabb 11000000 9c40 9c41 00000000000000000000ffff0b08010a"
)
PCP_PINHOLE = bytes.fromhex(
    "02810000 00001c20 00000007 000000000000000000000000"
    "00112233445566778899aabb 11000000 9c40 9c40 2a110007000100000000000000000002"
)
PCP_ANNOUNCE = bytes.fromhex("02800000 00000000 00000007 000000000000000000000000")
# Behind another NAT: result 3 of NAT-PMP, and result 8 of PCP with the private address of the gateway.
NATPMP_DOUBLE = bytes.fromhex("0080 0003 00000007 00000000")
PCP_DOUBLE = bytes.fromhex(
    "02810008 0000001e 00000007 000000000000000000000000"
    "00112233445566778899aabb 11000000 9c40 9c40 00000000000000000000ffff6440000a"
)
# What a gateway that knows NAT-PMP alone answers to PCP.
UNSUPPORTED = bytes.fromhex("0081 0001 00000007")

SAMPLES = (NATPMP_ADDRESS, NATPMP_MAP, PCP_MAP, PCP_PINHOLE, PCP_ANNOUNCE, NATPMP_DOUBLE, PCP_DOUBLE, UNSUPPORTED)


class RequestTests(SynchronousTestCase):
    """Requests are what the RFCs draw."""

    def test_natpmp_address(self) -> None:
        """The request for the external address is two bytes of zero (RFC 6886, section 3.2)."""
        self.assertEqual(encode_address_request(), b"\x00\x00")

    def test_natpmp_map(self) -> None:
        """A mapping names both ports and a lifetime (RFC 6886, section 3.3)."""
        self.assertEqual(
            encode_natpmp_map(40000, 40001, 7200), b"\x00\x01\x00\x00" + struct.pack("!HHI", 40000, 40001, 7200)
        )

    def test_pcp_announce(self) -> None:
        """An announce has the common header alone, with the address of the host (RFC 6887, section 14.1.1)."""
        mapped = bytes.fromhex("00000000000000000000ffff0a010002")
        self.assertEqual(encode_announce_request("10.1.0.2"), bytes.fromhex("02000000 00000000") + mapped)

    def test_pcp_map(self) -> None:
        """A mapping has a nonce, the protocol UDP, both ports, and any address (RFC 6887, section 11.1)."""
        self.assertEqual(
            encode_pcp_map("10.1.0.2", NONCE, 40000, (None, 40001), 7200),
            bytes.fromhex(
                "02010000 00001c20 00000000000000000000ffff0a010002"
                "00112233445566778899aabb 11000000 9c40 9c41 00000000000000000000ffff00000000"
            ),
        )

    def test_pcp_renewal_names_the_address_that_it_has(self) -> None:
        """So the gateway gives the same one after it has lost its state (RFC 6887, section 11.2.1)."""
        request = encode_pcp_map("10.1.0.2", NONCE, 40000, ("11.8.1.10", 40001), 7200)
        self.assertEqual(request[-16:], bytes.fromhex("00000000000000000000ffff0b08010a"))

    def test_pcp_pinhole(self) -> None:
        """A request from an IPv6 address asks for any IPv6 address; a scope has no place in it."""
        request = encode_pcp_map("fe80::2%eth0", NONCE, 40000, (None, 40000), 7200)
        self.assertEqual(request[8:24], bytes.fromhex("fe800000000000000000000000000002"))
        self.assertEqual(request[-16:], bytes(16))


class ReplyTests(SynchronousTestCase):
    """Replies of a gateway."""

    def test_samples(self) -> None:
        """Each kind of reply shows all that it holds."""
        expected: list[Reply] = [
            AddressReply(7, "11.8.1.10"),
            MapReply(Protocol.NAT_PMP, 7, 7200, 40000, 40001),
            MapReply(Protocol.PCP, 7, 7200, 40000, 40001, "11.8.1.10", NONCE),
            MapReply(Protocol.PCP, 7, 7200, 40000, 40000, "2a11:7:1::2", NONCE),
            AnnounceReply(7),
            Refusal(Protocol.NAT_PMP, 3, False, 7),
            Refusal(Protocol.PCP, 8, True, 7, 30, NONCE, "100.64.0.10"),
            Refusal(Protocol.NAT_PMP, 1, True, 7),
        ]
        self.assertEqual([decode_reply(sample) for sample in SAMPLES], expected)

    def test_options_of_a_reply_are_ignored(self) -> None:
        """A mapping is one also if the gateway adds an option (RFC 6887, section 7.3)."""
        self.assertEqual(decode_reply(PCP_MAP + bytes.fromhex("80010004 00000000")), decode_reply(PCP_MAP))

    def test_refusal_may_lack_the_mapping(self) -> None:
        """A PCP server that refuses early may send the header alone."""
        self.assertEqual(decode_reply(PCP_DOUBLE[:24]), Refusal(Protocol.PCP, 8, True, 7, 30))

    def test_refusal_of_natpmp_may_repeat_the_request(self) -> None:
        """A gateway may answer a request of PCP with its own head and the rest of the request."""
        request = encode_pcp_map("10.1.0.2", NONCE, 40000, (None, 40000), 7200)
        self.assertEqual(decode_reply(UNSUPPORTED + request[8:]), Refusal(Protocol.NAT_PMP, 1, True, 7))

    def test_removed_mapping_needs_no_port(self) -> None:
        """The reply to a removal has lifetime 0, and with NAT-PMP port 0 (RFC 6886, section 3.4)."""
        self.assertEqual(
            decode_reply(bytes.fromhex("0081 0000 00000007 9c40 0000 00000000")),
            MapReply(Protocol.NAT_PMP, 7, 0, 40000, 0),
        )

    def test_reasons_are_words(self) -> None:
        """A refusal says why in the words of its RFC, and gives the number of what no RFC names."""
        reasons = [
            Refusal(protocol, result, True, 0).reason
            for protocol in (Protocol.NAT_PMP, Protocol.PCP)
            for result in (2, 3, 200)
        ]
        self.assertEqual(
            reasons,
            ["not authorized", "network failure", "result 200", "not authorized", "malformed request", "result 200"],
        )

    def test_malformed_replies_are_refused(self) -> None:
        """Each shape that is none of the two protocols raises ``WireError``."""
        shapes = {
            "empty": b"",
            "one byte": b"\x02",
            "NAT-PMP request": encode_address_request(),
            "PCP request": encode_pcp_map("10.1.0.2", NONCE, 1, (None, 1), 1),
            "version 1": b"\x01" + PCP_MAP[1:],
            "version 3": b"\x03" + PCP_MAP[1:],
            "NAT-PMP, short head": NATPMP_ADDRESS[:7],
            "NAT-PMP, far too long": UNSUPPORTED + bytes(1093),
            "NAT-PMP, long": NATPMP_MAP + bytes(1),
            "NAT-PMP, address cut": NATPMP_ADDRESS[:11],
            "NAT-PMP, mapping cut": NATPMP_MAP[:15],
            "NAT-PMP, address with the size of a mapping": NATPMP_ADDRESS + bytes(4),
            "NAT-PMP, TCP": b"\x00\x82" + NATPMP_MAP[2:],
            "NAT-PMP, mapping without a port": bytes.fromhex("0081 0000 00000007 9c40 0000 00001c20"),
            "PCP, short head": PCP_ANNOUNCE[:20],
            "PCP, mapping cut": PCP_MAP[:56],
            "PCP, not a multiple of four": PCP_MAP + bytes(2),
            "PCP, too long": PCP_MAP + bytes(1104 - len(PCP_MAP)),
            "PCP, PEER": b"\x02\x82" + PCP_MAP[2:],
            "PCP, TCP": PCP_MAP[:36] + b"\x06" + PCP_MAP[37:],
            "PCP, mapping without a port": PCP_MAP[:42] + bytes(2) + PCP_MAP[44:],
        }
        for name, datagram in shapes.items():
            with self.subTest(name):
                self.assertRaises(WireError, decode_reply, datagram)

    @given(st.binary(max_size=80))
    @example(b"\x00\x80")
    @example(b"\x02\x81" + bytes(22))
    def test_any_bytes_decode_or_raise_wire_error(self, datagram: bytes) -> None:
        """Nothing else ever leaves the decoder."""
        with contextlib.suppress(WireError):
            decode_reply(datagram)

    @given(st.sampled_from(SAMPLES), st.integers(0, 63), st.integers(0, 255), st.integers(0, 70))
    def test_damaged_samples_decode_or_raise_wire_error(self, sample: bytes, at: int, value: int, size: int) -> None:
        """A byte that changes and an end that is cut off lead to a reply or to ``WireError``."""
        damaged = bytearray(sample)
        damaged[at % len(sample)] = value
        with contextlib.suppress(WireError):
            decode_reply(bytes(damaged[:size]))
