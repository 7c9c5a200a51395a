"""Tests for :mod:`rendezvous.wire.tracker`."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.replies import Announced, Expired, PeerInfo, Pulsed, Pushed, PushNotice, StillAlive
from rendezvous.errors import WireError
from rendezvous.wire.tracker import (
    MAX_SIZE,
    Alive,
    Announce,
    Dialect,
    Failed,
    FieldError,
    Message,
    PulseRequest,
    Push,
    Request,
    decode,
    encode,
)


def written(action: str, **fields: Any) -> bytes:
    """Write a request as a client would."""
    return json.dumps({"action": action, **fields}).encode()


class RequestTests(SynchronousTestCase):
    """Requests that are understood."""

    def test_each_action_is_read(self) -> None:
        """The four requests, in their shortest form."""
        requests: dict[bytes, Request] = {
            b'{"action":"announce"}': Announce(),
            b'{"action":"pulse"}': PulseRequest(),
            b'{"action":"alive"}': Alive(),
            b'{"action":"push","shareId":"a1B2c3D4"}': Push("a1B2c3D4"),
        }
        self.assertEqual([decode(datagram) for datagram in requests], list(requests.values()))

    def test_spaces_change_nothing(self) -> None:
        """The usual spellings of requests without fields are looked up, and all others are read."""
        for action, request in (("announce", Announce()), ("pulse", PulseRequest()), ("alive", Alive())):
            for form in (
                '{"action":"%s"}',
                '{"action": "%s"}',
                '{ "action":"%s"}',
                '{"action":"%s"}\n',
                '{"a":1,"action":"%s"}',
            ):
                self.assertEqual(decode((form % action).encode()), request)

    def test_pulse_with_every_field(self) -> None:
        """All that a pulse may carry."""
        datagram = written("pulse", override=True, ip="10.0.0.1", port=7000, multiaddr="/ip4/10.0.0.1", shareId=True)
        self.assertEqual(decode(datagram), PulseRequest(True, "10.0.0.1", 7000, "/ip4/10.0.0.1", True))

    def test_booleans_have_two_forms(self) -> None:
        """True and false are read as JSON and as text."""
        for form, value in ((True, True), ("true", True), (False, False), ("false", False), (None, False)):
            self.assertEqual(
                decode(written("pulse", override=form, shareId=form)), PulseRequest(value, renew_share_id=value)
            )

    def test_ports_have_two_forms(self) -> None:
        """A number and its digits are the same port, at both ends of the range."""
        for form, port in ((1, 1), (65535, 65535), ("1", 1), ("65535", 65535), ("05024", 5024)):
            self.assertEqual(decode(written("pulse", port=form)), PulseRequest(port=port))

    def test_null_is_a_field_left_out(self) -> None:
        """Clients that write every field write null for those they have nothing for."""
        self.assertEqual(decode(written("pulse", override=None, ip=None, port=None, multiaddr=None)), PulseRequest())

    def test_unknown_fields_are_ignored(self) -> None:
        """Later clients may say more."""
        self.assertEqual(decode(written("announce", data={"x": [1]}, port="?")), Announce())

    def test_last_of_two_fields_counts(self) -> None:
        """Duplicate names are resolved as most JSON parsers do."""
        self.assertEqual(decode(b'{"action":"push","action":"alive"}'), Alive())

    def test_size_has_a_limit(self) -> None:
        """A request of the greatest size is read, one byte more is not."""
        datagram = written("alive")
        padded = datagram + b" " * (MAX_SIZE - len(datagram))
        self.assertEqual((len(padded), decode(padded)), (1024, Alive()))
        with self.assertRaises(WireError):
            decode(padded + b" ")


class RefusalTests(SynchronousTestCase):
    """Requests that are answered with an error, and datagrams that are not answered at all."""

    def test_bad_fields_are_to_be_answered(self) -> None:
        """A known action with a wrong field is the client's mistake, and the error names the field."""
        wrong: dict[str, list[Any]] = {
            "override": [1, 0, "yes", "True", "", [], {}],
            "shareId": [1, "a1B2c3D4", []],
            "ip": [1, True, ["10.0.0.1"], {}, "\ud800", "10.0.0.1\n"],
            "multiaddr": [1, True, [], "\udfff", "\x00", "a\tb"],
            "port": [
                0,
                65536,
                -1,
                10**300,
                80.0,
                True,
                "",
                "0",
                "65536",
                "000080",
                " 80",
                "+80",
                "8e1",
                "\u0668\u0660",
                [],
            ],
        }
        for name, values in wrong.items():
            for value in values:
                error = self.assertRaises(FieldError, decode, written("pulse", **{name: value}))
                self.assertIn(name, str(error))

    def test_push_needs_a_name(self) -> None:
        """A push without a shareId, or with one that is not text, is answered."""
        for fields in ({}, {"shareId": None}, {"shareId": 5}, {"shareId": True}, {"shareId": "\ud800"}):
            error = self.assertRaises(FieldError, decode, written("push", **fields))
            self.assertIn("shareId", str(error))

    def test_everything_else_is_dropped(self) -> None:
        """What is not an object with a known action is refused in the way that asks for silence."""
        dropped = [
            b"",
            b"{",
            b"null",
            b"1",
            b'"announce"',
            b"[]",
            b'["announce"]',
            b"{}",
            b"\xff",
            b'{"action":"\xff"}',
        ]
        dropped += [b'{"action":null}', b'{"action":1}', b'{"action":["push"]}', b'{"action":{}}', b'{"action":true}']
        dropped += [b'{"action":"Announce"}', b'{"action":"unknown"}', b'{"action":"\\ud800"}', b'{"action":""}']
        dropped += [b'{"action":"pulse","port":NaN}', b'{"action":"pulse","port":-Infinity}', b'{"action":"alive"}x']
        dropped += ['{"action":"alive"}'.encode("utf-16"), b"\xef\xbb\xbf" + written("alive"), b"[" * MAX_SIZE]
        dropped += [b'{"action":' * 100, b'{"a":' * 200 + b"1" + b"}" * 24, b"1" * MAX_SIZE]
        for datagram in dropped:
            error = self.assertRaises(WireError, decode, datagram)
            self.assertNotIsInstance(error, FieldError)

    @given(st.binary(max_size=MAX_SIZE + 10))
    def test_any_bytes_decode_or_raise_wire_error(self, datagram: bytes) -> None:
        """Nothing else is raised, whatever the bytes are. A few of them are requests."""
        try:
            request = decode(datagram)
        except WireError:
            return
        self.assertIsInstance(json.loads(datagram)["action"], str, request)

    @given(
        st.sampled_from(["announce", "pulse", "alive", "push"]),
        st.dictionaries(
            st.sampled_from(["override", "ip", "port", "multiaddr", "shareId"]),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("true"),
                lambda inner: st.lists(inner, max_size=3),
                max_leaves=3,
            ),
        ),
        st.integers(0, 300),
        st.integers(0, 255),
    )
    def test_any_fields_decode_or_raise_wire_error(
        self, action: str, fields: dict[str, Any], position: int, flip: int
    ) -> None:
        """Requests with arbitrary fields, whole and with a byte flipped, are read or refused with WireError."""
        datagram = bytearray(written(action, **fields))
        for _ in range(2):
            try:
                request = decode(bytes(datagram))
            except WireError:
                request = None
            self.assertIsInstance(request, (Announce, PulseRequest, Alive, Push, type(None)))
            datagram[position % len(datagram)] ^= flip


