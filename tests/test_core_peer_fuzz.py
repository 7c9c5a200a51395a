"""Whatever a peer sends: puncher and path raise nothing, keep to their bounds and deliver nothing twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tests._scripts import scripts
from tests.peer_script import SAMPLES, Player, play

SCRIPTS = scripts(SAMPLES, firsts=16, most=40)


class AnythingTests(SynchronousTestCase):
    """Any script leaves a side as it has to be."""

    @given(SCRIPTS)
    def test_any_datagrams_in_any_order(self, script: bytes) -> None:
        """Probes, acknowledgements and data that are signed, copies of them, and time that passes."""
        play(script)

    @given(st.binary(max_size=300))
    def test_any_bytes_are_a_script(self, script: bytes) -> None:
        """The fuzzer may change a script as it likes."""
        play(script)

    def test_script_can_connect(self) -> None:
        """The scripts get as far as a path, in each role: otherwise they would say nothing about it."""
        for first in (0, 1):
            player = Player(first)
            player.act(4 | 4 << 3, b"")
            for number in range(40):
                if first:
                    player.act(3, number.to_bytes(4, "big"))
                else:
                    player.act(0, SAMPLES[1][:12] + number.to_bytes(4, "big") + SAMPLES[1][16:])
                    player.act(3, (1000 + number).to_bytes(4, "big"))
                player.act(4 | 2 << 3, b"")
            self.assertIsNotNone(player.path, first)
            player.end()
