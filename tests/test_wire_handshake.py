"""The opening handshake of a WebSocket, beside that of wsproto."""

from __future__ import annotations

from base64 import b64encode

from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.errors import Malformed, UpgradeRequired
from rendezvous.wire.handshake import VERSION, accept

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


class AcceptTests(SynchronousTestCase):
    """RFC 6455, sections 1.3 and 4.2."""

    def refused(self, words: str, *fields: bytes) -> None:
        """A handshake with these headers is refused, and it says why."""
        error = self.assertRaises(Malformed, accept, *fields)
        self.assertEqual(error.code, "bad-handshake")
        self.assertIn(words, error.message)

    def test_example_of_the_rfc(self) -> None:
        """Whatever the case of the words, and whatever else the client would do with the connection."""
        for connection in (b"Upgrade", b"keep-alive, Upgrade", b"UPGRADE,close"):
            for upgrade in (b"websocket", b"WebSocket"):
                answer = accept(connection, upgrade, VERSION, KEY)
                self.assertIn(b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", answer)

    @given(st.binary(min_size=16, max_size=16))
    def test_answer_is_that_of_wsproto(self, nonce: bytes) -> None:
        """The same header for any key, and the same lines."""
        key = b64encode(nonce)
        other = WSConnection(ConnectionType.SERVER)
        other.receive_data(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: %b\r\n\r\n" % key
        )
        theirs = other.send(AcceptConnection()).split(b"\r\n")
        ours = accept(b"Upgrade", b"websocket", VERSION, key).split(b"\r\n")
        self.assertEqual(ours[0].split()[:2], theirs[0].split()[:2])
        self.assertEqual(sorted(line.lower() for line in ours[1:]), sorted(line.lower() for line in theirs[1:]))

    def test_what_is_no_handshake(self) -> None:
        """Each header must be there, and be right."""
        for connection in (b"", b"close", b"upgrade-not", b"keep-alive Upgrade"):
            self.refused("Connection: Upgrade", connection, b"websocket", VERSION, KEY)
        for upgrade in (b"", b"h2c", b"websocket, other", b"\xff"):
            self.refused("Upgrade: websocket", b"Upgrade", upgrade, VERSION, KEY)
        self.refused("Sec-WebSocket-Version: 13", b"Upgrade", b"websocket", b"", KEY)
        for key in (b"", KEY[:-4], KEY + KEY, b"A" * 24, b"*" * 24, b"\xfc" * 24, KEY[:-1] + b"A", KEY + b"," + KEY):
            self.refused("Sec-WebSocket-Key", b"Upgrade", b"websocket", VERSION, key)

    def test_other_versions(self) -> None:
        """Are refused with an error of their own, so that a client can use this one."""
        for version in (b"8", b"12", b"14", b"013", b"13, 8"):
            self.assertRaises(UpgradeRequired, accept, b"Upgrade", b"websocket", version, KEY)
