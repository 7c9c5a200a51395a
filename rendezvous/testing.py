"""
A whole server in memory, on a clock: for our tests, and for those of applications that embed us.

Nothing here opens a socket or waits.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast

import attrs
from zope.interface import implementer

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IAddress, IListeningPort, IReactorUDP
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from rendezvous.service import Rendezvous, make_service
from rendezvous.settings import Settings

__all__ = ["SECRET", "Connection", "MemoryReactor", "MemoryServer", "MemoryUDPPort", "Response"]

Address = tuple[str, int]

#: The secret of every server in memory.
SECRET = bytes(range(32))


def _address(kind: Literal["TCP", "UDP"], host: str, port: int) -> IPv4Address | IPv6Address:
    return IPv6Address(kind, host, port) if ":" in host else IPv4Address(kind, host, port)


@implementer(IListeningPort)
class MemoryUDPPort:
    """
    A UDP port that keeps what is written to it.

    :ivar sent: datagrams and where they were to go, in order.
    :ivar listening: whether it is open.
    """

    def __init__(self, port: int, protocol: DatagramProtocol, interface: str) -> None:
        self.port, self.protocol, self.interface = port, protocol, interface
        self.sent: list[tuple[bytes, Address]] = []
        self.listening = True
        protocol.makeConnection(cast(Any, self))

    def write(self, datagram: bytes, addr: Address | None = None) -> None:
        """Keep a datagram."""
        assert isinstance(datagram, bytes), datagram
        assert addr is not None, "this port is not connected"
        self.sent.append((datagram, addr))

    def deliver(self, datagram: bytes, source: Address) -> list[bytes]:
        """
        Have a datagram arrive.

        :returns: what was sent back to its source meanwhile.
        """
        before = len(self.sent)
        self.protocol.datagramReceived(datagram, source)
        return [reply for reply, address in self.sent[before:] if address == source]

    def getHost(self) -> IAddress:
        """:returns: the port's own address."""
        return _address("UDP", self.interface or "0.0.0.0", self.port)  # noqa: S104

    def startListening(self) -> None:
        """Do nothing: it listens from the start."""

    def stopListening(self) -> Deferred[None]:
        """Close."""
        if self.listening:
            self.listening = False
            self.protocol.doStop()
            self.protocol.transport = None
        return succeed(None)

    def loseConnection(self) -> None:
        """Close."""
        self.stopListening()


@implementer(IReactorUDP)
class MemoryReactor(MemoryReactorClock):
    """
    Twisted's reactor in memory, with UDP.

    :ivar udp_ports: every port that was ever opened, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.udp_ports: list[MemoryUDPPort] = []

    def listenUDP(
        self, port: int, protocol: DatagramProtocol, interface: str = "", maxPacketSize: int = 8192
    ) -> MemoryUDPPort:
        """Open a port in memory."""
        opened = MemoryUDPPort(port or 49152 + len(self.udp_ports), protocol, interface)
        self.udp_ports.append(opened)
        return opened


@attrs.frozen
class Response:
    """
    An HTTP response.

    :ivar headers: by lower-case name; of a repeated one, the last.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """:returns: the body, decoded."""
        return json.loads(self.body)


class Connection:
    """
    One HTTP connection to a server in memory.

    :ivar transport: what the server writes to; ``transport.value()`` is all of it so far.
    """

    def __init__(self, site: Any, source: Address) -> None:
        address = _address("TCP", *source)
        self.transport = StringTransport(peerAddress=address)
        self._channel = site.buildProtocol(address)
        self._channel.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        """Have bytes arrive, unless the server has stopped reading."""
        if self.transport.producerState == "producing":
            self._channel.dataReceived(data)

    def lose(self) -> None:
        """Have the client vanish."""
        self._channel.connectionLost(Failure(ConnectionLost()))

    def response(self) -> Response | None:
        """:returns: the first response, if the whole of it is there."""
        head, separator, rest = self.transport.value().partition(b"\r\n\r\n")
        if not separator:
            return None
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if headers.get("transfer-encoding") == "chunked":
            if not rest.endswith(b"0\r\n\r\n"):
                return None
            rest = b"".join(_chunks(rest))
        elif len(rest) < int(headers.get("content-length", 0)):
            return None
        return Response(int(status.split()[1]), headers, rest)


def _chunks(data: bytes) -> Iterable[bytes]:
    while True:
        size, _, data = data.partition(b"\r\n")
        if int(size, 16) == 0:
            return
        yield data[: int(size, 16)]
        data = data[int(size, 16) + 2 :]


class MemoryServer:
    """
    The server as ``twistd rendezvous`` makes it, started, on a reactor in memory.

    :param settings: as for :class:`~rendezvous.settings.Settings`.
    :ivar reactor: advance it to let time pass.
    """

    def __init__(self, reactor: MemoryReactor | None = None, **settings: Any) -> None:
        self.reactor = MemoryReactor() if reactor is None else reactor
        settings.setdefault("store", "memory:")
        settings.setdefault("interface", "0.0.0.0")  # noqa: S104 - there is no network here
        before = len(self.reactor.udp_ports), len(self.reactor.tcpServers)
        self.service = make_service(
            Settings(**settings), self.reactor, environ={"RENDEZVOUS_SECRET": SECRET.hex()}, run_blocking=maybeDeferred
        )
        self.service.privilegedStartService()
        self.service.startService()
        self.udp_ports = self.reactor.udp_ports[before[0] :]
        self.site = self.reactor.tcpServers[before[1]][1]

    @property
    def rendezvous(self) -> Rendezvous:
        """:returns: the server without its ports."""
        found = self.service.services[0]
        assert isinstance(found, Rendezvous)
        return found

    def stop(self) -> None:
        """Stop the server; fails if it leaves something that was to happen later."""
        stopped: list[object] = []
        self.service.stopService().addBoth(stopped.append)
        assert len(stopped) == 1, "the server is still stopping"
        if isinstance(stopped[0], Failure):
            stopped[0].raiseException()
        assert not self.reactor.getDelayedCalls(), self.reactor.getDelayedCalls()

    def deliver(self, datagram: bytes, source: Address = ("198.51.100.7", 40000), port: int = 0) -> list[bytes]:
        """
        Have a datagram arrive.

        :param port: which of the server's UDP ports, by position.
        :returns: what was sent back to its source meanwhile.
        """
        return self.udp_ports[port].deliver(datagram, source)

    def connect(self, source: Address = ("198.51.100.7", 50000)) -> Connection:
        """Open an HTTP connection."""
        return Connection(self.site, source)

    def start_request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        source: Address = ("198.51.100.7", 50000),
    ) -> Connection:
        """
        Send an HTTP request.

        :param body: bytes as they are, or anything else as JSON; ``None`` for no body.
        """
        fields = {"Host": "rendezvous.example", **(headers or {})}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode("ascii")
            fields.setdefault("Content-Type", "application/json")
        if body is not None:
            fields["Content-Length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        connection = self.connect(source)
        connection.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + (body or b""))
        return connection

    def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Response:
        """
        Send an HTTP request that is answered at once.

        :returns: the answer.
        """
        connection = self.start_request(method, path, body, headers)
        response = connection.response()
        assert response is not None, "the request was not answered at once"
        connection.lose()
        return response

    def register(self) -> tuple[str, bytes, dict[str, str]]:
        """:returns: a new client's id, its key, and the headers of its requests."""
        made = self.request("POST", "/register").json()
        client_id, key = made["client_id"], bytes.fromhex(made["private_id"])
        return client_id, key, {"Authorization": f"Bearer {client_id}:{key.hex()}"}
