"""
A bound for the log: what happens again and again within a minute is counted.

What a client causes is counted in any case (:mod:`rendezvous.counters`). This is for what should not happen, and for
the lines of libraries: a client that has found a bug, and uses it a thousand times a second, must not fill the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, cast

from zope.interface import implementer

from twisted.logger import ILogObserver, LogEvent, Logger

from rendezvous.logs.lines import is_shown

__all__ = ["KINDS", "LINES", "PERIOD", "TRACEBACKS", "UNBOUNDED", "Limited"]

PERIOD = 60.0
"""Seconds after which lines are counted anew."""

LINES = 100
"""Lines of one kind within a period. At start and at a reload there is one for each port, worker or setting."""

TRACEBACKS = 10
"""The same for lines with a traceback, which take some 3000 bytes each."""

KINDS = 200
"""Kinds within a period. All others count as one: a library may have put a text from outside into its format."""

UNBOUNDED = frozenset({"operator_acted"})
"""Events that are never left out. An operator could otherwise hide a ban behind a hundred others."""

_OTHERS = "a line of another kind"


@implementer(ILogObserver)
class Limited:
    """
    Passes on the first events of each kind within a minute, and says afterwards how many more there were.

    Events that are not to be shown (:func:`~rendezvous.logs.lines.is_shown`) are neither passed on nor counted. Those
    of :data:`UNBOUNDED` are all passed on.

    Events are of one kind if they come from the same logger and have the same format. Both are texts of the code, so
    the kinds are few; :data:`KINDS` holds whatever the code does. The time is that of the events.

    :param write: writes an event.
    """

    def __init__(self, write: Callable[[LogEvent], Any]) -> None:
        self._write = write
        self._log = Logger(observer=cast(Any, write))
        self._began = 0.0
        self._counts: dict[Hashable, int] = {}
        self._left_out: dict[str, int] = {}

    def __call__(self, event: LogEvent) -> None:
        """Pass an event on, or count it."""
        if not is_shown(event):
            return
        now = event.get("log_time", 0.0)
        if not self._began <= now < self._began + PERIOD:  # The machine's clock may have been set back.
            self._begin(now)
        if event.get("event") in UNBOUNDED:
            self._write(event)
            return
        text = event.get("log_format") or ""
        kind: Hashable = event.get("log_namespace"), text
        if kind not in self._counts and len(self._counts) >= KINDS:
            kind = text = _OTHERS
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        if count <= (LINES if event.get("log_failure") is None else TRACEBACKS):
            self._write(event)
        else:
            self._left_out[text] = self._left_out.get(text, 0) + 1

    def _begin(self, now: float) -> None:
        left_out, self._left_out = self._left_out, {}
        self._began = now
        self._counts.clear()
        for line, count in left_out.items():
            self._log.warn(
                "{count} more lines like this one were left out: {line}", count=count, line=line, event="lines_left_out"
            )
