"""The open connections of an HTTP port: how many there may be, and which gives way when there are too many."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakSet

from twisted.internet.interfaces import IReactorTime

from rendezvous.core.shares import Shares
from rendezvous.core.sources import UNKNOWN, SourceNetwork
from rendezvous.errors import TooMany
from rendezvous.web.turns import Turns

__all__ = ["Connection", "Connections"]

#: Connections that a port accepts in one turn of the reactor at least, if there are as many. Those that give way are
#: closed in the next turn, so until then this many descriptors more are in use.
ACCEPTS = 40

#: As many as it accepts at most, in some 5 ms.
MOST_ACCEPTS = 120


class Connection(Protocol):
    """What is counted: the channel of one connection."""

    transport: Any

    def loseConnection(self) -> None:
        """Close the connection once all is sent."""

    def give_way(self) -> None:
        """Close the connection at once."""


class Connections:
    """
    All open connections.

    A connection is idle while it has no whole request in hand: it is new, kept alive, or its request is not complete.
    When there are too many connections, of one source or in all, the one that has been idle for longest gives way to
    the new one. If none is idle, the new one is closed.

    The system hands over connections in the order in which they have come, whoever they are of. How many of them a port
    accepts in a turn of the reactor depends on the sources that wait for a turn. If one address opens a thousand
    connections, they are accepted at once, and then wait behind those of others in the :class:`Turns`. If a hundred
    addresses do so, to accept them all would make every other request wait for a hundred sources: they stay with the
    system, as far as there are more than :data:`ACCEPTS`.

    :param most: how many there may be in all.
    :param shares: how many each source may have.
    :param refused: called with the reason and the source for each connection that is closed because of a limit.
    :param reactor: calls later.
    :param turns: how the connections share the reactor's time.
    :ivar most: as given.
    :ivar are_ending: whether a connection is to be closed when its request is answered.
    """

    def __init__(
        self,
        most: int,
        shares: Shares,
        refused: Callable[[str, SourceNetwork], None],
        reactor: IReactorTime,
        turns: Turns,
    ) -> None:
        self.most = most
        self._shares = shares
        self._refused = refused
        self._reactor = reactor
        self._turns = turns
        # Those that have accepted connections, and whether they are to be given another number of them.
        self._ports: WeakSet[Any] = WeakSet()
        self._is_sharing = False
        self.are_ending = False
        self._open: dict[Connection, SourceNetwork] = {}
        # Of all connections, and of each subscriber, in the order in which they became idle. The first of a plain dict
        # is found in time that grows with the number of those that were removed before it.
        self._idle: OrderedDict[Connection, None] = OrderedDict()
        self._idle_of: dict[str, OrderedDict[Connection, None]] = {}

    def __len__(self) -> int:
        """:returns: how many are open."""
        return len(self._open)

    def begin(self) -> None:
        """Take connections, also after an end."""
        self.are_ending = False

    def end(self) -> None:
        """Close every connection that is idle now; each other one is to be closed when its request is answered."""
        self.are_ending = True
        for connection in list(self._idle):
            # Not that of the transport: TLS waits for its producer, which is the connection itself.
            connection.loseConnection()

    def opened(self, connection: Connection, source: SourceNetwork) -> bool:
        """
        Count a new connection.

        :returns: whether it may stay.
        """
        port = getattr(connection.transport, "server", None)
        if port is not None and not self._is_sharing:
            # A port that has accepted all works out a number of its own: as many as there were, or 20 more without end.
            self._is_sharing = True
            self._reactor.callLater(0, self._share_accepts)
        if port is not None:
            self._ports.add(port)
        if not self._make_room(source):
            return False
        self._open[connection] = source
        self._shares.add(source)
        self.idle(connection)
        return True

    def belongs_to(self, connection: Connection, source: SourceNetwork) -> bool:
        """
        Count a connection for another source: a proxy has said only now where it comes from.

        :returns: whether it may stay.
        """
        self.closed(connection)
        return self.opened(connection, source)

    def closed(self, connection: Connection) -> None:
        """Forget a connection; a second time does nothing."""
        source = self._open.get(connection)
        if source is not None:
            self.busy(connection)
            del self._open[connection]
            self._shares.remove(source)

    def idle(self, connection: Connection) -> None:
        """Note that a connection waits for a request."""
        source = self._open.get(connection)
        if source is not None:
            self._idle[connection] = None
            if source is not UNKNOWN:
                self._idle_of.setdefault(source.subscriber, OrderedDict())[connection] = None

    def busy(self, connection: Connection) -> None:
        """Note that a connection has a whole request in hand."""
        source = self._open.get(connection)
        if source is None or connection not in self._idle:
            return
        del self._idle[connection]
        if source is not UNKNOWN:
            of_source = self._idle_of[source.subscriber]
            del of_source[connection]
            if not of_source:
                del self._idle_of[source.subscriber]

    def _share_accepts(self) -> None:
        """Say how many connections each port accepts in this turn of the reactor."""
        self._is_sharing = False
        room = (self.most - len(self._open)) // max(1, len(self._ports))
        accepts = max(ACCEPTS, min(MOST_ACCEPTS, 4 * MOST_ACCEPTS // (1 + self._turns.waiting), room))
        for port in self._ports:
            port.numberAccepts = accepts

    def _make_room(self, source: SourceNetwork) -> bool:
        try:
            self._shares.check(source)
        except TooMany as error:
            self._refused(error.code, source)
            if not self._close_oldest(self._idle_of.get(source.subscriber)):
                return False
        if len(self._open) >= self.most:
            self._refused("connections", source)
            return self._close_oldest(self._idle)
        return True

    def _close_oldest(self, among: OrderedDict[Connection, None] | None) -> bool:
        if not among:
            return False
        oldest = next(iter(among))
        self.closed(oldest)
        oldest.give_way()
        return True
