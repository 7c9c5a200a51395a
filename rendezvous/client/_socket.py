"""The UDP socket that pulses: how it is opened, where the server is, and which of the datagrams are the server's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IAddress, IListeningPort

from rendezvous.client._datagrams import Datagrams
from rendezvous.client.errors import ServerUnreachable
from rendezvous.core.addresses import Address
from rendezvous.resolving import choose, is_ipv6, literal, resolve

__all__ = ["RESOLVE_TIME", "PulseSocket"]

RESOLVE_TIME = 20.0
"""Seconds to wait for the addresses of the server's name."""


class PulseSocket:
    """
    A UDP socket that an application shares with the pulses of a client.

    It can be opened again after it was closed. What comes from the server's address is offered to the service
    first. The application sees the rest.

    :param reactor: provides ``IReactorTime``, ``IReactorUDP`` and, for a name, ``IReactorPluggableNameResolver``.
    :param server: the server's host, an address or a name, and its UDP port.
    :param local: the local port, 0 for any; and the local IP address, ``None`` for any of the server's family.
    :param take: called with each datagram from the server's address; returns whether it was for the service.
    :param received: called with every other datagram and its source.
    :param refused: called when the system says that nothing listens where a datagram went.
    """

    def __init__(
        self,
        reactor: Any,
        server: Address,
        local: tuple[int, str | None],
        *,
        take: Callable[[bytes], bool],
        received: Callable[[bytes, Address], None],
        refused: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._server = server
        self._local = local
        self._take = take
        self._received = received
        self._refused = refused
        self._protocol: Datagrams | None = None
        self._port: IListeningPort | None = None
        self._ipv6: bool | None = None
        self._address = server

    def open_early(self) -> None:
        """
        Open the socket, unless its family depends on an address that is still to be looked up.

        :raises CannotListenError: when the local port is taken.
        """
        _, interface = self._local
        host = literal(self._server[0]) if interface is None else interface
        if host is not None:
            self._listen(ipv6=is_ipv6(host))

    def use_port(self, port: int) -> None:
        """:param port: the server's UDP port from the next look-up on."""
        self._server = (self._server[0], port)

    def find_server(self) -> Deferred[None]:
        """
        Look up the server's address, and open the socket if that has not been done.

        :returns: fires when a pulse can be sent; fails with ``ServerUnreachable`` when the server has no address that
            the socket can reach, with ``TimeoutError`` when the resolver does not answer, and with
            ``CannotListenError`` when the local port is taken.
        """
        work = maybeDeferred(lambda: resolve(self._reactor.nameResolver, self._server[0]))
        return work.addTimeout(RESOLVE_TIME, self._reactor).addCallback(self._use)

    def close(self) -> Deferred[None]:
        """:returns: fires when the socket is closed."""
        port, self._port, self._protocol, self._ipv6 = self._port, None, None, None
        if port is None:
            return succeed(None)
        closed: Deferred[Any] = maybeDeferred(port.stopListening)
        return closed.addCallback(lambda _: None)

    def getHost(self) -> IAddress:
        """
        The local address.

        :raises RuntimeError: when the socket is not open.
        """
        if self._port is None:
            raise RuntimeError("the socket is not open")
        return self._port.getHost()

    def send(self, datagram: bytes, address: Address | None = None) -> None:
        """
        Send a datagram.

        :param address: an IP address and a port; ``None`` for the server's.
        :raises RuntimeError: when the socket is not open.
        :raises OSError: when the system will not send it.
        """
        if self._protocol is None or self._protocol.transport is None:
            raise RuntimeError("the socket is not open")
        self._protocol.transport.write(datagram, self._address if address is None else address)

    def _use(self, addresses: list[str]) -> None:
        host = choose(addresses, ipv6=self._ipv6)
        if host is None:
            raise ServerUnreachable(f"{self._server[0]} has no address that this socket can reach")
        if self._port is None:
            self._listen(ipv6=is_ipv6(host))
        self._address = (host, self._server[1])

    def _listen(self, *, ipv6: bool) -> None:
        port, interface = self._local
        wildcard = "::" if ipv6 else ""
        self._protocol = Datagrams(self._sort, self._refused)
        self._port = self._reactor.listenUDP(
            port, self._protocol, interface=wildcard if interface is None else interface
        )
        self._ipv6 = ipv6

    def _sort(self, datagram: bytes, source: Address) -> None:
        if self._port is None:
            return  # The socket is closing.
        if source == self._address and self._take(datagram):
            return
        self._received(datagram, source)
