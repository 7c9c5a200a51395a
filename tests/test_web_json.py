"""Tests of :mod:`rendezvous.web._json`."""

from __future__ import annotations

import io
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import MethodNotAllowed as WrongMethod
from werkzeug.exceptions import NotFound as NoRoute

from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.test.requesthelper import DummyRequest

from rendezvous import errors
from rendezvous.web import _json
from rendezvous.web._json import LARGE, MANY_LISTS, MAX_STRUCTURE, read_object, write_failure, write_object
from rendezvous.web.pages import encode
from rendezvous.web.requestids import RequestIds

#: Names every request the same.
IDS = RequestIds(lambda size: b"\x01" * size)

#: Any JSON: integers of any length, and text with any characters, halves of surrogate pairs included.
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def made_request(body: bytes = b"", media: str | None = None) -> Any:
    """:returns: a request with such a body."""
    request: Any = DummyRequest([b""])
    request.content = io.BytesIO(body)
    request.startedWriting = False
    if media is not None:
        request.requestHeaders.setRawHeaders("Content-Type", [media])
    return request


class WriteObjectTests(SynchronousTestCase):
    """Tests of :func:`write_object`."""

    def test_object_becomes_compact_utf8(self) -> None:
        """Only what UTF-8 cannot carry is escaped, nothing is padded, and type and length are in the headers."""
        request = made_request()
        body = write_object(request, {"a": "\u00e9\U0001f600", "b": [1, None, True]})
        self.assertEqual(body, '{"a":"\u00e9\U0001f600","b":[1,null,true]}'.encode())
        self.assertEqual(request.responseHeaders.getRawHeaders("Content-Type"), ["application/json"])
        self.assertEqual(request.responseHeaders.getRawHeaders("Content-Length"), [str(len(body))])
        self.assertIsNone(request.responseCode)

    def test_other_status_comes_with_its_phrase(self) -> None:
        """A status that is not 200 is set."""
        request = made_request()
        write_object(request, {}, 201)
        self.assertEqual(request.responseCode, 201)


class WriteFailureTests(SynchronousTestCase):
    """Tests of :func:`write_failure`."""

    def answer(self, error: BaseException) -> tuple[Any, dict[str, Any]]:
        """:returns: the request and the body for an error."""
        request = made_request()
        return request, json.loads(write_failure(request, Failure(error), IDS))

    def test_every_error_has_its_status_and_code(self) -> None:
        """Each class of the tree answers for itself, with its message."""
        expected = {
            errors.Malformed: (400, "malformed"), errors.Unauthorized: (401, "unauthorized"),
            errors.Forbidden: (403, "forbidden"), errors.NotFound: (404, "not-found"),
            errors.MethodNotAllowed: (405, "method-not-allowed"), errors.Conflict: (409, "conflict"),
            errors.TooLarge: (413, "too-large"), errors.UnsupportedMedia: (415, "unsupported-media-type"),
            errors.TooMany: (429, "too-many"), errors.RendezvousError: (500, "internal"),
            errors.Unavailable: (503, "unavailable"), errors.Full: (503, "full"),
        }  # fmt: skip
        for kind, (status, code) in expected.items():
            request, body = self.answer(kind("One plain sentence."))
            self.assertEqual(request.responseCode, status)
            named = {"request_id": "01" * 8} if status >= 500 else {}
            self.assertEqual(body, {"ok": False, "error": "One plain sentence.", "code": code, **named})
            found = request.responseHeaders.getRawHeaders("X-Request-ID")
            self.assertEqual(found, ["01" * 8] if named else None)

    def test_error_can_have_a_code_of_its_own(self) -> None:
        """The more precise word wins."""
        _, body = self.answer(errors.NotFound("Nothing.", code="no-address"))
        self.assertEqual(body["code"], "no-address")

    def test_refusals_that_pass_say_when_to_try_again(self) -> None:
        """Errors 429 and 503 carry Retry-After in whole seconds, and no other does."""
        for kind, expected in (
            (errors.TooMany, ["30"]), (errors.Unavailable, ["5"]), (errors.Full, ["30"]), (errors.NotFound, None)
        ):  # fmt: skip
            request, _ = self.answer(kind("No."))
            self.assertEqual(request.responseHeaders.getRawHeaders("Retry-After"), expected)

    def test_unauthorized_names_the_scheme(self) -> None:
        """RFC 9110, section 11.6.1: a 401 carries WWW-Authenticate."""
        request, _ = self.answer(errors.Unauthorized("Who?"))
        self.assertEqual(request.responseHeaders.getRawHeaders("WWW-Authenticate"), ["Bearer"])

    def test_wrong_method_lists_the_right_ones(self) -> None:
        """In alphabetical order, in the header and in the sentence."""
        request, body = self.answer(WrongMethod(["POST", "GET"]))
        self.assertEqual(request.responseCode, 405)
        self.assertEqual(request.responseHeaders.getRawHeaders("Allow"), ["GET, POST"])
        self.assertEqual(body["error"], "This path takes GET, POST.")

    def test_what_else_the_router_says_is_404(self) -> None:
        """A route that is not there."""
        request, body = self.answer(NoRoute())
        self.assertEqual((request.responseCode, body["code"]), (404, "no-such-path"))

    def test_fault_of_ours_is_told_to_the_log_alone(self) -> None:
        """The body of a 500 says nothing of what happened; the log has it with its traceback."""
        with capturedLogs() as seen:
            request, body = self.answer(ZeroDivisionError("a detail of ours"))
        self.assertEqual((request.responseCode, body["code"]), (500, "internal"))
        self.assertNotIn("detail", json.dumps(body))
        self.assertEqual([event["request_id"] for event in seen], [body["request_id"]])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_answer_that_has_begun_can_only_end(self) -> None:
        """Status and headers are sent already, so nothing is added to them; a fault of ours is logged all the same."""
        for error, logged in ((errors.NotFound("Gone."), 0), (ZeroDivisionError("a detail of ours"), 1)):
            request = made_request()
            request.startedWriting = True
            self.assertEqual(write_failure(request, Failure(error), IDS), b"")
            self.assertIsNone(request.responseCode)
            self.assertIsNone(request.responseHeaders.getRawHeaders("Content-Type"))
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), logged)


