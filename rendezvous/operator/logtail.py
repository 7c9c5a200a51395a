"""The last lines of the log, for the dashboard."""

from __future__ import annotations

import re
from collections import deque
from itertools import islice

import attrs
from zope.interface import implementer

from twisted.application.service import Service
from twisted.logger import ILogObserver, LogEvent, LogLevel, LogPublisher, formatEvent, globalLogPublisher

from rendezvous.logs.lines import is_shown, without_secrets

__all__ = ["MAX_CHARS", "MAX_LINES", "Line", "LogTail"]

#: Lines that are kept, and characters of each: together at most 1 MB, however much is logged.
MAX_LINES, MAX_CHARS = 500, 500

#: What would move the cursor of a terminal, or turn the direction of a text; and halves of characters, unknown to JSON.
_CONTROLS = re.compile(r"[\x00-\x20\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")


@attrs.frozen
class Line:
    """
    A line of the log.

    :ivar seq: its number, from 1 on.
    :ivar time: seconds since the epoch.
    :ivar level: ``info``, ``warn``, ``error`` or ``critical``.
    :ivar system: the module that has logged it.
    :ivar text: what it says; of a failure its type and message, without the traceback.
    """

    seq: int
    time: float
    level: str
    system: str
    text: str


@implementer(ILogObserver)
class LogTail(Service):
    """
    Keeps the last lines while it runs: what the server says, and the warnings and errors of libraries.

    :param first: the number before that of the first line. A server that is started again begins with a greater one, so
        that a reader who knows lines of before gets all of the new ones.
    :param publisher: what passes on the events of the log.
    :ivar last: the number of the last line; ``first`` before there is one.
    """

    def __init__(self, first: int = 0, publisher: LogPublisher = globalLogPublisher) -> None:
        self.first = self.last = first
        self._publisher = publisher
        self._lines: deque[Line] = deque(maxlen=MAX_LINES)

    def privilegedStartService(self) -> None:
        """Begin: ports say where they listen before they are started."""
        self._publisher.addObserver(self)

    def startService(self) -> None:
        """Begin, if it has not."""
        super().startService()
        self._publisher.addObserver(self)

    def stopService(self) -> None:
        """End. What was kept stays."""
        super().stopService()
        self._publisher.removeObserver(self)

    def __call__(self, event: LogEvent) -> None:
        """Keep a line, if it is one that the log shows."""
        if not is_shown(event):
            return
        level, system = event.get("log_level", LogLevel.info), str(event.get("log_namespace", ""))
        self.last += 1
        time = float(event.get("log_time") or 0.0)
        self._lines.append(Line(self.last, time, level.name, _plain(system), _plain(_text(event))))

    def after(self, seq: int) -> list[Line]:
        """
        :param seq: the number of the last line that is known; 0 for none. One that is not there yet counts as none.
        :returns: the lines after it that are kept. If the first of them is not ``seq + 1``, some are lost.
        """
        if seq > self.last:
            seq = 0
        return list(islice(self._lines, max(0, len(self._lines) - (self.last - seq)), None))


def _text(event: LogEvent) -> str:
    text = formatEvent(event)
    failure = event.get("log_failure")
    if failure is None:
        return text
    return f"{text}: {failure.type.__name__}: {failure.getErrorMessage()}"


def _plain(text: str) -> str:
    # Cut first: a message may be long. A key that is cut in two is no key any more.
    text = _CONTROLS.sub(" ", without_secrets(text[: 2 * MAX_CHARS])).strip()
    return text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1] + "…"
