"""Tests of :mod:`rendezvous.counters`."""

from __future__ import annotations

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.counters import MAX_NETWORKS, REPORT_INTERVAL, Counters, Networks, Report


class CountersTests(SynchronousTestCase):
    """Tests of the counts."""

    def test_totals_are_all_that_was_counted(self) -> None:
        """By family and reason; a family is the same object each time it is asked for."""
        counters = Counters()
        counters.family("drops")["late"] += 2
        counters.family("drops")["early"] += 1
        counters.family("limits")["rate"] += 3
        self.assertEqual(counters.totals(), {"drops": {"late": 2, "early": 1}, "limits": {"rate": 3}})

    def test_totals_are_a_copy(self) -> None:
        """What is counted later does not change what a reader has."""
        counters = Counters()
        counters.family("drops")["late"] += 1
        before = counters.totals()
        counters.family("drops")["late"] += 1
        self.assertEqual((before["drops"]["late"], counters.totals()["drops"]["late"]), (1, 2))

    def test_networks_are_bounded(self) -> None:
        """Those that come when the table is full are left out; those in it are still counted."""
        networks = Networks()
        for number in range(MAX_NETWORKS + 10):
            networks.add(str(number))
        networks.add("0")
        self.assertEqual(len(networks), MAX_NETWORKS)
        self.assertEqual(networks.take(), ("0", 2))
        self.assertEqual((len(networks), networks.take()), (0, None))


class ReportTests(SynchronousTestCase):
    """Tests of the log lines."""

    def setUp(self) -> None:
        """Count nothing yet."""
        self.counters = Counters()
        self.drops = self.counters.family("dropped datagrams")
        self.report = Report(self.counters)

    def lines(self, now: float | None) -> list[str]:
        """:returns: what is logged at this time, or at the end."""
        with capturedLogs() as events:
            if now is None:
                self.report.flush()
            else:
                self.report(now)
        return [str(formatEvent(event)) for event in events]

    def test_a_line_has_what_is_new(self) -> None:
        """The counts themselves go on growing."""
        self.drops["unreadable"] += 5
        self.assertEqual(self.lines(0), ["dropped datagrams: {'unreadable': 5}"])
        self.drops["unreadable"] += 1
        self.drops["unsendable"] += 2
        self.assertEqual(self.lines(60), ["dropped datagrams: {'unreadable': 1, 'unsendable': 2}"])
        self.assertEqual(dict(self.drops), {"unreadable": 6, "unsendable": 2})

    def test_there_is_one_line_a_minute(self) -> None:
        """What comes sooner waits, and is in the next line."""
        self.drops["unreadable"] += 1
        self.assertEqual(len(self.lines(100)), 1)
        self.drops["unreadable"] += 1
        self.assertEqual(self.lines(100 + REPORT_INTERVAL - 0.1), [])
        self.drops["unreadable"] += 1
        self.assertEqual(self.lines(100 + REPORT_INTERVAL), ["dropped datagrams: {'unreadable': 2}"])

    def test_nothing_new_is_no_line(self) -> None:
        """Neither before the first event nor after it was reported; and the first after a silence is not late."""
        self.assertEqual(self.lines(0), [])
        self.drops["unreadable"] += 1
        self.assertEqual(len(self.lines(1)), 1)
        self.assertEqual(self.lines(1000) + self.lines(None), [])
        self.drops["unreadable"] += 1
        self.assertEqual(len(self.lines(1001)), 1)

    def test_the_rest_is_reported_at_the_end(self) -> None:
        """However short the time since the last line is."""
        self.drops["unreadable"] += 1
        self.lines(0)
        self.drops["unreadable"] += 2
        self.assertEqual(self.lines(None), ["dropped datagrams: {'unreadable': 2}"])

    def test_each_family_has_its_line(self) -> None:
        """And the network that caused most of it, where that is known."""
        self.drops["rate limit"] += 3
        self.counters.family("limited requests")["registrations"] += 1
        for network in ("192.0.2.1", "198.51.100.7", "198.51.100.7"):
            self.counters.networks("dropped datagrams").add(network)
        self.assertEqual(
            self.lines(0),
            [
                "dropped datagrams: {'rate limit': 3}; most were caused by 198.51.100.7 (2 times)",
                "limited requests: {'registrations': 1}",
            ],
        )
        self.drops["unreadable"] += 1
        self.assertEqual(self.lines(60), ["dropped datagrams: {'unreadable': 1}"])
