"""Records of attempts, and the ring of those that have ended."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.attempts.records import AttemptRecord, EndedAttempts
from rendezvous.core.connect import AttemptState

ALICE, BOB = b"\xaa" * 16, b"\xbb" * 16


class EndedAttemptTests(SynchronousTestCase):
    """The ring of attempts that have ended."""

    def record(self, number: int, **fields: Any) -> AttemptRecord:
        """:returns: an attempt."""
        given: dict[str, Any] = {
            "state": AttemptState.DECLINED,
            "begun": 0.0,
            "ended": 1.0,
            "controlling": ALICE,
            "controlled": BOB,
            "was_joined": False,
            "mappings": None,
            "strategy": None,
            "result": "declined",
            **fields,
        }
        return AttemptRecord(number.to_bytes(8), number, **given)

    def test_latest_come_first(self) -> None:
        """Those that go on among those that have ended; the oldest make room."""
        ended = EndedAttempts()
        for number in range(1, 1100):
            ended.add(self.record(number))
        found = list(ended.newest_first([self.record(5000), self.record(50)]))
        self.assertEqual([each.number for each in found[:2]], [5000, 1099])
        self.assertEqual((len(found), found[-1].number), (1002, 50))

    def test_every_state_has_a_sentence(self) -> None:
        """With a full stop, whether or not the invited client has accepted; a failure says why."""
        for state in AttemptState:
            for was_joined in (False, True):
                if (state, was_joined) in ((AttemptState.OBSERVING, False), (AttemptState.GO, False)):
                    continue
                if (state, was_joined) == (AttemptState.INVITED, True):
                    continue
                record = self.record(1, state=state, was_joined=was_joined, result="symmetric-pair")
                for has_relay in (False, True):
                    self.assertRegex(record.why(has_relay=has_relay), r"^[A-Z].*[^.]\.$")
        failed = self.record(1, state=AttemptState.FAILED, result="symmetric-pair")
        self.assertIn("Both NATs", failed.why(has_relay=False))
        for state, was_joined, said in (
            (AttemptState.OBSERVING, True, "The server waits for datagrams of both sides, to see their addresses."),
            (AttemptState.EXPIRED, False, "The invited client has not accepted in time."),
            (AttemptState.EXPIRED, True, "Neither side has said in time whether a path was found."),
            (AttemptState.DECLINED, True, "One side has given up or left."),
        ):
            self.assertEqual(self.record(1, state=state, was_joined=was_joined).why(has_relay=False), said)
        done = self.record(1, state=AttemptState.DONE, result="unknown")
        self.assertEqual(done.why(has_relay=False), "A path was found.")
        odd = self.record(1, state=AttemptState.FAILED, result=None)
        self.assertEqual(odd.why(has_relay=True), "No path was found within the time.")
