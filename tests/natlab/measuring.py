"""Runs of a cell, and whether they are what the cell requires."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import attrs

from tests.natlab.cells import Cell
from tests.natlab.namespaces import LaboratoryError
from tests.natlab.programs import Rendezvous
from tests.natlab.scenarios import SCENARIOS
from tests.natlab.stage import CONDITIONS, Stage

#: With a tenth of the packets lost, the median may be so much later, and no run may take longer.
LOSS_LATER, LOSS_WORST = 0.5, 8.0
#: No cell needs longer for one connection.
PATIENCE = 30.0


@attrs.frozen
class Run:
    """
    One attempt.

    :ivar condition: a key of :data:`~tests.natlab.stage.CONDITIONS`.
    :ivar seconds: from the call of ``connect`` until both sides had a verified round trip, or until it failed.
    :ivar via: how they connected; empty if they did not.
    :ivar code: why they did not.
    :ivar note: what else is wrong.
    """

    condition: str
    seconds: float
    via: str = ""
    code: str = ""
    note: str = ""


@attrs.frozen
class Result:
    """The runs of a cell."""

    cell: Cell
    runs: Sequence[Run]

    def of(self, *conditions: str) -> list[Run]:
        """:returns: the runs under these conditions."""
        return [run for run in self.runs if run.condition in conditions]

    def good(self, *conditions: str) -> list[Run]:
        """:returns: those of them that ended as the cell requires, whatever time they took."""
        required = self.cell.required
        wanted = required.via or ("",)
        return [run for run in self.of(*conditions) if run.via in wanted and run.code == required.code and not run.note]

    def median(self, *conditions: str) -> float | None:
        """:returns: the median of the good runs."""
        return statistics.median(run.seconds for run in self.good(*conditions)) if self.good(*conditions) else None

    def worst(self, *conditions: str) -> float | None:
        """:returns: the slowest of the good runs."""
        return max((run.seconds for run in self.good(*conditions)), default=None)

    @property
    def faults(self) -> list[str]:
        """:returns: what is not as required, in words."""
        required, found = self.cell.required, [run.note for run in self.runs if run.note]
        for condition in dict.fromkeys(run.condition for run in self.runs):
            runs, good = self.of(condition), self.good(condition)
            if len(good) < required.share * len(runs):
                others = sorted({run.via or run.code or "nothing" for run in runs if run not in good})
                found.append(f"{condition}: {len(good)} of {len(runs)} as required, others: {', '.join(others)}")
            worst, bound = self.worst(condition), self._bound(condition)
            if worst is not None and worst > bound:
                found.append(f"{condition}: worst {worst:.2f} s, {bound:g} s are allowed")
        median = self.median("clear")
        if median is not None and required.median is not None and median > required.median:
            found.append(f"clear: median {median:.2f} s, {required.median:g} s are allowed")
        return found

    def _bound(self, condition: str) -> float:
        worst = self.cell.required.worst
        return max(worst, LOSS_WORST) if condition in ("loss", "bursts") else worst


def later_with_loss(results: Sequence[Result]) -> float | None:
    """:returns: how many seconds later the median of all these runs is with a tenth of the packets lost."""
    clear, loss = ([run.seconds for result in results for run in result.good(each)] for each in ("clear", "loss"))
    return statistics.median(loss) - statistics.median(clear) if clear and loss else None


def conditions(cell: Cell, runs: int, others: int) -> list[str]:
    """
    List the conditions of the runs of a cell.

    :param runs: how many without loss and skew.
    :param others: how many with each of skew, loss, and loss in bursts.
    """
    if cell.scenario:
        return ["clear"]
    # Hosts that share a port of the core cannot be given different delays.
    kinds = [kind for kind in CONDITIONS if kind != "clear" and (kind != "skew" or cell.place == "apart")]
    return ["clear"] * runs + [kind for kind in kinds for _ in range(others)]


def measure(cell: Cell, runs: int, others: int) -> Result:
    """Set a cell up, and run it."""
    with Stage(cell) as stage:
        if cell.scenario:
            seconds, note = SCENARIOS[cell.scenario](stage)
            return Result(cell, [Run("clear", seconds, note=note)])
        return Result(cell, [_run(stage, condition) for condition in conditions(cell, runs, others)])


def _run(stage: Stage, condition: str) -> Run:
    stage.set(condition)
    # What an earlier run has left says nothing about this one.
    stage.listener.passed_over()
    caller = stage.connect()
    try:
        return _attempt(stage, caller, condition)
    except LaboratoryError as error:
        return Run(condition, PATIENCE, note=f"{condition}: {error}")
    finally:
        caller.stop()


def _attempt(stage: Stage, caller: Rendezvous, condition: str) -> Run:
    started = time.monotonic()
    read_a, event = caller.event("connected", "failed", patience=PATIENCE)
    # Without a figure, the start of the process counts too.
    seconds = event["ms"] / 1000 if "ms" in event else read_a - started
    if event["event"] == "failed":
        # An attempt that need not have failed has tried.
        punched = stage.punched() if stage.cell.required.code else 0
        note = "" if event["reason"] else "it failed without a reason in words"
        return Run(
            condition, seconds, code=event["code"], note=f"{punched} datagrams went between" if punched else note
        )
    read_b, other = stage.listener.event("connected", patience=PATIENCE)
    seconds = max(seconds, read_b - (read_a - seconds))
    _exchange(caller, stage.listener)
    caller.finish()
    stage.listener.event("closed", patience=PATIENCE)
    note = "" if other["via"] == event["via"] else f"one side says {event['via']}, the other {other['via']}"
    return Run(condition, seconds, via=event["via"], note=note)


def _exchange(caller: Rendezvous, listener: Rendezvous) -> None:
    """Send lines both ways until one has arrived each way; datagrams may be lost."""
    for source, target in ((caller, listener), (listener, caller)):
        for _ in range(40):
            source.say("hello")
            try:
                target.event("data", patience=0.25)
            except LaboratoryError:
                continue
            break
        else:
            raise LaboratoryError("no line came over the path")
