"""The live table at every boundary of the state table: what a client does, and when it is what."""

from __future__ import annotations

from rendezvous.core.identity import KEY_SIZE
from rendezvous.core.notes import Removed
from rendezvous.core.presence.client import Client
from rendezvous.core.presence.states import PresenceState, PulseCode, Timers
from rendezvous.errors import NotFound
from tests._live_table import find
from tests._presence_case import HERE, ID, JUST, KEY, NOW, OTHER, OTHER_KEY, THERE, PresenceCase

ON_TIME, VERIFY, UNKNOWN = PulseCode.ON_TIME, PulseCode.VERIFY, PulseCode.UNKNOWN

#: Seconds since the last activity of a client that has pulsed, and its state: each boundary, and just past it.
STATES = [
    (0.0, PresenceState.ONLINE),
    (30.0, PresenceState.ONLINE),
    (33.0, PresenceState.ONLINE),
    (33.0 + JUST, PresenceState.PENDING),
    (180.0, PresenceState.PENDING),
    (210.0, PresenceState.PENDING),
    (210.0 + JUST, PresenceState.GONE),
    (1e9, PresenceState.GONE),
]

#: The same for a client that has never pulsed, counted from its registration.
NEW_STATES = [
    (0.0, PresenceState.NEW),
    (33.0 + JUST, PresenceState.NEW),
    (210.0 + JUST, PresenceState.NEW),
    (300.0, PresenceState.NEW),
    (300.0 + JUST, PresenceState.GONE),
    (1e9, PresenceState.GONE),
]

CODES = {
    PresenceState.NEW: ON_TIME,
    PresenceState.ONLINE: ON_TIME,
    PresenceState.PENDING: VERIFY,
    PresenceState.GONE: UNKNOWN,
}


class StateTests(PresenceCase):
    """The state as a function of one timestamp."""

    def test_states_of_a_client_that_has_pulsed(self) -> None:
        """ONLINE for interval + grace, PENDING for error time + interval, gone after that; a boundary belongs below."""
        self.come_online()
        client = self.found(NOW)
        for since, state in STATES:
            self.assertIs(self.table.state(client.slot, NOW + since), state, since)

    def test_states_of_a_client_that_has_never_pulsed(self) -> None:
        """NEW for the registration time, and gone after that."""
        self.register()
        client = self.found(NOW)
        for since, state in NEW_STATES:
            self.assertIs(self.table.state(client.slot, NOW + since), state, since)

    def test_gone_clients_are_not_found(self) -> None:
        """Swept or not: looking for one tells the same as its state."""
        for act, states in ((self.come_online, STATES), (self.register, NEW_STATES)):
            self.table = self.make_table()
            act()
            for since, state in states:
                self.assertEqual(find(self.table, ID, NOW + since) is None, state is PresenceState.GONE, since)

    def test_timers_move_the_boundaries(self) -> None:
        """Each option is one term of its sum."""
        timers = Timers(pulse_interval=8.0, pulse_grace=0.5, error_time=16.0, registration_time=4.0)
        self.table = self.make_table(timers)
        self.register()
        client = self.found(NOW)
        new = [self.table.state(client.slot, NOW + since) for since in (4.0, 4.0 + JUST)]
        self.table.pulse(KEY, HERE, NOW)
        client = self.found(NOW)
        pulsed = [self.table.state(client.slot, NOW + since) for since in (8.5, 8.5 + JUST, 24.0, 24.0 + JUST)]
        self.assertEqual(new, [PresenceState.NEW, PresenceState.GONE])
        self.assertEqual(
            pulsed, [PresenceState.ONLINE, PresenceState.PENDING, PresenceState.PENDING, PresenceState.GONE]
        )

    def test_without_grace_the_interval_is_the_boundary(self) -> None:
        """A grace of nothing is one."""
        self.table = self.make_table(Timers(pulse_grace=0.0))
        self.come_online()
        states = [self.table.state(self.found(NOW).slot, NOW + since) for since in (30.0, 30.0 + JUST)]
        self.assertEqual(states, [PresenceState.ONLINE, PresenceState.PENDING])

    def test_clock_that_goes_back_is_harmless(self) -> None:
        """A client that pulsed in the future is ONLINE, nothing is removed, and life goes on from there."""
        self.come_online()
        earlier = NOW - 1000.0
        self.assertIs(self.table.state(self.found(earlier).slot, earlier), PresenceState.ONLINE)
        self.assertEqual(self.table.sweep(earlier, 100), 0)
        self.assertIs(self.table.pulse(KEY, HERE, earlier), ON_TIME)
        self.assertEqual(self.found(earlier).last_pulse, earlier)
        self.assertIs(self.table.state(self.found(earlier).slot, earlier + 33.0 + JUST), PresenceState.PENDING)
        self.assertIsNone(find(self.table, ID, earlier + 210.0 + JUST))

    def test_verify_on_a_clock_that_goes_back_is_harmless(self) -> None:
        """The last pulse then lies in the future, which the code that shows it has to mind."""
        self.come_online()
        client = self.table.verify(ID, NOW - 1000.0)
        self.assertEqual((client.last_seen, client.last_pulse), (NOW - 1000.0, NOW))
        self.assertIs(self.table.state(client.slot, NOW - 1000.0), PresenceState.ONLINE)


