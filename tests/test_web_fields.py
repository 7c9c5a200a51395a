"""Credentials and bodies: what a request must be before any route looks at it."""

from __future__ import annotations

import json

from tests._web_case import WebTestCase

BODY_ROUTES = ["/offers", "/offers/x/answer", "/offers/x/ice-candidates"]

AUTHENTICATED = [
    ("POST", "/offers"),
    ("GET", "/offers/mine"),
    ("GET", "/offers/answers"),
    ("PUT", "/offers/x/heartbeat"),
    ("DELETE", "/offers/x"),
    ("POST", "/offers/x/answer"),
    ("POST", "/offers/x/ice-candidates"),
    ("GET", "/offers/x/ice-candidates"),
    ("GET", "/events"),
]


class CredentialTests(WebTestCase):
    """Who may call."""

    def test_both_forms_of_the_credential_are_good(self) -> None:
        """The key alone and the id with the key both publish as the same peer."""
        key = self.alice["Authorization"].rpartition(":")[2]
        bare = {"Authorization": f"Bearer {key}"}
        self.publish(bare)
        self.assertEqual(self.mine(bare), self.mine(self.alice))
        self.assertEqual(self.mine(bare)[0]["peerId"], self.alice_id)

    def test_only_the_two_part_form_outlives_silence(self) -> None:
        """A peer that never pulses is forgotten after the registration time; then its key alone says nothing."""
        key = self.alice["Authorization"].rpartition(":")[2]
        self.advance(301)
        self.refused(401, "unauthorized", "GET", "/offers/mine", None, {"Authorization": f"Bearer {key}"})
        self.publish(self.alice)

    def test_every_route_that_needs_a_credential_says_so(self) -> None:
        """Missing, malformed and wrong credentials are 401 with WWW-Authenticate, whatever else is wrong."""
        wrong = [
            {},
            {"Authorization": ""},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer x"},
            {"Authorization": "Basic YTpi"},
            {"Authorization": "Bearer " + "0" * 64},
            {"Authorization": f"Bearer {self.alice_id}:" + "0" * 64},
            {"Authorization": "Bearer \xff"},
            {"Authorization": self.alice["Authorization"][:-1]},
        ]
        for method, path in AUTHENTICATED:
            for headers in wrong:
                response = self.ask(method, path, b"not json", headers)
                self.assertRefused(response, 401, "unauthorized")
                self.assertEqual(response.headers["www-authenticate"], "Bearer")

    def test_wrong_methods_name_the_right_ones(self) -> None:
        """A path with another method is 405 with Allow."""
        response = self.ask("PUT", "/offers/mine", None, self.alice)
        self.assertRefused(response, 405, "method-not-allowed")
        self.assertIn("GET", response.headers["allow"])


class BodyTests(WebTestCase):
    """Bodies that are no JSON object."""

    def test_broken_bodies_are_refused_and_nothing_is_written(self) -> None:
        """Broken JSON, wrong encodings, non-finite numbers and endless nesting are 400 on every route that reads."""
        bodies = [
            b"",
            b"{",
            b"[]",
            b"null",
            b'"text"',
            b"5",
            b"{'a': 1}",
            b'{"offers": NaN}',
            b'{"offers": [], "x": Infinity}',
            b'{"offers": [], "x": -Infinity}',
            b'{"sdp": "\xff"}',
            b"\xff\xfe{\x00}\x00",
            b"\xef\xbb\xbf{}",
            b'{"a":' * 40_000 + b"1" + b"}" * 40_000,
            b"[" * 200_000,
            b'{"n": ' + b"9" * 5000 + b"}",
            b"{} trailing",
        ]
        for path in BODY_ROUTES:
            for body in bodies:
                response = self.ask("POST", path, body, self.alice)
                self.assertRefused(response, 400, "bad-json")
        self.assertEqual(self.mine(), [])

    def test_other_media_are_refused(self) -> None:
        """A body that says it is something else than JSON is 415; JSON by any of its names is read."""
        body = json.dumps({"offers": [{"sdp": "v=0", "topics": ["a"]}]}).encode()
        forms = ("application/x-www-form-urlencoded", "multipart/form-data", "multipart/form-data; boundary=x")
        for media in ("text/plain", "json", "application/jsonx", *forms):
            for path in BODY_ROUTES:
                response = self.ask("POST", path, body, {**self.alice, "Content-Type": media})
                self.assertRefused(response, 415, "unsupported-media-type")
        self.assertEqual(self.mine(), [])
        for media in ("application/json", "Application/JSON; charset=utf-8", "application/ld+json"):
            self.good("POST", "/offers", body, {**self.alice, "Content-Type": media})
        self.good("POST", "/offers", body, self.alice)

    def test_a_body_over_the_limit_is_not_read(self) -> None:
        """A hundred megabytes are 413 as soon as they are announced, and nothing is published."""
        connection = self.server.connect()
        head = f"POST /offers HTTP/1.1\r\nHost: a\r\nAuthorization: {self.alice['Authorization']}\r\n"
        connection.send(head.encode() + b"Content-Length: 104857600\r\n\r\n")
        self.assertRefused(connection.response(), 413, "too-large")
        self.assertEqual(connection.transport.producerState, "paused")
        connection.lose()
        self.server.reactor.advance(1)
        self.assertEqual(self.mine(), [])
