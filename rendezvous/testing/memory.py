"""A whole server in memory, on a clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
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
from twisted.web.http import NO_BODY_CODES

from rendezvous.clock import WorkingTime
from rendezvous.core.addresses import Address
from rendezvous.server import make_service
from rendezvous.service import Rendezvous
from rendezvous.settings import Settings
from rendezvous.testing.names import MemoryResolver
from rendezvous.udp.mmsg import Calls

__all__ = ["SECRET", "Connection", "MemoryReactor", "MemoryServer", "MemoryTCPPort", "MemoryUDPPort", "Response"]


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
    :ivar on_write: called with each datagram and where it goes, beside that; ``None`` for nothing.
    """

    def __init__(self, port: int, protocol: DatagramProtocol, interface: str) -> None:
        self.port, self.protocol, self.interface = port, protocol, interface
        self.on_write: Callable[[bytes, Address], None] | None = None
        self.sent: list[tuple[bytes, Address]] = []
        self.listening = True
        protocol.makeConnection(cast(Any, self))

    def write(self, datagram: bytes, addr: Address | None = None) -> None:
        """Keep a datagram."""
        assert isinstance(datagram, bytes), datagram
        assert addr is not None, "this port is not connected"
        self.sent.append((datagram, addr))
        if self.on_write is not None:
            self.on_write(datagram, addr)

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
        return succeed(None)


@implementer(IListeningPort)
class MemoryTCPPort:
    """
    A TCP port that only remembers what it was opened with.

    :ivar backlog: connections that the kernel would keep until they are accepted.
    :ivar listening: whether it is open.
    """

    def __init__(self, port: int, factory: Any, interface: str, backlog: int) -> None:
        self.port, self.factory, self.interface, self.backlog = port, factory, interface, backlog
        self.listening = True
        factory.doStart()

    def getHost(self) -> IAddress:
        """:returns: the port's own address."""
        return _address("TCP", self.interface or "0.0.0.0", self.port)  # noqa: S104

    def startListening(self) -> None:
        """Do nothing: it listens from the start."""

    def stopListening(self) -> Deferred[None]:
        """Close."""
        if self.listening:
            self.listening = False
            self.factory.doStop()
        return succeed(None)


