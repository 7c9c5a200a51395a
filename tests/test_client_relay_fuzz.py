"""Whatever a TURN server sends, in any order: the relay's client raises nothing, keeps to its bounds and ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tests._scripts import scripts
from tests.turn_script import SAMPLES, play

SCRIPTS = scripts(SAMPLES, firsts=4, most=20)


class AnythingTests(SynchronousTestCase):
    """Any script leaves the client as it has to be."""

    @given(SCRIPTS)
    def test_any_frames_in_any_order(self, script: bytes) -> None:
        """Answers that nobody asked for, wrong ones and signed ones, while datagrams and time pass."""
        play(script)
        self.assertEqual(self.flushLoggedErrors(), [])

    @given(st.binary(max_size=200))
    def test_any_bytes_are_a_script(self, script: bytes) -> None:
        """The fuzzer may change a script as it likes."""
        play(script)
        self.assertEqual(self.flushLoggedErrors(), [])
