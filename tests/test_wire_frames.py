"""Frames of WebSockets, beside those of wsproto."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Message, Ping, Pong, TextMessage

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.wire.frames import PING, Frames, span, text_frame, whole_pong, whole_text

TEXTS = st.text(max_size=300) | st.integers(0, 70_000).map("é".__mul__)


#: What a client sends, each as the frames of wsproto.
SENDINGS = st.lists(
    st.one_of(
        st.builds(TextMessage, data=st.text(max_size=200), message_finished=st.booleans()),
        st.builds(BytesMessage, data=st.binary(max_size=30), message_finished=st.booleans()),
        st.builds(Ping, payload=st.binary(max_size=20)),
        st.builds(Pong, payload=st.binary(max_size=20)),
    ),
    max_size=8,
)


def by_hand(sent: list[Event]) -> bytes:
    """:returns: the frames, also where a client may not send them one after the other."""
    opcodes = {TextMessage: 1, BytesMessage: 2, Ping: 9, Pong: 10}
    made = b""
    for event in sent:
        payload = event.payload if isinstance(event, (Ping, Pong)) else event.data  # type: ignore[attr-defined]
        payload = payload.encode() if isinstance(payload, str) else bytes(payload)
        first = opcodes[type(event)] | (0x80 if getattr(event, "message_finished", True) else 0)
        size = bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
        made += bytes((first,)) + size + bytes(4) + payload
    return made


def said(event: str | Event) -> object:
    """:returns: what an event says, whoever has made it."""
    if isinstance(event, str):
        return ("text", event, True)
    if isinstance(event, Message):
        return ("text" if isinstance(event, TextMessage) else "bytes", event.data, event.message_finished)
    return "pong" if isinstance(event, Pong) else event  # Its payload is of no interest.


def joined(events: list[object]) -> list[object]:
    """:returns: the same, with pieces of one message put together: where they are cut depends on the reading."""
    made: list[object] = []
    for event in events:
        last = made[-1] if made else None
        if isinstance(event, tuple) and isinstance(last, tuple) and last[0] == event[0] and not last[2]:
            made[-1] = (event[0], last[1] + event[1], event[2])
        else:
            made.append(event)
    return made


def masked(text: str) -> bytes:
    """:returns: the frame of a client, with a mask that wsproto draws."""
    return Connection(ConnectionType.CLIENT).send(TextMessage(text))


class TextFrameTests(SynchronousTestCase):
    """What the server sends."""

    def test_frames_are_those_of_wsproto(self) -> None:
        """Also where the length needs two bytes, or eight."""
        for size in (0, 1, 125, 126, 127, 65_535, 65_536, 70_000):
            text = "a" * size
            self.assertEqual(text_frame(text.encode()), Connection(ConnectionType.SERVER).send(TextMessage(text)))

    def test_length_is_that_in_utf_8(self) -> None:
        """Of 63 characters of two bytes each, it is 126."""
        self.assertEqual(text_frame(("é" * 63).encode())[:4], b"\x81\x7e\x00\x7e")


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

    def test_lengths(self) -> None:
        """At the ends of each form of a length, with nothing behind the frame."""
        for size in (0, 1, 2, 3, 4, 5, 125, 126, 127, 65_535):
            frame = masked("a" * size)
            self.assertEqual(whole_text(frame, 0), ("a" * size, len(frame)))
            self.assertIsNone(whole_text(frame[:-1], 0))

    def test_other_frames_are_left(self) -> None:
        """Fragments, other opcodes, reserved bits, frames without a mask, lengths that are too long, and no UTF-8."""
        good = masked("hello")
        for first in set(range(256)) - {0x81}:
            self.assertIsNone(whole_text(bytes((first,)) + good[1:], 0))
        self.assertIsNone(whole_text(text_frame(b"hello"), 0))
        for second in range(0x80):
            self.assertIsNone(whole_text(bytes((0x81, second)) + bytes(300), 0))
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

    def test_pong_that_is_all_there_is(self) -> None:
        """It is passed over; of one that is not whole, any beginning is left."""
        for size in (0, 1, 125):
            frame = Connection(ConnectionType.CLIENT).send(Pong(b"p" * size))
            self.assertEqual(whole_pong(frame, 0), len(frame))
            for end in range(len(frame)):
                self.assertIsNone(whole_pong(frame[:end], 0))

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


class FramesTests(SynchronousTestCase):
    """Beside a connection of wsproto, which reads the same bytes."""

    @example([TextMessage("³x")], [7], 7)
    @given(SENDINGS, st.lists(st.integers(1, 60), max_size=20), st.integers(0, 200))
    def test_events_are_those_of_wsproto(self, sent: list[Event], cuts: list[int], spoilt: int) -> None:
        """In whatever pieces the bytes arrive, and if one of them is wrong; until the first error."""
        data = bytearray(by_hand(sent))
        if spoilt < len(data):
            data[spoilt] ^= 0x71
        frames, plain = Frames(), Connection(ConnectionType.SERVER)
        ours: list[object] = []
        theirs: list[object] = []
        for cut in [*cuts, len(data)]:
            piece, data = bytes(data[:cut]), data[cut:]
            frames.receive(piece)
            ours += map(said, frames.events())
            plain.receive_data(piece)
            # Of a frame that is cut, both give what is there. What is wrong may come in the next piece.
            theirs += map(said, plain.events())
            if any(isinstance(event, CloseConnection) for event in theirs):
                break
        error = next((at for at, event in enumerate(theirs) if isinstance(event, CloseConnection)), len(theirs))
        self.assertEqual(joined(ours)[: len(joined(theirs[: error + 1]))], joined(theirs[: error + 1]))
        if error == len(theirs):
            self.assertEqual(joined(ours), joined(theirs))

    @given(SENDINGS)
    def test_events_may_be_taken_one_at_a_time(self, sent: list[Event]) -> None:
        """As a socket does that waits for its turn in between."""
        data = by_hand(sent)
        at_once, one_by_one = Frames(), Frames()
        at_once.receive(data)
        one_by_one.receive(data)
        found = []
        while (event := next(one_by_one.events(), None)) is not None:
            found.append(said(event))
            if isinstance(event, CloseConnection):
                break
        everything = list(map(said, at_once.events()))
        self.assertEqual(joined(found), joined(everything[: len(found)]))
        if not any(isinstance(event, CloseConnection) for event in found):
            self.assertEqual(len(found), len(everything))

    def test_nothing_is_read_behind_the_end(self) -> None:
        """What comes behind the other side's close is dropped."""
        frames = Frames()
        frames.receive(b"\x88\x82\0\0\0\0\x03\xe8" + b"\x81\x81\0\0\0\0a")
        self.assertEqual([type(event) for event in frames.events()], [CloseConnection])
        frames.receive(b"\x81\x81\0\0\0\0b")
        self.assertEqual(list(frames.events()), [])
