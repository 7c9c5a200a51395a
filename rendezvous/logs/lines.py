"""The formats of the log: an event as a line for people, or as a JSON object for programs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from string import Formatter
from typing import Any

from twisted.logger import LogEvent, LogLevel, formatEvent

__all__ = [
    "FORMATS",
    "MAX_TEXT",
    "MAX_TRACEBACK",
    "OTHER",
    "RESERVED",
    "fields_of",
    "is_shown",
    "json_line",
    "plain_line",
    "without_secrets",
]

OTHER = "other"
"""The name in JSON of an event that is not the server's own: a warning or an error of a library."""

RESERVED = frozenset({"time", "level", "event", "logger", "message", "traceback"})
"""The keys that each JSON object may have. No field of an event has one of these names."""

MAX_TEXT, MAX_TRACEBACK = 4000, 16_000
"""Characters of a text or of a value, and of a traceback: an exception may quote a whole request."""

# Nothing that the server logs holds a secret. An exception may: it may quote a key, or the URL or header of a request.
_SECRETS = re.compile(
    r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{64}(?![0-9A-Fa-f])"
    r"|([?&](?:registration|ticket|token|key)=)[^&#\s'\"]+"
    r"|\b((?:bearer|basic) +)[^\s<'\"][^\s'\"]*",
    re.IGNORECASE,
)

# What would end a line, move the cursor of a terminal, or turn the direction of a text: what a log quotes may come from
# a client. Halves of characters cannot be written in UTF-8: the line would be lost.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def is_shown(event: LogEvent) -> bool:
    """:returns: whether an event is logged: all of the server's own, and from libraries the warnings and errors."""
    level = event.get("log_level", LogLevel.info)
    is_ours = str(event.get("log_namespace", "")).startswith("rendezvous.")
    return bool(level >= (LogLevel.info if is_ours else LogLevel.warn))


def plain_line(event: LogEvent) -> str:
    """:returns: the text of an event on one line, and the lines of its traceback, indented, if it has one."""
    return "\n\t".join([_text(event), *_traceback(event).splitlines()])


def json_line(event: LogEvent) -> str:
    """:returns: an event as a JSON object on one line, in ASCII."""
    name = event.get("event")
    found: dict[str, Any] = {
        "time": _time(event).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "level": event.get("log_level", LogLevel.info).name,
        "event": name or OTHER,
        "logger": event.get("log_namespace", ""),
        "message": _text(event),
    }
    if name:
        found |= {field: _value(event[field]) for field in fields_of(event.get("log_format") or "") if field in event}
    traceback = _traceback(event)
    if traceback:
        found["traceback"] = traceback
    return json.dumps(found, default=_known)


def with_time(line: Callable[[LogEvent], str]) -> Callable[[LogEvent], str]:
    """:returns: a format that puts the time in front, for places that do not note it themselves."""
    return lambda event: f"{_time(event).isoformat(timespec='milliseconds').replace('+00:00', 'Z')} {line(event)}"


#: The formats by name. Each takes an event, and gives the line without the line break at its end.
FORMATS: Mapping[str, Callable[[LogEvent], str]] = {"plain": plain_line, "json": json_line}


# The formats are texts of the code, so there are few.
@lru_cache(256)
def fields_of(text: str) -> tuple[str, ...]:
    """:returns: the names in the braces of a format string."""
    return tuple(name for _, name, _, _ in Formatter().parse(text) if name)


def without_secrets(text: str) -> str:
    """:returns: a text in which keys, and the secrets in URLs and headers, are replaced."""
    return _SECRETS.sub(lambda found: f"{found[1] or found[2] or ''}(secret)", text)


def _text(event: LogEvent) -> str:
    return _escaped(_cut(without_secrets(formatEvent(event))))


def _value(value: Any) -> Any:
    if isinstance(value, str):
        return _cut(without_secrets(value))
    if isinstance(value, Mapping):
        return {str(name): _value(item) for name, item in value.items()}
    return [_value(item) for item in value] if isinstance(value, list | tuple) else value


def _known(value: Any) -> str:
    return str(_value(str(value)))


def _traceback(event: LogEvent) -> str:
    failure = event.get("log_failure")
    if failure is None:
        return ""
    text = without_secrets(failure.getTraceback())
    if len(text) > MAX_TRACEBACK:
        # What was called first, and what has happened at the end: between them, one function may have called itself.
        half = MAX_TRACEBACK // 2
        text = f"{text[:half]}\n...\n{text[-half:]}"
    return "\n".join(_escaped(line) for line in text.splitlines())


def _escaped(text: str) -> str:
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."


def _time(event: LogEvent) -> datetime:
    return datetime.fromtimestamp(event.get("log_time", 0.0), UTC)
