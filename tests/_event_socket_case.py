"""WebSockets to ``/events``."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from rendezvous.testing import MemorySocket
from tests._events_case import EventsTestCase
from tests._socket_case import HOME
from tests._web_case import Headers


class EventSocketCase(EventsTestCase):
    """A page per socket."""

    def connect(self, headers: Headers | None = None, **query: str) -> MemorySocket:
        """Open a socket without a credential, unless it is in the headers or the query."""
        target = f"/events?{urlencode(query)}" if query else "/events"
        socket = MemorySocket(self.server.connect(HOME), target, headers)
        self.open.append(socket.connection)
        return socket

    def page(self, headers: Headers | None = None, **query: str) -> MemorySocket:
        """Open a socket that sends its credential; what it says at first is read."""
        socket = self.connect(None, **query)
        self.authenticate(socket, headers)
        return socket

    def authenticate(self, socket: MemorySocket, headers: Headers | None = None) -> None:
        """Send the credential of a peer."""
        given = (self.alice if headers is None else headers)["Authorization"]
        self.say(socket, type="authenticate", credential=given.removeprefix("Bearer "))

    def say(self, socket: MemorySocket, **message: Any) -> None:
        """Send an object."""
        socket.say(json.dumps(message))

    def live(self, seconds: float, socket: MemorySocket) -> None:
        """Let time pass while a client answers pings. What comes meanwhile is kept."""
        while seconds > 0:
            self.advance(min(10.0, seconds))
            socket.read()
            seconds -= 10.0

    def objects(self, socket: MemorySocket) -> list[Any]:
        """:returns: the objects that have come since the last call."""
        return [json.loads(text) for text in socket.take()]

    def said(self, socket: MemorySocket) -> list[tuple[str, Any]]:
        """:returns: the events that have come, without those that only say that the stream is there."""
        found = [(each["event"], each.get("data")) for each in self.objects(socket)]
        return [(event, data) for event, data in found if event not in ("open", "keep-alive")]

    def watched(self, socket: MemorySocket) -> list[tuple[str, Any]]:
        """:returns: the events that have come, with what each is about."""
        return [(event, data.get("id", data.get("offerId", data))) for event, data in self.said(socket)]