class ReadObjectTests(SynchronousTestCase):
    """Tests of :func:`read_object`."""

    def refused(self, body: bytes) -> str:
        """:returns: why a body was refused."""
        error = self.assertRaises(errors.Malformed, read_object, made_request(body))
        self.assertEqual(error.code, "bad-json")
        return str(error.message)

    def test_object_is_read_from_its_beginning(self) -> None:
        """It does not matter what has read the body before."""
        request = made_request(b'{"a": [1, "\xc3\xa9"]}')
        request.content.read()
        self.assertEqual(read_object(request), {"a": [1, "\u00e9"]})

    def test_media_types_of_json_are_read(self) -> None:
        """With parameters, in any case, with the suffix of RFC 6839, or none at all."""
        types = ("application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json", "", None)
        for media in types:
            self.assertEqual(read_object(made_request(b"{}", media)), {})

    def test_other_media_types_are_not(self) -> None:
        """A form or a text is 415, even if it would parse."""
        for media in ("text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json"):
            self.assertRaises(errors.UnsupportedMedia, read_object, made_request(b"{}", media))

    def test_what_is_no_object_is_refused(self) -> None:
        """Other JSON values are not objects."""
        for body in (b"[]", b"null", b"1", b'"{}"', b"true"):
            self.assertEqual(self.refused(body), "The body must be a JSON object.")

    def test_what_is_no_json_is_refused_with_the_reason(self) -> None:
        """The sentence says what is wrong, and where."""
        for body, reason in (
            (b"", "there is a mistake at character 0"),
            (b'{"a": }', "there is a mistake at character 6"),
            (b"{} {}", "there is a mistake at character 3"),
            (b'{"a": "\xff"}', "it is not UTF-8"),
            (b'{"a": NaN}', "NaN is not a JSON number"),
            (b'{"a": -Infinity}', "-Infinity is not a JSON number"),
            (b'{"a":' + b"[" * MANY_LISTS, "it is nested too deeply"),
        ):
            self.assertEqual(self.refused(body), f"The body is not JSON: {reason}.")

    def test_half_of_a_surrogate_pair(self) -> None:
        """It is read as it is, but not in a body of more than 400 KiB, which would be parsed twice for it."""
        self.assertEqual(read_object(made_request(b'{"a": "\\ud800"}')), {"a": "\ud800"})
        long = b'{"a": "%b\\ud800"}' % (b"v" * LARGE)
        self.patch(_json, "json", None)
        self.assertIn("The body is not JSON in Unicode", self.refused(long))

    def test_a_body_is_given_back_when_it_has_been_read(self) -> None:
        """A request that waits for the disk keeps none of it."""
        request = made_request(b'{"a": 1}')
        read_object(request)
        self.assertEqual(request.content.getvalue(), b"")

    def test_number_of_too_many_digits_is_refused(self) -> None:
        """Python will not read an integer of thousands of digits; that is the body's fault, and one line says so."""
        message = self.refused(b'{"a": ' + b"9" * 5000 + b"}")
        self.assertEqual(message, "The body is not JSON: a number has more than 100 digits.")
        self.assertNotIn("\n", message)

    def test_body_that_would_take_long_to_parse_is_refused(self) -> None:
        """One with many lists; one that is left to the slow parser and has as much besides text."""
        long = b"1" * 20
        for piece, last in (
            *((b"[]", b"1"), (b"{}", b"1"), (b"[[[[]]]]", b"1")),
            *((b"1", long), (b"[1]", long), (b'"",1', b'"\\ud800"'), (b"1", b"not JSON")),
        ):
            values = [piece] * (2 * MAX_STRUCTURE // len(piece)) + [last]
            message = self.refused(b'{"a":[' + b",".join(values) + b"]}")
            self.assertEqual(message, "The body has too many values.", (piece, last))

    def test_body_that_is_mostly_text_is_read(self) -> None:
        """However long it is, with each of the parsers; and a list of many numbers with the quick one."""
        text = "v=0 " * 200_000
        for last in (1, 10**20):
            value = {"a": [text, [1] * 10_000, last]}
            self.assertEqual(read_object(made_request(json.dumps(value).encode())), value)
        numbers = {"a": [1] * 100_000}
        self.assertEqual(read_object(made_request(json.dumps(numbers, separators=(",", ":")).encode())), numbers)

    def test_byte_order_mark_is_refused(self) -> None:
        """RFC 8259, section 8.1: JSON carries none."""
        self.assertIn("character 0", self.refused(b"\xef\xbb\xbf{}"))

    def test_what_64_bits_cannot_carry_is_read_exactly(self) -> None:
        """Long integers keep their digits, and half of a surrogate pair is left to the routes to refuse."""
        for number in (2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, -(10**19) + 1, 10**19, 10**99):
            self.assertEqual(read_object(made_request(b'{"a":%d}' % number)), {"a": number})
        self.assertEqual(read_object(made_request(b'{"a":"\\ud800"}')), {"a": "\ud800"})
        self.assertEqual(read_object(made_request(b'{"a":1e400}')), {"a": float("inf")})

    @given(VALUES, st.booleans(), st.sampled_from([None, 2]))
    def test_every_value_is_read_as_the_standard_library_reads_it(
        self, value: Any, ascii: bool, indent: int | None
    ) -> None:
        """The same types, digits, characters, keys and order, however the JSON is written."""
        text = json.dumps({"a": value}, ensure_ascii=ascii, indent=indent, allow_nan=False)
        data = text.encode("utf-8", "replace")
        self.assertEqual(repr(read_object(made_request(data))), repr(json.loads(data)))

    @given(st.text('{}[]":,ab\\u0Dd8\x00\n 19.eE+-truefalsnNI\u00e9', max_size=12))
    def test_what_is_nearly_json_is_read_or_refused_as_by_the_standard_library(self, text: str) -> None:
        """One parser is not more lenient than the other."""
        data = b'{"a":' + text.encode() + b"}"
        try:
            expected = json.loads(data, parse_constant=lambda name: 1 // 0)
        except (ValueError, ZeroDivisionError):
            self.refused(data)
        else:
            self.assertEqual(repr(read_object(made_request(data))), repr(expected))

    def test_of_a_repeated_key_the_last_one_counts(self) -> None:
        """It stays where the first one was."""
        body = read_object(made_request(b'{"a":1,"b":2,"a":3}'))
        self.assertEqual(list(body.items()), [("a", 3), ("b", 2)])


class EncodeTests(SynchronousTestCase):
    """Tests of :func:`~rendezvous.web.pages.encode`."""

    @given(VALUES)
    def test_every_value_is_written_so_that_it_is_read_back(self, value: Any) -> None:
        """Also half of a surrogate pair and integers of any length, and without spaces between values."""
        data = encode({"a": value, "b": (1, 2)})
        self.assertEqual(repr(json.loads(data)), repr({"a": value, "b": [1, 2]}))
        self.assertEqual(len(data.split(b" ")), json.dumps(value, separators=(",", ":")).count(" ") + 1)

    def test_characters_stay_as_they_are(self) -> None:
        """Only what JSON demands and UTF-8 cannot carry is escaped."""
        written = encode(['\x00\n\x1f"\\', "/\x7f\u2028\u00e9\U0001f600", "\ud800"])
        self.assertEqual(written, '["\\u0000\\n\\u001f\\"\\\\","/\x7f\u2028\u00e9\U0001f600","\\ud800"]'.encode())
