"""The frames of ``rendezvous forward``."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.errors import WireError
from rendezvous.wire.forward import OVERHEAD, Frame, FrameKind, decode, encode

NUMBERS = st.integers(0, 65535)
FRAMES = st.builds(Frame, st.just(FrameKind.DATAGRAM), st.integers(1, 65535), NUMBERS, st.binary(max_size=1300)) | (
    st.builds(Frame, st.just(FrameKind.NOT_SERVED), st.integers(1, 65535), NUMBERS)
)


class FrameTests(SynchronousTestCase):
    """The codec."""

    def test_samples(self) -> None:
        """Byte for byte."""
        for frame, datagram in (
            (Frame(FrameKind.DATAGRAM, 51820, 1, b"hello"), "feca6c0001" + b"hello".hex()),
            (Frame(FrameKind.DATAGRAM, 1, 65535), "fe0001ffff"),
            (Frame(FrameKind.NOT_SERVED, 53, 7), "ff00350007"),
        ):
            self.assertEqual(encode(frame).hex(), datagram)
            self.assertEqual(decode(bytes.fromhex(datagram)), frame)
        self.assertEqual(OVERHEAD, 5)

    def test_other_datagrams_are_refused(self) -> None:
        """Too short, of another kind, without a port, a refusal with a payload, and a line of text."""
        for datagram in (b"", b"\xfe\x00\x01\x00", b"\xfd\x00\x01\x00\x00", b"\xfe\x00\x00\x00\x00", b"hello world"):
            self.assertRaises(WireError, decode, datagram)
        self.assertRaises(WireError, decode, bytes.fromhex("ff0035000700"))

    @given(FRAMES)
    def test_frames_survive(self, frame: Frame) -> None:
        """What is encoded is decoded."""
        self.assertEqual(decode(encode(frame)), frame)

    @given(st.binary(max_size=40))
    def test_any_bytes(self, datagram: bytes) -> None:
        """They decode, and encode to the same bytes, or raise the one error."""
        try:
            frame = decode(datagram)
        except WireError:
            return
        self.assertEqual(encode(frame), datagram)

    @given(st.text(min_size=1))
    def test_text_is_no_frame(self, text: str) -> None:
        """So a peer that sends lines to a side that serves reaches nothing."""
        self.assertRaises(WireError, decode, text.encode("utf-8", "replace"))
