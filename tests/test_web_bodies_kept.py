"""Bodies of requests that wait for the disk."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.clock import WorkingTime
from rendezvous.service import Rendezvous
from rendezvous.settings import Settings
from rendezvous.storage.batchtimer import GATHER
from rendezvous.testing import Connection, MemoryReactor
from rendezvous.web.site import RendezvousSite

SOURCE = ("198.51.100.7", 50000)
JUNK = 1_900_000


class BodyTests(SynchronousTestCase):
    """A server whose disk stands still when the test says so."""

    def setUp(self) -> None:
        """Start it, and register a client."""
        directory = self.mktemp()
        os.mkdir(directory)
        self.reactor = MemoryReactor()
        self.reactor.advance(1_800_000_000)
        self.calls: list[tuple[Callable[[], None], Deferred[None]]] = []
        self.stands_still = False
        rendezvous = Rendezvous(
            Settings(store=f"sqlite:{directory}/s", no_source_limits=True),
            self.reactor,
            environ={"RENDEZVOUS_SECRET": "11" * 32},
            run_blocking=self.run_blocking,
            monotonic=self.reactor.seconds,
            wall=self.reactor.seconds,
            working=WorkingTime(self.reactor.seconds),
        )
        self.site = RendezvousSite(rendezvous.resource(), self.reactor)
        rendezvous.startService()
        self.addCleanup(rendezvous.stopService)
        response = self.ask("/register").response()
        assert response is not None
        self.key = response.json()["private_id"]

    def run_blocking(self, call: Callable[[], None]) -> Deferred[None]:
        """Do it at once, unless the disk stands still."""
        done: Deferred[None] = Deferred()
        self.calls.append((call, done))
        if not self.stands_still:
            self.work()
        return done

    def work(self) -> None:
        """Do what the disk has to do."""
        while self.calls:
            call, done = self.calls.pop(0)
            call()
            done.callback(None)

    def ask(self, path: str, body: bytes = b"", **headers: str) -> Connection:
        """Send a request, and let a turn of the reactor pass."""
        connection = Connection(self.site, SOURCE)
        connection.request("POST", path, {"Host": "a", "Content-Length": str(len(body)), **headers}, body)
        self.reactor.advance(0)
        return connection

    def publish(self, number: int) -> Connection:
        """Publish an offer, with much that is ignored."""
        offer = {"id": f"o{number}", "sdp": "v=0", "topics": ["t"], "junk": "x" * JUNK}
        return self.ask("/offers", json.dumps({"offers": [offer]}).encode(), Authorization=f"Bearer {self.key}")

    def test_bodies_are_not_kept_while_a_commit_is_waited_for(self) -> None:
        """What nothing reads any more does not stay until the disk has taken the rest."""
        self.stands_still = True
        self.publish(0)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        waiting = [self.publish(number) for number in range(1, 11)]
        self.assertLess(tracemalloc.get_traced_memory()[0], JUNK)
        self.assertEqual([each.response() for each in waiting], [None] * 10)
        self.stands_still = False
        self.work()
        self.reactor.advance(GATHER)
        self.work()
        self.reactor.advance(0)
        statuses = [response.status for each in waiting if (response := each.response()) is not None]
        self.assertEqual(statuses, [200] * 10)
