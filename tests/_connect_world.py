"""Clients that connect through a simulated network, and the whole server in it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, succeed

from rendezvous.client import Identity
from rendezvous.client.connecting.connector import Connector
from rendezvous.client.portmap import PortMapping
from rendezvous.client.relay import RelayUnavailable
from rendezvous.testing import MemoryServer
from rendezvous.testing.network import Host, Link, Network, Segment
from rendezvous.testing.reactor import HostReactor, put_on
from tests._client_wire import WALL, MemoryWire

Address = tuple[str, int]
SERVER, TURN = "203.0.113.1", "203.0.113.3"
DELAY = 0.02
"""Seconds between any two hosts, one way."""


class NoMapper:
    """A next router that does no port mapping, or that forwards what the test says."""

    def __init__(self) -> None:
        self.mapping: Callable[[int], PortMapping | None] = lambda port: None
        self.released: list[int] = []
        self.asked: list[int] = []
        self.changes = 0
        self.changes_of: dict[int, Callable[[PortMapping | None], None]] = {}

    def map(self, local_port: int, *, ipv6: bool = False, on_change: Any = None) -> Deferred[PortMapping | None]:
        """Answer at once; a test may call ``changes_of`` of the port later."""
        self.asked.append(local_port)
        self.changes_of[local_port] = on_change
        return succeed(None if ipv6 else self.mapping(local_port))

    def release(self, local_port: int, *, ipv6: bool = False) -> Deferred[None]:
        """Remember it."""
        self.released.append(local_port)
        return succeed(None)

    def network_changed(self) -> None:
        """Count it."""
        self.changes += 1

    def stop(self) -> Deferred[None]:
        """Do nothing."""
        return succeed(None)


class NoUplink:
    """A network that changes when the test says so."""

    def __init__(self, reactor: Any, on_change: Callable[[], None]) -> None:
        self.changed = on_change
        self.watching = False

    def start(self) -> None:
        """Begin."""
        self.watching = True

    def stop(self) -> None:
        """End."""
        self.watching = False


class FakeRelay:
    """A relayed address on a host of the network, with the permissions of RFC 8656."""

    def __init__(self, world: ConnectWorld, servers: Any, on_datagram: Any, on_lost: Any) -> None:
        self.servers, self._world = servers, world
        self._on_datagram, self._on_lost, self._permitted = on_datagram, on_lost, set[str]()
        self._socket: Any = None
        world.relays.append(self)

    @property
    def relayed_address(self) -> Address | None:
        """:returns: where peers reach it."""
        return None if self._socket is None else self._socket.address

    def allocate(self) -> Deferred[Address]:
        """Get an address within two round trips, if there is a TURN server."""
        result: Deferred[Address] = Deferred()

        def allocate() -> None:
            if not self._world.has_turn:
                result.errback(RelayUnavailable())
            elif not result.called:
                self._socket = self._world.turn.bind(0, self._received)
                result.callback(self._socket.address)

        self._timer = self._world.clock.callLater(4 * DELAY, allocate)
        return result

    def permit(self, host: str) -> None:
        """Let a peer send."""
        self._permitted.add(host)

    def send(self, datagram: bytes, address: Address) -> None:
        """Send from the relayed address."""
        if self._socket is not None:
            self.permit(address[0])
            self._world.clock.callLater(DELAY, self._socket.send, datagram, address)

    def lose(self) -> None:
        """Have the TURN server forget it, as one that is restarted does."""
        self.close()
        self._on_lost("the TURN server has forgotten it")

    def close(self) -> Deferred[None]:
        """Give it back."""
        if self._timer.active():
            self._timer.cancel()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        return succeed(None)

    def _received(self, datagram: bytes, source: Address) -> None:
        if source[0] in self._permitted:
            self._world.clock.callLater(DELAY, self._on_datagram, datagram, source)


class Party:
    """
    A client at a place of the network.

    :ivar received: payloads, in order.
    :ivar events: what has happened to its paths, in order.
    :ivar paths: paths that were taken.
    :ivar reports: what it has told the server of its attempts, in order.
    """

    def __init__(self, world: ConnectWorld, host: Host, number: int, **options: Any) -> None:
        self.world, self.machine = world, host
        self.client = world.wire.client(host=SERVER, reactor=world.clock)
        self.identity: Identity = world.register(self.client)
        self.mapper = NoMapper()
        self.received: list[bytes] = []
        self.events: list[tuple[str, ...]] = []
        self.paths: list[Any] = []
        self.reports: list[dict[str, Any]] = []
        self.uplink: Any = None
        done = self.client.attempts.done

        def report(identity: Identity, attempt: bytes, **report: Any) -> Any:
            self.reports.append(report)
            return done(identity, attempt, **report)

        self.client.attempts.done = report  # type: ignore[method-assign]
        self.connector = Connector(
            self.client,
            self.identity,
            HostReactor(host),
            random=Random(number),
            mapper=self.mapper,
            find_addresses=lambda: list(host.addresses.values()),
            watch=self._watch,
            make_relay=self._relay,
            **options,
        )

    def _watch(self, reactor: Any, on_change: Callable[[], None]) -> Any:
        self.uplink = NoUplink(reactor, on_change)
        return self.uplink

    def _relay(self, servers: Any, reactor: Any, *, on_datagram: Any, on_lost: Any, trust_root: Any) -> Any:
        return FakeRelay(self.world, servers, on_datagram, on_lost)

    def listen(self, allow: Callable[[str], bool] | None = None) -> None:
        """Take paths."""
        self.connector.listen(self.take, allow)

    def take(self, path: Any) -> Any:
        """Set the callbacks of a path."""
        self.paths.append(path)
        path.on_datagram = self.received.append
        path.on_path_changed = lambda path: self.events.append(("path", path.via))
        path.on_lost = lambda reason: self.events.append(("lost", reason))
        path.on_closed = lambda: self.events.append(("closed",))
        return path


class ConnectWorld:
    """
    A network with a server.

    :ivar clock: the time of everything.
    :ivar relays: every relay that was made, in order.
    :ivar has_turn: whether there is a TURN server.
    """

    def __init__(self, seed: int = 1, **settings: Any) -> None:
        self.server = MemoryServer(attempts_per_minute=0, **settings)
        self.server.wall_offset = WALL
        self.clock = self.server.reactor
        self.network = Network(self.clock, Random(seed))
        put_on(self.server, self.network.host(SERVER, Link(DELAY / 2)))
        self.wire = MemoryWire(self.server, DELAY)
        self.turn = self.network.host(TURN, Link(DELAY / 2))
        self.relays: list[FakeRelay] = []
        self.has_turn = True

    def peer(self, segment: Segment, address: str, number: int, **options: Any) -> Party:
        """:returns: a client on a new host."""
        host = Host(self.network)
        host.connect(segment, address, Link(DELAY / 2))
        return Party(self, host, number, **options)

    def register(self, client: Any) -> Identity:
        """:returns: a new client of the server."""
        found: list[Identity] = []
        client.register().addCallback(found.append)
        self.network.run(5.0, lambda: bool(found))
        return found[0]

    def connect(self, first: Party, second: Party, seconds: float = 10.0) -> Any:
        """
        Have one peer connect to another that listens.

        :returns: the path, or the ``Failure``.
        """
        found: list[Any] = []
        first.connector.connect(second.identity.client_id).addCallback(first.take).addBoth(found.append)
        self.network.run(seconds, lambda: bool(found))
        assert found, "nothing has come of it"
        return found[0]

    def stop(self) -> None:
        """Stop the server."""
        for end in self.wire.ends:
            end.end()
            end.other.end()
        self.network.run(0.1)
        self.server.stop()