IPV4 = ("192.0.2.1", 4000, "a1B2c3D4")
IPV6 = ("2001:db8::1", 4000, "a1B2c3D4")


class MessageTests(SynchronousTestCase):
    """Replies in both dialects, byte for byte."""

    def assert_written(self, reply: Message, documented: str | None, deployed: str) -> None:
        """Assert what a reply is in the two dialects."""
        self.assertEqual(encode(reply, Dialect.DOCUMENTED), documented and documented.encode())
        self.assertEqual(encode(reply, Dialect.DEPLOYED), deployed.encode())

    def test_announced(self) -> None:
        """The dialects differ in the action."""
        self.assert_written(
            Announced("a1B2c3D4"),
            '{"action":"announceReceived","data":{"shareId":"a1B2c3D4"}}',
            '{"action":"announced","data":{"shareId":"a1B2c3D4"}}',
        )

    def test_pulsed(self) -> None:
        """Status and override are text; a new name comes beside them."""
        replies = {
            Pulsed(): '{"action":"pulseReceived","data":{"status":"0","overriden":"false"}}',
            Pulsed(refused=True): '{"action":"pulseReceived","data":{"status":"1","overriden":"false"}}',
            Pulsed(overridden=True): '{"action":"pulseReceived","data":{"status":"0","overriden":"true"}}',
            Pulsed(share_id="a1B2c3D4"): '{"action":"pulseReceived","data":{"status":"0","overriden":"false",'
            '"shareId":"a1B2c3D4"}}',
        }
        for reply, expected in replies.items():
            self.assert_written(reply, expected, expected)

    def test_alive_and_expired(self) -> None:
        """Neither carries data."""
        self.assert_written(StillAlive(), '{"action":"alived"}', '{"action":"alived"}')
        self.assert_written(Expired(), '{"action":"expired"}', '{"action":"expired"}')

    def test_pushed(self) -> None:
        """The deployed dialect names the peer too."""
        self.assert_written(
            Pushed(PeerInfo(*IPV4)),
            '{"action":"pushReceived","data":{"peeraddr":"192.0.2.1:4000"}}',
            '{"action":"pushed","data":{"peeraddr":"192.0.2.1:4000","peerShareId":"a1B2c3D4"}}',
        )

    def test_income_is_of_the_deployed_dialect(self) -> None:
        """In the documented dialect the target gets no message."""
        deployed = '{"action":"income","data":{"peeraddr":"192.0.2.1:4000","peerShareId":"a1B2c3D4"}}'
        self.assert_written(PushNotice(PeerInfo(*IPV4)), None, deployed)

    def test_ipv6_host_is_bracketed(self) -> None:
        """So that the port can be told from the address."""
        documented = encode(Pushed(PeerInfo(*IPV6)), Dialect.DOCUMENTED)
        self.assertEqual(documented, b'{"action":"pushReceived","data":{"peeraddr":"[2001:db8::1]:4000"}}')

    def test_multiaddr_is_passed_on_if_there_is_one(self) -> None:
        """In both dialects and both directions, as UTF-8; an empty one is none."""
        self.assert_written(
            Pushed(PeerInfo(*IPV4, "/dns/\u00e9")),
            '{"action":"pushReceived","data":{"peeraddr":"192.0.2.1:4000","multiaddr":"/dns/\u00e9"}}',
            '{"action":"pushed","data":{"peeraddr":"192.0.2.1:4000","peerShareId":"a1B2c3D4","multiaddr":"/dns/\u00e9"}}',
        )
        self.assertIn(b'"multiaddr":"/a"', encode(PushNotice(PeerInfo(*IPV4, "/a")), Dialect.DEPLOYED) or b"")
        without = encode(Pushed(PeerInfo(*IPV4)), Dialect.DEPLOYED)
        self.assertEqual(encode(Pushed(PeerInfo(*IPV4, "")), Dialect.DEPLOYED), without)
        self.assertEqual(encode(Pushed(PeerInfo(*IPV4, "/a")), Dialect.DEPLOYED, with_multiaddr=False), without)

    @given(st.text(st.characters(exclude_categories=["C"]), max_size=30), st.booleans())
    def test_answers_are_compact_json(self, text: str, deployed: bool) -> None:
        """Whatever printable text is in them: they are what the encoder of the standard library writes."""
        dialect = Dialect.DEPLOYED if deployed else Dialect.DOCUMENTED
        for reply in (Failed(text), Announced(text), Pulsed(False, True, text), Pushed(PeerInfo(*IPV4, text))):
            answer = encode(reply, dialect)
            assert answer is not None
            again = json.dumps(json.loads(answer), ensure_ascii=False, separators=(",", ":"))
            self.assertEqual(answer.decode(), again)
            self.assertIn(text, [*json.loads(answer)["data"].values(), ""])

    def test_error(self) -> None:
        """An error is one sentence, the same in both."""
        expected = '{"action":"error","data":{"error":"Announce first."}}'
        self.assert_written(Failed("Announce first."), expected, expected)

    def test_no_reply_is_a_request(self) -> None:
        """A reply that reaches a tracker is dropped in silence, so two servers never talk to each other."""
        replies: list[Message] = [
            Announced("a1B2c3D4"),
            Pulsed(),
            StillAlive(),
            Expired(),
            Pushed(PeerInfo(*IPV4)),
            PushNotice(PeerInfo(*IPV6)),
            Failed("no"),
        ]
        for reply in replies:
            for dialect in Dialect:
                error = self.assertRaises(WireError, decode, encode(reply, dialect) or b"")
                self.assertNotIsInstance(error, FieldError)
