"""The results of the matrix as a table of reStructuredText, a row for each row of the requirements."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from tests.natlab.cells import Required
from tests.natlab.measuring import LOSS_LATER, Result, later_with_loss
from tests.natlab.stage import CONDITIONS

#: A median of fewer runs says little.
ENOUGH = 5
_HEADING = (
    "pair",
    "required",
    "connected as required",
    "median",
    "worst",
    "10 % loss or bursts: median",
    "worst",
    "passed",
)


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


def rows(results: Sequence[Result]) -> dict[str, list[Result]]:
    """:returns: the results by the rows of the requirements."""
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(result.cell.row, []).append(result)
    return found


def row_faults(results: Sequence[Result]) -> list[str]:
    """:returns: what is not as required in a row, if there are enough runs with loss to tell."""
    later = later_with_loss(results)
    if sum(len(result.good("loss")) for result in results) < ENOUGH:
        return []
    if later is None or later <= LOSS_LATER or results[0].cell.required.share < 1:
        return []
    return [f"median {later:.2f} s later with loss, {LOSS_LATER:g} s are allowed"]


def _cells(title: str, results: Sequence[Result], faults: bool) -> list[str]:
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
        "**no**" if faults else "yes",
    ]


def _table(lines: Sequence[Sequence[str]]) -> str:
    text = [".. list-table::", "   :header-rows: 1", "   :class: fixed", "   :widths: 26 21 12 8 8 11 8 6", ""]
    for cells in (_HEADING, *lines):
        text += [f"   {'*' if number == 0 else ' '} - {cell}" for number, cell in enumerate(cells)]
    return "\n".join([*text, ""])


def table(results: Sequence[Result]) -> str:
    """:returns: a table with a row for each row of the requirements."""
    return _table(
        [
            _cells(title, group, bool(row_faults(group)) or any(result.faults for result in group))
            for title, group in rows(results).items()
        ]
    )


def long_table(results: Sequence[Result]) -> str:
    """:returns: a table with a row for each cell."""
    return _table([_cells(result.cell.name, [result], bool(result.faults)) for result in results])


def lines(result: Result) -> list[str]:
    """:returns: a result for a terminal."""
    figures = " ".join(_cells(result.cell.name, [result], False)[2:-1])
    verdict = "FAILED" if result.faults else "passed"
    return [f"{verdict}  {result.cell.name:<48} {figures}", *(f"        {fault}" for fault in result.faults)]
