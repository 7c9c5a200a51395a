"""Tables and numbers for people at a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

__all__ = ["amount", "delay", "moment", "plain", "rate", "size", "span", "table"]

#: What would move the cursor, or turn the direction of a text; and halves of characters, which cannot be written.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")


def plain(value: object) -> str:
    """:returns: a text in which nothing controls the terminal; ``-`` for ``None``."""
    return "-" if value is None else _CONTROLS.sub(" ", str(value))


def table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """
    Align columns. Only the last one may be of any length.

    :param names: the headings.
    :returns: lines without spaces at their ends.
    """
    texts = [[name.upper() for name in names], *([plain(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(names))]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in texts)
    return "\n".join(line.rstrip() for line in lines)


def amount(value: float | None) -> str:
    """:returns: such as ``12,345``."""
    return "-" if value is None else f"{value:,.0f}"


def rate(value: float | None) -> str:
    """:returns: what happens per second, per minute or per hour, whichever says more: ``12/s``, ``3/min``, ``2/h``."""
    if value is None:
        return "-"
    for per, unit in ((1, "s"), (60, "min")):
        if value * per >= 1:
            return f"{value * per:,.1f}/{unit}" if value * per < 10 else f"{value * per:,.0f}/{unit}"
    return f"{value * 3600:,.1f}/h" if value else "0/s"


def size(value: float | None) -> str:
    """:returns: such as ``12 bytes`` or ``52.4 MB``."""
    if value is None:
        return "-"
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 999.95:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def span(seconds: float | None) -> str:
    """:returns: such as ``12 s``, ``5 min``, ``3 h 20 min`` or ``12 days``."""
    if seconds is None:
        return "-"
    whole = max(0, round(seconds))
    minutes, hours = whole // 60, whole // 3600
    if minutes < 1:
        return f"{whole} s"
    if hours < 1:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours // 24} days"


def delay(seconds: float | None) -> str:
    """:returns: such as ``0.4 ms`` or ``1.3 s``."""
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.1f} ms" if seconds < 0.9995 else f"{seconds:.1f} s"


def moment(time: float | None, absent: str = "-") -> str:
    """
    :param time: seconds since the epoch.
    :returns: such as ``2026-11-22 09:15:00 UTC``.
    """
    if time is None:
        return absent
    try:
        return datetime.fromtimestamp(int(time), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return "-"
