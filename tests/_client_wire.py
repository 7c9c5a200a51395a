"""A client's HTTP connections to a server in memory: Twisted's own Agent, with every byte of the exchange."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from treq.client import HTTPClient
from zope.interface import implementer

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.iweb import IAgentEndpointFactory

from rendezvous.client import Identity, RendezvousClient
from rendezvous.client._http import Treq
from rendezvous.testing import MemoryReactor, MemoryServer

WALL = 1_790_000_000.0
"""The time of the server, in seconds since the epoch, when its reactor is at zero."""


class PipeEnd(StringTransport):
    """One end of a connection: what is written to it arrives at the protocol of the other end, a delay later."""

    def __init__(self, reactor: MemoryReactor, delay: float, host: str) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", host, 50000))
        self._reactor = reactor
        self._delay = delay
        self.protocol: Any = None
        self.other: PipeEnd = self
        self.open = True
        self.mute = False

    def write(self, data: bytes) -> None:
        """Send, unless the network has lost this connection without a word."""
        if self.open and not self.mute:
            self._reactor.callLater(self._delay, self.other.receive, bytes(data))

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send."""
        self.write(b"".join(data))

    def receive(self, data: bytes) -> None:
        """Have bytes arrive."""
        if self.open:
            self.protocol.dataReceived(data)

    def loseConnection(self) -> None:
        """Close, at both ends, unless the network has lost this connection: then the other end does not learn it."""
        super().loseConnection()
        self._reactor.callLater(0, self.end)
        if not self.mute:
            self._reactor.callLater(self._delay, self.other.end)

    def abortConnection(self) -> None:
        """Close at once."""
        super().abortConnection()
        self.loseConnection()

    def end(self) -> None:
        """Have the connection be closed."""
        if self.open:
            self.open = False
            self.protocol.connectionLost(Failure(ConnectionDone()))


@implementer(IAgentEndpointFactory)
class MemoryWire:
    """
    The network between clients and one server.

    :ivar delay: seconds that bytes take one way.
    :ivar up: whether connections can be opened.
    :ivar silent: how many of the next connections lose all that is sent on them.
    :ivar ends: the client's end of every connection, in order.
    :ivar tries: how often a connection was asked for, also in vain.
    """

    def __init__(self, server: MemoryServer, delay: float = 0.0, host: str = "198.51.100.7") -> None:
        self.server = server
        self.delay = delay
        self.host = host
        self.up = True
        self.silent = 0
        self.ends: list[PipeEnd] = []
        self.tries = 0

    def endpointForURI(self, uri: Any) -> MemoryEndpoint:
        """:returns: the way to the server, whichever the URI."""
        return MemoryEndpoint(self)

    def client(self, host: str = "rendezvous.example", **options: Any) -> RendezvousClient:
        """:returns: a client of the server."""
        reactor = options.pop("reactor", self.server.reactor)
        agent = Agent.usingEndpointFactory(reactor, self, pool=HTTPConnectionPool(reactor, persistent=False))
        treq = cast(Treq, HTTPClient(agent))
        return RendezvousClient(f"http://{host}:5025", treq, reactor, **options)


@implementer(IStreamClientEndpoint)
class MemoryEndpoint:
    """Opens one connection."""

    def __init__(self, wire: MemoryWire) -> None:
        self._wire = wire

    def connect(self, factory: Any) -> Deferred[Any]:
        """Open it."""
        wire, reactor = self._wire, self._wire.server.reactor
        wire.tries += 1
        opened: Deferred[Any] = Deferred()

        def open_it() -> None:
            if opened.called:
                return
            if not wire.up:
                opened.errback(ConnectionRefusedError())
                return
            near, far = PipeEnd(reactor, wire.delay, "192.0.2.1"), PipeEnd(reactor, wire.delay, wire.host)
            near.other, far.other = far, near
            near.mute = far.mute = wire.silent > 0
            wire.silent -= near.mute
            far.protocol = wire.server.site.buildProtocol(far.getPeer())
            far.protocol.makeConnection(far)
            near.protocol = factory.buildProtocol(near.getPeer())
            near.protocol.makeConnection(near)
            wire.ends.append(near)
            opened.callback(near.protocol)

        reactor.callLater(wire.delay, open_it)
        return opened


class ClientWorld:
    """
    A server in memory and a client library that talks to it.

    :ivar server: the server; its wall clock begins at :data:`WALL`.
    :ivar wire: the network between them.
    :ivar client: a client.
    """

    def __init__(self, **settings: Any) -> None:
        self.server = MemoryServer(**settings)
        self.server.wall_offset = WALL
        self.wire = MemoryWire(self.server)
        self.client = self.wire.client()

    @property
    def reactor(self) -> MemoryReactor:
        """:returns: the reactor of both."""
        return self.server.reactor

    def settle(self, turns: int = 20) -> None:
        """Let everything happen that takes no time."""
        for _ in range(turns):
            self.reactor.advance(0)

    def result(self, work: Deferred[Any]) -> Any:
        """
        Wait for a result that takes no time.

        :raises Exception: what it failed with.
        """
        found: list[Any] = []
        work.addBoth(found.append)
        self.settle()
        assert found, "there is no result yet"
        if isinstance(found[0], Failure):
            found[0].raiseException()
        return found[0]

    def identity(self) -> Identity:
        """:returns: a new client, which has sent a pulse."""
        return cast(Identity, self.result(self.client.register()))

    def stop(self) -> None:
        """Stop the server, its connections lost."""
        for end in self.wire.ends:
            end.end()
            end.other.end()
        self.settle()
        self.server.stop()
