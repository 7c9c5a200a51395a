"""
The metrics that Prometheus reads: all names, types and labels, in one place.

Names follow Prometheus' rules: base units, counters that end in ``_total``, and labels whose values are closed sets.
Each of them is there from the start, at 0. No id, no address and no text of a client is ever a label.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations_with_replacement
from typing import Any

import attrs
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import CollectorRegistry
from prometheus_client.utils import floatToGoString

import twisted
from twisted.internet.task import deferLater
from twisted.web.http import Request

from rendezvous._version import __version__
from rendezvous.core.attempts.attempt import Ended
from rendezvous.core.attempts.strategy import REASONS
from rendezvous.core.connect import AttemptState, NatMapping, Strategy, Via
from rendezvous.core.histogram import Histogram
from rendezvous.core.presence.states import PresenceState
from rendezvous.counters import DROPPED_DATAGRAMS, Counters
from rendezvous.inviting import ATTEMPTS
from rendezvous.listening import ACCEPT_ERRORS, UNACCEPTED
from rendezvous.model import Fill, Restored, Saving, StoreFigures
from rendezvous.operator.parts import STATES, Parts
from rendezvous.refusals import FULL_TABLES, LIMITED_SOURCES, LIMITS, TABLES
from rendezvous.sweep import SWEEPS
from rendezvous.udp.shared import Drop, Served
from rendezvous.web.fields import header
from rendezvous.web.openapi import EVERYWHERE, statuses
from rendezvous.web.requestcounts import ABANDONED, METHODS, UNMATCHED, RequestCounts
from rendezvous.web.route import Route
from rendezvous.web.sending import Sender

__all__ = ["Metrics", "MetricsRoutes"]

#: How an attempt can end.
OUTCOMES = (*Via, "unknown", *REASONS, AttemptState.DECLINED, AttemptState.EXPIRED)

#: How a store is saved that is not.
_IN_MEMORY = Saving(is_failing=False, backlog=0, waiting=0, commits=Histogram(), failed=0, size=0)

#: Samples that are written in one turn of the reactor, if no family has more: some 5 ms.
SAMPLES = 500

#: How an exposition in the format of OpenMetrics ends.
_END = b"# EOF\n"

#: Codes of requests that are refused before their route is looked for.
_BEFORE_ROUTE = {408, 414, 431, 501}

#: Families of counts: the name of the metric, its description, its label, the family, and all values of the label.
FAMILIES = (
    ("dropped", "Datagrams that were dropped.", "reason", DROPPED_DATAGRAMS, tuple(Drop)),
    ("rate_limited", "Refusals because of a limit of one source.", "limit", LIMITED_SOURCES, LIMITS),
    ("full", "Refusals because a table is full.", "table", FULL_TABLES, TABLES),
    ("unaccepted_connections", "Connections that no port could accept.", "error", UNACCEPTED, ACCEPT_ERRORS),
)


@attrs.frozen
class _One:
    """A registry of one family, so that an exposition can be written one family after another."""

    family: Metric

    def collect(self) -> Iterator[Metric]:
        """Yield it."""
        yield self.family


class Metrics:
    """
    Reads the numbers when they are asked for, and writes them as Prometheus reads them.

    :param parts: where they are.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._census: Mapping[PresenceState, int] = {}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    async def render(self, accept: str) -> tuple[bytes, str]:
        """
        :param accept: the Accept header of the request, from which the format is chosen.
        :returns: the exposition and its media type.
        """
        clock = self._parts.clock
        # It takes several turns of the reactor; all else is read in one, and written in several again.
        self._census = await self._parts.queries.census(clock.seconds())
        try:
            encode, media = choose_encoder(accept)
        except (TypeError, ValueError):
            # The library has no answer to a version that is no number.
            encode, media = choose_encoder("")
        parts, room = [], 0
        for family in list(self._registry.collect()):
            if room < len(family.samples):
                room = SAMPLES
                await deferLater(clock, 0.0)
            room -= len(family.samples)
            parts.append(encode(_One(family)).removesuffix(_END))
        return b"".join(parts) + (_END if "openmetrics" in media else b""), media

    def describe(self) -> Iterable[Metric]:
        """:returns: nothing: names are unique by construction, and a test holds that."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        parts = self._parts
        requests, figures = parts.gate.requests, parts.store.figures()
        yield InfoMetricFamily(
            "rendezvous_build",
            "The versions of the server and of what it runs on.",
            {"version": __version__, "python": platform.python_version(), "twisted": twisted.__version__},
        )
        yield from _store(figures, self._census, parts.tables(figures))
        yield from _requests(requests, parts.routes)
        yield from _datagrams(parts.served)
        yield from _attempts(parts.counters)
        yield CounterMetricFamily(
            "rendezvous_turn_credentials",
            "Credentials of TURN servers that were given to clients.",
            requests.turn_credentials,
        )
        yield from _web(parts)
        for name, description, label, family, reasons in FAMILIES:
            yield _counter(name, description, label, parts.counters.family(family, reasons))
        slices = parts.counters.durations(SWEEPS)
        yield _histogram("sweep_duration_seconds", "Time of the reactor that a slice of a sweep took.", slices)
        yield _histogram("reactor_delay_seconds", "How late a timer of the reactor was.", {"": parts.delay.times})


class MetricsRoutes:
    """
    The route that Prometheus reads.

    :param metrics: the numbers.
    :param sender: bounds what is not read of the answer.
    """

    def __init__(self, metrics: Metrics, sender: Sender) -> None:
        self._metrics, self._sender = metrics, sender

    def routes(self) -> list[Route]:
        """:returns: the route."""
        return [Route("GET", "/metrics", self.metrics, tag="operators", response=None, media="text/plain")]

    async def metrics(self, request: Request) -> None:
        """All metrics, in the text format of Prometheus or in that of OpenMetrics."""
        body, media = await self._metrics.render(header(request, b"Accept") or "")
        request.write(await self._sender.send(request, [body], media.encode("ascii")))


def _store(figures: StoreFigures, census: Mapping[PresenceState, int], tables: Mapping[str, Fill]) -> Iterator[Metric]:
    clients = GaugeMetricFamily("rendezvous_clients", "Clients by status.", labels=["status"])
    for status, state in STATES.items():
        clients.add_metric([status], census.get(state, 0))
    yield clients
    for name, description, value in (
        ("offers", "Offers of WebRTC signaling by topic.", figures.offers),
        ("sessions", "Sessions of WebRTC signaling by code.", figures.sessions),
        ("tracker_entries", "Peers of the tracker.", figures.tables["tracker_peers"].entries),
        ("event_streams", "Peers that have event streams open.", figures.event_streams),
        ("signaling_memory_bytes", "What offers, sessions and events take.", figures.signaling_memory.entries),
        ("signaling_memory_max_bytes", "What they may take.", figures.signaling_memory.limit),
    ):
        yield GaugeMetricFamily(f"rendezvous_{name}", description, value)
    entries = GaugeMetricFamily("rendezvous_table_entries", "What a table holds.", labels=["table"])
    most = GaugeMetricFamily("rendezvous_table_max_entries", "What a table may hold.", labels=["table"])
    for table, fill in sorted(tables.items()):
        entries.add_metric([table], fill.entries)
        most.add_metric([table], fill.limit)
    yield entries
    yield most
    yield from _saving(figures.saving or _IN_MEMORY)


def _saving(saving: Saving) -> Iterator[Metric]:
    yield GaugeMetricFamily("rendezvous_store_failing", "1 if the store cannot be written.", int(saving.is_failing))
    yield GaugeMetricFamily("rendezvous_store_backlog_bytes", "What is still to be written.", saving.backlog)
    yield GaugeMetricFamily(
        "rendezvous_store_waiting_requests", "Requests that wait until their decision is written.", saving.waiting
    )
    yield GaugeMetricFamily("rendezvous_store_bytes", "The size of the store's files.", saving.size)
    yield CounterMetricFamily("rendezvous_store_failed_writes", "Writes that have failed.", saving.failed)
    yield _histogram("store_write_duration_seconds", "How long a write took.", {"": saving.commits})
    restored = saving.restored or Restored(0.0, 0, 0, 0)
    yield GaugeMetricFamily(
        "rendezvous_restart_pause_seconds", "How long there was no server before this one started.", restored.pause
    )
    entries = GaugeMetricFamily("rendezvous_restored_entries", "What was read back at the start.", labels=["table"])
    for table in ("clients", "offers", "tracker_peers"):
        entries.add_metric([table], getattr(restored, table))
    yield entries


def _web(parts: Parts) -> Iterator[Metric]:
    sender = parts.gate.sender
    first_expiry = min((certificate.expires for certificate in parts.certificates), default=float("nan"))
    for name, description, value in (
        ("ready", "1 if /ready answers 200.", parts.is_ready),
        ("draining", "1 if new clients are refused because the server drains.", parts.gate.admission.is_draining),
        ("sockets", "WebSockets that are open.", len(parts.sockets)),
        ("unread_bytes", "What clients have not read of long answers and events.", sender.unread),
        ("unread_max_bytes", "What they may leave unread.", sender.most),
        (
            "certificate_expiry_timestamp_seconds",
            "When the first of the certificates ends, in seconds since the epoch; NaN if there is none.",
            first_expiry,
        ),
    ):
        yield GaugeMetricFamily(f"rendezvous_{name}", description, value)


def _requests(requests: RequestCounts, routes: Sequence[Route]) -> Iterator[Metric]:
    counts = dict.fromkeys(_label_sets(routes), 0) | requests.counts
    total = CounterMetricFamily(
        "rendezvous_http_requests", "Requests that were answered.", labels=["route", "method", "code"]
    )
    for (route, method, code), count in sorted(counts.items()):
        total.add_metric([route, method, f"{code}"], count)
    yield total
    durations = {path: Histogram() for path in sorted({UNMATCHED, *(route.path for route in routes)})}
    yield _histogram(
        "http_request_duration_seconds",
        "Time from the whole request to the end of its answer, waiting for news included.",
        {**durations, **requests.durations},
        "route",
    )


def _label_sets(routes: Sequence[Route]) -> Iterator[tuple[str, str, int]]:
    """Yield what requests can be counted as."""
    for route in routes:
        methods = ("GET", "HEAD") if route.method == "GET" else (route.method,)
        codes = {route.status, ABANDONED, 401, 404, *statuses(route)} - _BEFORE_ROUTE
        if route.socket:
            codes.add(101)
        if route.response is None:
            codes.add(304)
        yield from ((route.path, method, code) for method in methods for code in codes)
    for method in (*METHODS, "other"):
        yield from ((UNMATCHED, method, status) for status in (*EVERYWHERE, ABANDONED, 204, 308, 404, 405))


def _datagrams(served: Served) -> Iterator[Metric]:
    total = CounterMetricFamily("rendezvous_datagrams", "Datagrams that were answered.", labels=["dialect", "outcome"])
    for dialect, outcome, count in (
        ("pulse", "1020", served.on_time),
        ("pulse", "1050", served.verify),
        ("pulse", "1060", served.unknown),
        ("signed", "answered", served.signed),
        ("stun", "answered", served.stun),
        ("tracker", "answered", served.tracker),
    ):
        total.add_metric([dialect, outcome], count)
    yield total
    size = CounterMetricFamily("rendezvous_datagram_bytes", "Bytes of datagrams.", labels=["direction"])
    size.add_metric(["received"], served.received)
    size.add_metric(["sent"], served.sent)
    yield size


def _attempts(counters: Counters) -> Iterator[Metric]:
    ended: Mapping[Ended, int] = counters.family(ATTEMPTS)
    outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
    pairs = [_pair(pair) for pair in combinations_with_replacement(sorted(NatMapping), 2)]
    punches = {(pair, strategy, way): 0 for pair in pairs for strategy in Strategy for way in ("path", "no_path")}
    for each, count in ended.items():
        outcomes[each.result] += count
        if each.mappings is not None and each.strategy is not None:
            punches[_pair(each.mappings), each.strategy, "path" if each.ok else "no_path"] += count
    yield _counter("attempts", "Attempts to connect that have ended, by their outcome.", "outcome", outcomes)
    punch = CounterMetricFamily(
        "rendezvous_punch",
        "Attempts that were begun by both sides, by the mappings of both NATs.",
        labels=["pair", "strategy", "outcome"],
    )
    for (pair, strategy, way), count in punches.items():
        punch.add_metric([pair, strategy, way], count)
    yield punch
    yield _histogram(
        "attempt_duration_seconds",
        "Time from the request to the end of an attempt; without a strategy if no round has begun.",
        {kind or "none": times for kind, times in counters.durations(ATTEMPTS, ("", *Strategy)).items()},
        "strategy",
    )


def _counter(name: str, description: str, label: str, counts: Mapping[Any, int]) -> Metric:
    metric = CounterMetricFamily(f"rendezvous_{name}", description, labels=[label])
    for reason, count in counts.items():
        metric.add_metric([_snake(reason)], count)
    return metric


def _histogram(name: str, description: str, found: Mapping[str, Histogram], label: str | None = None) -> Metric:
    metric = HistogramMetricFamily(f"rendezvous_{name}", description, labels=[] if label is None else [label])
    for value, histogram in found.items():
        total, buckets = 0, []
        for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
            total += count
            buckets.append((floatToGoString(bound), total))
        metric.add_metric([] if label is None else [value], buckets, histogram.sum)
    return metric


def _pair(mappings: Iterable[NatMapping]) -> str:
    """:returns: both mappings, for example ``endpoint_independent-none``; they are sorted."""
    return "-".join(map(_snake, mappings))


def _snake(reason: object) -> str:
    return str(reason).lower().replace(" ", "_").replace("-", "_")
