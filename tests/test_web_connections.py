"""Tests of :mod:`rendezvous.web.connections`, by value, and of the number of connections of a site."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.shares import Shares
from rendezvous.core.sources import UNKNOWN, SourceNetwork, source_network
from rendezvous.testing import MemoryServer
from rendezvous.web.connections import ACCEPTS, MOST_ACCEPTS, Connections
from rendezvous.web.turns import Turns

HOME, NEIGHBOUR, ELSEWHERE = map(source_network, ("198.51.100.7", "198.51.100.8", "203.0.113.7"))


class _Port:
    numberAccepts = 0  # noqa: N815 - Twisted's name


class _Transport:
    def __init__(self, port: _Port) -> None:
        self.server = port


class _Connection:
    """Remembers whether it had to give way."""

    def __init__(self, port: _Port | None = None) -> None:
        self.transport: Any = _Transport(port or _Port())
        self.gave_way = False

    def loseConnection(self) -> None:
        """Do nothing."""

    def give_way(self) -> None:
        """Close."""
        self.gave_way = True


class ConnectionsTests(SynchronousTestCase):
    """Four connections in all, two of a source, three of a site."""

    def setUp(self) -> None:
        """Make the table."""
        self.refused: list[tuple[str, SourceNetwork]] = []
        shares = Shares("connections", 2, 3, "source-connections")
        clock = Clock()
        self.table = Connections(
            4, shares, lambda code, source: self.refused.append((code, source)), clock, Turns(clock)
        )

    def open(self, source: SourceNetwork, *, busy: bool = False) -> _Connection:
        """:returns: a connection that may stay."""
        connection = _Connection()
        self.assertTrue(self.table.opened(connection, source))
        if busy:
            self.table.busy(connection)
        return connection

    def test_up_to_the_limits_all_stay(self) -> None:
        """Two of one source, three of a site, four in all."""
        opened = [self.open(source) for source in (HOME, HOME, NEIGHBOUR, ELSEWHERE)]
        self.assertEqual((len(self.table), self.refused), (4, []))
        self.assertFalse(any(connection.gave_way for connection in opened))

    def test_oldest_idle_of_the_source_gives_way(self) -> None:
        """Not the one with a request in hand, and none of others."""
        other, busy, idle = self.open(ELSEWHERE), self.open(HOME, busy=True), self.open(HOME)
        self.open(HOME)
        self.assertEqual([c.gave_way for c in (other, busy, idle)], [False, False, True])
        self.assertEqual((len(self.table), self.refused), (3, [("source-connections", HOME)]))

    def test_closed_connection_has_no_place_to_give(self) -> None:
        """After an idle connection is closed, the next one that is idle gives way."""
        closed, idle = self.open(HOME), self.open(HOME)
        self.table.closed(closed)
        self.open(HOME)
        self.assertFalse(idle.gave_way)
        self.open(HOME)
        self.assertEqual((closed.gave_way, idle.gave_way, len(self.table)), (False, True, 2))

    def test_connection_is_as_old_as_its_idleness(self) -> None:
        """One that has just served a request is younger than one that never had any."""
        first, second = self.open(HOME), self.open(HOME)
        self.table.busy(first)
        self.table.idle(first)
        self.open(HOME)
        self.assertEqual((first.gave_way, second.gave_way), (False, True))

    def test_oldest_idle_of_all_gives_way_to_a_fifth(self) -> None:
        """It may belong to any source, also to one that is not counted."""
        first, second = self.open(UNKNOWN, busy=True), self.open(UNKNOWN)
        self.open(HOME)
        self.open(ELSEWHERE)
        self.open(ELSEWHERE)
        self.assertEqual((first.gave_way, second.gave_way, len(self.table)), (False, True, 4))
        self.assertEqual(self.refused, [("connections", ELSEWHERE)])

    def test_without_an_idle_one_the_new_one_may_not_stay(self) -> None:
        """Of the source, and of all."""
        for _ in range(2):
            self.open(HOME, busy=True)
        self.assertFalse(self.table.opened(_Connection(), HOME))
        for _ in range(2):
            self.open(ELSEWHERE, busy=True)
        self.assertFalse(self.table.opened(_Connection(), UNKNOWN))
        self.assertEqual(len(self.table), 4)

    def test_full_site_takes_a_place_of_the_same_subscriber_only(self) -> None:
        """A neighbour's idle connection is not closed for it."""
        idle = [self.open(HOME), self.open(HOME), self.open(NEIGHBOUR)]
        self.open(NEIGHBOUR)
        self.assertEqual([connection.gave_way for connection in idle], [False, False, True])
        self.assertFalse(self.table.opened(_Connection(), source_network("198.51.100.9")))

    def test_closed_connection_gives_its_place_back(self) -> None:
        """Once, however often it is said."""
        first, second = self.open(HOME), self.open(HOME, busy=True)
        for connection in (first, first, second, second, _Connection()):
            self.table.closed(connection)
        self.assertEqual(len(self.table), 0)
        self.open(HOME)
        self.open(HOME)
        self.assertEqual(self.refused, [])

    def test_connection_can_turn_out_to_be_of_another_source(self) -> None:
        """It is counted there then, and where it was it is not."""
        connections = [self.open(UNKNOWN) for _ in range(3)]
        for connection in connections:
            self.assertTrue(self.table.belongs_to(connection, HOME))
        self.assertEqual([connection.gave_way for connection in connections], [True, False, False])

    def test_source_that_a_connection_leaves_has_room_again(self) -> None:
        """As many connections as before fit, and none of them takes a place of another."""
        for _ in range(2):
            self.assertTrue(self.table.belongs_to(self.open(HOME), ELSEWHERE))
        for _ in range(2):
            self.open(HOME)
        self.assertEqual((len(self.table), self.refused), (4, []))

    def test_nothing_is_kept_of_connections_that_are_closed(self) -> None:
        """However many sources have come and gone, idle or busy, known or not."""
        for number in range(100):
            for source in (source_network(f"2001:db8:{number:x}::1"), UNKNOWN):
                for busy in (False, True):
                    self.table.closed(self.open(source, busy=busy))
        self.assertEqual((len(self.table), self.table._idle, self.table._idle_of), (0, {}, {}))


