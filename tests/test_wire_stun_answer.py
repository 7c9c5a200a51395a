"""Tests for the Binding server of :mod:`rendezvous.wire.stun`."""

from __future__ import annotations

import sys
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.wire.stun import BINDING, MAX_ATTRIBUTES, MAX_UNKNOWN, Message, MessageClass, answer, decode, encode
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

USERNAME = (0x0006, "evtj:h6vY")
INTEGRITY = (0x0008, bytes(20))
CHANGE_REQUEST = (0x0003, bytes(4))


def answered(datagram: bytes, address: tuple[str, int] = IPV4) -> Message:
    """Decode the response that a datagram gets, failing without one."""
    response = answer(datagram, address)
    assert response is not None
    return decode(response)


class AnswerTests(SynchronousTestCase):
    """The Binding server."""

    def test_bare_request_is_answered_with_the_source(self) -> None:
        """A request without attributes gets XOR-MAPPED-ADDRESS and nothing else, for IPv4 and IPv6."""
        for address, size in ((IPV4, 32), (IPV6, 44)):
            response = answer(request(), address)
            assert response is not None
            self.assertEqual(
                decode(response), Message(BINDING, MessageClass.SUCCESS, TRANSACTION, ((0x0020, address),))
            )
            self.assertEqual(len(response), size)

    def test_address_is_written_as_in_the_rfc(self) -> None:
        """The attribute's bytes are those of RFC 5769, sections 2.2 and 2.3."""
        for address, sample, size in ((IPV4, SAMPLE_IPV4_RESPONSE, 12), (IPV6, SAMPLE_IPV6_RESPONSE, 24)):
            response = answer(request(), address)
            assert response is not None
            self.assertEqual(response[20:], sample[36 : 36 + size])

    @given(st.tuples(st.ip_addresses().map(str), st.integers(0, 65535)), st.booleans())
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
        self.assertEqual(response, Message(BINDING, MessageClass.ERROR, TRANSACTION, expected))

    def test_connectivity_checks_do_not_pass(self) -> None:
        """PRIORITY and USE-CANDIDATE belong between ICE agents; a check with them fails, FINGERPRINT in place."""
        response = answered(SAMPLE_REQUEST)
        self.assertEqual((response.kind, response.fingerprint), (MessageClass.ERROR, True))
        self.assertEqual(dict(response.attributes)[0x000A], (0x0024,))
        self.assertEqual(dict(answered(request((0x0025, b""))).attributes)[0x000A], (0x0025,))

    def test_what_follows_integrity_is_ignored(self) -> None:
        """An unknown attribute counts before MESSAGE-INTEGRITY (either one), and not after it."""
        for integrity in (INTEGRITY, (0x001C, bytes(32))):
            self.assertEqual(answered(request(CHANGE_REQUEST, integrity)).kind, MessageClass.ERROR)
            self.assertEqual(answered(request(integrity, CHANGE_REQUEST)).kind, MessageClass.SUCCESS)

    def test_everything_else_is_dropped(self) -> None:
        """Other classes and methods, a wrong FINGERPRINT, malformed attributes and other datagrams get no answer."""
        allocate = encode(Message(0x003, MessageClass.REQUEST, TRANSACTION))
        good = request(fingerprint=True)
        dropped = [request(kind=kind) for kind in MessageClass if kind is not MessageClass.REQUEST]
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
            self.assertIn(decode(response).kind, (MessageClass.SUCCESS, MessageClass.ERROR))

    @given(st.binary(max_size=100))
    def test_any_bytes_get_a_response_or_none(self, datagram: bytes) -> None:
        """Random attributes in a Binding request never raise, and what answers them is well-formed."""
        body = datagram[: len(datagram) & ~3]
        response = answer(request()[:2] + len(body).to_bytes(2, "big") + request()[4:] + body, IPV6)
        if response is not None:
            self.assertEqual(decode(response).transaction_id, TRANSACTION)
        self.assertIsNone(answer(datagram, IPV6))

    def test_error_lists_a_bounded_number_of_attributes(self) -> None:
        """The first eight, each once, also where FINGERPRINT follows many more; what is malformed is still dropped."""
        numbers = range(0x4000, 0x4000 + MAX_ATTRIBUTES)
        for fingerprint in (False, True):
            datagram = request(*((number, b"") for number in numbers), fingerprint=fingerprint)
            response = answered(datagram)
            self.assertEqual(response.attributes, ((0x0009, (420, "")), (0x000A, tuple(numbers[:MAX_UNKNOWN]))))
            self.assertEqual(response.fingerprint, fingerprint)
            self.assertIsNone(answer(datagram[:-1] + b"\x01", IPV4))
        self.assertEqual(MAX_UNKNOWN, 8)
        again = answered(request(*((0x4000, b""),) * 3, (0x4001, b"")))
        self.assertEqual(again.attributes[1], (0x000A, (0x4000, 0x4001)))

    def test_only_the_first_of_an_attribute_is_read(self) -> None:
        """A repeated one may be ignored (RFC 8489, section 14), so that many of them cost little."""
        good, bad = (0x0020, bytes.fromhex("0001a147e112a643")), (0x0020, b"")
        self.assertEqual(answered(raw(good, bad)).kind, MessageClass.SUCCESS)
        self.assertIsNone(answer(raw(bad, good), IPV4))

    def test_costliest_request_causes_few_calls(self) -> None:
        """Neither many addresses, nor many unknown attributes, nor one long text takes much."""
        address = (0x0020, b"\0\2" + bytes(18))
        for attributes in (
            (address,) * MAX_ATTRIBUTES,
            tuple((number, b"") for number in range(0x4000, 0x4000 + MAX_ATTRIBUTES)),
            ((0x8022, b"x" * 763),) * 2,
            (address, (0x0001, address[1]), (0x8023, address[1])),
        ):
            calls = 0

            def count(frame: object, event: str, argument: object) -> None:
                nonlocal calls
                calls += event in ("call", "c_call")

            before = sys.getprofile()
            sys.setprofile(count)
            try:
                response = answer(raw(*attributes), IPV4)
            finally:
                sys.setprofile(before)
            self.assertIsNotNone(response)
            self.assertLessEqual(calls, 12 * MAX_ATTRIBUTES)

    def test_error_is_never_much_longer_than_its_request(self) -> None:
        """The worst error is half as long again as its request, however many attributes it lists."""
        for count in (1, 2, 3, MAX_ATTRIBUTES):
            datagram = request(*((number, b"") for number in range(0x4000, 0x4000 + count)))
            response = answer(datagram, IPV4)
            assert response is not None
            self.assertLessEqual(len(response), 1.5 * len(datagram))
