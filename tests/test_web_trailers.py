"""What stands behind the last chunk of a body."""

from __future__ import annotations

import tracemalloc

from tests._web_case import WebTestCase

HEAD = b"POST /poll HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class TrailerTests(WebTestCase):
    """Trailers (RFC 9112, section 7.1.2), which no route reads."""

    def test_a_trailer_is_dropped(self) -> None:
        """The request is answered as without it."""
        connection = self.server.connect()
        connection.send(HEAD + b"2\r\n{}\r\n0\r\nX-Check: 1\r\n\r\n")
        response = connection.response()
        assert response is not None
        self.assertEqual((response.status, response.json()["code"]), (400, "missing-field"))

    def test_many_trailers_are_not_kept(self) -> None:
        """Of 64 KB in one packet nothing stays, and the request is refused."""
        connection = self.server.connect()
        connection.send(HEAD + b"0\r\n")
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        connection.send(b"a\r\n" * 21_000)
        self.assertLess(tracemalloc.get_traced_memory()[0], 200_000)
        response = connection.response()
        assert response is not None
        self.assertEqual(response.status, 400)
