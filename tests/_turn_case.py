"""A TURN server in memory, on a clock, and the reactor that leads to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from zope.interface import implementer

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import (
    IConnector,
    IHostnameResolver,
    IListeningPort,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
)
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from rendezvous.client.ice import IceServer
from rendezvous.errors import WireError
from rendezvous.testing.names import MemoryResolver
from rendezvous.wire.stun import Message, MessageClass
from rendezvous.wire.turn import (
    Frames,
    Method,
    Name,
    decode,
    encode,
    first,
    is_authentic,
    is_channel_data,
    long_term_key,
    read_channel_data,
)

Address = tuple[str, int]

#: Where servers in memory listen, the latency to them in one direction, and their credential.
SERVER = ("192.0.2.1", 3478)
ONE_WAY = 0.02
BINDING_INDICATION = bytes.fromhex("001100002112a442") + bytes(12)
USERNAME, PASSWORD, REALM = "2100000000:alice", "secret", "rendezvous.example"


def ice_servers(*urls: str, username: str = USERNAME, password: str = PASSWORD) -> list[IceServer]:
    """Make one ICE server; without URIs, that of UDP to the server."""
    return [IceServer(urls or (f"turn:{SERVER[0]}",), username, password)]


class MemoryTurn:
    """
    A TURN server of RFC 8656, as far as a client can tell.

    :ivar requests: every request that came, in order.
    :ivar refusals: for a method, errors that the next requests get in place of an answer.
    :ivar deaf: methods that get no answer.
    :ivar sent: what went to peers: the payload and the address, in order.
    :ivar signs: whether answers are signed.
    """

    def __init__(self) -> None:
        self.realm, self.nonce, self.lifetime, self.signs = REALM, "nonce 1", 600, True
        self.requests: list[Message] = []
        self.refusals: dict[Method, list[tuple[int, tuple[tuple[int, Any], ...]]]] = {}
        self.deaf: set[Method] = set()
        self.allocations: dict[object, Address] = {}
        self.permissions: dict[object, set[str]] = {}
        self.channels: dict[object, dict[int, Address]] = {}
        self.sent: list[tuple[bytes, Address]] = []
        self.answers: dict[bytes, bytes] = {}
        self.indications = 0

    def count(self, method: Method) -> int:
        """:returns: how many requests of a method came."""
        return sum(request.method == method for request in self.requests)

    def take(self, client: object, frame: bytes) -> bytes | None:
        """
        Take a frame of a client.

        :returns: the answer.
        """
        if is_channel_data(frame):
            number, payload = read_channel_data(frame)
            self.sent.append((payload, self.channels[client][number]))
            return None
        message = decode(frame)
        if message.kind is MessageClass.INDICATION:
            peer = first(message, Name.XOR_PEER_ADDRESS)
            if peer[0] in self.permissions.get(client, ()):
                self.sent.append((first(message, Name.DATA), peer))
            self.indications += 1
            return None
        self.requests.append(message)
        method = Method(message.method)
        return None if method in self.deaf else self.answer(client, method, message, frame)

    def answer(self, client: object, method: Method, message: Message, frame: bytes) -> bytes:
        """Answer a request."""
        key = long_term_key(USERNAME, self.realm, PASSWORD)
        if message.transaction_id in self.answers:
            return self.answers[message.transaction_id]  # The request was repeated: RFC 8656, section 7.2.
        if self.refusals.get(method):
            code, attributes = self.refusals[method].pop(0)
            return self.error(message, code, *attributes, key=key)
        challenge = ((Name.REALM, self.realm), (Name.NONCE, self.nonce))
        if first(message, Name.USERNAME) != USERNAME or not is_authentic(frame, key):
            return self.error(message, 401, *challenge)
        if first(message, Name.NONCE) != self.nonce:
            return self.error(message, 438, *challenge)
        if (client in self.allocations) == (method == Method.ALLOCATE):
            return self.error(message, 437, key=key)
        attributes = self.perform(client, method, message)
        answer = Message(method, MessageClass.SUCCESS, message.transaction_id, attributes)
        self.answers[message.transaction_id] = encode(answer, key if self.signs else None)
        return self.answers[message.transaction_id]

    def perform(self, client: object, method: Method, message: Message) -> tuple[tuple[int, Any], ...]:
        """Do what a request asks for."""
        peer = first(message, Name.XOR_PEER_ADDRESS)
        if method == Method.ALLOCATE:
            assert first(message, Name.REQUESTED_TRANSPORT) == 17
            self.allocations[client] = ("198.51.100.1", 50000 + len(self.requests))
            return ((Name.XOR_RELAYED_ADDRESS, self.allocations[client]), (Name.LIFETIME, self.lifetime))
        if method == Method.REFRESH:
            if first(message, Name.LIFETIME) == 0:
                del self.allocations[client]
                return ((Name.LIFETIME, 0),)
            return ((Name.LIFETIME, self.lifetime),)
        if method == Method.CHANNEL_BIND:
            self.channels.setdefault(client, {})[first(message, Name.CHANNEL_NUMBER)] = peer
        self.permissions.setdefault(client, set()).add(peer[0])
        return ()

    def error(self, message: Message, code: int, *attributes: tuple[int, Any], key: bytes | None = None) -> bytes:
        """Write an error, signed if a key is given."""
        return encode(
            Message(
                message.method,
                MessageClass.ERROR,
                message.transaction_id,
                ((Name.ERROR_CODE, (code, "Reason")), *attributes),
            ),
            key,
        )

    def data(self, payload: bytes, peer: Address, transaction_id: bytes = bytes(12)) -> bytes:
        """Write a Data indication."""
        attributes = ((Name.XOR_PEER_ADDRESS, peer), (Name.DATA, payload))
        return encode(Message(Method.DATA, MessageClass.INDICATION, transaction_id, attributes))


def sealed(datagram: bytes) -> bytes:
    """:returns: a message, signed by the server; other bytes as they are."""
    try:
        return encode(decode(datagram), long_term_key(USERNAME, REALM, PASSWORD))
    except WireError:
        return datagram


@implementer(IListeningPort)
class MemorySocket:
    """A UDP socket, from which datagrams go to the servers in memory."""

    def __init__(self, reactor: TurnReactor, protocol: DatagramProtocol) -> None:
        self.reactor, self.protocol, self.open = reactor, protocol, True
        self.address = SERVER
        self.refuse_with: Exception | None = None
        protocol.makeConnection(cast(Any, self))

    def write(self, frame: bytes, address: Address) -> None:
        """Send a frame; the answer comes after the latency, both ways."""
        if self.refuse_with is not None:
            raise self.refuse_with
        if address[0] in self.reactor.unreachable:
            raise OSError("Network is unreachable")
        self.address = address
        if frame == BINDING_INDICATION:
            return
        server = self.reactor.datagrams.get(address)
        if server is not None and self.reactor.passes():
            self.reactor.callLater(ONE_WAY, self.arrive, server, frame)

    def arrive(self, server: MemoryTurn, frame: bytes) -> None:
        """Let the server have a frame."""
        answer = server.take(self, frame)
        if answer is not None:
            self.deliver(answer)

    def deliver(self, frame: bytes) -> None:
        """Have a frame arrive after the latency."""
        self.reactor.callLater(ONE_WAY, self.receive, frame)

    def receive(self, frame: bytes) -> None:
        """Have a frame arrive now."""
        if self.open:
            self.protocol.datagramReceived(frame, self.address)

    def startListening(self) -> None:
        """Nothing to do."""

    def stopListening(self) -> Deferred[None]:
        """Close."""
        self.open = False
        return succeed(None)

    def getHost(self) -> IPv4Address:
        """:returns: some address."""
        return IPv4Address("UDP", "0.0.0.0", 40000)


class MemoryStream:
    """
    A TCP connection to a server in memory.

    :ivar waiting: what is written while the connection is full.
    """

    def __init__(self, reactor: TurnReactor, server: MemoryTurn, factory: Any) -> None:
        self.reactor, self.server, self.open = reactor, server, True
        self.frames, self.producer, self.waiting, self.is_full = Frames(), cast(Any, None), b"", False
        self.protocol = factory.buildProtocol(IPv4Address("TCP", *SERVER))
        self.protocol.makeConnection(self)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Do nothing."""
        assert enabled

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Remember whom to pause."""
        assert streaming
        self.producer = producer

    def fill(self) -> None:
        """Let the server read no more."""
        self.is_full = True
        self.producer.pauseProducing()

    def drain(self) -> None:
        """Let the server read again."""
        self.is_full = False
        self.producer.resumeProducing()
        waiting, self.waiting = self.waiting, b""
        self.write(waiting)

    def write(self, data: bytes) -> None:
        """Send bytes."""
        assert self.open
        if self.is_full:
            self.waiting += data
        else:
            self.reactor.callLater(ONE_WAY, self.arrive, data)

    def arrive(self, data: bytes) -> None:
        """Let the server have bytes."""
        for frame in self.frames.feed(data):
            answer = self.server.take(self, frame)
            if answer is not None:
                self.deliver(answer)

    def deliver(self, data: bytes) -> None:
        """Have bytes arrive after the latency."""
        self.reactor.callLater(ONE_WAY, self.receive, data)

    def receive(self, data: bytes) -> None:
        """Have bytes arrive now."""
        if self.open:
            self.protocol.dataReceived(data)

    def lose(self) -> None:
        """Have the server close the connection."""
        if self.open:
            self.open = False
            self.protocol.connectionLost(Failure(ConnectionDone()))

    def abortConnection(self) -> None:
        """Close."""
        self.server.allocations.pop(self, None)
        self.reactor.callLater(0, self.lose)


@implementer(IReactorTime, IReactorTCP, IReactorPluggableNameResolver)
class TurnReactor(Clock):
    """
    A clock with UDP sockets and TCP connections that lead to servers in memory.

    :ivar datagrams: servers by their UDP address. To all others, datagrams go and nothing comes back.
    :ivar streams: servers by their TCP address. All others refuse the connection.
    :ivar unreachable: hosts that the system knows no way to.
    :ivar losses: for the next datagrams, whether they are lost.
    """

    def __init__(self) -> None:
        super().__init__()
        self.nameResolver = MemoryResolver()
        self.datagrams: dict[Address, MemoryTurn] = {}
        self.streams: dict[Address, MemoryTurn] = {}
        self.unreachable: set[str] = set()
        self.losses: list[bool] = []
        self.sockets: list[MemorySocket] = []
        self.connections: list[MemoryStream] = []
        self.connecting: list[Address] = []

    def passes(self) -> bool:
        """:returns: whether the next datagram arrives."""
        return not (self.losses and self.losses.pop(0))

    def listenUDP(self, port: int, protocol: DatagramProtocol, interface: str = "") -> MemorySocket:
        """Open a socket."""
        assert port == 0
        self.sockets.append(MemorySocket(self, protocol))
        return self.sockets[-1]

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Address | None = None
    ) -> IConnector:
        """Connect after the latency, both ways."""
        self.connecting.append((host, port))
        connector = cast(IConnector, Connector(self.callLater(2 * ONE_WAY, self.connected, host, port, factory)))
        factory.startedConnecting(connector)
        return connector

    def connected(self, host: str, port: int, factory: Any) -> None:
        """Let an attempt to connect end."""
        server = self.streams.get((host, port))
        if server is None:
            factory.clientConnectionFailed(None, Failure(ConnectionRefusedError()))
        else:
            self.connections.append(MemoryStream(self, server, factory))

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """Not used."""
        raise NotImplementedError

    def listenTCP(self, *arguments: Any, **options: Any) -> IListeningPort:
        """Not used."""
        raise NotImplementedError

    def until(self, is_so: Callable[[], Any], seconds: float = 60.0) -> float:
        """
        Let time pass in steps of 10 ms until something is so.

        :returns: how long it took.
        """
        began = self.seconds()
        while not is_so():
            assert self.seconds() - began < seconds, "it is not so in time"
            self.advance(0.01)
        return self.seconds() - began


class Connector:
    """An attempt to connect."""

    def __init__(self, call: Any) -> None:
        self.call = call

    def getDestination(self) -> IPv4Address:
        """:returns: where it leads to."""
        return IPv4Address("TCP", *SERVER)

    def stopConnecting(self) -> None:
        """Give up."""
        self.call.cancel()
