"""Reads of many entries, and what the tables hold in numbers."""

from __future__ import annotations

from typing import Any

import attrs

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.presence import census, history
from rendezvous.core.presence.states import PresenceState
from rendezvous.errors import NotFound
from rendezvous.model import ClientQuery, Fill
from rendezvous.storage import queries
from rendezvous.testing import MemoryReactor, MemoryServer, MemorySocket


class QueriesTests(SynchronousTestCase):
    """Queries of a server in memory."""

    def setUp(self) -> None:
        """Start it."""
        self.server = MemoryServer(MemoryReactor(), max_clients=50, max_offers=60, max_waiting=70)
        self.addCleanup(self.server.stop)
        store: Any = self.server.rendezvous.store
        self.store, self.queries = store, store.queries

    def ask(self, verb: Any) -> Any:
        """:returns: what a query finds, after as many turns of the reactor as it needs."""
        asked = Deferred.fromCoroutine(verb)
        for _ in range(20):
            self.server.reactor.advance(0)
        return self.successResultOf(asked)

    def registered(self, count: int) -> list[str]:
        """:returns: the ids of new clients."""
        return [self.server.register()[0] for _ in range(count)]

    def test_census_of_several_slices(self) -> None:
        """Each client is counted."""
        self.patch(census, "SLICE", 4)
        self.registered(10)
        self.assertEqual(+self.ask(self.queries.census(0.0)), {PresenceState.NEW: 10})

    def test_clients_that_are_gone_are_not_listed(self) -> None:
        """Also those that no sweep has come to yet."""
        self.registered(3)
        found = self.ask(self.queries.clients(ClientQuery(), 0, 10, 0.0))
        self.assertEqual((len(found.clients), found.next), (3, None))
        self.assertEqual(self.ask(self.queries.clients(ClientQuery(), 0, 10, 100_000.0)).clients, [])

    def test_history_of_several_steps(self) -> None:
        """The events of all of them, the oldest first."""
        self.patch(history, "SEARCHED", 2 * 48)
        self.queries.keep_history()
        [client_id] = self.registered(1)
        ring = self.store.live.history
        for number in range(1, 6):
            ring.add(history.Happened.VERIFIED, bytes.fromhex(client_id), float(number))
        found = self.ask(self.queries.client(bytes.fromhex(client_id), 0.0))
        self.assertEqual([event.time for event in found.events], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0])

    def test_client_without_a_history(self) -> None:
        """It is found as long as it is there; nothing is known of others."""
        [client_id] = self.registered(1)
        found = self.ask(self.queries.client(bytes.fromhex(client_id), 0.0))
        self.assertEqual((found.client.client_id.hex(), found.state, found.events), (client_id, PresenceState.NEW, []))
        failure = self.failureResultOf(Deferred.fromCoroutine(self.queries.client(bytes(16), 0.0)))
        self.assertEqual(failure.check(NotFound), NotFound)

    def test_number_of_offers_that_one_request_looks_at(self) -> None:
        """A list of few sessions among many offers says where to go on."""
        self.patch(queries, "_OFFERS", 5)
        *_, headers = self.server.register()
        offers = {"offers": [{"sdp": "v=0", "topics": [f"t{number}"]} for number in range(5)]}
        self.assertEqual(self.server.request("POST", "/offers", offers, headers).status, 200)
        self.server.reactor.advance(1)
        origin = {"Origin": "https://app.example"}
        self.server.request("POST", "/go/offer", {"info": "a", "offer": "v=0"}, origin)
        found, after, pages = 0, None, 0
        while pages == 0 or after is not None:
            page = self.ask(self.queries.offers(after, 10, 1.0, sessions=True))
            found, after, pages = found + len(page.items), page.next, pages + 1
        self.assertEqual((found, pages), (1, 2))

    def test_figures(self) -> None:
        """Each table has its entries and its bound."""
        self.registered(3)
        _, key, headers = self.server.register()
        self.server.deliver(key)
        _, _, other = self.server.register()
        self.server.request("POST", "/logout", None, other)
        offers = {"offers": [{"sdp": "v=0", "topics": [topic]} for topic in "ab"]}
        self.server.request("POST", "/offers", offers, headers)
        origin = {"Origin": "https://app.example"}
        self.server.request("POST", "/go/offer", {"info": "a", "offer": "v=0"}, origin)
        waits = self.server.start_request("GET", "/offers/answers?wait=25", headers=headers)
        stream = self.server.start_request("GET", "/events", headers=headers)
        socket = MemorySocket(self.server.connect(), "/signal")
        figures = self.store.figures()
        tables = dict(figures.tables)
        self.assertEqual(tables.pop("clients"), Fill(4, 50))
        self.assertEqual(tables.pop("logouts"), Fill(1, 50))
        self.assertEqual(tables.pop("offers"), Fill(3, 60))
        self.assertEqual(tables.pop("waiting"), Fill(2, 70))
        settings = self.server.rendezvous.settings
        bounds = {"attempts": settings.max_attempts, "tracker_peers": settings.max_tracker_peers}
        self.assertEqual(tables, {name: Fill(0, bound) for name, bound in bounds.items()})
        self.assertEqual((figures.offers, figures.sessions, figures.event_streams), (2, 1, 1))
        memory = attrs.astuple(figures.signaling_memory)
        self.assertTrue(0 < memory[0] < memory[1], memory)
        self.assertIsNone(figures.saving)
        for each in (waits, stream, socket):
            each.lose()
