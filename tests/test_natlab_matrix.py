"""The judge of the NAT matrix: what a cell requires, and whether its runs are so."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.natlab.__main__ import selected
from tests.natlab.cells import CELLS, EASY, QUICK, Cell, Required, Side
from tests.natlab.measuring import Result, Run, conditions
from tests.natlab.report import ENOUGH, lines, long_table, required_in_words, row_faults, table
from tests.natlab.rules import NATS
from tests.natlab.scenarios import SCENARIOS
from tests.natlab.stage import CONDITIONS, PLACES

EASY_PAIR = CELLS["port-restricted/port-restricted"]
REFUSED = CELLS["symmetric/symmetric"]
SEQUENTIAL = CELLS["sequential/port-restricted"]


def runs(condition: str, *seconds: float, via: str = "direct", code: str = "", note: str = "") -> list[Run]:
    """:returns: a run for each of these times."""
    return [Run(condition, each, via, code, note) for each in seconds]


class CellTests(SynchronousTestCase):
    """The cells."""

    def test_every_name_in_a_cell_is_known(self) -> None:
        """NATs, places and scenarios of all cells exist, and CI's cells are cells."""
        for cell in CELLS.values():
            self.assertTrue({cell.a.nat, cell.b.nat} <= set(NATS))
            self.assertIn(cell.place, PLACES)
            self.assertIn(cell.scenario, {"", *SCENARIOS})
        self.assertTrue(set(QUICK) <= set(CELLS))

    def test_both_orders_are_there(self) -> None:
        """Every pair of different NATs is called from either side."""
        pairs = {(cell.a.nat, cell.b.nat) for cell in CELLS.values()}
        self.assertEqual(pairs, {(b, a) for a, b in pairs})
        self.assertTrue({(a, b) for a in EASY for b in EASY} <= pairs)

    def test_linux_naive_has_a_hop_on_the_way(self) -> None:
        """No two NATs of which one is naive are neighbours, unless a mapping makes it unimportant."""
        for cell in CELLS.values():
            if "linux-naive" in (cell.a.nat, cell.b.nat) and not (cell.a.port_mapping or cell.b.port_mapping):
                self.assertGreaterEqual(cell.a.hops + cell.b.hops, 1)

    def test_patterns_select_cells(self) -> None:
        """Cells are selected by patterns of names; quick stands for those of CI."""
        self.assertEqual(selected(["symmetric/symmetric"]), ["symmetric/symmetric"])
        self.assertEqual(set(selected(["quick"])), set(QUICK))
        self.assertEqual(len(selected(["*:relay"])), sum(name.endswith(":relay") for name in CELLS))
        self.assertEqual(selected(["nothing"]), [])

    def test_conditions_of_the_runs(self) -> None:
        """A cell is run without loss and skew so often, and with each other condition; a scenario is run once."""
        self.assertEqual(conditions(EASY_PAIR, 2, 1), ["clear", "clear", "skew", "loss", "bursts"])
        self.assertNotIn("skew", conditions(CELLS["port-restricted/port-restricted:same-nat"], 2, 1))
        self.assertEqual(conditions(CELLS["port-restricted/port-restricted:uplink"], 20, 5), ["clear"])
        self.assertEqual(list(CONDITIONS), ["clear", "skew", "loss", "bursts"])


