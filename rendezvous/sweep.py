"""One pass over what has expired, and the service that repeats it."""

from __future__ import annotations

from twisted.application.internet import TimerService
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from rendezvous.counters import Report
from rendezvous.interfaces import IStore

__all__ = ["SWEEP_INTERVAL", "Sweep", "sweep_service"]

#: Seconds between two passes. A late one changes no answer, so this only bounds how long memory stays in use.
SWEEP_INTERVAL = 1.0


class Sweep:
    """
    One pass: free what has expired, and say what an operator would want to know.

    :param report: logs what was counted since its last line.
    :ivar report: the same.
    """

    log = Logger()

    def __init__(self, store: IStore, clock: IReactorTime, report: Report) -> None:
        self._store = store
        self._clock = clock
        self.report = report

    def __call__(self) -> Deferred[None]:
        """Never fails: a TimerService whose function raises once never runs again."""
        return Deferred.fromCoroutine(self._pass()).addErrback(
            lambda failure: self.log.failure("a sweep failed; the next one will try again", failure)
        )

    async def _pass(self) -> None:
        now = self._clock.seconds()
        self.report(now)
        swept = await self._store.sweep(now)
        if swept.clients:
            self.log.info(
                "swept: {clients} clients had fallen silent, {live} are left",
                clients=swept.clients,
                live=len(self._store.live),
            )
        if swept.offers:
            self.log.info("swept: {offers} offers had expired", offers=swept.offers)
        if swept.tracker_peers:
            self.log.info("swept: {peers} tracker peers had fallen silent", peers=swept.tracker_peers)


class _SweepService(TimerService):
    def __init__(self, sweep: Sweep) -> None:
        super().__init__(SWEEP_INTERVAL, sweep)
        self._report = sweep.report

    def stopService(self) -> Deferred[None]:
        """Stop, wait for the pass that is under way, and report the rest; one that never started can be stopped too."""
        if not self.running:
            return succeed(None)
        self._report.flush()
        stopped: Deferred[None] = super().stopService()
        return stopped


def sweep_service(sweep: Sweep, clock: IReactorTime) -> TimerService:
    """:returns: the service that sweeps every second."""
    service = _SweepService(sweep)
    service.clock = clock
    return service
