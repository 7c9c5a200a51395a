"""Clients counted by state."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.identity import Keyring, Secret
from rendezvous.core.presence import census as module
from rendezvous.core.presence.census import census
from rendezvous.core.presence.presence import Presence
from rendezvous.core.presence.states import PresenceState, Timers

NOW = 10_000.0


class CensusTests(SynchronousTestCase):
    """What is counted is what each client is asked for itself."""

    def setUp(self) -> None:
        """A table that has seen nobody, and slices of four slots."""
        self.patch(module, "SLICE", 4)
        self.keyring = Keyring([Secret(bytes(32))])
        self.table = Presence(Timers(), self.keyring, max_clients=100)

    def count(self, now: float) -> Counter[PresenceState]:
        """:returns: the clients by state."""
        found: Counter[PresenceState] = Counter()
        for piece in census(self.table.columns, self.table.timers, now):
            found.update(piece)
        return found

    def test_nobody(self) -> None:
        """Without clients there is nothing to count."""
        self.assertEqual(list(census(self.table.columns, self.table.timers, NOW)), [])

    @given(
        st.lists(
            st.tuples(st.sampled_from([0.0, 33.0, 33.5, 210.0, 210.5, 300.0, 300.5]), st.booleans(), st.booleans()),
            max_size=14,
        )
    )
    def test_each_client_counts_as_what_it_is(self, clients: list[tuple[float, bool, bool]]) -> None:
        """New, online and late ones up to the last moment; neither those that are gone nor free slots."""
        self.table.clear()
        expected: Counter[PresenceState] = Counter()
        for number, (age, pulses, leaves) in enumerate(clients):
            client_id = number.to_bytes(16, "big")
            [key] = self.keyring.keys(client_id, NOW)
            self.table.register(client_id, key, NOW - age)
            if pulses:
                self.table.pulse(key, ("192.0.2.1", 1000), NOW - age)
            if leaves:
                self.table.logout(client_id, NOW - age)
        for number in range(len(clients)):
            if slot := self.table.slot_of(number.to_bytes(16, "big"), NOW):
                expected[self.table.state(slot, NOW)] += 1
        self.assertEqual(+self.count(NOW), expected)
