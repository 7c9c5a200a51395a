"""Counts answered requests, and how long their answers took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from rendezvous.core.histogram import Histogram

__all__ = ["ABANDONED", "METHODS", "UNMATCHED", "RequestCounts"]

#: The code that a request is counted with whose client has left before the answer. No such code is ever sent.
ABANDONED = 499

#: The route that a request is counted with if it has none.
UNMATCHED = "unmatched"

#: The methods that are counted by name. Any other one is counted as ``other``.
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT")

_NAMES = {name.encode("ascii"): name for name in METHODS}


class RequestCounts:
    """
    The requests of all HTTP ports since the process started.

    :param seconds: tells the time that durations are measured on.
    :ivar counts: how many were answered, by the path of the route as the table of routes has it, method and status.
    :ivar durations: of each route, the seconds from the whole request to the end of its answer. A request that waits
        for news, or an event stream, takes as long as it waits.
    :ivar turn_credentials: how many credentials of TURN servers answers have given.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self.seconds = seconds
        self.counts: Counter[tuple[str, str, int]] = Counter()
        self.durations: dict[str, Histogram] = {}
        self.turn_credentials = 0

    def note(self, route: str | None, method: bytes, code: int, began: float | None = None) -> None:
        """
        Count a request.

        :param route: the path of its route, ``None`` if it has none.
        :param code: the status of the answer, or :data:`ABANDONED`.
        :param began: when the request was there whole; ``None`` if it never was.
        """
        path = UNMATCHED if route is None else route
        self.counts[path, _NAMES.get(method, "other"), code] += 1
        if began is not None:
            histogram = self.durations.get(path)
            if histogram is None:
                histogram = self.durations[path] = Histogram()
            histogram.observe(self.seconds() - began)

    def follow(self, request: Any) -> None:
        """Count a request of a foreign site when it ends."""
        began = self.seconds()

        def ended(failure: object) -> None:
            code = request.code if failure is None else ABANDONED
            self.note(getattr(request, "route", None), request.method, code, began)

        request.notifyFinish().addBoth(ended)
