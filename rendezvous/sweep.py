"""One pass over what has expired, and the service that repeats it."""

from __future__ import annotations

from collections import Counter

import attrs

from twisted.application.internet import TimerService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from rendezvous.interfaces import IStore
from rendezvous.model import Swept

__all__ = ["SWEEP_INTERVAL", "Sweep", "sweep_service"]

#: Seconds between two passes. A late one changes no answer, so this only bounds how long memory stays in use.
SWEEP_INTERVAL = 1.0


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

    def __call__(self) -> Deferred[None]:
        """Never fails: a TimerService whose function raises once never runs again."""
        return Deferred.fromCoroutine(self._pass()).addErrback(
            lambda failure: self.log.failure("a sweep failed; the next one will try again", failure)
        )

    async def _pass(self) -> None:
        swept = await self._store.sweep(self._clock.seconds())
        if swept != Swept():
            self.log.info(
                "swept: {clients} clients had fallen silent, {live} are left; {offers} offers and {tracker_peers}"
                " tracker peers had expired",
                live=len(self._store.presence),
                **attrs.asdict(swept),
            )
        if self._dropped:
            self.log.info("dropped datagrams: {counts}", counts=dict(self._dropped))
            self._dropped.clear()


def sweep_service(sweep: Sweep, clock: IReactorTime) -> TimerService:
    """:returns: the service that sweeps every second."""
    service = TimerService(SWEEP_INTERVAL, sweep)
    service.clock = clock
    return service
