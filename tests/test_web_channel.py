"""What is refused before a request is whole."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.testing import StringTransport
from twisted.web.server import Site

from rendezvous.web.deadlines import HEADER_TIME, REFUSAL_TIME
from rendezvous.web.request import MAX_FIELDS
from rendezvous.web.transports import KERNEL_BUFFER, keep_little_unread
from tests._web_case import WebTestCase

#: Bytes of a line, without its end.
LONGEST = 16384


class LineTests(WebTestCase):
    """A request line, and the lines of headers."""

    def test_first_line_over_the_limit_is_refused_in_words(self) -> None:
        """A line that no server would read to its end is 414, whether its end has come or not."""
        for end in ("", " HTTP/1.1\r\nHost: a\r\n\r\n"):
            connection = self.server.connect()
            connection.send(f"GET /{'x' * LONGEST}{end}".encode())
            self.assertRefused(connection.response(), 414, "line-too-long", str(LONGEST))
            self.assertEqual(connection.transport.producerState, "paused")
            self.assertFalse(connection.transport.disconnected)
            self.server.reactor.advance(1)
            self.assertTrue(connection.transport.disconnected)
            connection.lose()

    def test_long_first_line_is_read(self) -> None:
        """A line that leaves some room for headers, which count as well, is answered."""
        self.refused(404, "no-such-path", "GET", "/" + "x" * (LONGEST - 100))

    def test_header_over_the_limit_is_refused_in_words(self) -> None:
        """A header's line has the same limit."""
        connection = self.server.connect()
        connection.send(b"GET / HTTP/1.1\r\nX: " + b"x" * LONGEST)
        self.assertRefused(connection.response(), 431, "headers-too-large", str(LONGEST))
        self.server.reactor.advance(1)
        connection.lose()

    def test_folded_header_is_refused(self) -> None:
        """A line that begins with a space or a tab goes on with the header before it, which no client sends."""
        for fold in (b" ", b"\t", b" b"):
            connection = self.server.connect()
            connection.send(b"GET /health HTTP/1.1\r\nHost: a\r\nX: a\r\n" + fold + b"\r\n\r\n")
            self.assertRefused(connection.response(), 400, "bad-request")
            self.server.reactor.advance(REFUSAL_TIME)
            connection.lose()

    def test_a_refusal_that_fills_the_transport(self) -> None:
        """The connection is closed after its time, whether the client reads the refusal or not."""
        for is_read in (True, False):
            connection = self.server.connect()
            connection.send(b"nonsense\r\n\r\n")
            producer = connection.transport.producer
            assert producer is not None
            producer.pauseProducing()
            if is_read:
                producer.resumeProducing()
            self.server.reactor.advance(REFUSAL_TIME)
            self.assertTrue(connection.transport.disconnected)
            connection.lose()

    def test_query_with_many_fields_is_refused(self) -> None:
        """A held request would keep them all; as many as may be are read."""
        fields = "&".join(f"{number}=" for number in range(MAX_FIELDS))
        self.assertEqual(self.ask("GET", f"/health?{fields}").status, 200)
        connection = self.server.start_request("GET", f"/health?{fields}&a=")
        self.assertRefused(connection.response(), 400, "bad-target", str(MAX_FIELDS))
        self.server.reactor.advance(REFUSAL_TIME)

    def test_a_request_behind_an_unread_answer_is_not_late(self) -> None:
        """It is there, and is answered when the client has read the answer before it, also after more than 10 s."""
        connection = self.server.connect()
        producer: Any = connection.transport.producer
        write = connection.transport.writeSequence

        def fill(pieces: Any) -> None:
            write(pieces)
            producer.pauseProducing()

        self.patch(connection.transport, "writeSequence", fill)
        connection.send(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
        self.server.reactor.advance(0)
        self.server.reactor.advance(HEADER_TIME + 1)
        self.assertEqual([each.status for each in connection.responses()], [200])
        producer.resumeProducing()
        self.server.reactor.advance(0)
        self.assertEqual([each.status for each in connection.responses()], [200, 200])

    def test_the_kernel_takes_little(self) -> None:
        """What it takes of an answer is not counted as unread, so it must not be a whole page."""
        connected = socket.socket()
        self.addCleanup(connected.close)
        transport: Any = StringTransport()
        transport.socket = connected
        keep_little_unread(transport)
        self.assertLessEqual(connected.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF), 2 * KERNEL_BUFFER)

    def test_only_http_1_is_offered(self) -> None:
        """No TLS client is led to a version of HTTP for which these limits do not hold."""
        site = self.server.site
        assert isinstance(site, Site)
        self.assertEqual(site.acceptableProtocols(), [b"http/1.1"])
