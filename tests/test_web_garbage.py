"""What is left of a request when it is over, without any help by the garbage collector."""

from __future__ import annotations

import gc
import weakref

from tests._web_case import ORIGIN, WebTestCase


class GarbageTests(WebTestCase):
    """Large answers must not wait for a collection."""

    def test_a_transport_goes_with_its_connection(self) -> None:
        """Answered or refused: nothing keeps the transport, which has what was not read."""
        for _ in range(3):
            self.open_session(offer="\x01" * 60_000)
        was_enabled = gc.isenabled()
        gc.collect()
        gc.disable()
        try:
            for method, path, body, headers in (
                ("GET", "/chess/sessions", None, ORIGIN),
                ("GET", "/offers/mine", None, self.alice),
                ("GET", "/nothing/here", None, ORIGIN),
                ("POST", "/poll", {}, ORIGIN),
            ):
                connection = self.server.start_request(method, path, body, headers)
                self.server._connections.remove(connection)
                transport = weakref.ref(connection.transport)
                connection.lose()
                connection.transport.producer = None  # As a socket does when its connection is lost.
                del connection
                self.assertIsNone(transport(), path)
        finally:
            if was_enabled:
                gc.enable()
