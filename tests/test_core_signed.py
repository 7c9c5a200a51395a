"""Which signed requests are taken, at every boundary, and what a signed pulse does."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.identity import Keyring, Secret
from rendezvous.core.macs import datagram_key
from rendezvous.core.presence.freshness import WINDOW, Freshness
from rendezvous.core.presence.presence import Presence
from rendezvous.core.presence.signedrequests import Proof, Refusal, Request
from rendezvous.core.presence.states import PulseCode, Timers
from rendezvous.wire.signed import encode_request
from tests._presence_case import HERE, ID, JUST, KEY, NOW, OTHER, OTHER_KEY, THERE, PresenceCase

#: NOW in the milliseconds of a request.
MOMENT = round(NOW * 1000)
DATAGRAM_KEY = datagram_key(KEY)
NEXT = Keyring([Secret(b"n" * 32), Secret(bytes(32), NOW + 100)])


class FreshnessTests(SynchronousTestCase):
    """The times of the last signed pulses."""

    def setUp(self) -> None:
        """Begin with room for two clients."""
        self.freshness = Freshness(3)

    def take(self, time: int, slot: int = 1, wall: int = MOMENT) -> bool:
        """:returns: whether a pulse is taken."""
        return self.freshness.take(slot, time, wall)

    def test_each_pulse_is_later_than_the_last(self) -> None:
        """The same time once more is a copy, and an earlier one may be; a millisecond later is enough."""
        for time, taken in ((5, True), (5, False), (4, False), (6, True), (5, False), (7, True)):
            self.assertEqual(self.take(MOMENT + time), taken, time)

    def test_clients_are_apart(self) -> None:
        """What has come from one says nothing of another."""
        for slot in (1, 2):
            self.assertTrue(self.take(MOMENT, slot))
            self.assertFalse(self.take(MOMENT, slot))

    def test_another_client_in_the_slot_begins_anew(self) -> None:
        """It may have a clock that is behind that of the one before."""
        self.take(MOMENT)
        self.freshness.clear(1)
        self.assertTrue(self.take(MOMENT - 9))

    def test_a_time_that_is_far_ahead_locks_no_client_out(self) -> None:
        """The server's clock was set back, or a bit is wrong."""
        for ahead, taken in ((2 * WINDOW, False), (2 * WINDOW + 1, True)):
            self.freshness.clear(1)
            self.take(MOMENT + ahead, wall=MOMENT + ahead)
            self.assertEqual(self.take(MOMENT), taken, ahead)

    def test_nothing_is_taken_that_may_have_been_before_times_were_lost(self) -> None:
        """The clock of a client may be ahead by as much as it may differ."""
        self.freshness.refuse_until(NOW)
        self.assertFalse(self.take(MOMENT + WINDOW, wall=MOMENT + WINDOW))
        self.assertTrue(self.take(MOMENT + WINDOW + 1, wall=MOMENT + WINDOW))

    def test_times_stand_in_memory_that_is_given(self) -> None:
        """It may be a mapped file, from which another process goes on."""
        memory = memoryview(bytearray(48))
        Freshness(3, memory).take(2, MOMENT, MOMENT)
        self.assertFalse(Freshness(3, memory).take(2, MOMENT, MOMENT))

    @given(st.lists(st.tuples(st.integers(1, 2), st.integers(MOMENT - WINDOW, MOMENT + WINDOW))))
    def test_no_time_is_taken_twice(self, pulses: list[tuple[int, int]]) -> None:
        """Whatever comes, in whatever order."""
        self.freshness = Freshness(3)
        taken = [(slot, time) for slot, time in (*pulses, *pulses) if self.take(time, slot)]
        self.assertEqual(len(taken), len(set(taken)))


class SignedCase(PresenceCase):
    """Signed requests to a live table."""

    def request(self, time: int = MOMENT, client_id: bytes = ID, port: int = 0) -> Request:
        """:returns: a pulse."""
        return Request(client_id, time, b"nonce..8", port=port)

    def check(self, request: Request, now: float = NOW, key: bytes = DATAGRAM_KEY, port: int = 0) -> Proof | Refusal:
        """:returns: whether a request that is signed with this key is taken."""
        return self.table.signed.check(request, encode_request(request, key), port, now)

    def pulse(
        self, time: int = MOMENT, address: tuple[str, int] = HERE, now: float = NOW, port: int = 0
    ) -> PulseCode | Refusal:
        """:returns: what a signed pulse of the client leads to."""
        request = self.request(time, port=port)
        proof = self.check(request, now, port=port)
        assert isinstance(proof, Proof)
        return self.table.signed.take_pulse(request, proof, address, now, 5024)


