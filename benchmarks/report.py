"""Rows of results, printed as they come and kept as one table."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import attrs

from benchmarks.chart import Bar, chart


@attrs.frozen
class Row:
    """
    One result.

    :ivar what: what was measured.
    :ivar value: how it came out, with its unit.
    :ivar beside: the yardstick and its value.
    :ivar ratio: of the two; above 1 is better than the yardstick.
    """

    what: str
    value: str
    beside: str = ""
    ratio: str = ""


class Report:
    """
    Collects rows under headings.

    :param rounds: how often each comparison is run, the two sides in turn, so that a slow moment hits both.
    :param clients: how many clients there are where a benchmark is about many.
    :ivar charts: SVG documents by the name of their file.
    """

    def __init__(self, rounds: int = 5, clients: int = 1_000_000) -> None:
        self.rounds, self.clients = rounds, clients
        self.sections: list[tuple[str, list[Row]]] = []
        self.charts: dict[str, str] = {}
        self._shown: list[str] = []

    def section(self, title: str) -> None:
        """Begin a table."""
        self.sections.append((title, []))
        print(f"\n{title}\n{'-' * len(title)}", flush=True)

    def add(self, row: Row) -> None:
        """Add a row and show it."""
        self.sections[-1][1].append(row)
        print(f"{row.what:<58} {row.value:>16}   {row.beside:<34} {row.ratio}", flush=True)

    def compare(
        self, what: str, unit: str, ours: Callable[[], float], yardstick: str, theirs: Callable[[], float]
    ) -> None:
        """Run both in turn, as often as there are rounds, and add the medians with the median of the ratios."""
        pairs = []
        for _ in range(self.rounds):
            beside = theirs()
            pairs.append((ours(), beside))
        self.beside(what, unit, [pair[0] for pair in pairs], yardstick, [pair[1] for pair in pairs])

    def beside(
        self, what: str, unit: str, ours: Sequence[float], yardstick: str, theirs: Sequence[float], note: str = ""
    ) -> None:
        """
        Add the medians of what was measured in turn, with the median of the ratios.

        :param note: what to say behind the yardstick.
        """
        self.add(
            Row(
                what,
                f"{statistics.median(ours):,.0f} {unit}",
                f"{yardstick} {statistics.median(theirs):,.0f}{note}",
                f"{statistics.median(one / other for one, other in zip(ours, theirs, strict=True)):.2f}",
            )
        )

    def chart(self, name: str, title: str, unit: str, bars: Sequence[Bar]) -> None:
        """
        Draw a chart, to be shown before the tables.

        :param name: of its file, without ``benchmark-`` before it and the suffix behind.
        """
        file = f"benchmark-{name}.svg"
        self.charts[file] = chart(title, unit, bars)
        self._shown.append(f".. image:: {file}\n   :alt: {title}, in {unit}; the tables have the same numbers\n")

    def as_text(self) -> str:
        """:returns: everything as reST: images and tables."""
        return "\n".join([*self._shown, *(_table(title, rows) for title, rows in self.sections)])


def _table(title: str, rows: list[Row]) -> str:
    lines = [f".. list-table:: {title}", "   :header-rows: 1", "   :widths: 46 18 28 8", ""]
    for row in [Row("measured", "result", "beside", "ratio"), *rows]:
        lines += [
            f"   * - {row.what}",
            f"     - {row.value}",
            f"     - {row.beside}".rstrip(),
            f"     - {row.ratio}".rstrip(),
        ]
    return "\n".join([*lines, ""])
