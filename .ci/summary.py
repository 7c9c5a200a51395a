"""
Print one plain line, ``N passed, N failed, N skipped``, for the output of a trial run.

``python .ci/summary.py LOG``. The exit status is 0 if something passed and nothing failed.
"""

from __future__ import annotations

import re
import sys
from typing import NamedTuple

RESULT = re.compile(r"^Ran \d+ tests? in [\d.]+s\n\n(?:PASSED|FAILED)(?: \((?P<counts>[^)\n]*)\))?$", re.MULTILINE)
FAILING = ("failures", "errors", "unexpectedSuccesses")
NOT_RUN = ("skips", "expectedFailures")


class Summary(NamedTuple):
    """How many tests passed, failed (errors included), and were skipped (expected failures included)."""

    passed: int
    failed: int
    skipped: int

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


NOTHING_RAN = Summary(0, 1, 0)


def summarize(log: str) -> Summary:
    """
    Read trial's own count, the last one if tests have printed others.

    :param log: everything that the run printed.
    :returns: the counts; one failure if trial ended without counting.
    """
    results = list(RESULT.finditer(log.replace("\r\n", "\n")))
    if not results:
        return NOTHING_RAN
    pairs = (pair.split("=") for pair in (results[-1]["counts"] or "").split(", ") if pair)
    counts = {name: int(number) for name, number in pairs}
    return Summary(
        counts.get("successes", 0),
        sum(counts.get(name, 0) for name in FAILING),
        sum(counts.get(name, 0) for name in NOT_RUN),
    )


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8", errors="replace") as file:
        summary = summarize(file.read())
    print(summary)
    sys.exit(summary.failed > 0 or summary.passed == 0)
