"""What is read from a WebSocket frame by frame, beside wsproto alone; and what is sent in one turn."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Message, Ping, Pong, TextMessage

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.limits import SocketLimits
from rendezvous.web.sending import SMALL
from rendezvous.web.sockets.frames import Batch, Frames
from rendezvous.web.sockets.socket import FRAMES
from rendezvous.wire.frames import text_frame
from tests._socket_case import SocketTestCase

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


def told(event: str | Event) -> object:
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


class FramesTests(SynchronousTestCase):
    """Whole texts are read without wsproto, and that makes no other difference."""

    @given(SENDINGS, st.lists(st.integers(1, 60), max_size=20), st.integers(0, 200))
    def test_events_are_those_of_wsproto(self, sent: list[Event], cuts: list[int], spoilt: int) -> None:
        """In whatever pieces the bytes arrive, and if one of them is wrong; until the first error."""
        data = bytearray(by_hand(sent))
        if spoilt < len(data):
            data[spoilt] ^= 0x71
        frames, plain = Frames(), Connection(ConnectionType.SERVER)
        ours: list[object] = []
        for cut in [*cuts, len(data)]:
            piece, data = bytes(data[:cut]), data[cut:]
            frames.receive(piece)
            ours += map(told, frames.events())
            plain.receive_data(piece)
        theirs = list(map(told, plain.events()))
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
            found.append(told(event))
            if isinstance(event, CloseConnection):
                break
        everything = list(map(told, at_once.events()))
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


class BatchTests(SocketTestCase):
    """Frames that are sent while messages are read."""

    def setUp(self) -> None:
        """Have a reader, and a writer whose messages come in one packet."""
        super().setUp()
        self.reader, self.writer = self.socket(), self.socket(host="203.0.113.7")
        self.say(self.reader, type="subscribe", topics=["t"])
        self.written: list[int] = []
        transport = self.reader.connection.transport
        write_all = transport.writeSequence

        def write(parts: list[bytes]) -> None:
            self.written.append(len(parts))
            write_all(parts)

        self.patch(transport, "writeSequence", write)

    def say_all(self, texts: list[str]) -> None:
        """Have all of them arrive in one packet."""
        client = Connection(ConnectionType.CLIENT)
        message = '{"type":"publish","topic":"t","data":"%s"}'
        self.writer.connection.send(b"".join(client.send(TextMessage(message % text)) for text in texts))

    def test_frames_of_one_turn_go_out_together(self) -> None:
        """In their order, as many as are read in one turn."""
        texts = [f"{number}" for number in range(FRAMES + 3)]
        self.say_all(texts)
        self.assertEqual(self.written, [FRAMES])
        self.advance(0.001)
        self.assertEqual(self.written, [FRAMES, 3])
        self.assertEqual([each["data"] for each in self.heard(self.reader)], texts)

    def test_much_goes_out_earlier(self) -> None:
        """No more than 16 KiB are held back of one reader, so that its transport can ask for a pause."""
        size = len(text_frame('{"type":"publish","topic":"t","data":"%s","clients":1}' % ("x" * 2000)))
        self.say_all(["x" * 2000] * FRAMES)
        first = SMALL // size + 1
        self.assertLess(first, FRAMES)
        self.assertEqual(self.written, [first, FRAMES - first])

    def test_what_was_sent_comes_before_the_close(self) -> None:
        """A socket that is closed in the same turn has all that was sent to it."""
        client = Connection(ConnectionType.CLIENT)
        pings = client.send(TextMessage('{"type":"ping"}')) * 3
        self.reader.connection.send(pings + client.send(BytesMessage(b"no text")))
        self.assertEqual(self.heard(self.reader), [{"type": "pong"}] * 3)
        self.assertEqual(self.reader.close_code, 1003)

    def test_lost_reader_is_forgotten(self) -> None:
        """What was collected for it is not sent, and others get theirs."""
        batch = Batch()
        self.assertFalse(batch.is_open)
        with batch:
            self.assertTrue(batch.is_open)
        self.reader.lose()
        self.say_all(["a", "b"])
        self.assertEqual(self.written, [])

    def test_unread_is_counted_in_a_batch_too(self) -> None:
        """A reader that has stopped reading is ended at the same number of bytes."""
        producer = self.reader.connection.transport.producer
        assert producer is not None
        producer.pauseProducing()
        limit = SocketLimits().unread
        for _ in range(limit // (100_000 * 4)):
            self.say_all(["x" * 100_000] * 4)
            self.advance(1)
        self.assertFalse(self.reader.connection.closed)
        self.say_all(["x" * 100_000] * 4)
        self.assertTrue(self.reader.connection.transport.disconnected)
