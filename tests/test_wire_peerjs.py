"""The messages of PeerServer."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.peerserver import Message
from rendezvous.wire.peerjs import ID_TAKEN, LEAVE, OPEN, decode, encode, error

KINDS = ("OFFER", "ANSWER", "CANDIDATE", "LEAVE", "EXPIRE")
NAMES = st.sampled_from(["type", "src", "dst", "payload", *KINDS])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | NAMES,
    lambda inner: st.lists(inner) | st.dictionaries(NAMES | st.text(), inner),
)


def read(**message: Any) -> Message | str | None:
    """:returns: what a message of Alice is."""
    return decode(json.dumps(message), "alice")


class DecodeTests(SynchronousTestCase):
    """What a peer sends."""

    def test_messages_for_other_peers(self) -> None:
        """The sender is the one that the server knows; members that are not known are left out."""
        for kind in KINDS:
            payloads: list[Any] = [{"sdp": "v=0"}, 0, "", [], False]
            for payload in payloads:
                found = read(type=kind, src="mallory", dst="bob", payload=payload, more=1)
                assert isinstance(found, Message)
                self.assertEqual((found.kind, found.source, found.target), (kind, "alice", "bob"))
                self.assertEqual(json.loads(found.payload or b""), payload)

    def test_no_payload(self) -> None:
        """One that is null is none."""
        for message in ({}, {"payload": None}):
            self.assertEqual(read(type="OFFER", dst="bob", **message), Message("OFFER", "alice", "bob"))

    def test_leave(self) -> None:
        """Without a receiver it is about the sender itself."""
        for message in ({}, {"dst": None}, {"dst": ""}):
            self.assertEqual(read(type="LEAVE", **message), LEAVE)
        self.assertEqual(read(type="LEAVE", dst="bob"), Message("LEAVE", "alice", "bob"))

    def test_all_else_is_ignored(self) -> None:
        """No JSON, no object, another type, no receiver, and a payload that is too deep to be written again."""
        deep = "[" * 300 + "]" * 300
        for text in (
            "", "x", "7", "[]", "null", "{}", '{"type":"HEARTBEAT"}', '{"type":"OPEN","dst":"bob"}',
            '{"type":["OFFER"],"dst":"bob"}', '{"type":"OFFER"}', '{"type":"OFFER","dst":""}',
            '{"type":"OFFER","dst":7}', '{"type":"LEAVE","dst":7}', '{"type":"offer","dst":"bob"}',
            '{"type":"OFFER","dst":"bob","payload":' + deep + "}", "[" * 5000,
        ):  # fmt: skip
            self.assertIsNone(decode(text, "alice"), text)

    @given(st.text() | JSON.map(json.dumps))
    def test_any_text(self, text: str) -> None:
        """It is a message, a leave, or ignored. A message can be written."""
        found = decode(text, "alice")
        if isinstance(found, Message):
            self.assertEqual(json.loads(encode(found))["src"], "alice")
        else:
            self.assertIn(found, (LEAVE, None))


class EncodeTests(SynchronousTestCase):
    """What the server sends."""

    def test_message(self) -> None:
        """With type, src, dst and payload; without a payload, there is no such member."""
        with_payload = Message("OFFER", "alice", "bob", '{"x": ["ä"]}'.encode())
        expected = {"type": "OFFER", "src": "alice", "dst": "bob", "payload": {"x": ["ä"]}}
        self.assertEqual(json.loads(encode(with_payload)), expected)
        expected = {"type": "EXPIRE", "src": "bob", "dst": "alice"}
        self.assertEqual(json.loads(encode(Message("EXPIRE", "bob", "alice"))), expected)

    def test_answers_of_the_server(self) -> None:
        """As PeerJS reads them."""
        self.assertEqual(json.loads(OPEN), {"type": "OPEN"})
        self.assertEqual(json.loads(ID_TAKEN), {"type": "ID-TAKEN", "payload": {"msg": "ID is taken"}})
        self.assertEqual(json.loads(error('no "id"')), {"type": "ERROR", "payload": {"msg": 'no "id"'}})
