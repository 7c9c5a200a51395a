"""The results of the matrix as a table of reStructuredText, a row for each row of the requirements."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from tests.natlab.cells import Cell, Required
from tests.natlab.measuring import Result
from tests.natlab.stage import CONDITIONS

_HEADING = ("pair", "required", "connected as required", "median", "worst", "10 % loss: median", "worst", "passed")


def required_in_words(required: Required) -> str:
    """:returns: what a cell requires."""
    if required.code:
        return f"refused (``{required.code}``) ≤ {required.worst:g} s"
    parts = [" or ".join(required.via)] if required.via else []
    parts += [f"≥ {required.share:.0%}"] if required.share < 1 else []
    parts += [f"median ≤ {required.median:g} s"] if required.median is not None else []
    return ", ".join([*parts, f"worst ≤ {required.worst:g} s"])


def _seconds(values: Sequence[float], of: str) -> str:
    if not values:
        return "-"
    return f"{statistics.median(values) if of == 'median' else max(values):.2f} s"


def _row(title: str, results: Sequence[Result]) -> list[str]:
    clear = [run.seconds for result in results for run in result.good("clear")]
    loss = [run.seconds for result in results for run in result.good("loss", "bursts")]
    good = sum(len(result.good(*CONDITIONS)) for result in results)
    count = sum(len(result.runs) for result in results)
    words = dict.fromkeys(required_in_words(result.cell.required) for result in results)
    return [
        title,
        "; ".join(words),
        f"{good} of {count}",
        *(_seconds(values, of) for values in (clear, loss) for of in ("median", "worst")),
        "**no**" if any(result.faults for result in results) else "yes",
    ]


def table(results: Sequence[Result], by: str = "row") -> str:
    """
    Write the table.

    :param by: an attribute of :class:`~tests.natlab.cells.Cell`: ``row`` for one row each, ``name`` for one row a cell.
    """
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(str(getattr(result.cell, by)), []).append(result)
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for cells in (list(_HEADING), *(_row(title, group) for title, group in groups.items())):
        lines += [f"   {'*' if number == 0 else ' '} - {cell}" for number, cell in enumerate(cells)]
    return "\n".join([*lines, ""])


def lines(result: Result) -> list[str]:
    """:returns: a result for a terminal."""
    cell: Cell = result.cell
    figures = " ".join(_row(cell.name, [result])[2:-1])
    verdict = "FAILED" if result.faults else "passed"
    return [f"{verdict}  {cell.name:<48} {figures}", *(f"        {fault}" for fault in result.faults)]
