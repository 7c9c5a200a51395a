"""Samples the numbers of a server every few seconds, for the curves and rates of the dashboard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from rendezvous.core.presence.states import PresenceState
from rendezvous.core.samples import Samples
from rendezvous.counters import DROPPED_DATAGRAMS
from rendezvous.inviting import ATTEMPTS
from rendezvous.operator.parts import STATES, Parts
from rendezvous.refusals import FULL_TABLES, LIMITED_SOURCES

__all__ = ["CURVES", "GAUGES", "INTERVAL", "RATES", "TOTALS", "WINDOWS", "Sampler"]

#: Seconds between two samples.
INTERVAL = 5.0

#: Seconds that curves show.
CURVES = 900.0

#: The windows that rates are worked out over, in seconds.
WINDOWS = {"1m": 60.0, "10m": 600.0, "1h": 3600.0}

#: Clients that are counted by state per second. To count a million takes some 100 ms of the reactor in all, so it is
#: done once in 50 s then.
COUNTED = 20_000

#: What may go up and down.
GAUGES = (
    *(f"clients_{status}" for status in STATES),
    "offers",
    "sessions",
    "event_streams",
    "sockets",
    "tracker_entries",
    "signaling_memory",
    "reactor_delay",
)

#: What has happened since the process started.
TOTALS: Mapping[str, Callable[[Parts], float]] = {
    "requests": lambda parts: parts.gate.requests.counts.total(),
    "request_errors": lambda parts: sum(n for (_, _, code), n in parts.gate.requests.counts.items() if code >= 500),
    "registrations": lambda parts: parts.gate.requests.counts["/register", "POST", 200],
    "publications": lambda parts: parts.gate.requests.counts["/offers", "POST", 200],
    "answers": lambda parts: parts.gate.requests.counts["/offers/<offer>/answer", "POST", 200],
    "pulses": lambda parts: parts.served.on_time + parts.served.verify + parts.served.unknown,
    "signed": lambda parts: parts.served.signed,
    "stun": lambda parts: parts.served.stun,
    "tracker": lambda parts: parts.served.tracker,
    "datagram_bytes_received": lambda parts: parts.served.received,
    "datagram_bytes_sent": lambda parts: parts.served.sent,
    "dropped": lambda parts: parts.counters.family(DROPPED_DATAGRAMS).total(),
    "limited": lambda parts: parts.counters.family(LIMITED_SOURCES).total(),
    "full": lambda parts: parts.counters.family(FULL_TABLES).total(),
    "attempts_ok": lambda parts: sum(n for ended, n in parts.counters.family(ATTEMPTS).items() if ended.ok),
    "attempts_failed": lambda parts: sum(n for ended, n in parts.counters.family(ATTEMPTS).items() if not ended.ok),
}

#: What rates are there of: all totals.
RATES = tuple(TOTALS)


class Sampler(Service):
    """
    Samples while it runs. A sample takes well under a millisecond; clients by state are counted in slices.

    :param parts: where the numbers are.
    :ivar number: how many samples were taken.
    """

    log = Logger()

    def __init__(self, parts: Parts) -> None:
        self._parts, self._clock = parts, parts.clock
        self._samples = Samples([*GAUGES, *TOTALS], int(WINDOWS["1h"] / INTERVAL) + 1)
        self._call: IDelayedCall | None = None
        self._census: Mapping[PresenceState, int] | None = None
        self._next_census = 0.0
        self._delays = self._delay()
        self._values: dict[str, float] = {}
        self.number = 0

    def startService(self) -> None:
        """Begin."""
        super().startService()
        self._next_census = self._clock.seconds()
        self._sample()

    def stopService(self) -> None:
        """End. What was sampled stays."""
        super().stopService()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def clients(self) -> dict[str, int]:
        """:returns: how many clients there are by state, as they were counted last."""
        return {status: (self._census or {}).get(state, 0) for status, state in STATES.items()}

    def figures(self) -> dict[str, Any]:
        """:returns: the last sample and all rates."""
        return {
            "time": self._clock.to_wall(self._clock.seconds()),
            "values": {name: _short(value) for name, value in self._values.items()},
            "rates": self._rates(),
        }

    def curves(self) -> dict[str, Any]:
        """
        :returns: all samples of the last :data:`CURVES` seconds, and all rates. Of a total, a curve has by how much it
            has grown per second since the sample before.
        """
        times = self._samples.times(CURVES)
        series = {name: self._samples.series(name, CURVES) for name in self._samples.names}
        for name in TOTALS:
            series[name] = _growth(times, series[name])
        return {
            "time": self._clock.to_wall(self._clock.seconds()),
            "interval": INTERVAL,
            "times": [round(self._clock.to_wall(time), 1) for time in times],
            "series": {name: [_short(value) for value in values] for name, values in series.items()},
            "rates": self._rates(),
        }

    def _rates(self) -> dict[str, dict[str, float | None]]:
        return {
            name: {window: _short(self._samples.rate(name, seconds)) for window, seconds in WINDOWS.items()}
            for name in RATES
        }

    def _sample(self) -> None:
        self._call = self._clock.callLater(INTERVAL, self._sample)
        now = self._clock.seconds()
        if now >= self._next_census:
            # Until it has been counted, there is no next one.
            self._next_census = float("inf")
            Deferred.fromCoroutine(self._count(now)).addErrback(self._failed)
        try:
            self._values = self._read()
            self._samples.add(now, self._values)
            self.number += 1
        except Exception:
            self.log.failure("the numbers could not be sampled; it is tried again", event="samples_failed")

    async def _count(self, now: float) -> None:
        try:
            self._census = await self._parts.queries.census(now)
        finally:
            clients = sum((self._census or {}).values())
            self._next_census = now + max(INTERVAL, clients / COUNTED)

    def _failed(self, failure: Failure) -> None:
        self.log.failure("the clients could not be counted; it is tried again", failure, event="census_failed")

    def _read(self) -> dict[str, float]:
        parts, figures = self._parts, self._parts.store.figures()
        values: dict[str, float] = {name: read(parts) for name, read in TOTALS.items()}
        if self._census is not None:
            values |= {f"clients_{status}": count for status, count in self.clients().items()}
        values["offers"], values["sessions"] = figures.offers, figures.sessions
        values["event_streams"] = figures.event_streams
        values["sockets"] = len(parts.sockets)
        values["tracker_entries"] = figures.tables["tracker_peers"].entries
        values["signaling_memory"] = figures.signaling_memory.entries
        before, self._delays = self._delays, self._delay()
        measured = self._delays[1] - before[1]
        if measured:
            values["reactor_delay"] = (self._delays[0] - before[0]) / measured
        return values

    def _delay(self) -> tuple[float, int]:
        times = self._parts.delay.times
        return times.sum, sum(times.counts)


def _growth(times: list[float], values: list[float | None]) -> list[float | None]:
    grown: list[float | None] = [None] * len(values)
    for index in range(1, len(values)):
        one, other, seconds = values[index - 1], values[index], times[index] - times[index - 1]
        if one is not None and other is not None and seconds > 0:
            grown[index] = max(0.0, (other - one) / seconds)
    return grown


def _short(value: float | None) -> float | None:
    """:returns: a number with four digits after the point at most: a page shows no more, and the answer is shorter."""
    return value if value is None or isinstance(value, int) else round(value, 4)
