"""Frames and messages of any kind: nothing raises, nothing stays, and others get nothing of it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.testing import MemoryReactor, MemoryServer, MemorySocket

TARGETS = ("/signal", "/peerjs?key=peerjs&id=mallory&token=t", "/events?topics=doc", "/events")

#: Values of JSON, with the words of the protocols among them.
WORDS = st.sampled_from(
    [
        "subscribe",
        "unsubscribe",
        "publish",
        "ping",
        "OFFER",
        "LEAVE",
        "EXPIRE",
        "HEARTBEAT",
        "authenticate",
        "OPEN",
        "doc",
        "mallory",
        "",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
MESSAGES = st.dictionaries(
    st.sampled_from(["type", "topic", "topics", "payload", "dst", "src", "data", "credential"]), WORDS | VALUES
)

#: Frames with any first bytes, masked or not, with lengths that are right or not.
HEADS = st.sampled_from(
    [0x00, 0x01, 0x02, 0x08, 0x09, 0x0A, 0x03, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A, 0x8B, 0xC1, 0xFF]
)


@st.composite
def frames(draw: Any) -> bytes:
    """One frame, or something like it."""
    body: bytes = draw(st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()))
    length: int = draw(st.sampled_from([len(body), len(body), len(body), 0, 125, 127]))
    masked: int = draw(st.sampled_from([0x80, 0x80, 0x80, 0]))
    size = bytes([masked | min(length, 127)]) + (b"" if length < 126 else length.to_bytes(8, "big"))
    head: int = draw(HEADS)
    return bytes([head]) + size + (b"\0\0\0\0" if masked else b"") + body


class AnythingTests(SynchronousTestCase):
    """Mallory sends what she likes."""

    def setUp(self) -> None:
        """Have two pages that talk to each other by both protocols."""
        self.server = MemoryServer(MemoryReactor())
        self.addCleanup(self.server.stop)
        _, _, self.credential = self.server.register()
        self.pages = [MemorySocket(self.server.connect(), "/signal") for _ in range(2)]
        for page in self.pages:
            page.say('{"type":"subscribe","topics":["secret"]}')
        self.peers = [self.peer(name) for name in ("alice", "bob")]
        for each in (*self.pages, *self.peers):
            each.take()

    def peer(self, name: str) -> MemorySocket:
        """:returns: the socket of a peer of PeerJS."""
        return MemorySocket(self.server.connect(), f"/peerjs?key=peerjs&id={name}&token={name}")

    def headers(self, target: str) -> dict[str, str] | None:
        """:returns: Mallory's credential where she has one; on one target she sends whatever she likes in its place."""
        return None if target == "/events" else self.credential

    def check(self) -> None:
        """The others have heard nothing, and still hear each other."""
        for each in (*self.pages, *self.peers):
            self.assertEqual((each.take(), each.close_code), ([], None))
            each.say('{"type":"HEARTBEAT"}')
        self.pages[0].say('{"type":"publish","topic":"secret","data":1}')
        self.assertEqual([len(page.take()) for page in self.pages], [1, 1])
        self.peers[0].say('{"type":"OFFER","dst":"bob"}')
        self.assertEqual(len(self.peers[1].take()), 1)
        self.assertEqual(self.flushLoggedErrors(), [])

    @settings(max_examples=150)
    @given(target=st.sampled_from(TARGETS), sent=st.lists(st.binary(max_size=40) | frames(), max_size=8))
    def test_any_bytes(self, target: str, sent: list[bytes]) -> None:
        """Also such as no client would send. Two seconds later the connection is good or closed."""
        mallory = self.server.connect()
        handshake = MemorySocket(mallory, target, self.headers(target))
        for data in sent:
            mallory.send(data)
        self.server.reactor.advance(2)
        self.check()
        is_closed = mallory.closed or mallory.transport.disconnected
        handshake.read()
        self.assertEqual((handshake.status, is_closed), (101, handshake.close_code is not None))
        mallory.lose()
        self.server.reactor.advance(5)
        self.assertEqual(len(self.server.rendezvous.web.sockets.sockets), 4)

    @settings(max_examples=150)
    @given(target=st.sampled_from(TARGETS), sent=st.lists(MESSAGES, max_size=8))
    def test_any_messages(self, target: str, sent: list[dict[str, Any]]) -> None:
        """With the words of the protocols in any place."""
        mallory = MemorySocket(self.server.connect(), target, self.headers(target))
        for message in sent:
            is_for_others = message.get("topic") == "secret" or message.get("dst") in ("alice", "bob")
            if mallory.close_code is None and not is_for_others:
                mallory.say(json.dumps(message))
                mallory.read()
        self.check()
        mallory.lose()
        self.server.reactor.advance(5)
        self.assertEqual(self.server.rendezvous.web.sockets._peers.waiting, 0)
        self.assertEqual(self.server.rendezvous.store.watching(["doc"]), 0)
        self.check()
