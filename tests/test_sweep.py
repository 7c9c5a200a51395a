"""Tests of :mod:`rendezvous.sweep`."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.counters import Counters, Report
from rendezvous.errors import Unavailable
from rendezvous.model import Swept
from rendezvous.storage import tables
from rendezvous.sweep import SWEEP_INTERVAL, Sweep, sweep_service
from rendezvous.testing import MemoryServer
from tests._store_case import local


class _Case(SynchronousTestCase):
    """What is logged, as text."""

    def setUp(self) -> None:
        """Listen to the log."""
        self.events: list[LogEvent] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def lines(self, start: str) -> list[str]:
        """:returns: every line logged so far that starts so."""
        return [line for line in map(formatEvent, self.events) if line.startswith(start)]


class _Store:
    """A store whose sweep does what a test wants."""

    live = (0,) * 7

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.passes: list[float] = []

    async def sweep(self, now: float) -> Swept:
        self.passes.append(now)
        result = self.results.pop(0) if self.results else Swept()
        if isinstance(result, Exception):
            raise result
        swept: Swept = await result if isinstance(result, Deferred) else result
        return swept


class SweepServiceTests(_Case):
    """Tests of the passes, one a second."""

    def setUp(self) -> None:
        """Start the service on a clock."""
        super().setUp()
        self.clock, self.store, counters = Clock(), _Store(), Counters()
        self.dropped = counters.family("dropped datagrams")
        self.service = sweep_service(Sweep(self.store, self.clock, Report(counters)), self.clock)  # type: ignore[arg-type]

    def start(self) -> None:
        """Start."""
        self.service.startService()
        self.addCleanup(self.service.stopService)

    def test_there_is_a_pass_each_second(self) -> None:
        """The first at once; each is told the time."""
        self.start()
        self.clock.pump([SWEEP_INTERVAL] * 3)
        self.assertEqual((SWEEP_INTERVAL, self.store.passes), (1.0, [0, 1, 2, 3]))

    def test_pass_that_fails_is_logged_and_the_next_one_comes(self) -> None:
        """An exception of any kind ends one pass and not the sweeping."""
        self.store.results = [RuntimeError("a fault"), Unavailable("Away."), RuntimeError("again")]
        self.start()
        self.clock.pump([1] * 3)
        self.assertEqual(self.store.passes, [0, 1, 2, 3])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)
        self.assertEqual(len(self.flushLoggedErrors(Unavailable)), 1)

    def test_pass_that_takes_long_is_not_overtaken(self) -> None:
        """The next one begins when it has ended, and no earlier."""
        slow: Deferred[Swept] = Deferred()
        self.store.results = [slow]
        self.start()
        self.clock.pump([1] * 3)
        self.assertEqual(self.store.passes, [0])
        slow.callback(Swept())
        self.clock.advance(1)
        self.assertEqual(self.store.passes, [0, 4])

    def test_slices_follow_each_other_until_nothing_is_due(self) -> None:
        """Each in a turn of its own, so that what has arrived is served between them; one line sums them up."""
        self.store.results = [Swept(clients=2, more=True), Swept(clients=2, offers=1, more=True), Swept(clients=1)]
        self.start()
        self.assertEqual(len(self.store.passes), 1)
        self.assertEqual([call.getTime() for call in self.clock.getDelayedCalls()], [0])
        self.clock.advance(0)
        self.assertEqual(self.store.passes, [0, 0, 0])
        self.assertEqual(
            self.lines(""),
            [
                "swept: clients that had fallen silent: 5; clients that are left: 7",
                "swept: offers that had expired: 1",
            ],
        )

    def test_stop_does_not_wait_for_what_is_due(self) -> None:
        """The slice under way is the last one."""
        self.store.results = [Swept(clients=2, more=True)] * 5
        self.service.startService()
        self.successResultOf(self.service.stopService())
        self.assertEqual((len(self.store.passes), self.clock.getDelayedCalls()), (1, []))
        self.assertEqual(self.lines(""), ["swept: clients that had fallen silent: 2; clients that are left: 7"])
        self.store.results = []
        self.service.startService()
        self.clock.advance(1)
        self.assertEqual(len(self.store.passes), 3)
        self.successResultOf(self.service.stopService())

    def test_one_line_a_minute(self) -> None:
        """A server whose clients come and go writes no line each second; at the stop it says the rest."""
        self.store.results = [Swept(clients=1) for _ in range(100)]
        self.service.startService()
        self.clock.pump([1] * 62)
        self.successResultOf(self.service.stopService())
        counts = [re.findall(r"silent: ([0-9]+);", line) for line in self.lines("swept")]
        self.assertEqual(counts, [["1"], ["60"], ["2"]])

    def test_each_kind_has_its_own_line(self) -> None:
        """Tracker peers alone are a line too; nothing is no line."""
        for swept, said in (
            (Swept(), []),
            (Swept(tracker_peers=3), ["swept: tracker peers that had fallen silent: 3"]),
            (Swept(offers=2), ["swept: offers that had expired: 2"]),
        ):
            self.store.results = [swept]
            before = len(self.lines(""))
            self.service.startService()
            self.successResultOf(self.service.stopService())
            self.assertEqual(self.lines("")[before:], said)

    def test_stop_during_a_slice_makes_it_the_last(self) -> None:
        """However much is left to free: the next start goes on with it."""
        slow: Deferred[Swept] = Deferred()
        self.store.results = [slow, Swept(more=True)]
        self.service.startService()
        stopped = self.service.stopService()
        slow.callback(Swept(more=True))
        self.successResultOf(stopped)
        self.assertEqual((len(self.store.passes), self.clock.getDelayedCalls()), (1, []))

    def test_stop_waits_for_the_pass_under_way(self) -> None:
        """What the pass writes is written before the store is closed."""
        slow: Deferred[Swept] = Deferred()
        self.store.results = [slow]
        self.service.startService()
        stopped = self.service.stopService()
        self.assertNoResult(stopped)
        slow.callback(Swept())
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_leaves_nothing_for_later_and_can_be_undone(self) -> None:
        """Stopped, it makes no pass; started again, it does."""
        for passes in (1, 2):
            self.service.startService()
            self.successResultOf(self.service.stopService())
            self.clock.advance(10)
            self.assertEqual((len(self.store.passes), self.clock.getDelayedCalls()), (passes, []))

    def test_stop_reports_what_was_counted_since_the_last_line(self) -> None:
        """However short the time since that line is."""
        self.dropped["unreadable"] = 50
        self.start()
        self.dropped["unreadable"] += 100
        self.successResultOf(self.service.stopService())
        self.assertEqual(
            self.lines("dropped"), ["dropped datagrams: {'unreadable': 50}", "dropped datagrams: {'unreadable': 100}"]
        )

    def test_stop_without_a_start_does_nothing(self) -> None:
        """Nor does a second stop."""
        self.successResultOf(self.service.stopService())
        self.service.startService()
        for _ in range(2):
            self.successResultOf(self.service.stopService())
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_pass_that_removed_nothing_says_nothing(self) -> None:
        """An idle server writes no log."""
        self.start()
        self.clock.pump([1] * 5)
        self.assertEqual([formatEvent(event) for event in self.events], [])

    def test_pass_that_removed_something_says_how_much(self) -> None:
        """One line, with counts alone."""
        self.store.results = [Swept(), Swept(clients=3), Swept()]
        self.start()
        self.clock.pump([1] * 3)
        self.assertEqual(self.lines(""), ["swept: clients that had fallen silent: 3; clients that are left: 7"])

    def test_dropped_datagrams_are_reported_once(self) -> None:
        """One line a minute at most, for all that was dropped since the last, by reason; none when none was."""
        self.start()
        self.dropped.update(unreadable=5, store=2)
        self.clock.pump([1] * 3)
        self.dropped["unreadable"] += 1
        first, second = "dropped datagrams: {'unreadable': 5, 'store': 2}", "dropped datagrams: {'unreadable': 1}"
        self.clock.pump([1] * 57)
        self.assertEqual(self.lines(""), [first])
        self.clock.advance(1)
        self.assertEqual(self.lines(""), [first, second])
        self.clock.pump([1] * 120)
        self.assertEqual(self.lines(""), [first, second])

    def test_counts_are_reported_by_a_pass_that_fails(self) -> None:
        """They do not depend on the store."""
        self.dropped["unreadable"] = 1
        self.store.results = [RuntimeError("a fault")]
        self.start()
        self.assertEqual(self.lines("dropped"), ["dropped datagrams: {'unreadable': 1}"])
        self.flushLoggedErrors(RuntimeError)


class ServerSweepTests(_Case):
    """Tests of the sweep of a whole server."""

    def setUp(self) -> None:
        """Start a server."""
        super().setUp()
        self.server = MemoryServer(pulse_interval=3.0, error_time=7.0, registration_time=5.0)
        self.addCleanup(self.server.stop)
        self.presence = local(self.server.rendezvous.store).tables.presence

    def test_silent_clients_are_freed_and_counted(self) -> None:
        """New ones after the registration time, others after the error time and one interval; the live one stays."""
        keys = [self.server.register()[1] for _ in range(5)]
        for key in keys[:3]:
            self.server.deliver(key)
        for _ in range(15):
            self.server.reactor.advance(1)
            self.server.deliver(keys[0])
        self.assertEqual(len(self.presence), 1)
        self.assertEqual(self.lines("swept"), ["swept: clients that had fallen silent: 2; clients that are left: 3"])
        self.server.reactor.advance(60)
        self.assertEqual(
            self.lines("swept")[1:], ["swept: clients that had fallen silent: 3; clients that are left: 0"]
        )

    def test_junk_is_counted_over_all_ports_and_reported_once(self) -> None:
        """However much arrives in a second, there is one line."""
        for _ in range(50):
            self.server.deliver(b"junk")
        self.server.reactor.pump([1] * 3)
        self.assertEqual(self.lines("dropped"), ["dropped datagrams: {'unreadable': 50}"])

    def test_one_slice_looks_at_a_bounded_number(self) -> None:
        """What is over the bound follows in the next turn, so that none holds up the server for long."""
        self.patch(tables, "SWEEP_SIZE", 4)
        for _ in range(10):
            self.server.register()
        self.server.reactor.advance(5)
        left: list[int] = []
        sweep = self.presence.sweep

        def swept(now: float, at_most: int) -> int:
            removed = sweep(now, at_most)
            left.append(len(self.presence))
            return removed

        self.patch(self.presence, "sweep", swept)
        self.server.reactor.advance(1)
        self.assertEqual(left, [6, 2, 0])
