"""One pass over what has expired, and the service that repeats it."""

from __future__ import annotations

import math

from twisted.application.internet import TimerService
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from rendezvous.core.histogram import Histogram
from rendezvous.counters import REPORT_INTERVAL, Report
from rendezvous.interfaces import IStore

__all__ = ["SWEEPS", "SWEEP_INTERVAL", "Sweep", "sweep_service"]

#: Seconds between two passes. A late one changes no answer, so this only bounds how long memory stays in use.
SWEEP_INTERVAL = 1.0

SWEEPS = "sweeps"
"""The name of the times that the slices of sweeps take."""


class Sweep:
    """
    One pass: free what has expired, and say once a minute what an operator would want to know.

    A pass is made of slices, of some milliseconds each. They follow each other until nothing is due any more, and what
    has arrived is served between them.

    :param report: logs what was counted since its last line.
    :param slices: the times that slices take.
    :ivar report: the same.
    """

    log = Logger()

    def __init__(self, store: IStore, clock: IReactorTime, report: Report, slices: Histogram | None = None) -> None:
        self._store = store
        self._clock = clock
        self.report = report
        self._slices = Histogram() if slices is None else slices
        self._clients = self._offers = self._tracker_peers = 0
        self._next_line = -math.inf
        self._stopping = False
        self._pause: Deferred[None] | None = None

    def __call__(self) -> Deferred[None]:
        """Never fails: a TimerService whose function raises once never runs again."""
        return Deferred.fromCoroutine(self._pass()).addErrback(
            lambda failure: self.log.failure(
                "a sweep failed; the next one will try again", failure, event="sweep_failed"
            )
        )

    async def _pass(self) -> None:
        self.report(self._clock.seconds())
        while True:
            began = self._clock.seconds()
            swept = await self._store.sweep(began)
            self._slices.observe(self._clock.seconds() - began)
            self._clients += swept.clients
            self._offers += swept.offers
            self._tracker_peers += swept.tracker_peers
            if not swept.more or self._stopping:
                break
            # What has arrived meanwhile is served before the next slice.
            self._pause = deferLater(self._clock, 0.0)
            try:
                await self._pause
            except CancelledError:
                break
        if self._clock.seconds() >= self._next_line:
            self.say()

    def stop(self) -> None:
        """Let a pass that is under way end with its slice."""
        self._stopping = True
        if self._pause is not None:
            self._pause.cancel()

    def start(self) -> None:
        """Run passes until nothing is due."""
        self._stopping = False

    def say(self) -> None:
        """Log what was freed since the last time: one line for each kind."""
        clients, offers, peers = self._clients, self._offers, self._tracker_peers
        if not (clients or offers or peers):
            return
        self._next_line = self._clock.seconds() + REPORT_INTERVAL
        self._clients = self._offers = self._tracker_peers = 0
        if clients:
            self.log.info(
                "swept: clients that had fallen silent: {clients}; clients that are left: {live}",
                clients=clients,
                live=len(self._store.live),
                event="clients_swept",
            )
        if offers:
            self.log.info("swept: offers that had expired: {offers}", offers=offers, event="offers_swept")
        if peers:
            self.log.info(
                "swept: tracker peers that had fallen silent: {peers}", peers=peers, event="tracker_peers_swept"
            )


class _SweepService(TimerService):
    def __init__(self, sweep: Sweep) -> None:
        super().__init__(SWEEP_INTERVAL, sweep)
        self._report = sweep.report
        self._sweep = sweep

    def startService(self) -> None:
        """Start."""
        self._sweep.start()
        super().startService()

    def stopService(self) -> Deferred[None]:
        """Stop, wait for the pass that is under way, and report the rest; one that never started can be stopped too."""
        if not self.running:
            return succeed(None)
        self._sweep.stop()
        self._report.flush()
        self._sweep.say()
        stopped: Deferred[None] = super().stopService()
        return stopped


def sweep_service(sweep: Sweep, clock: IReactorTime) -> TimerService:
    """:returns: the service that sweeps every second."""
    service = _SweepService(sweep)
    service.clock = clock
    return service
