"""How late the reactor is: a timer that measures by how much it is late itself."""

from __future__ import annotations

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from rendezvous.core.histogram import Histogram

__all__ = ["INTERVAL", "ReactorDelay"]

#: Seconds between two measurements.
INTERVAL = 0.5


class ReactorDelay(Service):
    """
    Measures while it runs.

    :param clock: the reactor.
    :ivar times: by how many seconds each call was late.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._call: IDelayedCall | None = None
        self.times = Histogram()

    def startService(self) -> None:
        """Begin."""
        super().startService()
        self._expect()

    def stopService(self) -> None:
        """End."""
        super().stopService()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _expect(self) -> None:
        self._due = self._clock.seconds() + INTERVAL
        self._call = self._clock.callLater(INTERVAL, self._measure)

    def _measure(self) -> None:
        self.times.observe(max(0.0, self._clock.seconds() - self._due))
        self._expect()
