"""The log for people at a terminal: what the server says, a line each, and nothing else unless it is a warning."""

from __future__ import annotations

import sys

from zope.interface import provider

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogFilterPredicate,
    ILogObserver,
    LogEvent,
    LogLevel,
    PredicateResult,
    formatEvent,
)

__all__ = ["plain"]


def plain() -> ILogObserver:
    """For ``twistd --nodaemon --logger rendezvous.logs.plain``."""
    return FilteringLogObserver(FileLogObserver(sys.stdout, _line), [_is_ours])


@provider(ILogFilterPredicate)
def _is_ours(event: LogEvent) -> object:
    level = event.get("log_level", LogLevel.info)
    ours = event.get("log_namespace", "").startswith("rendezvous.") and level >= LogLevel.info
    return PredicateResult.yes if ours or level >= LogLevel.warn else PredicateResult.no


def _line(event: LogEvent) -> str:
    failure = event.get("log_failure")
    return formatEvent(event) + "\n" + (failure.getTraceback() if failure else "")
