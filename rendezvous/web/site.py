"""The site of an HTTP port."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.web.http import Request as PlainRequest
from twisted.web.http import datetimeToString
from twisted.web.server import Site

from rendezvous.clock import wall_clock
from rendezvous.web.channel import Channel
from rendezvous.web.connections import Connections
from rendezvous.web.request import CappedRequest
from rendezvous.web.root import RootResource
from rendezvous.web.turns import Turns

__all__ = ["RendezvousSite"]

#: Connections at one time, where nothing else is said.
MAX_CONNECTIONS = 10_000


class RendezvousSite(Site):
    """
    The site of one HTTP port, or of several.

    It does not log each request: at a thousand requests a second the log would fill the disk.

    :param root: the resource that answers everything.
    :param reactor: the clock of all deadlines.
    :param max_connections: how many connections may be open at one time.
    :param wall: seconds since the epoch, for the ``Date`` of answers.
    :ivar connections: those that are.
    :ivar turns: how they share the reactor's time.
    """

    displayTracebacks = False
    noisy = False
    protocol: Any = Channel
    _second = -1
    _date = b""

    def __init__(
        self,
        root: RootResource,
        reactor: IReactorTime,
        max_connections: int = MAX_CONNECTIONS,
        wall: Callable[[], float] = wall_clock,
    ) -> None:
        # Channels have deadlines of their own.
        super().__init__(root, requestFactory=CappedRequest, reactor=reactor, timeout=None)
        self._wall = wall
        self.root = root
        self.turns = Turns(reactor, working=root.gate.working)
        root.gate.quotas.share_connections(max_connections)
        self.connections = Connections(
            max_connections, root.gate.quotas.connections, root.gate.refusals.limited, reactor, self.turns
        )

    def startFactory(self) -> None:
        """Begin, with the first port that listens."""
        self.connections.begin()
        super().startFactory()

    def stopFactory(self) -> None:
        """End, with the last port that listens: a connection that is kept alive would outlive the server."""
        self.connections.end()
        super().stopFactory()

    def date(self) -> bytes:
        """:returns: the ``Date`` of an answer; it is written once for all answers of one second."""
        second = int(self._wall())
        if second != self._second:
            self._second, self._date = second, datetimeToString(second)
        return self._date

    def acceptableProtocols(self) -> list[bytes]:
        """:returns: HTTP/1.1 alone: the limits are those of its channel."""
        return [b"http/1.1"]

    def log(self, request: PlainRequest) -> None:
        """Write nothing."""
