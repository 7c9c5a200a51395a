"""
What the server counts: how often each thing happened since the process started, and the log lines about it.

The counts only grow, so that several readers can each work out what is new to them: for example the
log once a minute, and a collector of metrics at other times.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

from twisted.logger import Logger

from rendezvous.core.histogram import Histogram
from rendezvous.core.limitednetworks import LimitedNetworks

__all__ = [
    "DROPPED_DATAGRAMS",
    "MAX_NETWORKS",
    "REPORT_INTERVAL",
    "Counters",
    "Networks",
    "Report",
]

DROPPED_DATAGRAMS = "dropped datagrams"
"""The family of what arrived on a UDP port and was dropped; its reasons are in ``docs/protocol/udp.rst``."""

REPORT_INTERVAL = 60.0
"""Seconds between two reports to the log: a trickle must not fill it."""

MAX_NETWORKS = 1000
"""Networks that are counted one by one within a report; forged addresses must not fill the memory."""


class Networks:
    """The networks that caused something since the last report, and how often each did."""

    __slots__ = ("_times",)

    def __init__(self) -> None:
        self._times: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._times)

    def add(self, network: str) -> None:
        """Count one time; a network that does not fit any more is left out."""
        if network in self._times or len(self._times) < MAX_NETWORKS:
            self._times[network] += 1

    def take(self) -> tuple[str, int] | None:
        """:returns: the network that was counted most and how often, if there is one. Counting starts anew."""
        most = self._times.most_common(1)
        self._times.clear()
        return most[0] if most else None


class Counters:
    """
    Counts by family and reason.

    A family is one kind of event; each reason in it has a count. For example
    ``counters.family("dropped datagrams")["unreadable"] += 1``.

    :param seconds: tells server time.
    :ivar limited: the networks that limits have refused something.
    """

    def __init__(self, seconds: Callable[[], float] = lambda: 0.0) -> None:
        self.limited = LimitedNetworks(seconds)
        self._families: dict[str, Counter[Any]] = {}
        self._networks: dict[str, Networks] = {}
        self._durations: dict[str, dict[str, Histogram]] = {}

    def family(self, name: str, reasons: Iterable[Hashable] = ()) -> Counter[Any]:
        """
        :param reasons: what the reasons may be, where they are a closed set: then each of them is there from the start.
        :returns: the counts of a family by reason. Add to them and never take away.
        """
        counts = self._families.setdefault(name, Counter())
        for reason in reasons:
            counts.setdefault(reason, 0)
        return counts

    def durations(self, name: str, kinds: Iterable[str] = ("",)) -> Mapping[str, Histogram]:
        """
        :param kinds: the closed set of what is told apart.
        :returns: how long each kind of something took.
        """
        return self._durations.setdefault(name, {kind: Histogram() for kind in kinds})

    def networks(self, name: str) -> Networks:
        """:returns: where to add the networks that cause a family's events, for those events that have such a cause."""
        return self._networks.setdefault(name, Networks())

    def totals(self) -> Mapping[str, Mapping[str, int]]:
        """:returns: a copy of all counts that are not 0, by family and by the text of the reason."""
        found = {}
        for name, counts in self._families.items():
            texts: Counter[str] = Counter()
            for reason, count in counts.items():
                if count:
                    texts[str(reason)] += count
            found[name] = texts
        return found


class Report:
    """
    The log lines about what was counted: one a minute for each family that has grown.

    :param counters: what to report.
    """

    log = Logger()

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._reported: dict[str, Counter[str]] = {}
        self._next = 0.0

    def __call__(self, now: float) -> None:
        """
        Log what is new, unless something was logged within the last minute.

        :param now: seconds on a clock that goes forward.
        """
        if now >= self._next and self.flush():
            self._next = now + REPORT_INTERVAL

    def flush(self) -> bool:
        """
        Log what is new, however long ago the last report was: at the end nothing may be left out.

        :returns: whether there was anything.
        """
        grown = False
        for name, counts in self._counters.totals().items():
            total = Counter(counts)
            new = total - self._reported.get(name, Counter())
            self._reported[name] = total
            if new:
                grown = True
                self._log(name, new)
        return grown

    def _log(self, name: str, new: Counter[str]) -> None:
        most = self._counters.networks(name).take()
        if most is None:
            self.log.info("{family}: {counts}", family=name, counts=dict(new), event="counted")
        else:
            self.log.info(
                "{family}: {counts}; most were caused by {network} ({times} times)",
                family=name,
                counts=dict(new),
                network=most[0],
                times=most[1],
                event="counted",
            )
