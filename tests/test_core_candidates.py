"""What a candidate may be: any JSON within bounds."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.signaling import specs
from rendezvous.core.signaling.specs import candidate_json
from rendezvous.errors import Malformed
from rendezvous.limits import SignalingLimits

LIMITS = SignalingLimits()


class CandidateTests(SynchronousTestCase):
    """Its size and its depth."""

    def test_as_many_values_as_fit(self) -> None:
        """The shortest values, each with a comma, fill the limit to its last byte."""
        number = LIMITS.candidate_size // 2 - 1
        self.assertEqual(len(candidate_json([1] * number, "candidate", LIMITS)), 2 * number + 1)

    def test_many_values_are_refused_before_they_are_written(self) -> None:
        """Two hundred thousand numbers would take 30 ms to write; also where they are deeper, or in objects."""
        self.patch(specs, "compact", None)
        many = [0.1] * 200_000
        for value in (many, [[many]], {"a": many}, {str(number): "" for number in range(200_000)}):
            error = self.assertRaises(Malformed, candidate_json, value, "candidate", LIMITS)
            self.assertEqual(error.code, "too-long")