class PulseTests(PresenceCase):
    """What a pulse is answered with, and what it records."""

    def test_answers_to_a_client_that_has_pulsed(self) -> None:
        """1020, 1050 or 1060 by state; only 1020 records."""
        for since, state in STATES:
            self.table = self.make_table()
            self.come_online()
            client = self.found(NOW)
            self.assertIs(self.table.pulse(KEY, THERE, NOW + since), CODES[state], since)
            # One that was gone has been freed.
            client = find(self.table, ID, NOW) or client
            recorded = (THERE, NOW + since) if CODES[state] is ON_TIME else (HERE, NOW)
            self.assertEqual(((client.host, client.port), client.last_pulse), recorded, since)

    def test_answers_to_a_client_that_has_never_pulsed(self) -> None:
        """The first pulse is on time within the registration time."""
        for since, state in NEW_STATES:
            self.table = self.make_table()
            self.register()
            client = self.found(NOW)
            self.assertIs(self.table.pulse(KEY, HERE, NOW + since), CODES[state], since)
            client = find(self.table, ID, NOW) or client
            recorded = (HERE[0], NOW + since) if state is PresenceState.NEW else (None, None)
            self.assertEqual((client.host, client.last_pulse), recorded, since)

    def test_late_pulses_never_bring_a_client_back(self) -> None:
        """However many come: they do not count as activity, so the client is gone when it would have been anyway."""
        self.come_online()
        late = [self.table.pulse(KEY, HERE, NOW + since) for since in (34.0, 64.0, 94.0, 124.0, 154.0, 184.0, 210.0)]
        self.assertEqual(late, [VERIFY] * 7)
        self.assertIs(self.table.pulse(KEY, HERE, NOW + 210.0 + JUST), UNKNOWN)

    def test_pulses_in_time_keep_a_client_for_ever(self) -> None:
        """Each may come as late as interval + grace after the one before."""
        self.come_online()
        answers = {self.table.pulse(KEY, HERE, NOW + 33.0 * n) for n in range(1, 1000)}
        self.assertEqual(answers, {ON_TIME})

    def test_new_address_while_online_moves_the_client(self) -> None:
        """A NAT that rebinds changes the port, the host or the family."""
        self.come_online()
        for n, address in enumerate([(HERE[0], 1), ("203.0.113.1", 1), THERE, (THERE[0], 65535), (THERE[0], 0)]):
            self.assertIs(self.table.pulse(KEY, address, NOW + n), ON_TIME)
            client = self.found(NOW + n)
            self.assertEqual((client.host, client.port), address)

    def test_unknown_keys_are_unknown(self) -> None:
        """Whatever their length, and nothing comes of it."""
        self.come_online()
        for key in (OTHER_KEY, bytes(KEY_SIZE), b"", KEY[:-1], KEY.hex().encode(), ID):
            self.assertIs(self.table.pulse(key, HERE, NOW), UNKNOWN)
        self.assertEqual(len(self.table), 1)

    def test_pulse_of_a_client_that_is_gone_is_unknown(self) -> None:
        """However often it comes; the next sweep frees the client."""
        self.come_online()
        for since in (210.0 + JUST, 211.0, 500.0):
            self.assertIs(self.table.pulse(KEY, HERE, NOW + since), UNKNOWN)
        self.assertEqual(self.table.sweep(NOW + 210.0 + JUST, 100), 1)
        self.assertEqual((len(self.table), KEY in self.table), (0, False))

    def test_only_the_end_of_a_client_is_noted(self) -> None:
        """A first pulse, a move, and a pulse from the known address change the columns alone."""
        self.come_online()
        registered, *others = self.notes
        self.assertEqual((registered, others), (Client(ID, NOW), []))
        self.notes.clear()
        for since, address, port in ((1.0, HERE, 0), (1.0, THERE, 0), (1.0, THERE, 5024), (101.0, HERE, 0)):
            self.table.pulse(KEY, address, NOW + since, port)
        client = self.found(NOW + 101.0)
        self.assertEqual((client.host, client.port, client.local_port, self.notes), (*THERE, 5024, []))
        self.table.pulse(KEY, HERE, NOW + 1.0 + 210 + JUST)
        self.assertEqual(self.notes, [])
        for since in (1.0 + 210 + JUST, 500.0):
            self.table.sweep(NOW + since, 100)
            self.assertEqual(self.notes, [Removed(client)])


