"""The endpoints of one side of an attempt, and the candidates that they give (RFC 8445, section 5.1.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from rendezvous.client.connecting._endpoints import Address, Endpoint, RelayEndpoint, Sink, SocketEndpoint
from rendezvous.client.connecting._host import Host, RelayUse
from rendezvous.client.errors import ClientError
from rendezvous.client.ice import IceServer
from rendezvous.client.portmap import PortMapping
from rendezvous.client.relay import Relay
from rendezvous.core.connect import Candidate, CandidateKind
from rendezvous.core.punching.pairs import Local

__all__ = ["MAX_HOST_CANDIDATES", "Gathering"]

MAX_HOST_CANDIDATES = 8
"""Host candidates; the server takes 10 candidates, and a mapping and a relay give one each."""


class Gathering:
    """
    Opens sockets for each round, and in parallel asks the next router for mappings and a TURN server for a relay.

    :param host: this host.
    :param sink: called with each endpoint that has received a datagram, the datagram, and its source.
    :param late: called when an endpoint has become known, or has changed, after its round was opened.
    :param gone: called with the endpoint of the relay when it is lost.
    :ivar sockets: those of this round.
    :ivar relay: the relay, when it has an address.
    :ivar relay_failure: why there is no relay although the server names TURN servers.
    :ivar hosts: the addresses of the interfaces.
    """

    _log = Logger()

    def __init__(self, host: Host, sink: Sink, late: Callable[[Local], None], gone: Callable[[Local], None]) -> None:
        self._host = host
        self._sink = sink
        self._late = late
        self._gone = gone
        self.sockets: list[SocketEndpoint] = []
        self.relay: RelayEndpoint | None = None
        self._allocating: Relay | None = None
        self.relay_failure: str | None = None
        self._all: dict[str, Endpoint] = {}
        self.hosts: list[str] = []

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        """:returns: all that are open, by name."""
        return self._all

    def open_round(self) -> None:
        """
        Open new sockets, in the place of those of the round before.

        :raises CannotListenError: when there is no socket at all.
        """
        self.release(socket.local.name for socket in self.sockets)
        self.sockets = []
        if self._host.options.relay is RelayUse.ALWAYS:
            return  # Probes from a socket, and observations of it, would show the peer where this host is.
        self.hosts = self._host.find_addresses()
        families = [False, True] if any(":" in host for host in self.hosts) else [False]
        for ipv6 in families:
            try:
                self.sockets.append(self._open(Local(self._host.name("ipv6" if ipv6 else "ipv4"), ipv6)))
            except CannotListenError:
                if not ipv6:
                    raise
        if self._host.options.port_mapping:
            for socket in self.sockets:
                self._map(socket)

    def open_more(self, count: int) -> list[Local]:
        """
        Open sockets for birthday probing, as many as the system allows.

        :param count: how many are wanted.
        """
        opened: list[Local] = []
        for _ in range(count):
            try:
                opened.append(self._open(Local(self._host.name("birthday"), birthday=True)).local)
            except (CannotListenError, OSError):
                break
        return opened

    def allocate(self, servers: Iterable[IceServer]) -> None:
        """
        Get a relayed address, once.

        :param servers: of the attempt.
        """
        turn = [server for server in servers if server.is_turn]
        if self._allocating is not None or not turn or self._host.options.relay is RelayUse.NEVER:
            return
        relay = self._allocating = self._host.make_relay(
            turn,
            self._host.reactor,
            on_datagram=self._relay_received,
            on_lost=self._relay_lost,
            trust_root=self._host.options.trust_root,
        )

        def allocated(address: Address) -> None:
            self.relay_failure = None
            local = Local(self._host.name("relay"), ":" in address[0], relayed=True)
            self.relay = self._all[local.name] = RelayEndpoint(relay, local, self._sink)
            self._late(local)

        def failed(failure: Failure) -> None:
            failure.trap(ClientError)
            self._log.info("There is no relay: {reason}", reason=failure.value)
            self.relay_failure = str(failure.value)

        relay.allocate().addCallback(allocated).addErrback(failed).addErrback(lambda _: None)

    def candidates(self) -> list[Candidate]:
        """:returns: what the server is to know."""
        ports = {socket.local.ipv6: socket.port for socket in self.sockets}
        hosts = [(host, ports[":" in host]) for host in self.hosts if (":" in host) in ports]
        mapped = [socket.local.mapped for socket in self.sockets]
        relayed = None if self._allocating is None else self._allocating.relayed_address
        return [
            *(Candidate(CandidateKind.HOST, address) for address in hosts[:MAX_HOST_CANDIDATES]),
            *(Candidate(CandidateKind.MAPPED, address) for address in mapped if address is not None),
            *(Candidate(CandidateKind.RELAYED, address) for address in [relayed] if address is not None),
        ]

    def locals(self) -> list[Local]:
        """:returns: the endpoints of this round."""
        relay = [] if self.relay is None else [self.relay.local]
        return [socket.local for socket in self.sockets] + relay

    def permit(self, hosts: Iterable[str]) -> None:
        """
        Let peers send to the relayed address before they were sent to.

        :param hosts: where they are.
        """
        if self.relay is not None:
            for host in hosts:
                self.relay.permit(host)

    def redirect(self, sink: Sink) -> None:
        """
        Have datagrams go elsewhere.

        :param sink: in the place of the one before.
        """
        self._sink = sink
        for endpoint in self._all.values():
            endpoint.sink = sink

    def release(self, names: Iterable[str]) -> None:
        """
        Close some endpoints.

        :param names: of the endpoints.
        """
        for name in list(names):
            endpoint = self._all.pop(name, None)
            if endpoint is not None:
                self._close(endpoint)

    def close(self) -> Deferred[None]:
        """:returns: fires when all endpoints are closed."""
        endpoints, self._all, self.sockets = list(self._all.values()), {}, []
        closing: list[Deferred[Any]] = [self._close(endpoint) for endpoint in endpoints]
        if self.relay is None and self._allocating is not None:
            closing.append(self._allocating.close())
        done: Deferred[Any] = DeferredList(closing, consumeErrors=True)
        return done.addCallback(lambda _: None)

    def _open(self, local: Local) -> SocketEndpoint:
        socket = SocketEndpoint(self._host.reactor, local, self._sink)
        self._all[local.name] = socket
        return socket

    def _close(self, endpoint: Endpoint) -> Deferred[Any]:
        if isinstance(endpoint, SocketEndpoint) and endpoint.asked_for_mapping:
            self._host.mapper.release(endpoint.port, ipv6=endpoint.local.ipv6)
        return endpoint.close()

    def _map(self, socket: SocketEndpoint) -> None:
        def changed(mapping: PortMapping | None) -> None:
            # A pinhole in a firewall of IPv6 changes no address: the host candidate is the one that it opens.
            if socket.local.ipv6 or socket.local.name not in self._all:
                return
            mapped = None if mapping is None else (mapping.host, mapping.port)
            if mapped != socket.local.mapped:
                socket.local = attrs.evolve(socket.local, mapped=mapped)
                self._late(socket.local)

        socket.asked_for_mapping = True
        self._host.mapper.map(socket.port, ipv6=socket.local.ipv6, on_change=changed).addCallback(changed)

    def _relay_received(self, datagram: bytes, source: Address) -> None:
        if self.relay is not None:
            self.relay.received(datagram, source)

    def _relay_lost(self, reason: str) -> None:
        self._log.info("The relay was lost: {reason}", reason=reason)
        relay, self.relay = self.relay, None
        if relay is not None:
            self.release([relay.local.name])
            self._gone(relay.local)
