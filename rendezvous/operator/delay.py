"""The delay of the reactor: a timer measures by how much it is late itself."""

from __future__ import annotations

from collections import deque

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from rendezvous.core.histogram import Histogram

__all__ = ["INTERVAL", "ReactorDelay"]

#: Seconds between two measurements.
INTERVAL = 0.5

#: Measurements of the last minute.
_MINUTE = round(60.0 / INTERVAL)


class ReactorDelay(Service):
    """
    Measures the delay of the reactor while it runs.

    :param clock: the reactor.
    :ivar times: by how many seconds each call was late.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._call: IDelayedCall | None = None
        self.times = Histogram()
        self._recent: deque[float] = deque(maxlen=_MINUTE)

    @property
    def longest(self) -> float:
        """:returns: by how many seconds a call was late at most within the last minute."""
        return max(self._recent, default=0.0)

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
        late = max(0.0, self._clock.seconds() - self._due)
        self.times.observe(late)
        self._recent.append(late)
        self._expect()