class KeepAliveTests(PresenceCase):
    """The short way for the common pulse, which must agree with the long one."""

    def test_short_way_is_for_clients_that_are_online_where_they_were(self) -> None:
        """At every boundary; all else is left to the long way, and nothing is recorded."""
        for since, state in STATES:
            self.table = self.make_table()
            self.come_online()
            self.assertEqual(self.table.keep_alive(KEY, HERE, NOW + since), state is PresenceState.ONLINE, since)
            self.assertEqual(self.found(NOW).last_pulse, NOW + since if state is PresenceState.ONLINE else NOW)

    def test_first_pulse_goes_the_long_way(self) -> None:
        """There is no address yet that it could have come from."""
        self.register()
        self.assertFalse(self.table.keep_alive(KEY, HERE, NOW))
        self.assertIsNone(self.found(NOW).last_pulse)

    def test_move_goes_the_long_way(self) -> None:
        """Another host or another port must be recorded."""
        self.come_online()
        for address in (THERE, (HERE[0], HERE[1] + 1), (THERE[0], HERE[1])):
            self.assertFalse(self.table.keep_alive(KEY, address, NOW + 1))
        client = self.found(NOW)
        self.assertEqual((client.host, client.port, client.last_pulse), (*HERE, NOW))

    def test_any_datagram_may_be_asked_about(self) -> None:
        """What is no known key is simply not the common case."""
        self.come_online()
        for datagram in (b"", KEY[:-1], KEY + b"\0", KEY.hex().encode(), OTHER_KEY, b"{}"):
            self.assertFalse(self.table.keep_alive(datagram, HERE, NOW))

    def test_short_way_notes_nothing(self) -> None:
        """A timestamp alone is not worth a line in anybody's journal."""
        self.come_online()
        self.notes.clear()
        self.assertTrue(self.table.keep_alive(KEY, HERE, NOW + 1))
        self.assertEqual(self.notes, [])


class VerifyTests(PresenceCase):
    """Taking a late client back."""

    def test_verify_in_each_state(self) -> None:
        """ONLINE again while the client is there at all; refused with a code that says so when it is gone."""
        for since, state in STATES:
            self.table = self.make_table()
            self.come_online()
            if state is PresenceState.GONE:
                error = self.assertRaises(NotFound, self.table.verify, ID, NOW + since)
                self.assertEqual(error.code, "not-registered")
                continue
            client = self.table.verify(ID, NOW + since)
            self.assertIs(self.table.state(client.slot, NOW + since), PresenceState.ONLINE, since)
            self.assertEqual((client.host, client.port), HERE)

    def test_verify_starts_the_times_anew(self) -> None:
        """A verify counts as activity like a pulse."""
        self.come_online()
        client = self.table.verify(ID, NOW + 210.0)
        for since, state in STATES:
            self.assertIs(self.table.state(client.slot, NOW + 210.0 + since), state, since)

    def test_verify_makes_the_next_pulse_count(self) -> None:
        """From wherever it comes, as for any client that is ONLINE."""
        self.come_online()
        self.table.verify(ID, NOW + 100)
        self.assertIs(self.table.pulse(KEY, THERE, NOW + 101), ON_TIME)
        client = self.found(NOW + 101)
        self.assertEqual((client.host, client.port, client.last_pulse), (*THERE, NOW + 101))

    def test_verify_before_the_first_pulse_gives_more_time_for_it(self) -> None:
        """Still without an address, so not ONLINE, but with the registration time once more."""
        self.register()
        client = self.table.verify(ID, NOW + 300.0)
        self.assertEqual((client.host, client.last_pulse), (None, None))
        for since, state in NEW_STATES:
            self.assertIs(self.table.state(client.slot, NOW + 300.0 + since), state, since)

    def test_verify_before_the_first_pulse_does_not_outlast_its_time(self) -> None:
        """A client that was not there is not taken back."""
        self.register()
        self.assertRaises(NotFound, self.table.verify, ID, NOW + 300.0 + JUST)
        self.assertRaises(NotFound, self.table.verify, OTHER, NOW)

    def test_last_pulse_is_not_the_verify(self) -> None:
        """However many verifies come, until the next pulse, on either way."""
        self.come_online()
        for since in (10.0, 40.0, 200.0):
            self.assertEqual(self.table.verify(ID, NOW + since).last_pulse, NOW)
        self.assertTrue(self.table.keep_alive(KEY, HERE, NOW + 201.0))
        self.assertEqual(self.found(NOW + 201.0).last_pulse, NOW + 201.0)
        self.table.verify(ID, NOW + 202.0)
        self.assertEqual(self.found(NOW + 202.0).last_pulse, NOW + 201.0)
        self.table.pulse(KEY, THERE, NOW + 203.0)
        self.assertEqual(self.found(NOW + 203.0).last_pulse, NOW + 203.0)

    def test_verify_is_not_noted(self) -> None:
        """It changes the columns alone; a refused one changes nothing."""
        self.come_online()
        self.notes.clear()
        self.assertEqual(self.table.verify(ID, NOW + 100), self.found(NOW + 100))
        self.assertRaises(NotFound, self.table.verify, ID, NOW + 1000)
        self.assertEqual((self.notes, self.found(NOW + 100).last_seen), ([], NOW + 100))
