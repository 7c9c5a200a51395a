"""Frames of WebSockets that hold a whole text, beside those of wsproto."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import Ping, Pong, TextMessage

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.wire.frames import PING, span, text_frame, whole_pong, whole_text

TEXTS = st.text(max_size=300) | st.integers(0, 70_000).map("é".__mul__)


def masked(text: str) -> bytes:
    """:returns: the frame of a client, with a mask that wsproto draws."""
    return Connection(ConnectionType.CLIENT).send(TextMessage(text))


class TextFrameTests(SynchronousTestCase):
    """What the server sends."""

    def test_frames_are_those_of_wsproto(self) -> None:
        """Also where the length needs two bytes, or eight."""
        for size in (0, 1, 125, 126, 127, 65_535, 65_536, 70_000):
            text = "a" * size
            self.assertEqual(text_frame(text), Connection(ConnectionType.SERVER).send(TextMessage(text)))

    def test_length_is_that_in_utf_8(self) -> None:
        """Of 63 characters of two bytes each, it is 126."""
        self.assertEqual(text_frame("é" * 63)[:4], b"\x81\x7e\x00\x7e")


class WholeTextTests(SynchronousTestCase):
    """What the server reads."""

    def test_example_of_the_rfc(self) -> None:
        """RFC 6455, section 5.7: a single-frame masked text message."""
        self.assertEqual(whole_text(bytes.fromhex("818537fa213d7f9f4d5158"), 0), ("Hello", 11))

    @given(TEXTS, TEXTS, st.binary(max_size=10))
    def test_text_is_read_where_it_stands(self, before: str, text: str, behind: bytes) -> None:
        """It gives the text and where the next frame begins; a frame of 64 KiB or more is left to others."""
        start, frame = masked(before), masked(text)
        found = whole_text(start + frame + behind, len(start))
        expected = None if len(text.encode()) >= 1 << 16 else (text, len(start) + len(frame))
        self.assertEqual(found, expected)

    @given(TEXTS.filter(lambda text: len(text) < 1000), st.data())
    def test_frame_that_is_not_whole_is_left(self, text: str, data: st.DataObject) -> None:
        """Wherever it ends."""
        frame = masked(text)
        end = data.draw(st.integers(0, len(frame) - 1))
        self.assertIsNone(whole_text(frame[:end], 0))

    def test_other_frames_are_left(self) -> None:
        """Fragments, other opcodes, reserved bits, frames without a mask, lengths that are too long, and no UTF-8."""
        good = masked("hello")
        for first in set(range(256)) - {0x81}:
            self.assertIsNone(whole_text(bytes((first,)) + good[1:], 0))
        self.assertIsNone(whole_text(text_frame("hello"), 0))
        self.assertIsNone(whole_text(b"\x81\xfe\x00\x05" + good[2:], 0))
        self.assertIsNone(whole_text(b"\x81\xff" + (5).to_bytes(8, "big") + good[2:], 0))
        self.assertIsNone(whole_text(b"\x81\x82\0\0\0\0\xff\xff", 0))
        self.assertIsNone(whole_text(b"\x81\x83\0\0\0\0\xed\xa0\x80", 0))  # A surrogate.

    @given(st.binary(max_size=40), st.integers(0, 10))
    def test_any_bytes(self, data: bytes, at: int) -> None:
        """Nothing is raised, and no frame ends beyond what is there."""
        found = whole_text(data, at)
        if found is not None:
            self.assertTrue(at + 6 <= found[1] <= len(data))
            self.assertEqual(span(data, at), found[1] - at)


class PongTests(SynchronousTestCase):
    """Answers to pings."""

    def test_ping_is_that_of_wsproto(self) -> None:
        """With nothing in it."""
        self.assertEqual(PING, Connection(ConnectionType.SERVER).send(Ping()))

    @given(st.binary(max_size=125), st.binary(max_size=5))
    def test_whole_pong_is_passed_over(self, payload: bytes, before: bytes) -> None:
        """Whatever is in it; one that is not whole is left."""
        frame = Connection(ConnectionType.CLIENT).send(Pong(payload))
        self.assertEqual(whole_pong(before + frame + b"more", len(before)), len(before) + len(frame))
        self.assertIsNone(whole_pong(before + frame[:-1], len(before)))

    def test_other_frames_are_left(self) -> None:
        """Other first bytes, no mask, and lengths that a control frame may not have."""
        good = Connection(ConnectionType.CLIENT).send(Pong(b"a"))
        for first in set(range(256)) - {0x8A}:
            self.assertIsNone(whole_pong(bytes((first,)) + good[1:], 0))
        for second in (0x01, 0xFE, 0xFF):
            self.assertIsNone(whole_pong(b"\x8a" + bytes((second,)) + bytes(200), 0))


class SpanTests(SynchronousTestCase):
    """How long a frame is."""

    def test_lengths(self) -> None:
        """Of one, two and eight bytes, with and without a mask."""
        for head, header in (
            ("8105", 2), ("8185", 6), ("0a00", 2), ("817e0005", 4), ("81fe0005", 8),
            ("827f0000000000000005", 10), ("82ff0000000000000005", 14),
        ):  # fmt: skip
            data = bytes.fromhex(head)
            payload = 0 if head == "0a00" else 5
            self.assertEqual(span(data, 0), header + payload, head)
            self.assertEqual(span(b"abc" + data + b"def", 3), header + payload, head)
            for end in range(len(data)):
                self.assertIsNone(span(data[:end], 0), head)

    def test_longest_length(self) -> None:
        """It is what it says it is, even if no frame may be as long."""
        self.assertEqual(span(b"\x81\xff" + b"\xff" * 8, 0), 14 + (1 << 64) - 1)