class ResultTests(SynchronousTestCase):
    """Runs against what is required."""

    def assert_faults(self, cell: Cell, found: list[Run], *faults: str) -> None:
        """Check what is reported."""
        self.assertEqual(Result(cell, found).faults, list(faults))

    def test_runs_that_are_as_required(self) -> None:
        """Times up to the bounds are allowed, and more with loss."""
        good = runs("clear", 0.7, 0.7, 2.0) + runs("skew", 2.0) + runs("loss", 1.2, 1.2, 8.0) + runs("bursts", 8.0)
        self.assert_faults(EASY_PAIR, good)

    def test_times_that_are_too_long(self) -> None:
        """A median and a worst time above the bounds are reported for each condition."""
        self.assert_faults(EASY_PAIR, runs("clear", 0.8, 0.8, 0.1), "clear: median 0.80 s, 0.7 s are allowed")
        self.assert_faults(EASY_PAIR, runs("clear", 0.1, 0.1, 2.1), "clear: worst 2.10 s, 2 s are allowed")
        self.assert_faults(EASY_PAIR, runs("skew", 2.1), "skew: worst 2.10 s, 2 s are allowed")
        self.assert_faults(EASY_PAIR, runs("bursts", 8.1), "bursts: worst 8.10 s, 8 s are allowed")

    def test_loss_may_make_a_row_so_much_later(self) -> None:
        """The medians with and without loss are compared for all cells of a row together."""
        early, late = Result(EASY_PAIR, runs("clear", 0.1, 0.1)), Result(EASY_PAIR, runs("loss", *[0.7] * ENOUGH))
        self.assertEqual(row_faults([early, late]), ["median 0.60 s later with loss, 0.5 s are allowed"])
        self.assertEqual(row_faults([early, late, Result(EASY_PAIR, runs("loss", *[0.1] * ENOUGH))]), [])
        self.assertEqual(row_faults([early]), [])

    def test_few_runs_with_loss_say_nothing(self) -> None:
        """The medians are compared from five runs with loss on."""
        found = [Result(EASY_PAIR, runs("clear", 0.1) + runs("loss", *[2.0] * (ENOUGH - 1)))]
        self.assertEqual(row_faults(found), [])

    def test_runs_that_end_otherwise(self) -> None:
        """A relay where a direct path is required, a failure, and what else is wrong do not count."""
        found = runs("clear", 0.1, 0.1) + runs("clear", 0.1, via="relay") + runs("clear", 0.1, via="", code="timeout")
        self.assert_faults(EASY_PAIR, found, "clear: 2 of 4 as required, others: relay, timeout")
        self.assert_faults(EASY_PAIR, runs("loss", 0.1, note="odd"), "odd", "loss: 0 of 1 as required, others: direct")

    def test_a_share_is_enough(self) -> None:
        """Where a share is required the rest may end otherwise."""
        good, bad = runs("clear", *[0.1] * 8), runs("clear", 9, via="", code="timeout")
        self.assert_faults(SEQUENTIAL, good + 2 * bad)
        self.assert_faults(SEQUENTIAL, good + 3 * bad, "clear: 8 of 11 as required, others: timeout")

    def test_a_refusal_is_required(self) -> None:
        """Where the attempt has to fail, only the required code counts, and in time."""
        self.assert_faults(REFUSED, runs("clear", 0.5, via="", code="symmetric-pair"))
        self.assert_faults(REFUSED, runs("clear", 0.5), "clear: 0 of 1 as required, others: direct")
        late = runs("clear", 2.5, via="", code="symmetric-pair")
        self.assert_faults(REFUSED, late, "clear: worst 2.50 s, 2 s are allowed")
        self.assert_faults(
            REFUSED, runs("clear", 0.5, via="", code="timeout"), "clear: 0 of 1 as required, others: timeout"
        )


class ReportTests(SynchronousTestCase):
    """What is printed."""

    def test_rows_join_the_cells_of_a_requirement(self) -> None:
        """A row has the median and the worst of all its cells, how many runs were good, and whether all passed."""
        other = CELLS["public/public"]
        found = [
            Result(EASY_PAIR, runs("clear", 0.1, 0.2, 0.3)),
            Result(other, runs("clear", 0.4) + runs("loss", *[1.0] * ENOUGH)),
        ]
        text = table(found)
        row = [
            "easy x easy",
            "direct, median ≤ 0.7 s, worst ≤ 2 s",
            "9 of 9",
            "0.25 s",
            "0.40 s",
            "1.00 s",
            "1.00 s",
            "**no**",
        ]
        self.assertIn("\n".join(f"     - {cell}" for cell in row[1:]), text)
        self.assertIn("   * - easy x easy\n", text)
        by_name = long_table(found)
        self.assertIn("   * - public/public\n", by_name)
        self.assertIn("     - 3 of 3\n     - 0.20 s\n     - 0.30 s\n     - -\n     - -\n     - yes\n", by_name)

    def test_a_line_for_a_terminal(self) -> None:
        """A cell is a line, with its faults below."""
        [line] = lines(Result(REFUSED, runs("clear", 0.5, via="", code="symmetric-pair")))
        self.assertTrue(line.startswith("passed  symmetric/symmetric "))
        self.assertIn("1 of 1 0.50 s 0.50 s", line)
        self.assertEqual(len(lines(Result(REFUSED, runs("clear", 0.5)))), 2)

    def test_requirements_in_words(self) -> None:
        """Every kind of requirement has its words."""
        self.assertEqual(required_in_words(REFUSED.required), "refused (``symmetric-pair``) ≤ 2 s")
        self.assertEqual(required_in_words(SEQUENTIAL.required), "direct, ≥ 80%, worst ≤ 13 s")
        self.assertEqual(required_in_words(Required(("mapped", "direct"), worst=2)), "mapped or direct, worst ≤ 2 s")

    def test_names_of_cells(self) -> None:
        """A cell is named after its sides and what is special."""
        side = Side("symmetric", hops=2, port_mapping=True, ipv6=True, bridges=3)
        self.assertEqual(str(side), "symmetric+mapping+ipv6+2hops+3bridges")
        self.assertIn("symmetric/port-restricted:birthday", CELLS)