class AcceptsTests(SynchronousTestCase):
    """How many connections a port accepts in a turn of the reactor."""

    def accepts(self, most: int, opened: int = 1, sources: int = 0, ports: int = 1) -> list[int]:
        """:returns: for each port, how many it accepts when so many are open and so many sources wait."""
        clock = Clock()
        turns = Turns(clock)
        table = Connections(most, Shares("connections"), lambda code, source: None, clock, turns)
        listening = [_Port() for _ in range(ports)]
        for number in range(opened):
            table.opened(_Connection(listening[number % ports]), UNKNOWN)
        for port in listening:
            port.numberAccepts = 1_000_000
        for source in range(sources):
            turns.add(source, lambda: None)
        later: Any = clock.getDelayedCalls()
        [call] = [each for each in later if each.func == table._share_accepts]
        call.func()
        return [port.numberAccepts for port in listening]

    def test_many_of_few_sources(self) -> None:
        """A thousand connections of one source are accepted soon, since they wait behind those of others then."""
        self.assertEqual(self.accepts(10_000), [MOST_ACCEPTS])
        self.assertEqual(self.accepts(10_000, sources=3), [MOST_ACCEPTS])

    def test_few_of_many_sources(self) -> None:
        """Each source that waits would make another one wait for longer."""
        self.assertEqual(self.accepts(10_000, sources=9), [4 * MOST_ACCEPTS // 10])
        self.assertEqual(self.accepts(10_000, sources=100), [ACCEPTS])

    def test_no_more_than_there_is_room_for(self) -> None:
        """Those that give way keep their descriptors until the next turn."""
        self.assertEqual(self.accepts(128, opened=28), [100])
        self.assertEqual(self.accepts(128, opened=100), [ACCEPTS])
        self.assertEqual(self.accepts(128, opened=128), [ACCEPTS])

    def test_ports_share_the_room(self) -> None:
        """One of HTTP and one of HTTPS may be asked in the same turn."""
        self.assertEqual(self.accepts(128, opened=2, ports=2), [63, 63])

    def test_a_port_is_given_a_number_once_a_turn(self) -> None:
        """And again in each turn after one in which it has accepted something: Twisted changes it then."""
        clock = Clock()
        table = Connections(10_000, Shares("connections"), lambda code, source: None, clock, Turns(clock))
        port = _Port()
        for _ in range(2):
            for _ in range(3):
                table.opened(_Connection(port), UNKNOWN)
            port.numberAccepts = 1
            self.assertEqual(len(clock.getDelayedCalls()), 1)
            clock.advance(0)
            self.assertEqual((port.numberAccepts, clock.getDelayedCalls()), (MOST_ACCEPTS, []))


class EndTests(SynchronousTestCase):
    """What becomes of connections when the last port of a site closes, and when one opens again."""

    REQUEST = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"

    def setUp(self) -> None:
        """Start a server."""
        self.server = MemoryServer()
        self.addCleanup(self.server.stop)

    def test_idle_connections_are_closed(self) -> None:
        """New ones, kept ones, and those with a part of a request."""
        connections = [self.server.connect() for _ in range(3)]
        connections[1].send(self.REQUEST)
        connections[2].send(self.REQUEST[:9])
        self.assertEqual([connection.closed for connection in connections], [False] * 3)
        self.server.site.stopFactory()
        self.assertEqual([connection.closed for connection in connections], [True] * 3)

    def test_a_request_in_hand_is_answered_first(self) -> None:
        """Then its connection is closed as well."""
        _, _, alice = self.server.register()
        connection = self.server.start_request("GET", "/offers/answers?wait=5", None, alice)
        self.server.site.stopFactory()
        self.assertFalse(connection.closed)
        self.server.reactor.advance(5)
        response = connection.response()
        assert response is not None
        self.assertEqual(response.status, 200)
        self.assertTrue(connection.closed)

    def test_after_another_start_connections_are_kept(self) -> None:
        """As if nothing had been."""
        self.server.site.stopFactory()
        self.server.site.startFactory()
        connection = self.server.connect()
        connection.send(self.REQUEST)
        connection.send(self.REQUEST)
        self.assertFalse(connection.closed)
        self.assertEqual(len(connection.transport.value().split(b"HTTP/1.1 200 OK")), 3)
