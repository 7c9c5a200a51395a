"""A server that is killed in the midst of its work, twenty times; ``make crash`` does it as often as one likes."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.crash.crowd import crash_crowd, missing
from tests.crash.fleet import crash_fleet
from tests.crash.rounds import crash
from tests.crash.wire import Violation

ROUNDS = 20
#: Clients that pulse while the server is killed.
FLEET = 1000
#: Clients that pulse at full speed.
CROWD = 20_000
#: What every client does in some round; a run that leaves one of them out has shown nothing of it.
DEEDS = {
    "announce", "answer", "ban", "candidates", "heartbeat", "kick", "lift", "logout", "move", "override", "publish",
    "pulse", "register", "repeat", "session", "session deed", "verify", "withdraw",
}  # fmt: skip


class CrashTests(SynchronousTestCase):
    """``kill -9`` at random moments, under load from several clients."""

    def test_crash_loses_nothing_that_was_answered(self) -> None:
        """What was acknowledged is there after each restart, what was ended stays ended, and no event is missed."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir(parents=True)
        said: list[str] = []
        done = crash(directory, ROUNDS, 1, said.append)
        self.assertEqual(len(said), ROUNDS)
        self.assertEqual({deed for deed in DEEDS if done[deed] < ROUNDS // 4}, set())
        self.assertGreater(done["checked"], ROUNDS * 50)

    def test_lost_bans_are_noticed(self) -> None:
        """Where they do not reach the file."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir(parents=True)
        error = self.assertRaises(Violation, crash, directory, ROUNDS, 1, ignored, "bans_end_with_the_process")
        self.assertIn("('ban', ", str(error))


class FleetTests(SynchronousTestCase):
    """``kill -9`` under pulses of many clients."""

    def crash(self, rounds: int, plant: str = "") -> Counter[str]:
        """Kill a server that often, and compare its file."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir(parents=True)
        return crash_fleet(directory, rounds, FLEET, 1, plant)

    def test_every_acknowledged_pulse_is_in_the_file(self) -> None:
        """With its address and its time, of each client; and all of them are on time after the restart."""
        done = self.crash(3)
        self.assertEqual(done["compared"], 3 * FLEET)
        self.assertEqual({kind for kind in ("first", "steady", "move") if done[kind] < FLEET // 10}, set())

    def test_lost_pulses_are_noticed(self) -> None:
        """Where the address, or only the time, does not reach the file."""
        for plant in ("records_never_reach_the_file", "pulses_are_recorded_late"):
            self.assertRaises(Violation, self.crash, 3, plant)


class CrowdTests(SynchronousTestCase):
    """``kill -9`` while many clients pulse at full speed; ``make crash CLIENTS=1000000`` does it with a million."""

    def setUp(self) -> None:
        """See that the clients can be run here."""
        if missing():
            if os.environ.get("CI") == "true":
                self.fail(missing())
            raise SkipTest(missing())

    def crash(self, rounds: int, plant: str = "") -> Counter[str]:
        """Kill a server that often, and compare its file after each of its lives."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir(parents=True)
        return crash_crowd(directory, rounds, CROWD, 1, ignored, plant)

    def test_every_acknowledged_pulse_is_in_the_file(self) -> None:
        """Of each client, whatever the server was deciding together at its end; and all are on time after it."""
        done = self.crash(2)
        self.assertEqual(done["compared"], 4 * CROWD)
        self.assertEqual({kind for kind in ("first", "steady", "move") if done[kind] < CROWD // 10}, set())

    def test_lost_pulses_are_noticed(self) -> None:
        """Where nothing reaches the file, and where one client of a batch keeps the time of its earlier pulse."""
        for plant in ("records_never_reach_the_file", "one_pulse_of_a_batch_is_recorded_late"):
            self.assertRaises(Violation, self.crash, 2, plant)


class PlantedBugTests(SynchronousTestCase):
    """The rounds notice a server that does not keep its promises."""

    def caught(self, plant: str) -> str:
        """:returns: what the rounds say about a server with this bug."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir(parents=True)
        violation = self.assertRaises(Violation, crash, directory, 120, 1, ignored, plant)
        return str(violation)

    def test_lost_moves_are_noticed(self) -> None:
        """A server that answers a move, and does not write it, is found out."""
        self.assertIn("('client', ", self.caught("records_never_reach_the_file"))

    def test_slots_that_are_freed_early_are_noticed(self) -> None:
        """A client whose logout was not saved has lost its address."""
        self.assertIn("('client', ", self.caught("slots_are_freed_early"))


def ignored(line: str) -> None:
    """Say nothing of a round."""
