"""Bugs that no part of the web side catches: what the client sees, and what the log has."""

from __future__ import annotations

from typing import Any

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.testing import MemoryServer


class UncaughtTests(SynchronousTestCase):
    """Tests of what the site does with an exception of its resource."""

    def setUp(self) -> None:
        """Start a server."""
        self.server = MemoryServer()
        self.addCleanup(self.server.stop)

    def test_answer_is_json_with_a_request_id_that_the_log_has(self) -> None:
        """As for any other bug: Twisted's own page has none, and its own line has no text."""

        def broken(_request: Any) -> None:
            raise ZeroDivisionError("a detail of ours")

        self.patch(self.server.site.root.gate.proxies, "source", broken)
        with capturedLogs() as seen:
            response = self.server.request("GET", "/health")
        self.assertEqual((response.status, response.headers["content-type"]), (500, "application/json"))
        body = response.json()
        self.assertEqual(body["code"], "internal")
        self.assertEqual(response.headers["x-request-id"], body["request_id"])
        self.assertNotIn("detail", body["error"])
        [event] = [event for event in seen if event.get("log_failure")]
        self.assertEqual((event["event"], event["request_id"]), ("request_failed", body["request_id"]))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_answer_that_has_begun_breaks_off(self) -> None:
        """A second head within the body would be read as a part of the answer."""

        def broken(request: Any) -> bytes:
            request.setHeader(b"Content-Length", b"100")
            request.write(b"the beginning")
            raise ZeroDivisionError("a detail of ours")

        self.patch(self.server.site.root, "render", broken)
        connection = self.server.start_request("GET", "/health")
        self.assertTrue(connection.closed)
        self.assertTrue(connection.transport.value().endswith(b"\r\n\r\nthe beginning"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
