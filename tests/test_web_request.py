"""Tests of :mod:`rendezvous.web.request`: how answers are handed to the transport, and what a request costs."""

from __future__ import annotations

from typing import Any

from twisted.web.test.requesthelper import DummyChannel

from rendezvous.testing import Connection
from rendezvous.web.request import CappedRequest
from tests._web_case import WebTestCase


class PieceTests(WebTestCase):
    """An answer of a known length leaves in one piece."""

    def pieces(self, connection: Connection) -> list[list[bytes]]:
        """:returns: what is handed to the transport of a connection from now on, call by call."""
        handed: list[list[bytes]] = []
        transport: Any = connection.transport
        write = transport.write

        def write_sequence(pieces: list[bytes]) -> None:
            handed.append(list(pieces))
            write(b"".join(pieces))

        self.patch(transport, "write", lambda data: write_sequence([data]))
        self.patch(transport, "writeSequence", write_sequence)
        return handed

    def test_answers_and_errors(self) -> None:
        """Headers and body are handed over together, and so are those of an error."""
        for path, status in (
            ("/topics", b"200"),
            ("/topics?limit=x", b"400"),
            ("/offers/mine", b"401"),
            ("//", b"404"),
        ):
            connection = self.server.connect()
            handed = self.pieces(connection)
            connection.request("GET", path, {"Host": "a"})
            [[head, body]] = handed
            self.assertEqual(head.split(b" ")[1], status)
            self.assertIn(b"\r\nContent-Length: %d\r\n" % len(body), head)

    def test_answers_that_come_later(self) -> None:
        """So are those of a request that was held."""
        connection = self.server.connect()
        handed = self.pieces(connection)
        connection.request("GET", "/offers/answers?wait=1", {"Host": "a", **self.alice})
        self.server.reactor.advance(2)
        self.assertEqual([len(pieces) for pieces in handed], [2])

    def test_headers_alone(self) -> None:
        """HEAD has the headers of GET, and nothing else."""
        got = self.ask("GET", "/topics")
        connection = self.server.connect()
        handed = self.pieces(connection)
        connection.request("HEAD", "/topics", {"Host": "a"})
        self.assertEqual(b"".join(b"".join(pieces) for pieces in handed).partition(b"\r\n\r\n")[2], b"")
        self.assertEqual(connection.responses()[0].headers, got.headers)

    def test_each_header_once(self) -> None:
        """The last value of a header counts, also if the client has asked that the connection be closed."""
        connection = self.server.connect()
        connection.request("GET", "/openapi.json", {"Host": "a", "Connection": "close"})
        [head, _] = connection.transport.value().split(b"\r\n\r\n", 1)
        names = [line.split(b":")[0] for line in head.split(b"\r\n")[1:]]
        self.assertEqual(len(names), len(set(names)), names)
        self.assertIn(b"\r\nConnection: close\r\n", head)
        self.assertIn(b"\r\nCache-Control: max-age=300\r\n", head)

    def test_header_is_one_line(self) -> None:
        """A value with the end of a line in it would be two headers."""
        request = CappedRequest(DummyChannel())
        for value in (b"a\r\nSet-Cookie: b", b"a\nb", b"a\r"):
            self.assertRaises(ValueError, request.setHeader, b"X-Name", value)


class CostTests(WebTestCase):
    """What is done for a request that no route needs is not done at all."""

    def test_timers(self) -> None:
        """A connection keeps its timer from one request to the next."""
        started: list[float] = []
        call_later = self.server.reactor.callLater

        def counted(delay: float, *args: Any, **kwargs: Any) -> Any:
            started.append(delay)
            return call_later(delay, *args, **kwargs)

        self.patch(self.server.reactor, "callLater", counted)
        connection = self.server.connect()
        for number in range(1, 21):
            connection.request("GET", "/topics", {"Host": "a"})
            self.assertEqual(len(connection.responses()), number)
        self.assertEqual(len(started), 1, started)
        connection.lose()

    def test_forms_and_cookies_are_not_read(self) -> None:
        """A form in a body is no parameter, and a cookie is nothing."""
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": "a=b; " * 100}
        self.refused(415, "unsupported-media-type", "POST", "/poll", b"code=x&side=offerer", headers)
        self.assertEqual(self.ask("POST", "/register", b"limit=x", headers).status, 200)
