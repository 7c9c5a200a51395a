"""The judge of the attacks sees what it has to see; ``make attack`` runs the attacks themselves."""

from __future__ import annotations

import os
import signal
import time

from twisted.trial.unittest import SynchronousTestCase

from tests.attack.field import MIB, Attack, Field
from tests.attack.innocent import KINDS
from tests.attack.load import ONE, Answer, addresses, fetch, request
from tests.attack.run import run


def pause(field: Field) -> None:
    """Stop the server for a moment, write a long line into its log, and be refused as a stranger."""
    os.kill(field.server.pid, signal.SIGSTOP)
    time.sleep(0.6)
    os.kill(field.server.pid, signal.SIGCONT)
    time.sleep(0.4)
    with field.server.log_path.open("a") as log:
        log.write("x" * 30_000)
    field.expect("something holds", holds=False)


def end(field: Field) -> None:
    """Kill the server, and let the innocent client try for a while."""
    field.server.kill()
    time.sleep(1.0)


class AttackTests(SynchronousTestCase):
    """Attacks that are known to fail do fail."""

    def test_what_is_wrong_is_reported(self) -> None:
        """A server that stands still is late for every kind of request; its log, and what an attack saw, count too."""
        result = run(Attack(name="pause", what="", run=pause, memory=0 * MIB), 1.0)
        faults = "\n".join(result.faults)
        for kind in KINDS:
            self.assertIn(f"{kind}: p99 ", faults)
            self.assertGreaterEqual(result.under[kind].most, 300)
        self.assertIn("bytes logged, and 20000 are allowed", faults)
        self.assertIn("something holds", faults)
        self.assertIn("FAILED  pause", result.lines()[0])

    def test_a_server_that_stays_down_is_reported(self) -> None:
        """Requests that are not answered are counted as failed, with the reason."""
        result = run(Attack(name="end", what="", run=end), 1.0, patience=2.0)
        faults = "\n".join(result.faults)
        for kind in KINDS[1:]:
            self.assertRegex(faults, rf"{kind}: [0-9]+ failed: \S")


class LoadTests(SynchronousTestCase):
    """What makes the load."""

    def test_addresses_are_distinct_and_spread(self) -> None:
        """Each attacker has an address of its own, and they are in as many /24s as was asked for."""
        for count, sites in ((250, 1), (1000, 100), (4000, 200), (500, 0)):
            made = addresses(count, sites)
            self.assertEqual(len(set(made)), count)
            self.assertEqual(len({each.rpartition(".")[0] for each in made}), sites or count)

    def test_refused_connection_is_an_error(self) -> None:
        """A request to a closed port raises OSError."""
        self.assertRaises(OSError, fetch, 1, request("GET", "/"), ONE[0])

    def test_answer_reads_json(self) -> None:
        """The body of an answer is read as JSON when it is asked for."""
        self.assertEqual(Answer(200, b'{"a": 1}').json, {"a": 1})
