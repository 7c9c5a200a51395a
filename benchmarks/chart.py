"""A bar chart as SVG, written by hand: no library is worth depending on for some rectangles."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import attrs

__all__ = ["Bar", "chart"]

_BAR, _GAP, _LABELS, _WIDTH, _VALUES, _HEAD = 22, 8, 330, 420, 90, 44


@attrs.frozen
class Bar:
    """
    One bar.

    :ivar label: what it shows.
    :ivar value: how long it is.
    :ivar is_reference: whether it is another program's, which has another colour.
    """

    label: str
    value: float
    is_reference: bool = False


def chart(title: str, unit: str, bars: Sequence[Bar]) -> str:
    """
    Draw horizontal bars, each with its label before it and its value behind.

    :param unit: of the values.
    :returns: an SVG document. Colours have contrast on white and on black.
    """
    longest = max(bar.value for bar in bars)
    height = _HEAD + len(bars) * (_BAR + _GAP)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LABELS + _WIDTH + _VALUES} {height}" role="img"'
        f' font-family="sans-serif" font-size="14" fill="#777">',
        f"<title>{escape(title)}</title>",
        f'<text x="0" y="20" font-size="16">{escape(title)} ({escape(unit)})</text>',
    ]
    for number, bar in enumerate(bars):
        top = _HEAD + number * (_BAR + _GAP)
        length = max(1.0, bar.value / longest * _WIDTH)
        middle = top + _BAR * 0.7
        colour = "#999" if bar.is_reference else "#3a7ab8"
        lines += [
            f'<text x="{_LABELS - 10}" y="{middle:.0f}" text-anchor="end">{escape(bar.label)}</text>',
            f'<rect x="{_LABELS}" y="{top}" width="{length:.1f}" height="{_BAR}" fill="{colour}"/>',
            f'<text x="{_LABELS + length + 6:.1f}" y="{middle:.0f}">{bar.value:.2f}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])