@implementer(IReactorUDP)
class MemoryReactor(MemoryReactorClock):
    """
    Twisted's reactor in memory, with UDP.

    :ivar udp_ports: every UDP port that was ever opened, in order.
    :ivar tcp_ports: the same of TCP.
    :ivar nameResolver: a :class:`~rendezvous.testing.names.MemoryResolver`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.udp_ports: list[MemoryUDPPort] = []
        self.tcp_ports: list[MemoryTCPPort] = []
        self.nameResolver = MemoryResolver()

    def advance(self, amount: float) -> None:
        """
        Let time pass, a second at a time while there are timers, so that whatever is to happen on the way does.

        More than a day is a :meth:`pause`.
        """
        while 86400 >= amount > 1 and self.getDelayedCalls():
            super().advance(1)
            amount -= 1
        super().advance(amount)

    def pause(self, amount: float) -> None:
        """
        Let time pass in one step, as for a process that was suspended.

        Over 10 seconds, a server takes it for that: its wall clock goes on, and server time stands still
        (:mod:`rendezvous.clock`).
        """
        super().advance(amount)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> MemoryTCPPort:
        """Open a port in memory."""
        opened = MemoryTCPPort(port or 49152 + len(self.tcp_ports), factory, interface, backlog)
        self.tcp_ports.append(opened)
        return opened

    def callWhenRunning(self, callable: Any, *args: Any, **kwargs: Any) -> None:
        """Call at once: it runs from the start."""
        callable(*args, **kwargs)

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
        self._methods: list[str] = []
        self._lost = False
        self._channel = site.buildProtocol(address)
        self._channel.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        """Have bytes arrive, unless the server has stopped reading."""
        if self.transport.producerState == "producing" and not self.transport.disconnecting:
            self._channel.dataReceived(data)

    def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> None:
        """Have a whole request arrive, its headers exactly as given."""
        self._methods.append(method)
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)

    def lose(self) -> None:
        """Have the client vanish."""
        if not self._lost:
            self._lost = True
            self._channel.connectionLost(Failure(ConnectionLost()))

    @property
    def closed(self) -> bool:
        """:returns: whether the server has closed the connection."""
        return self.transport.disconnecting

    def responses(self) -> list[Response]:
        """:returns: every response of which the whole is there, in order; interim ones are among them."""
        found: list[Response] = []
        methods = iter(self._methods)
        data = self.transport.value()
        while True:
            head, separator, data = data.partition(b"\r\n\r\n")
            if not separator:
                return found
            status, *lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            code = int(status.split()[1])
            bodiless = code < 200 or next(methods, "GET") == "HEAD" or code in NO_BODY_CODES
            taken = (b"", data) if bodiless else _body(headers, data)
            if taken is None:
                return found
            body, data = taken
            found.append(Response(code, headers, body))

    def response(self) -> Response | None:
        """:returns: the first response, if the whole of it is there."""
        return next(iter(self.responses()), None)


def _body(headers: Mapping[str, str], data: bytes) -> tuple[bytes, bytes] | None:
    """:returns: a body and what follows it, or ``None`` if the whole of it is not there."""
    if headers.get("transfer-encoding") == "chunked":
        return _chunked(data)
    length = int(headers.get("content-length", 0))
    return None if len(data) < length else (data[:length], data[length:])


def _chunked(data: bytes) -> tuple[bytes, bytes] | None:
    body = b""
    while True:
        size, _, rest = data.partition(b"\r\n")
        length = int(size or b"0", 16)
        if len(rest) < length + 2:
            return None
        if length == 0:
            return body, rest[2:]
        body, data = body + rest[:length], rest[length + 2 :]


class MemoryServer:
    """
    The server as ``twistd rendezvous`` makes it, started, on a reactor in memory.

    :param environ: the environment, in which a secret may be; without one there, ``secret_file`` is used.
    :param calls: system calls for the fast path of UDP; ``None`` for the portable path.
    :param settings: as for :class:`~rendezvous.settings.Settings`. Source limits are off unless they turn
        them on.
    :ivar reactor: advance it to let time pass.
    :ivar udp_ports: the server's, in the order of its settings.
    :ivar tcp_ports: the same.
    :ivar site: what answers on the first TCP port.
    :ivar wall_offset: seconds that the wall clock is ahead of the reactor's; change it to set the wall clock.
    """

    wall_offset = 0.0

    def __init__(
        self,
        reactor: MemoryReactor | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        calls: Calls | None = None,
        **settings: Any,
    ) -> None:
        self.reactor = MemoryReactor() if reactor is None else reactor
        if environ is None:
            environ = {"RENDEZVOUS_SECRET": SECRET.hex()}
        settings.setdefault("store", "memory:")
        settings.setdefault("no_source_limits", True)
        settings.setdefault("interface", "0.0.0.0")  # noqa: S104 - there is no network here
        self._connections: list[Connection] = []
        before = len(self.reactor.udp_ports), len(self.reactor.tcp_ports)
        self.service = make_service(
            Settings(**settings),
            self.reactor,
            calls,
            environ=environ,
            run_blocking=maybeDeferred,
            monotonic=self.reactor.seconds,
            working=WorkingTime(self.reactor.seconds),
            wall=lambda: self.reactor.seconds() + self.wall_offset,
        )
        self.service.privilegedStartService()
        self.service.startService()
        self.udp_ports = self.reactor.udp_ports[before[0] :]
        self.tcp_ports = self.reactor.tcp_ports[before[1] :]
        self.site = self.tcp_ports[0].factory

    @property
    def rendezvous(self) -> Rendezvous:
        """:returns: the server without its ports."""
        return self.service.rendezvous

    def stop(self) -> None:
        """Stop the server, its connections lost; fails if it leaves something that was to happen later."""
        while self._connections:
            self._connections.pop().lose()
        self.reactor.advance(0)  # What is left for the next turn of the reactor takes no time.
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
        connection = Connection(self.site, source)
        self._connections.append(connection)
        return connection

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
        connection = self.connect(source)
        connection.request(method, path, fields, body or b"")
        return connection

    def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Response:
        """
        Send an HTTP request that is answered at once.

        :returns: the answer.
        """
        connection = self.start_request(method, path, body, headers)
        if connection.response() is None:
            self.reactor.advance(0)  # A long answer takes several turns of the reactor.
        response = connection.response()
        assert response is not None, "the request was not answered at once"
        connection.lose()
        self._connections.remove(connection)
        return response

    def register(self) -> tuple[str, bytes, dict[str, str]]:
        """:returns: a new client's id, its key, and the headers of its requests."""
        made = self.request("POST", "/register").json()
        client_id, key = made["client_id"], bytes.fromhex(made["private_id"])
        return client_id, key, {"Authorization": f"Bearer {client_id}:{key.hex()}"}
