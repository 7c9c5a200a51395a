"""The messages of y-webrtc and trystero."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.wire.signal import PONG, Dialect, Ping, Publish, Subscribe, decode, delivered

Y, T = Dialect.Y_WEBRTC, Dialect.TRYSTERO
NAMES = st.sampled_from(["type", "topic", "topics", "payload", "clients", "publish", "subscribe", "ping"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | NAMES,
    lambda inner: st.lists(inner) | st.dictionaries(NAMES | st.text(), inner),
)


class DecodeTests(SynchronousTestCase):
    """Whose message it is, and what it asks for."""

    def test_subscriptions(self) -> None:
        """A list of topics is y-webrtc's, one topic is trystero's; the list counts if both are there."""
        for text, expected in (
            ('{"type":"subscribe","topics":["a","b"]}', Subscribe(Y, ("a", "b"), False)),
            ('{"type":"unsubscribe","topics":["a",7,null]}', Subscribe(Y, ("a",), True)),
            ('{"type":"subscribe","topics":[]}', Subscribe(Y, (), False)),
            ('{"type":"subscribe","topic":"a"}', Subscribe(T, ("a",), False)),
            ('{"type":"unsubscribe","topic":""}', Subscribe(T, ("",), True)),
            ('{"type":"subscribe","topics":["a"],"topic":"b"}', Subscribe(Y, ("a",), False)),
            ('{"type":"subscribe","topics":"a","topic":"b"}', Subscribe(T, ("b",), False)),
        ):
            self.assertEqual(decode(text), expected, text)

    def test_publications(self) -> None:
        """A message with a payload is trystero's, also if the payload is null."""
        for rest, dialect in ((',"data":1', Y), ("", Y), (',"payload":1', T), (',"payload":null,"data":1', T)):
            text = '{"type":"publish","topic":"a"' + rest + "}"
            self.assertEqual(decode(text), Publish(dialect, "a", json.loads(text)))

    def test_ping(self) -> None:
        """It has nothing but its type."""
        self.assertEqual((decode('{"type":"ping"}'), json.loads(PONG)), (Ping(), {"type": "pong"}))

    def test_all_else_is_ignored(self) -> None:
        """No JSON, no object, another type, and fields of other kinds."""
        for text in (
            "", "x", "7", "[]", "null", "{}", '{"type":7}', '{"type":["ping"]}', '{"type":"pong"}',
            '{"type":"publish"}', '{"type":"publish","topic":7}', '{"type":"publish","topics":["a"]}',
            '{"type":"subscribe"}', '{"type":"subscribe","topic":7}', '{"type":"unsubscribe","topics":"a"}',
            "[" * 5000, '{"type":"ping"', '{"type":"ping"} ping', '{"type":"\\ud800"}',
        ):  # fmt: skip
            self.assertIsNone(decode(text), text)

    @given(st.text() | JSON.map(json.dumps))
    def test_any_text(self, text: str) -> None:
        """It is a message or ignored. What is published can be delivered."""
        message = decode(text)
        if isinstance(message, Publish):
            self.assertIsInstance(json.loads(delivered(message, 3) or b""), dict)


class DeliveredTests(SynchronousTestCase):
    """What subscribers get."""

    def sent(self, **message: Any) -> Any:
        """:returns: what each of three subscribers gets of a message."""
        found = decode(json.dumps({"type": "publish", "topic": "a", **message}))
        assert isinstance(found, Publish)
        data = delivered(found, 3)
        return None if data is None else json.loads(data)

    def test_y_webrtc(self) -> None:
        """The whole message, with the number of subscribers, whatever number its sender has written."""
        expected = {"type": "publish", "topic": "a", "data": {"x": [1, None]}, "more": "ä", "clients": 3}
        self.assertEqual(self.sent(data={"x": [1, None]}, more="ä", clients=9), expected)

    def test_trystero(self) -> None:
        """The topic and the payload, and nothing else."""
        self.assertEqual(self.sent(payload={"x": 1}, more=2), {"topic": "a", "payload": {"x": 1}})
        self.assertEqual(self.sent(payload=None), {"topic": "a", "payload": None})

    def test_deep_messages(self) -> None:
        """250 levels are delivered; beyond what can be written, nothing is."""
        for name in ("data", "payload"):
            deep: Any = []
            for _ in range(249):
                deep = [deep]
            self.assertEqual(self.sent(**{name: deep})[name], deep)
            for _ in range(50):
                deep = [deep]
            self.assertIsNone(self.sent(**{name: deep}))
