"""What is sent in one turn of the reactor."""

from __future__ import annotations

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, TextMessage

from rendezvous.limits import SocketLimits
from rendezvous.web.sending import SMALL
from rendezvous.web.sockets.batch import Batch
from rendezvous.web.sockets.socket import FRAMES
from rendezvous.wire.frames import text_frame
from tests._socket_case import SocketTestCase


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
        size = len(text_frame(b'{"type":"publish","topic":"t","data":"%b","clients":1}' % (b"x" * 2000)))
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