class CheckTests(SignedCase):
    """Which requests are a client's own, and made just now."""

    def test_time_is_at_most_15_seconds_off(self) -> None:
        """At the limit, on either side, and a millisecond beyond."""
        for off, taken in ((-15_000, True), (15_000, True), (-15_001, False), (15_001, False), (-MOMENT, False)):
            found = self.check(self.request(MOMENT + off))
            self.assertEqual(found is not Refusal.WRONG_TIME, taken, off)
            self.assertEqual(isinstance(found, Proof), taken, off)

    def test_largest_time_is_wrong(self) -> None:
        """Eight bytes of ones are a time as well."""
        self.assertIs(self.check(self.request(2**64 - 1)), Refusal.WRONG_TIME)

    def test_time_is_that_of_the_wall_clock(self) -> None:
        """Server time may be years behind it, as it does not run while the server is down."""
        self.table = self.make_table(wall=lambda now: now + 1e8)
        self.assertIs(self.check(self.request()), Refusal.WRONG_TIME)
        self.assertIsInstance(self.check(self.request(MOMENT + 10**11)), Proof)

    def test_observation_for_another_port_is_refused(self) -> None:
        """A copy that is sent to the other port does nothing. A pulse may come to any port."""
        for named, port in ((0, 1), (1, 0), (255, 0), (0, 0), (1, 1)):
            observation = attrs.evolve(self.request(port=named), attempt=b"attempt!", round=1)
            self.assertEqual(self.check(observation, port=port) is Refusal.OTHER_PORT, named != port)
            self.assertIsInstance(self.check(self.request(port=named), port=port), Proof)

    def test_wrong_mac_is_refused(self) -> None:
        """The private key itself, another client's key, and a changed byte."""
        for key in (KEY, datagram_key(KEY[:31])):
            self.assertIs(self.check(self.request(), key=key), Refusal.WRONG_MAC)
        self.assertIs(self.check(self.request(client_id=OTHER)), Refusal.WRONG_MAC)

    def test_a_client_that_is_not_there_proves_its_id_all_the_same(self) -> None:
        """It has to learn that it is unknown, and only it learns that."""
        proof = self.check(self.request())
        assert isinstance(proof, Proof)
        self.assertEqual((proof.datagram_key, proof.slot), (DATAGRAM_KEY, 0))

    def test_no_key_is_shown(self) -> None:
        """A proof may be logged."""
        self.register()
        shown = repr(self.check(self.request()))
        self.assertIn(f"slot=1, moment={MOMENT}", shown)
        for key in (KEY, DATAGRAM_KEY):
            self.assertNotIn(repr(key)[2:-1], shown)

    def test_key_under_an_old_secret_is_honoured_for_its_time(self) -> None:
        """The reply is signed with the key that the client has."""
        self.table = Presence(Timers(), NEXT, max_clients=3)
        newest = datagram_key(NEXT.key(ID))
        self.table.register(ID, NEXT.key(ID), NOW)
        for key in (DATAGRAM_KEY, newest):
            proof = self.check(self.request(), key=key)
            assert isinstance(proof, Proof)
            self.assertEqual((proof.datagram_key, proof.key, proof.slot), (key, NEXT.key(ID), 1))
        late = self.request(MOMENT + 100_001)
        self.assertIs(self.check(late, NOW + 100 + JUST), Refusal.WRONG_MAC)
        self.assertIsInstance(self.check(late, NOW + 100 + JUST, newest), Proof)


