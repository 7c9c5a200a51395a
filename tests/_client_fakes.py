"""What the client's tests stand in for: a reactor in memory, a verifier whose answers the test gives, a web server."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, cast

from treq.client import HTTPClient
from treq.testing import RequestTraversalAgent
from zope.interface import implementer

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import Request

from rendezvous.client import Health, Identity, RendezvousClient, ServerFacts
from rendezvous.client._http import Treq
from rendezvous.client._server_time import ServerTime
from rendezvous.testing.names import MemoryResolver

Address = tuple[str, int]

CLIENT_ID = "0123456789abcdef" * 2
PEER_ID = "ab" * 16
PRIVATE_ID = "fedcba9876543210" * 4
BASE_URL = "http://rendezvous.example:5025"
IDENTITY = Identity(CLIENT_ID, PRIVATE_ID)


@implementer(IListeningPort)
class MemoryPort:
    """A UDP port that records what is sent, and that closes one reactor turn after it is told to."""

    def __init__(self, clock: Clock, protocol: DatagramProtocol, host: str, number: int) -> None:
        self.clock = clock
        self.protocol = protocol
        self.interface = host
        self.number = number
        self.sent: list[tuple[bytes, Address]] = []
        self.refuse_with: Exception | None = None
        self.open = True

    def write(self, datagram: bytes, address: Address) -> None:
        """
        Send.

        :param datagram: the payload.
        :param address: to whom.
        """
        if self.refuse_with is not None:
            raise self.refuse_with
        self.sent.append((datagram, address))

    def startListening(self) -> None:
        """Nothing to do: a port is born open."""

    def stopListening(self) -> Deferred[None]:
        """Close."""
        closed: Deferred[None] = Deferred()

        def close() -> None:
            self.open = False
            closed.callback(None)

        self.clock.callLater(0, close)
        return closed

    def getHost(self) -> IPv4Address | IPv6Address:
        """The local address."""
        return (IPv6Address if ":" in self.interface else IPv4Address)("UDP", self.interface or "0.0.0.0", self.number)


class MemoryUDPReactor(Clock):
    """
    A clock that also opens UDP ports in memory.

    :ivar ports: every port ever opened, in order.
    :ivar taken: port numbers that cannot be opened.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ports: list[MemoryPort] = []
        self.taken: set[int] = set()
        self.nameResolver = MemoryResolver()

    def listenUDP(self, port: int, protocol: DatagramProtocol, interface: str = "") -> MemoryPort:
        """
        Open a port.

        :param port: its number, 0 for any.
        :param protocol: what gets the datagrams.
        :param interface: the local address.
        """
        if port in self.taken:
            raise CannotListenError(interface, port, OSError("taken"))
        opened = MemoryPort(self, protocol, interface, port or 40000 + len(self.ports))
        self.ports.append(opened)
        protocol.makeConnection(cast(Any, opened))
        return opened


class PatientVerifier:
    """
    A client whose verifies wait for the test to answer them.

    :ivar calls: one Deferred for each verify, in order.
    :ivar asked: one Deferred for each question for the time, in order.
    :ivar time: of the server, as the test lets it be learned.
    :ivar found: what the server says of itself, or an error.
    """

    def __init__(self, seconds: Callable[[], float] = lambda: 0.0) -> None:
        self.calls: list[Deferred[None]] = []
        self.asked: list[Deferred[Health]] = []
        self.time = ServerTime(seconds)
        self.found: ServerFacts | Exception | None = None
        self.cancelled = 0

    def facts(self) -> Deferred[ServerFacts | None]:
        """Answer at once."""
        return fail(self.found) if isinstance(self.found, Exception) else succeed(self.found)

    def health(self) -> Deferred[Health]:
        """Begin to ask for the time."""
        self.asked.append(Deferred())
        return self.asked[-1]

    def verify(self, identity: Identity) -> Deferred[None]:
        """
        Begin a verify.

        :param identity: whose.
        """
        assert identity == IDENTITY

        def count(_: Deferred[None]) -> None:
            self.cancelled += 1

        self.calls.append(Deferred(count))
        return self.calls[-1]


class CannedServer(Resource):
    """
    A web server that gives one answer to everything and remembers what it was asked.

    :ivar requests: method, path and credential of each request.
    """

    isLeaf = True

    def __init__(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.status = status
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.headers = headers or {}
        self.requests: list[tuple[str, str, str | None]] = []

    def render(self, request: Request) -> bytes:
        """
        Answer.

        :param request: any.
        """
        credential = request.getHeader("authorization")
        self.requests.append((request.method.decode(), request.uri.decode(), credential))
        request.setResponseCode(self.status)
        for name, value in self.headers.items():
            request.setHeader(name, value)
        return self.body


class PatientTreq:
    """
    A treq whose requests wait for the test.

    :ivar calls: one Deferred for each request, in order.
    :ivar options: what each request was given.
    """

    def __init__(self, cancel_with: Callable[[], Exception] | None = None) -> None:
        self.calls: list[Deferred[Any]] = []
        self.options: list[dict[str, object]] = []
        self._cancel_with = cancel_with

    def request(self, method: str, url: str, *, headers: Headers, **options: object) -> Deferred[Any]:
        """
        Begin a request.

        :param method: its method.
        :param url: its URL.
        :param headers: its headers.
        :param options: the rest.
        """
        self.options.append({"method": method, "url": url, "headers": headers, **options})
        self.calls.append(Deferred(self._cancel))
        return self.calls[-1]

    def _cancel(self, call: Deferred[Any]) -> None:
        if self._cancel_with is not None:
            call.errback(self._cancel_with())


def client_of(server: CannedServer, base_url: str = BASE_URL) -> RendezvousClient:
    """A client whose requests go to a server in memory."""
    return RendezvousClient(base_url, treq_of(server), Clock())


def treq_of(server: Resource) -> Treq:
    """A treq whose requests go to a server in memory. ``StubTreq`` would not take a producer for a body."""
    return cast(Treq, HTTPClient(RequestTraversalAgent(server)))
