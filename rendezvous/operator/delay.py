"""How late the reactor is: a timer that measures by how much it is late itself."""

from __future__ import annotations

from collections import deque

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
        self._latest: deque[float] = deque([0.0], maxlen=round(60 / INTERVAL))

    @property
    def greatest(self) -> float:
        """:returns: the greatest delay of the last minute, in seconds."""
        return max(self._latest)

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
        self._latest.append(late)
        self._expect()
