"""Tests of :mod:`rendezvous.wire.probe`."""

from __future__ import annotations

from hashlib import blake2s
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.punching.probes import MAX_PAYLOAD, Data, Probe, ProbeType
from rendezvous.errors import WireError
from rendezvous.wire.probe import DATA_OVERHEAD, PROBE_SIZE, PairCodec

KEY, ATTEMPT = bytes(range(32)), bytes(range(8))
CONTROLLING, CONTROLLED = PairCodec(KEY, ATTEMPT, True), PairCodec(KEY, ATTEMPT, False)
PROBE = Probe(ProbeType.PROBE, 7, b"nonceabc", ("198.51.100.7", 40000), True, b"path_6")


def mac(person: bytes, body: bytes) -> bytes:
    """:returns: the MAC of a body, made without the code under test."""
    derived = blake2s(key=KEY, person=person).digest()
    return blake2s(body, key=derived, digest_size=16).digest()


class ProbeCodecTests(SynchronousTestCase):
    """Probes have the layout of ``docs/protocol/connect.rst``."""

    def test_layout(self) -> None:
        """Every field is where the page says, and the MAC is that of the probe key."""
        body = (
            b"\x0b\x10\x00\x03" + ATTEMPT + b"\x00\x00\x00\x07" + b"nonceabc"
            + bytes(10) + b"\xff\xff\xc6\x33\x64\x07\x9c\x40" + b"path_6"
        )  # fmt: skip
        self.assertEqual(CONTROLLING.encode_probe(PROBE), body + mac(b"probe", body))

    def test_round_trip(self) -> None:
        """What one side writes the other side reads, for each type and both families of addresses."""
        for kind in ProbeType:
            for host in ("198.51.100.7", "2001:db8::7"):
                for flags in product((False, True), repeat=3):
                    probe = Probe(kind, 2**32 - 1, bytes(8), (host, 65535), False, bytes(6), *flags)
                    self.assertEqual(CONTROLLED.decode(CONTROLLING.encode_probe(probe)), probe)
                probe = Probe(kind, 2**32 - 1, bytes(8), (host, 65535), True)
                self.assertEqual(CONTROLLED.decode(CONTROLLING.encode_probe(probe)), probe)
                self.assertEqual(CONTROLLING.decode(CONTROLLED.encode_probe(probe)), probe)

    def test_each_changed_bit_is_refused(self) -> None:
        """No bit of a probe can be changed on the way."""
        datagram = CONTROLLING.encode_probe(PROBE)
        for bit in range(8 * PROBE_SIZE):
            changed = bytearray(datagram)
            changed[bit // 8] ^= 1 << bit % 8
            self.assertRaises(WireError, CONTROLLED.decode, bytes(changed))

    def test_own_direction_is_refused(self) -> None:
        """A datagram that comes back to its sender is none of the other side."""
        self.assertRaises(WireError, CONTROLLING.decode, CONTROLLING.encode_probe(PROBE))
        self.assertRaises(WireError, CONTROLLING.decode, CONTROLLING.encode_data(Data(1, b"x")))

    def test_other_attempt_and_other_key_are_refused(self) -> None:
        """A probe belongs to one attempt."""
        datagram = CONTROLLING.encode_probe(PROBE)
        self.assertRaises(WireError, PairCodec(KEY, bytes(8), False).decode, datagram)
        self.assertRaises(WireError, PairCodec(bytes(32), ATTEMPT, False).decode, datagram)

    def test_reserved_flags_are_refused(self) -> None:
        """Also with a MAC that holds."""
        body = bytearray(CONTROLLING.encode_probe(PROBE)[:48])
        body[3] |= 32
        self.assertRaises(WireError, CONTROLLED.decode, bytes(body) + mac(b"probe", bytes(body)))

    def test_other_lengths_are_refused(self) -> None:
        """Shorter and longer ones."""
        datagram = CONTROLLING.encode_probe(PROBE)
        for length in range(PROBE_SIZE):
            self.assertRaises(WireError, CONTROLLED.decode, datagram[:length])
        self.assertRaises(WireError, CONTROLLED.decode, datagram + b"\x00")

    @given(st.binary(max_size=1300))
    def test_any_bytes_are_refused_with_one_error(self, datagram: bytes) -> None:
        """Whatever comes, nothing but WireError is raised."""
        for prefix in (b"", b"\x0b\x10", b"\x0b\x20"):
            self.assertRaises(WireError, CONTROLLED.decode, prefix + datagram)


class DataCodecTests(SynchronousTestCase):
    """Data has 24 bytes around its payload."""

    def test_layout(self) -> None:
        """The number has 48 bits, and the MAC is that of the data key."""
        body = b"\x0b\x21\x01\x02\x03\x04\x05\x06hello"
        datagram = CONTROLLED.encode_data(Data(0x010203040506, b"hello"))
        self.assertEqual(datagram, body + mac(b"data", body))
        self.assertEqual(CONTROLLING.decode(datagram), Data(0x010203040506, b"hello"))

    def test_largest_payload(self) -> None:
        """1200 bytes pass, and one more is an error that says so."""
        datagram = CONTROLLING.encode_data(Data(0, bytes(MAX_PAYLOAD)))
        self.assertEqual(len(datagram), MAX_PAYLOAD + DATA_OVERHEAD)
        self.assertEqual(CONTROLLED.decode(datagram), Data(0, bytes(MAX_PAYLOAD)))
        error = self.assertRaises(ValueError, CONTROLLING.encode_data, Data(0, bytes(MAX_PAYLOAD + 1)))
        self.assertIn("1200", str(error))

    def test_larger_datagram_is_refused(self) -> None:
        """Also if its MAC holds."""
        body = b"\x0b\x20" + bytes(6) + bytes(MAX_PAYLOAD + 1)
        self.assertRaises(WireError, CONTROLLED.decode, body + mac(b"data", body))

    def test_number_out_of_range_is_an_error(self) -> None:
        """A number has 48 bits."""
        largest = Data((1 << 48) - 1, b"x")
        self.assertEqual(CONTROLLED.decode(CONTROLLING.encode_data(largest)), largest)
        for number in (-1, 1 << 48):
            self.assertRaises(ValueError, CONTROLLING.encode_data, Data(number, b""))

    def test_keys_and_attempts_of_another_length_are_refused(self) -> None:
        """Either of them."""
        for key, attempt in ((KEY[1:], ATTEMPT), (KEY + b"x", ATTEMPT), (KEY, ATTEMPT[1:]), (KEY, ATTEMPT + b"x")):
            self.assertRaises(ValueError, PairCodec, key, attempt, True)

    def test_empty_payload(self) -> None:
        """A payload may be empty."""
        self.assertEqual(CONTROLLED.decode(CONTROLLING.encode_data(Data(0, b""))), Data(0, b""))

    def test_payload_as_long_as_a_probe(self) -> None:
        """Data of 64 bytes is no probe."""
        data = Data(3, bytes(PROBE_SIZE - DATA_OVERHEAD))
        self.assertEqual(CONTROLLED.decode(CONTROLLING.encode_data(data)), data)