class PulseTests(SignedCase):
    """A signed pulse means what a pulse means."""

    def test_it_keeps_a_client_online_and_records_where_it_is(self) -> None:
        """The first one, one from the same address, and one from another."""
        self.register()
        for later, address in enumerate((HERE, HERE, THERE)):
            self.assertIs(self.pulse(MOMENT + later, address, NOW + later), PulseCode.ON_TIME)
            client = self.found(NOW + later)
            self.assertEqual((client.host, client.port, client.local_port), (*address, 5024))
            self.assertEqual(client.last_seen, NOW + later)

    def test_it_is_answered_by_the_state_of_the_client(self) -> None:
        """ONLINE, PENDING, gone, and logged out."""
        self.come_online()
        for later, code in ((33.0, PulseCode.ON_TIME), (67.0, PulseCode.VERIFY), (244.0, PulseCode.UNKNOWN)):
            self.assertIs(self.pulse(MOMENT + round(later * 1000), HERE, NOW + later), code, later)
        self.table.logout(ID, NOW + 250)
        self.assertIs(self.pulse(MOMENT + 250_000, HERE, NOW + 250), PulseCode.UNKNOWN)

    def test_a_copy_does_nothing(self) -> None:
        """It does not even move the client to where it comes from."""
        self.come_online()
        self.assertIs(self.pulse(), PulseCode.ON_TIME)
        self.assertIs(self.pulse(address=THERE, now=NOW + 10), Refusal.REPEATED)
        self.assertEqual((self.found(NOW).host, self.found(NOW).last_seen), (HERE[0], NOW))

    def test_plain_pulses_are_still_taken(self) -> None:
        """A client may send both."""
        self.come_online()
        self.pulse(MOMENT + 1000, now=NOW + 1)
        self.assertTrue(self.table.keep_alive(KEY, HERE, NOW + 2, 5024))

    def test_moves_are_limited_as_those_of_plain_pulses(self) -> None:
        """Ten at once, one a second from then on; steady ones are not limited."""
        self.come_online()
        places = [(HERE[0], 1 + number) for number in range(11)]
        codes = [self.pulse(MOMENT + number, place) for number, place in enumerate(places)]
        self.assertEqual(codes, [PulseCode.ON_TIME] * 10 + [Refusal.PULSE_LIMIT])
        self.assertIs(self.pulse(MOMENT + 11, places[9]), PulseCode.ON_TIME)
        self.assertIs(self.pulse(MOMENT + 12, HERE), Refusal.PULSE_LIMIT)
        self.assertIs(self.pulse(MOMENT + 1000, HERE, NOW + 1), PulseCode.ON_TIME)

    def test_a_slot_of_another_client_begins_anew(self) -> None:
        """Times belong to the client, not to its slot."""
        self.come_online()
        self.pulse(MOMENT + 5000, now=NOW)
        self.table.logout(ID, NOW)
        self.assertEqual(self.table.register(OTHER, OTHER_KEY, NOW).slot, 1)
        request = self.request(client_id=OTHER)
        proof = self.check(request, key=datagram_key(OTHER_KEY))
        assert isinstance(proof, Proof)
        self.assertIs(self.table.signed.take_pulse(request, proof, HERE, NOW, 5024), PulseCode.ON_TIME)


class AddressTests(SignedCase):
    """What datagrams to a client need."""

    def test_address_is_that_of_the_last_pulse(self) -> None:
        """With the socket that it came to; there is none before the first one, and none once the client is gone."""
        signed = self.table.signed
        self.assertIsNone(signed.proven_address(ID, NOW))
        self.register()
        self.assertIsNone(signed.proven_address(ID, NOW))
        self.pulse()
        self.assertEqual(signed.proven_address(ID, NOW + 210), (HERE, 5024))
        self.assertIsNone(signed.proven_address(ID, NOW + 210 + JUST))

    def test_keys_are_those_that_the_client_may_have(self) -> None:
        """One for each secret that is honoured, the newest first."""
        self.assertEqual(self.table.signed.datagram_keys(ID, NOW), [DATAGRAM_KEY])
        signed = Presence(Timers(), NEXT, max_clients=3).signed
        self.assertEqual(signed.datagram_keys(ID, NOW), [datagram_key(NEXT.key(ID)), DATAGRAM_KEY])
        self.assertEqual(signed.datagram_keys(ID, NOW + 101), [datagram_key(NEXT.key(ID))])

    def test_any_of_the_keys_signs_for_the_client(self) -> None:
        """And no other one."""
        datagram = encode_request(self.request(), DATAGRAM_KEY)
        signed = Presence(Timers(), NEXT, max_clients=3).signed
        self.assertTrue(signed.is_from(ID, datagram, NOW))
        self.assertFalse(signed.is_from(OTHER, datagram, NOW))
        self.assertFalse(signed.is_from(ID, datagram, NOW + 101))
