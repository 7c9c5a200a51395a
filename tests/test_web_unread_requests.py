"""Clients that go on sending and do not read what they are answered."""

from __future__ import annotations

import tracemalloc

from rendezvous.web.deadlines import UNREAD_TIME
from rendezvous.web.sending import SMALL
from tests._web_case import ORIGIN
from tests.test_web_sending import SendingTestCase, SlowClient

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class SendingClient(SlowClient):
    """A client that reads nothing, and whose bytes arrive only while the server reads."""

    def arrive(self, data: bytes) -> bool:
        """:returns: whether the server was reading."""
        if self.transport.producerState != "producing" or self._channel is None:
            return False
        self._channel.dataReceived(data)
        return True


class UnreadRequestsTests(SendingTestCase):
    """What a client can have kept for it by sending without reading."""

    def test_requests_one_by_one(self) -> None:
        """No further request is answered when 16 KiB of answers are unread."""
        client = SendingClient(self)
        for _ in range(1000):
            if not client.arrive(GET):
                break
            self.advance(0.03)
        self.assertGreater(client.answers, 10)
        self.assertLess(client.transport.unread, SMALL + 2000)

    def test_a_request_now_and_then_does_not_put_the_end_off(self) -> None:
        """A client that reads nothing for 60 s loses its connection, also if it sends a request each 30 s."""
        client = SendingClient(self)
        for _ in range(100):
            client.arrive(GET)
            self.advance(0.03)
        for _ in range(3):
            self.assertFalse(client.transport.aborted)
            self.advance(UNREAD_TIME / 2)
            client.arrive(GET)
            if client.transport.aborted:
                break
        self.assertTrue(client.transport.aborted)

    def test_bytes_behind_an_unread_answer(self) -> None:
        """Reading ends soon behind a request whose long answer is not read."""
        client = SendingClient(self)
        client.get("/chess/sessions", ORIGIN)
        sent = 0
        while sent < 1 << 24 and client.arrive(bytes(1 << 16)):
            sent += 1 << 16
        self.assertLess(sent, 1 << 18)

    def test_small_packets_behind_a_request(self) -> None:
        """What is sent behind a held request takes no multiple of its size, in however small packets it comes."""
        client = SendingClient(self)
        client.get("/events", self.alice)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        number = 0
        while number < 20_000 and client.arrive(b"%02d" % (number % 100)):
            number += 1
        self.assertGreater(number, 8000)
        self.assertLess(tracemalloc.get_traced_memory()[0], 100_000)
