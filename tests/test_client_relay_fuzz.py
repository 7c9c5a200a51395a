"""Whatever a TURN server sends, in any order: the relay's client raises nothing, keeps to its bounds and ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tests.turn_script import SAMPLES, play

samples = st.sampled_from(SAMPLES)
frames = st.one_of(
    samples,
    st.binary(max_size=60),
    st.tuples(samples, st.integers(0, 100), st.integers(0, 255)).map(
        lambda drawn: drawn[0][: drawn[1]] + bytes((drawn[2],)) + drawn[0][drawn[1] + 1 :]
    ),
)
scripts = st.tuples(st.integers(0, 3), st.lists(st.tuples(st.integers(0, 255), frames), max_size=20)).map(
    lambda drawn: bytes((drawn[0],)) + b"".join(bytes((action, len(frame))) + frame for action, frame in drawn[1])
)


class AnythingTests(SynchronousTestCase):
    """Any script leaves the client as it has to be."""

    @given(scripts)
    def test_any_frames_in_any_order(self, script: bytes) -> None:
        """Answers that nobody asked for, wrong ones and signed ones, while datagrams and time pass."""
        play(script)
        self.assertEqual(self.flushLoggedErrors(), [])

    @given(st.binary(max_size=200))
    def test_any_bytes_are_a_script(self, script: bytes) -> None:
        """The fuzzer may change a script as it likes."""
        play(script)
        self.assertEqual(self.flushLoggedErrors(), [])
