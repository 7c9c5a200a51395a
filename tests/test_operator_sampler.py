"""The numbers of the last hour: what is sampled, and when clients are counted."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.operator import sampler as module
from rendezvous.operator.sampler import GAUGES, INTERVAL, TOTALS, Sampler
from rendezvous.testing import MemoryReactor, MemoryServer, MemorySocket


class SamplerTests(SynchronousTestCase):
    """A sampler of a server in memory."""

    def setUp(self) -> None:
        """Begin to sample."""
        self.server = MemoryServer(MemoryReactor())
        self.addCleanup(self.server.stop)
        parts = self.server.rendezvous._parts()
        self.delay, self.queries = parts.delay, parts.queries
        self.sampler = Sampler(parts)
        self.sampler.startService()
        self.addCleanup(self.sampler.stopService)
        self.server.reactor.advance(0)

    def wait(self, seconds: float) -> None:
        """Let time pass, a second at a time."""
        for _ in range(int(seconds)):
            self.server.reactor.advance(1)

    def values(self) -> dict[str, Any]:
        """:returns: the last sample."""
        found: dict[str, Any] = self.sampler.figures()["values"]
        return found

    def curve(self, name: str) -> list[float | None]:
        """:returns: the values of one name."""
        found: list[float | None] = self.sampler.curves()["series"][name]
        return found

    def test_gauges(self) -> None:
        """Each of them is that of its table."""
        _, key, alice = self.server.register()
        self.server.register()
        self.server.deliver(key)
        offers = {"offers": [{"sdp": "v=0", "topics": [topic]} for topic in "ab"]}
        self.assertEqual(self.server.request("POST", "/offers", offers, alice).status, 200)
        session = {"info": "Bob", "offer": "v=0"}
        self.server.request("POST", "/go/offer", session, {"Origin": "https://app.example"})
        sockets = [MemorySocket(self.server.connect(("198.51.100.1", 50000)), "/signal") for _ in range(3)]
        self.wait(2 * INTERVAL)
        found = self.values()
        self.assertEqual(set(found), {*GAUGES, *TOTALS})
        expected = {"clients_online": 1, "clients_registered": 1, "clients_late": 0, "offers": 2, "sessions": 1}
        expected |= {"sockets": 3, "event_streams": 0, "tracker_entries": 0}
        self.assertEqual({name: found[name] for name in expected}, expected)
        self.assertGreater(found["signaling_memory"], 0)
        # The clock goes on by a second at a time, so a timer of half a second is late by as much.
        self.assertEqual(found["reactor_delay"], 0.5)
        for socket in sockets:
            socket.lose()

    def test_growth_since_the_sample_before(self) -> None:
        """Of each sample; there is none of the first."""
        for count in (1, 0, 3):
            for _ in range(count):
                self.server.register()
            self.wait(INTERVAL)
        self.assertEqual(self.curve("registrations"), [None, 0.2, 0.0, 0.6])

    def test_no_measurement_of_the_delay(self) -> None:
        """The sample has none then; that is not a delay of 0."""
        self.delay.stopService()
        self.addCleanup(self.delay.startService)
        self.wait(INTERVAL)
        self.assertIsNone(self.curve("reactor_delay")[-1])
        self.assertNotIn("reactor_delay", self.values())

    def test_many_clients_are_counted_less_often(self) -> None:
        """Few of them with every sample; with more of them, after a time that grows with their number."""

        def counts(number: int) -> list[int]:
            """:returns: the count after each of so many samples; before each one more client registers."""
            found = []
            for _ in range(number):
                self.server.register()
                self.wait(INTERVAL)
                found.append(self.sampler.clients()["registered"])
            return found

        self.assertEqual(counts(2), [1, 2])
        self.patch(module, "COUNTED", 0.1)
        self.assertEqual(counts(7), [3, 3, 3, 3, 3, 3, 9])

    def test_count_that_fails(self) -> None:
        """It is logged, the last count is shown, and it is tried again."""
        self.server.register()
        self.wait(INTERVAL)
        count = self.queries.census

        async def fail(now: float) -> Any:
            raise ValueError("for this test")

        self.patch(self.queries, "census", fail)
        self.server.register()
        self.wait(INTERVAL)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(self.sampler.clients()["registered"], 1)
        self.patch(self.queries, "census", count)
        self.wait(INTERVAL)
        self.assertEqual(self.sampler.clients()["registered"], 2)
