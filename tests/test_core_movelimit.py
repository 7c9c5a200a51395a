"""Tests of :mod:`rendezvous.core.presence.movelimit`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.presence.movelimit import MOVES_A_SECOND, MOVES_AT_ONCE, MoveLimit
from rendezvous.core.presence.presence import Presence
from rendezvous.core.presence.states import Timers
from tests._presence_case import KEYRING

NOW = 1_780_000_000.0


class MoveLimitTests(SynchronousTestCase):
    """Ten at once, and one a second after that."""

    @given(st.lists(st.floats(0, 5), max_size=60))
    def test_tokens_are_counted(self, waits: list[float]) -> None:
        """A bucket of ten tokens that gains one a second says the same."""
        limit, now, tokens = MoveLimit(2), NOW, float(MOVES_AT_ONCE)
        for wait in waits:
            now += round(wait * 64) / 64  # Exact in binary, as all sums of it are.
            tokens = min(MOVES_AT_ONCE, tokens + round(wait * 64) / 64 * MOVES_A_SECOND)
            self.assertIs(limit.take(1, now), tokens >= 1)
            tokens -= tokens >= 1

    def test_slots_are_apart(self) -> None:
        """The next client in a slot begins with a full bucket."""
        limit = MoveLimit(3)
        self.assertEqual([limit.take(1, NOW) for _ in range(11)], [True] * 10 + [False])
        self.assertTrue(limit.take(2, NOW))
        limit.clear(1)
        self.assertTrue(limit.take(1, NOW))

    def test_client_that_registers_has_a_full_bucket(self) -> None:
        """Also in a slot that another client had before."""
        table = Presence(Timers(), KEYRING, max_clients=1)
        slots = list[int]()
        while len(slots) == len(set(slots)):
            number = len(slots)
            client_id = number.to_bytes(16, "big")
            key = KEYRING.key(client_id)
            slots.append(table.register(client_id, key, NOW).slot)
            self.assertEqual([table.may_move(key, NOW) for _ in range(11)], [True] * 10 + [False])
            table.logout(client_id, NOW)

    def test_keys_that_no_client_has_are_not_counted(self) -> None:
        """They would share a bucket: that of slot 0, which no client has."""
        table = Presence(Timers(), KEYRING, max_clients=1)
        self.assertEqual({table.may_move(bytes([number]) * 32, NOW) for number in range(20)}, {True})
