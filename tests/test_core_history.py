"""The history of clients."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.presence import history as module
from rendezvous.core.presence.history import ClientEvent, Happened, History
from rendezvous.testing import MemoryServer
from tests._memory_fast import FastMemoryPort, fast_server

ALICE, BOB = b"\xaa" * 16, b"\xbb" * 16


def events(history: History, client_id: bytes) -> list[ClientEvent]:
    """:returns: the events of a client, the oldest first."""
    return [event for part in history.of(client_id) for event in part][::-1]


class HistoryTests(SynchronousTestCase):
    """The ring."""

    def test_events_of_one_client(self) -> None:
        """In their order, with the addresses of pulses."""
        history = History(10)
        history.add(Happened.REGISTERED, ALICE, 1.0)
        history.add(Happened.REGISTERED, BOB, 2.0)
        history.add(Happened.FIRST_PULSE, ALICE, 3.0, bytes([192, 0, 2, 1]), 4000)
        history.add(Happened.MOVED, ALICE, 4.0, bytes.fromhex("20010db8") + bytes(11) + b"\x09", 65535)
        self.assertEqual(
            events(history, ALICE),
            [
                ClientEvent(1.0, Happened.REGISTERED),
                ClientEvent(3.0, Happened.FIRST_PULSE, ("192.0.2.1", 4000)),
                ClientEvent(4.0, Happened.MOVED, ("2001:db8::9", 65535)),
            ],
        )
        self.assertEqual(events(history, bytes(16)), [])

    def test_oldest_are_overwritten(self) -> None:
        """Those that are left are in their order."""
        history = History(4)
        for number in range(11):
            history.add(Happened.MOVED, ALICE if number % 2 else BOB, float(number))
        self.assertEqual([event.time for event in events(history, ALICE)], [7.0, 9.0])
        self.assertEqual([event.time for event in events(history, BOB)], [8.0, 10.0])

    def test_what_only_looks_like_an_id_is_none(self) -> None:
        """An address with the same bytes, or two ids that make a third one where they meet."""
        history = History(4)
        history.add(Happened.MOVED, BOB, 1.0, ALICE, 1)
        self.assertEqual(events(history, ALICE), [])

    def test_search_takes_steps(self) -> None:
        """Each looks at a part of the ring; nothing is lost where they meet."""
        self.patch(module, "SEARCHED", 3 * 48)
        history = History(20)
        for number in range(10):
            history.add(Happened.VERIFIED, ALICE, float(number))
        self.assertEqual([len(part) for part in history.of(ALICE)], [3, 3, 3, 1])

    def test_one_client_cannot_make_a_search_long(self) -> None:
        """Of a client that has filled the ring, the latest events are found, and the search ends."""
        self.patch(module, "SEARCHED", 4 * 48)
        self.patch(module, "SHOWN", 6)
        history = History(40)
        for number in range(50):
            history.add(Happened.VERIFIED, ALICE, float(number))
        self.assertEqual([len(part) for part in history.of(ALICE)], [4, 2])
        self.assertEqual([event.time for event in events(history, ALICE)], [44.0, 45.0, 46.0, 47.0, 48.0, 49.0])

    def test_events_around_the_end_of_the_memory(self) -> None:
        """The latest ones are at its beginning."""
        self.patch(module, "SHOWN", 4)
        history = History(5)
        for number in range(7):
            history.add(Happened.VERIFIED, ALICE, float(number))
        self.assertEqual([event.time for event in events(history, ALICE)], [3.0, 4.0, 5.0, 6.0])

    def test_a_million_clients_take_as_much_as_one(self) -> None:
        """The memory has a fixed size."""
        history = History(100)
        size = len(history._memory)
        for number in range(1000):
            history.add(Happened.REGISTERED, number.to_bytes(16), 0.0)
        self.assertEqual((len(history._memory), size), (4800, 4800))


class PulseTests(SynchronousTestCase):
    """First pulses and moves are written down, however they are decided."""

    def kinds(self, server: MemoryServer) -> list[list[ClientEvent]]:
        """:returns: what is written down of 20 clients that have each pulsed from two places, twice from each."""
        self.addCleanup(server.stop)
        store: Any = server.rendezvous.store
        store.queries.keep_history()
        made = [self.successResultOf(Deferred.fromCoroutine(store.register(0.0))) for _ in range(20)]
        port = server.udp_ports[0]
        for host in ("198.51.100.7", "198.51.100.7", "203.0.113.9", "203.0.113.9"):
            server.reactor.advance(1)
            datagrams = [(key, (host, 40000 + number)) for number, (_, key) in enumerate(made)]
            if isinstance(port, FastMemoryPort):
                port.deliver_all(datagrams)
            else:
                for datagram, source in datagrams:
                    port.deliver(datagram, source)
        return [events(store.live.history, client_id) for client_id, _ in made]

    def test_both_paths_write_the_same(self) -> None:
        """One by one and in batches."""
        found = self.kinds(MemoryServer())
        self.assertEqual(
            found[5],
            [
                ClientEvent(0.0, Happened.REGISTERED),
                ClientEvent(1.0, Happened.FIRST_PULSE, ("198.51.100.7", 40005)),
                ClientEvent(3.0, Happened.MOVED, ("203.0.113.9", 40005)),
            ],
        )
        self.assertEqual(self.kinds(fast_server()), found)

    def test_nothing_is_written_unless_it_is_wanted(self) -> None:
        """A server without a port for operators has no ring."""
        server = MemoryServer()
        self.addCleanup(server.stop)
        store: Any = server.rendezvous.store
        self.assertIsNone(store.live.history)
