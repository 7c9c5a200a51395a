"""What carries TURN between the client and a server: a UDP socket, a TCP connection, or one with TLS."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from zope.interface import implementer

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import CannotListenError, ConnectionClosed, MessageLengthError
from twisted.internet.interfaces import IListeningPort, IPushProducer, IStreamClientEndpoint
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure

from rendezvous.client.relay.requests import TurnFailed
from rendezvous.client.relay.servers import Transport, TurnServer
from rendezvous.errors import WireError
from rendezvous.resolving import is_ipv6, resolve
from rendezvous.wire import stun
from rendezvous.wire.turn import Frames

__all__ = ["StreamCarrier", "UDPCarrier", "open_carrier"]

Received = Callable[[bytes], object]
Lost = Callable[[str], object]

_NOTHING: Final = stun.encode(stun.Message(stun.BINDING, stun.MessageClass.INDICATION, bytes(12)))


def open_carrier(
    reactor: Any, server: TurnServer, trust_root: Any, received: Received, lost: Lost
) -> Deferred[UDPCarrier | StreamCarrier]:
    """
    Open what carries TURN to a server.

    With TLS, the certificate of the server has to be valid for the name in its URI.

    :param trust_root: the authorities whose certificates are taken; ``None`` for those of the system.
    :param received: called with each frame.
    :param lost: called at most once, with a reason for people, when nothing can be carried any more.
    :returns: fires when frames can be sent; fails with ``TurnFailed``, or with an error of Twisted or OpenSSL. It can
        be cancelled.
    """
    opened: Deferred[Any] = (
        maybeDeferred(_open_udp, reactor, server, received)
        if server.transport is Transport.UDP
        else maybeDeferred(_connect, reactor, server, trust_root, received, lost)
    )
    return opened


def _open_udp(reactor: Any, server: TurnServer, received: Received) -> Deferred[UDPCarrier]:
    def opened(addresses: list[str]) -> UDPCarrier:
        error = TurnFailed(f"{server.host} has no address")
        for address in addresses:
            carrier = UDPCarrier(received)
            try:
                carrier.open(reactor, (address, server.port))
            except TurnFailed as failed:
                error = failed
            else:
                return carrier
        raise error

    return resolve(reactor.nameResolver, server.host).addCallback(opened)


def _connect(
    reactor: Any, server: TurnServer, trust_root: Any, received: Received, lost: Lost
) -> Deferred[StreamCarrier]:
    endpoint: IStreamClientEndpoint = HostnameEndpoint(reactor, server.host, server.port)
    if server.transport is Transport.TLS:
        trusted = {} if trust_root is None else {"trustRoot": trust_root}
        endpoint = wrapClientTLS(optionsForClientTLS(server.name, **trusted), endpoint)
    factory = Factory.forProtocol(lambda: StreamCarrier(received, lost))
    factory.noisy = False
    connected: Deferred[Any] = endpoint.connect(factory)
    return connected


class UDPCarrier(DatagramProtocol):
    """
    A UDP socket that exchanges datagrams with one address. A new one has another port.

    The socket is not connected: Twisted closes a connected one on the first ICMP error.
    """

    noisy = False
    reliable = False
    transport: Any

    def __init__(self, received: Received) -> None:
        self._received = received
        self._address = ("", 0)
        self._port: IListeningPort | None = None

    def open(self, reactor: Any, address: tuple[str, int]) -> None:
        """
        Open the socket.

        :param address: of the server.
        :raises TurnFailed: if nothing can be sent to this address.
        """
        self._address = address
        try:
            self._port = reactor.listenUDP(0, self, interface="::" if is_ipv6(address[0]) else "")
            # A server drops it. It is sent because the system does not say before if it knows no way to this address.
            self.transport.write(_NOTHING, address)
        except (CannotListenError, OSError) as error:
            self.close()
            raise TurnFailed(f"no datagram can be sent to {address[0]}: {error}") from error

    def send(self, frame: bytes, *, droppable: bool) -> None:
        """Send a frame, or drop it."""
        if self._port is not None:
            # What cannot be sent is lost, as it may be in the network.
            with suppress(OSError, MessageLengthError):
                self.transport.write(frame, self._address)

    def close(self) -> None:
        """Close the socket."""
        port, self._port = self._port, None
        if port is not None:
            maybeDeferred(port.stopListening)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Hand a frame of the server on."""
        if self._port is not None and addr[:2] == self._address:
            self._received(datagram)


@implementer(IPushProducer)
class StreamCarrier(Protocol):
    """A connection. While the server does not read, datagrams are dropped, and only requests wait: they are few."""

    reliable = True
    transport: Any

    def __init__(self, received: Received, lost: Lost) -> None:
        self._received, self._lost = received, lost
        self._frames = Frames()
        self._is_open = True
        self._is_full = False

    def connectionMade(self) -> None:
        """Send small frames at once, and learn when too much waits."""
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)

    def send(self, frame: bytes, *, droppable: bool) -> None:
        """Send a frame, or drop it while others wait."""
        if self._is_open and not (droppable and self._is_full):
            self.transport.write(frame)

    def close(self) -> None:
        """Close the connection, whatever waits."""
        if self._is_open:
            self._is_open = False
            self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """Hand on the frames that are complete."""
        try:
            for frame in self._frames.feed(data):
                if not self._is_open:
                    return
                self._received(frame)
        except WireError:
            self._end("the server does not speak TURN")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Say that it is over, unless we have closed it."""
        # The handshake of TLS, and with it the check of the certificate, comes after the connection was made.
        what = "the connection was lost" if reason.check(ConnectionClosed) else "TLS failed"
        self._end(f"{what}: {reason.getErrorMessage()}")

    def pauseProducing(self) -> None:
        """Drop datagrams from now on: 64 KiB wait to be sent."""
        self._is_full = True

    def resumeProducing(self) -> None:
        """Send datagrams again."""
        self._is_full = False

    def stopProducing(self) -> None:
        """Do nothing: the connection says itself that it is lost."""

    def _end(self, reason: str) -> None:
        if self._is_open:
            self.close()
            self._lost(reason)
