"""Messages to very many sockets: they are sent in several turns of the reactor."""

from __future__ import annotations

from unittest import mock

from wsproto.events import TextMessage

from rendezvous.limits import SocketLimits
from rendezvous.testing import MemorySocket
from rendezvous.web.sockets.spreading import READERS
from tests._socket_case import SocketTestCase


class SpreadingTests(SocketTestCase):
    """A topic with more readers than are sent a message at a time."""

    def setUp(self) -> None:
        """Have two and a half times as many, and a page that is none of them."""
        super().setUp()
        self.readers = [self.socket(host=f"192.0.2.{number % 250}") for number in range(5 * READERS // 2)]
        for reader in self.readers:
            self.say(reader, type="subscribe", topics=["t"])
        self.page = self.socket(host="203.0.113.9")
        self.sender = self.server.rendezvous.web.gate.sender

    def say_all(self, *data: int) -> None:
        """Publish some messages."""
        for each in data:
            self.say(self.page, type="publish", topic="t", data=each)

    def counts(self) -> list[int]:
        """:returns: how many readers have heard so many messages since the last call, for each number of messages."""
        heard = [len(reader.take()) for reader in self.readers]
        return [heard.count(number) for number in range(max(heard) + 1)]

    def turns(self) -> None:
        """Have further turns of the reactor, as many as are needed."""
        self.server.reactor.advance(0)

    def state(self, socket: MemorySocket) -> str:
        """:returns: whether a socket is read."""
        return str(socket.connection.transport.producerState)

    def test_some_in_each_turn(self) -> None:
        """All get it, once; it counts as unread meanwhile."""
        self.say_all(1)
        self.assertEqual(self.counts(), [150, 100])
        self.assertGreater(self.sender.unread, 0)
        self.turns()
        self.assertEqual((self.counts(), self.sender.unread), ([100, 150], 0))

    def test_order(self) -> None:
        """The page is not read until all have its message, so that its next one comes behind it everywhere."""
        texts = [f'{{"type":"publish","topic":"t","data":{number}}}' for number in range(3)]
        self.page.connection.send(b"".join(self.page._wire.send(TextMessage(text)) for text in texts))
        self.assertEqual(self.state(self.page), "paused")
        self.turns()
        for reader in self.readers:
            self.assertEqual([message["data"] for message in self.heard(reader)], [0, 1, 2])
        self.assertEqual(self.state(self.page), "producing")

    def test_rest_afterwards(self) -> None:
        """A page that has sent more than it may rests from the moment of its message on."""
        self.server.rendezvous.web.sockets.sockets.change(SocketLimits(rate=100, burst=50))
        self.page = self.socket(host="203.0.113.9")
        self.say_all(1)
        self.turns()
        self.assertEqual((sum(self.counts()[1:]), self.state(self.page)), (250, "paused"))
        self.advance(1.9)
        self.assertEqual(self.state(self.page), "paused")
        self.advance(0.2)
        self.turns()
        self.assertEqual(self.state(self.page), "producing")

    def test_page_that_closes(self) -> None:
        """Or vanishes meanwhile: its message is sent to all, and the closing handshake is done."""
        self.say_all(1)
        self.page.lose()
        vanished, self.page = self.page, self.socket(host="203.0.113.10")
        self.say_all(2)
        self.server.rendezvous.web.sockets.sockets.end()
        self.page.read()
        self.assertEqual((self.page.close_code, self.page.connection.closed), (1001, True))
        self.server.rendezvous.web.sockets.sockets.begin()
        self.turns()
        self.assertEqual((self.sender.unread, vanished.connection.closed), (0, False))

    def test_reader_that_is_lost(self) -> None:
        """Is passed over."""
        self.say_all(1)
        self.readers.pop().lose()
        self.turns()
        self.assertEqual(self.counts(), [0, 249])

    def test_no_room_to_keep_it(self) -> None:
        """It is sent to all at once."""
        with mock.patch.object(self.sender, "most", 100):
            self.say_all(1)
        self.assertEqual((self.counts(), self.state(self.page), self.sender.unread), ([0, 250], "producing", 0))

    def test_small_work_comes_first(self) -> None:
        """Others wait for a part of each such message, and not for all of it."""
        pages = [self.socket(host=f"198.51.100.{number}") for number in range(10)]
        last = self.socket(host="203.0.113.77")
        transport = last.connection.transport
        write, sent = transport.writeSequence, []

        def written(parts: list[bytes]) -> None:
            sent.append(sum(number * count for number, count in enumerate(self.counts())))
            write(parts)

        self.patch(transport, "writeSequence", written)
        self.server.rendezvous.web.sockets.sockets._turns.charge("others", 1.0)
        for page in pages:
            self.say(page, type="publish", topic="t", data=1)
        self.say(last, type="ping")
        self.turns()
        self.assertEqual(sent, [10 * READERS])
        self.assertEqual(sum(number * count for number, count in enumerate(self.counts())), 15 * READERS)
