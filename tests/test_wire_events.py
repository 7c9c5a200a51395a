"""The messages of ``/events`` as a WebSocket."""

from __future__ import annotations

import contextlib
import json

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.errors import WireError
from rendezvous.wire.events import PONG, Authenticate, Ping, Subscribe, decode, message

NAMES = st.sampled_from(["type", "topics", "credential"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(NAMES | st.text(), inner),
)


class DecodeTests(SynchronousTestCase):
    """What a client says."""

    def test_messages(self) -> None:
        """Each kind; members that are not known are ignored."""
        for text, expected in (
            ('{"type":"authenticate","credential":"c","more":1}', Authenticate("c")),
            ('{"type":"subscribe","topics":["a","b"]}', Subscribe(("a", "b"), False)),
            ('{"type":"unsubscribe","topics":[]}', Subscribe((), True)),
            ('{"type":"ping"}', Ping()),
            ('{"type":"later"}', None),
        ):
            self.assertEqual(decode(text), expected)

    def test_what_is_wrong(self) -> None:
        """Is said in a plain sentence."""
        for text, expected in (
            ("", "A message is a JSON object with a type."),
            ("[" * 5000, "A message is a JSON object with a type."),
            ("7", "A message is a JSON object with a type."),
            ('{"type":7}', "A message is a JSON object with a type."),
            ('{"type":"authenticate"}', "credential must be a string."),
            ('{"type":"subscribe","topics":"a"}', "topics must be a list of strings."),
            ('{"type":"unsubscribe","topics":["a",7]}', "topics must be a list of strings."),
        ):
            self.assertEqual(str(self.assertRaises(WireError, decode, text)), expected)

    def test_credential_is_not_shown(self) -> None:
        """Where a message is logged."""
        self.assertNotIn("secret", repr(decode('{"type":"authenticate","credential":"secret"}')))

    @given(st.text() | JSON.map(json.dumps))
    def test_anything(self, text: str) -> None:
        """Is a message or a WireError."""
        with contextlib.suppress(WireError):
            decode(text)

    @given(st.sampled_from(["subscribe", "unsubscribe"]), st.lists(st.text()))
    def test_any_topics(self, kind: str, topics: list[str]) -> None:
        """Are read as they were written."""
        text = json.dumps({"type": kind, "topics": topics}, ensure_ascii=False)
        self.assertEqual(decode(text), Subscribe(tuple(topics), kind == "unsubscribe"))


class MessageTests(SynchronousTestCase):
    """What the server says."""

    def test_parts(self) -> None:
        """With an id and data, or without."""
        self.assertEqual(message("keep-alive", None, 7), b'{"id":"7","event":"keep-alive"}')
        self.assertEqual(message("open", {"peerId": "é"}), '{"event":"open","data":{"peerId":"é"}}'.encode())
        self.assertEqual(json.loads(message("answer", b'{"a":1}', 2)), {"id": "2", "event": "answer", "data": {"a": 1}})
        self.assertEqual(json.loads(PONG), {"event": "pong"})
