"""The line that CI ends with says what trial said."""

from __future__ import annotations

import runpy
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

script = runpy.run_path(str(Path(__file__).parents[1] / ".ci" / "summary.py"))


def summary(ending: str) -> str:
    """Summarize the output of a run that ended in this way."""
    return str(script["summarize"](f"tests.test_x\n  XTests\n    test_y ... [OK]\n\n{ending}"))


class SummaryTests(SynchronousTestCase):
    """Trial's closing lines become three numbers."""

    def test_all_passed(self) -> None:
        """Without trouble trial counts successes only."""
        self.assertEqual(summary("Ran 5 tests in 0.010s\n\nPASSED (successes=5)\n"), "5 passed, 0 failed, 0 skipped")

    def test_one_test(self) -> None:
        """A single test gets no plural, also from a terminal that ends lines its own way."""
        self.assertEqual(summary("Ran 1 tests in 0.010s\r\n\r\nPASSED (successes=1)"), "1 passed, 0 failed, 0 skipped")

    def test_errors_count_as_failed(self) -> None:
        """Failures, errors and unexpected successes are all failed tests; expected failures count as skipped."""
        self.assertEqual(
            summary(
                "Ran 28 tests in 1.234s\n\n"
                "FAILED (skips=2, expectedFailures=3, failures=4, errors=5, unexpectedSuccesses=6, successes=8)\n"
            ),
            "8 passed, 15 failed, 5 skipped",
        )

    def test_nothing_ran(self) -> None:
        """An empty run counts nothing."""
        self.assertEqual(summary("Ran 0 tests in 0.000s\n\nPASSED\n"), "0 passed, 0 failed, 0 skipped")

    def test_output_of_the_tests_is_not_mistaken_for_the_result(self) -> None:
        """Only the last count is trial's own, and words alone are no count."""
        self.assertEqual(
            summary(
                "Ran 9 tests in 0.1s\n\nPASSED (successes=9)\nPASSED (successes=7)\n"
                "Ran 3 tests in 0.2s\n\nFAILED (failures=1, successes=2)\nPASSED (successes=6)\n"
            ),
            "2 passed, 1 failed, 0 skipped",
        )

    def test_a_run_that_never_ended_is_a_failure(self) -> None:
        """A crash before trial could count is one failure, not silence."""
        self.assertEqual(summary("Killed\n"), "0 passed, 1 failed, 0 skipped")
