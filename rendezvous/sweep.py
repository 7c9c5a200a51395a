"""One pass over what has expired, and the service that repeats it."""

from __future__ import annotations

from collections import Counter

from twisted.application.internet import TimerService
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from rendezvous.interfaces import IStore

__all__ = ["SWEEP_INTERVAL", "Sweep", "sweep_service"]

#: Seconds between two passes. A late one changes no answer, so this only bounds how long memory stays in use.
SWEEP_INTERVAL = 1.0

#: Seconds between two reports of what was dropped: a trickle must not fill the log.
REPORT_INTERVAL = 60.0


class Sweep:
    """
    One pass: free what has expired, and say what an operator would want to know.

    :param dropped: what the datagram protocols count; reported and reset here.
    """

    log = Logger()

    def __init__(self, store: IStore, clock: IReactorTime, dropped: Counter[str]) -> None:
        self._store = store
        self._clock = clock
        self._dropped = dropped
        self._next_report = 0.0

    def __call__(self) -> Deferred[None]:
        """Never fails: a TimerService whose function raises once never runs again."""
        return Deferred.fromCoroutine(self._pass()).addErrback(
            lambda failure: self.log.failure("a sweep failed; the next one will try again", failure)
        )

    async def _pass(self) -> None:
        now = self._clock.seconds()
        swept = await self._store.sweep(now)
        if swept.clients:
            self.log.info(
                "swept: {clients} clients had fallen silent, {live} are left",
                clients=swept.clients,
                live=len(self._store.presence),
            )
        if swept.offers:
            self.log.info("swept: {offers} offers had expired", offers=swept.offers)
        if swept.tracker_peers:
            self.log.info("swept: {peers} tracker peers had fallen silent", peers=swept.tracker_peers)
        if self._dropped and now >= self._next_report:
            self._next_report = now + REPORT_INTERVAL
            self.log.info("dropped datagrams: {counts}", counts=dict(self._dropped))
            self._dropped.clear()


class _SweepService(TimerService):
    def stopService(self) -> Deferred[None]:
        """Stop, and wait for the pass that is under way; a server that never started can be stopped too."""
        return super().stopService() if self.running else succeed(None)


def sweep_service(sweep: Sweep, clock: IReactorTime) -> TimerService:
    """:returns: the service that sweeps every second."""
    service = _SweepService(SWEEP_INTERVAL, sweep)
    service.clock = clock
    return service
