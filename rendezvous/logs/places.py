"""Where ``twistd`` puts the log: standard output, a file, or syslog, as its own options say."""

from __future__ import annotations

import sys
import syslog
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from twisted.logger import FileLogObserver, ILogObserver, LogEvent, LogLevel
from twisted.python.logfile import LogFile

from rendezvous.logs.limiting import Limited
from rendezvous.logs.lines import FORMATS, plain_line, with_time

__all__ = ["Log", "open_log"]

_PRIORITIES = {
    LogLevel.debug: syslog.LOG_DEBUG,
    LogLevel.info: syslog.LOG_INFO,
    LogLevel.warn: syslog.LOG_WARNING,
    LogLevel.error: syslog.LOG_ERR,
    LogLevel.critical: syslog.LOG_CRIT,
}


@attrs.frozen
class Log:
    """
    A log that is open.

    :ivar observer: takes the events.
    :ivar rotate: begins a new file; ``None`` if the log is not a file of its own.
    """

    observer: ILogObserver
    rotate: Callable[[], None] | None = None


def open_log(name: str, twistd: Mapping[str, Any], environ: Mapping[str, str]) -> Log:
    """
    Open the log.

    :param name: of its format.
    :param twistd: the options of ``twistd``, of which these count: ``syslog`` and ``prefix``, ``logfile`` and
        ``nodaemon``. A daemon without any of them logs to ``twistd.log``.
    :param environ: the environment. With ``JOURNAL_STREAM`` in it, standard output is systemd's journal.
    :raises OSError: the file cannot be opened.
    """
    line = FORMATS[name]
    path = twistd.get("logfile") or ("-" if twistd.get("nodaemon") else "twistd.log")
    if twistd.get("syslog"):
        syslog.openlog(str(twistd.get("prefix") or "rendezvous"), syslog.LOG_PID, syslog.LOG_DAEMON)
        return Log(Limited(lambda event: _to_syslog(event, line)))
    if line is plain_line and not (path == "-" and "JOURNAL_STREAM" in environ):
        # The journal notes the time itself.
        line = with_time(line)
    if path == "-":
        return Log(Limited(FileLogObserver(sys.stdout, lambda event: line(event) + "\n")))
    file = LogFile.fromFullPath(path)
    return Log(Limited(FileLogObserver(file, lambda event: line(event) + "\n")), file.rotate)


def _to_syslog(event: LogEvent, line: Callable[[LogEvent], str]) -> None:
    priority = _PRIORITIES[event.get("log_level", LogLevel.info)]
    for part in line(event).split("\n"):
        syslog.syslog(priority, part)
