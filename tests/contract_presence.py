"""What every store must do: clients, and when they are there."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from rendezvous.core.identity import Credential
from rendezvous.core.presence.states import PulseCode, Timers
from rendezvous.errors import Conflict, Full, NotFound, Unauthorized
from rendezvous.interfaces import IStore
from rendezvous.model import ObservedAddress, PeerStatus, Swept
from rendezvous.wire.demux import mistakable
from tests._store_case import DAY, NOW, StoreCase

__all__ = ["PRESENCE"]

JUST = 2.0**-10
HERE = ("198.51.100.7", 40000)
THERE = ("2001:db8::9", 40001)

ON_TIME, VERIFY, UNKNOWN = PulseCode.ON_TIME, PulseCode.VERIFY, PulseCode.UNKNOWN

#: Of a client that has pulsed: seconds since its last activity, whether it is online (``None``: gone), and what a
#: pulse is answered.
STATES = [
    (0.0, True, ON_TIME),
    (33.0, True, ON_TIME),
    (33.0 + JUST, False, VERIFY),
    (210.0, False, VERIFY),
    (210.0 + JUST, None, UNKNOWN),
]
#: The same for a client that has never pulsed.
NEW_STATES = [(0.0, False, ON_TIME), (34.0, False, ON_TIME), (300.0, False, ON_TIME), (300.0 + JUST, None, UNKNOWN)]


class PresenceCase(StoreCase):
    """Clients in the states they can be in."""

    def register(self, now: float = NOW) -> tuple[bytes, bytes]:
        """:returns: the id and the key of a client that has never pulsed."""
        return self.done(self.store.register(now))

    def come_online(self) -> tuple[bytes, bytes]:
        """:returns: the id and the key of a client that has registered and pulsed at NOW."""
        client_id, key = self.register()
        self.assertIs(self.done(self.store.pulse(key, HERE, NOW)), ON_TIME)
        return client_id, key

    def online(self, client_id: bytes, now: float) -> bool | None:
        """:returns: the status, ``None`` for a client that is gone; the verbs that look for it must agree."""

        async def ask() -> bool | None:
            try:
                return (await self.store.status(client_id, now)).online
            except NotFound:
                return None

        online = self.done(ask())
        if online is None:
            self.refused(self.store.address(client_id, now), NotFound)
        return online


class RegisterContract(PresenceCase):
    """Making clients."""

    def test_it_is_a_store(self) -> None:
        """It provides every verb, as the interface spells it."""
        self.assertTrue(verifyObject(IStore, self.store))

    def test_client_gets_an_id_and_the_key_that_follows(self) -> None:
        """16 random bytes, and the key under the secret in use."""
        made = [self.register() for _ in range(50)]
        self.assertEqual([key for _, key in made], [self.keyring.key(client_id) for client_id, _ in made])
        self.assertEqual(({len(client_id) for client_id, _ in made}, len(set(made))), ({16}, 50))

    def test_randomness_is_what_was_given(self) -> None:
        """The same seed makes the same clients."""
        self.assertEqual(self.done(self.opened().register(NOW)), self.register())

    def test_mistakable_key_is_given_to_no_client(self) -> None:
        """An id whose key looks like another dialect's datagram is drawn again."""
        drawn = [n.to_bytes(16, "big") for n in range(2000)]
        bad = next(client_id for client_id in drawn if mistakable(self.keyring.key(client_id)))
        good = next(client_id for client_id in drawn if not mistakable(self.keyring.key(client_id)))
        ids = [bad, bad, good]
        store = self.opened(random=lambda size: ids.pop(0) if size == 16 else bytes(size))
        self.assertEqual(self.done(store.register(NOW)), (good, self.keyring.key(good)))

    def test_full_store_refuses_and_records_nothing(self) -> None:
        """At its limit; one below, there was room, and there is again once a client has left."""
        self.store = self.opened(max_clients=3)
        made = [self.register() for _ in range(3)]
        self.refused(self.store.register(NOW), Full)
        self.assertEqual(len(self.store.live), 3)
        self.done(self.store.logout(made[0][0], NOW))
        self.register()
        self.refused(self.store.register(NOW), Full)

    def test_id_that_is_taken_is_refused(self) -> None:
        """A random source that repeats itself makes no client twice, nor one that has logged out."""
        self.store = self.opened(random=bytes)
        client_id, _ = self.register()
        self.refused(self.store.register(NOW), Conflict)
        self.done(self.store.logout(client_id, NOW))
        self.refused(self.store.register(NOW), Conflict)

    def test_new_client_is_pending_without_an_address(self) -> None:
        """It has never been online."""
        client_id, _ = self.register()
        self.assertEqual(self.done(self.store.status(client_id, NOW)), PeerStatus(False, None))
        self.assertEqual(self.refused(self.store.address(client_id, NOW), NotFound).code, "no-address")


class PulseContract(PresenceCase):
    """Pulses and what they record."""

    def test_every_boundary_of_a_client_that_has_pulsed(self) -> None:
        """Status and answer at each; only what is on time moves the client."""
        for since, online, code in STATES:
            client_id, key = self.come_online()
            now = NOW + since
            self.assertEqual(self.online(client_id, now), online, since)
            self.assertIs(self.done(self.store.pulse(key, THERE, now)), code, since)
            if online is not None:
                host, port = THERE if code is ON_TIME else HERE
                self.assertEqual(self.done(self.store.address(client_id, now)), ObservedAddress(host, port), since)

    def test_every_boundary_of_a_client_that_has_never_pulsed(self) -> None:
        """Its first pulse is on time within the registration time."""
        for since, online, code in NEW_STATES:
            client_id, key = self.register()
            self.assertEqual(self.online(client_id, NOW + since), online, since)
            self.assertIs(self.done(self.store.pulse(key, HERE, NOW + since)), code, since)

    def test_timers_are_those_given(self) -> None:
        """The boundaries follow the options."""
        timers = Timers(pulse_interval=8.0, pulse_grace=0.5, error_time=16.0, registration_time=4.0)
        self.store = self.opened(timers=timers)
        new, _ = self.register()
        client_id, _ = self.come_online()
        moments = [4.0, 4.0 + JUST, 8.5, 8.5 + JUST, 24.0, 24.0 + JUST]
        self.assertEqual([self.online(new, NOW + since) for since in moments[:2]], [False, None])
        seen = [self.online(client_id, NOW + since) for since in moments[2:]]
        self.assertEqual(seen, [True, False, False, None])

    def test_late_pulse_records_nothing(self) -> None:
        """Neither where nor when."""
        client_id, key = self.come_online()
        self.done(self.store.pulse(key, THERE, NOW + 100))
        self.assertEqual(self.done(self.store.status(client_id, NOW + 110)), PeerStatus(False, 110.0))
        self.assertEqual(self.done(self.store.address(client_id, NOW + 110)), ObservedAddress(*HERE))
        self.assertIsNone(self.online(client_id, NOW + 210 + JUST))

    def test_unknown_key_is_unknown(self) -> None:
        """And no client comes of it."""
        self.assertIs(self.done(self.store.pulse(bytes(32), HERE, NOW)), UNKNOWN)
        self.assertEqual(len(self.store.live), 0)

    def test_live_table_takes_the_common_pulse(self) -> None:
        """What it does by itself, the verbs see, and the other way round."""
        client_id, key = self.come_online()
        self.assertTrue(self.store.live.keep_alive(key, HERE, NOW + 33))
        self.assertEqual(self.done(self.store.status(client_id, NOW + 66)), PeerStatus(True, 33.0))
        self.assertFalse(self.store.live.keep_alive(key, THERE, NOW + 40))
        self.done(self.store.pulse(key, THERE, NOW + 40))
        self.assertTrue(self.store.live.keep_alive(key, THERE, NOW + 73))
        self.assertFalse(self.store.live.keep_alive(key, THERE, NOW + 73 + 33 + JUST))

    def test_ipv4_through_an_ipv6_socket_is_shown_as_ipv4(self) -> None:
        """Peers can send to it whatever sockets they have."""
        client_id, key = self.register()
        self.done(self.store.pulse(key, ("::ffff:192.0.2.1", 5), NOW))
        self.assertEqual(self.done(self.store.address(client_id, NOW)), ObservedAddress("192.0.2.1", 5))


class PeerContract(PresenceCase):
    """Verifying, and what others are told."""

    def test_verify_at_every_boundary(self) -> None:
        """ONLINE again with all the time anew, or refused once the client is gone."""
        for since, online, _ in STATES:
            client_id, key = self.come_online()
            now = NOW + since
            if online is None:
                self.assertEqual(self.refused(self.store.verify(client_id, now), NotFound).code, "not-registered")
                continue
            self.done(self.store.verify(client_id, now))
            seen = [self.online(client_id, now + later) for later in (0.0, 33.0, 33.0 + JUST, 210.0, 210.0 + JUST)]
            self.assertEqual(seen, [True, True, False, False, None], since)
            self.assertIs(self.done(self.store.pulse(key, THERE, now + 33)), ON_TIME)

    def test_verify_before_the_first_pulse_gives_no_address(self) -> None:
        """Nothing has shown where the client is; it has the registration time once more."""
        client_id, _ = self.register()
        self.done(self.store.verify(client_id, NOW + 300))
        self.assertEqual(self.done(self.store.status(client_id, NOW + 600)), PeerStatus(False, None))
        self.assertEqual(self.refused(self.store.address(client_id, NOW + 600), NotFound).code, "no-address")
        self.assertIsNone(self.online(client_id, NOW + 600 + JUST))

    def test_last_online_counts_from_the_pulse(self) -> None:
        """Not from a verify, however many come."""
        client_id, key = self.come_online()
        self.done(self.store.verify(client_id, NOW + 100))
        self.done(self.store.verify(client_id, NOW + 110))
        self.assertEqual(self.done(self.store.status(client_id, NOW + 120)), PeerStatus(True, 120.0))
        self.done(self.store.pulse(key, HERE, NOW + 125))
        self.assertEqual(self.done(self.store.status(client_id, NOW + 130)), PeerStatus(True, 5.0))

    def test_clock_that_goes_back_is_harmless(self) -> None:
        """A last pulse in the future was just now."""
        client_id, key = self.come_online()
        self.assertEqual(self.done(self.store.status(client_id, NOW - 1000)), PeerStatus(True, 0.0))
        self.assertEqual(self.done(self.store.sweep(NOW - 1000)), Swept())
        self.assertIs(self.done(self.store.pulse(key, HERE, NOW - 1000)), ON_TIME)
        self.assertIsNone(self.online(client_id, NOW))

    def test_unknown_peers_are_not_found(self) -> None:
        """By any verb that names one."""
        for verb in (self.store.address, self.store.status, self.store.verify):
            self.assertEqual(self.refused(verb(bytes(16), NOW), NotFound).status, 404)


class CredentialContract(PresenceCase):
    """Credentials, and their end."""

    def good(self, client_id: bytes, key: bytes, now: float) -> tuple[bool, bool]:
        """:returns: whether the bare key is good, and whether the pair is."""
        return self.proves(Credential(key), client_id, now), self.proves(Credential(key, client_id), client_id, now)

    def proves(self, credential: Credential, client_id: bytes, now: float) -> bool:
        """:returns: whether the credential proves this id; it must prove no other."""

        async def ask() -> bytes | None:
            try:
                return await self.store.authenticate(credential, now)
            except Unauthorized:
                return None

        proven = self.done(ask())
        self.assertIn(proven, (client_id, None))
        return proven is not None

    def test_both_forms_in_every_state(self) -> None:
        """The bare key is good as long as its client is there, the pair for longer."""
        for since, online, _ in STATES:
            client_id, key = self.come_online()
            self.assertEqual(self.good(client_id, key, NOW + since), (online is not None, True), since)
        for since, online, _ in NEW_STATES:
            client_id, key = self.register()
            self.assertEqual(self.good(client_id, key, NOW + since), (online is not None, True), since)

    def test_pair_needs_no_client(self) -> None:
        """Nor the secret that is in use, as long as its own is still honoured."""
        client_id = b"never registered"
        for key in self.keyring.keys(client_id, NOW):
            self.assertEqual(self.good(client_id, key, NOW), (False, True))

    def test_wrong_credentials_are_refused(self) -> None:
        """An unknown key, and each one's key with the other's id."""
        (one, one_key), (two, two_key) = self.come_online(), self.come_online()
        for key, client_id in ((bytes(32), None), (bytes(32), one), (one_key, two), (two_key, one)):
            self.refused(self.store.authenticate(Credential(key, client_id), NOW), Unauthorized)

    def test_logout_ends_client_and_credential(self) -> None:
        """At once, in both forms, and for as long as it is remembered."""
        client_id, key = self.come_online()
        self.done(self.store.logout(client_id, NOW))
        self.assertIsNone(self.online(client_id, NOW))
        self.assertIs(self.done(self.store.pulse(key, HERE, NOW)), UNKNOWN)
        self.refused(self.store.verify(client_id, NOW), NotFound)
        for since in (0.0, DAY, 30 * DAY):
            self.done(self.store.sweep(NOW + since))
            self.assertEqual(self.good(client_id, key, NOW + since), (False, False), since)
        self.assertEqual(self.good(client_id, key, NOW + 30 * DAY + JUST), (False, True))

    def test_logout_without_a_client_ends_the_credential(self) -> None:
        """One that is gone, and one that never was here."""
        gone, gone_key = self.come_online()
        for client_id, key in ((gone, gone_key), (b"never registered", self.keyring.key(b"never registered"))):
            self.done(self.store.logout(client_id, NOW + 1000))
            self.assertEqual(self.good(client_id, key, NOW + 1000), (False, False))

    def test_logouts_are_bounded_and_never_refused(self) -> None:
        """One too many ends its credential like any other, and those that were forgotten for it stay refused."""
        self.store = self.opened(max_logouts=2, logout_memory=20.0)
        ended = [self.come_online() for _ in range(4)]
        stays = self.come_online()
        for client_id, _ in ended:
            self.done(self.store.logout(client_id, NOW))
        for client_id, key in ended:
            self.assertEqual(self.good(client_id, key, NOW + 20), (False, False))
        self.assertEqual(self.good(*stays, NOW + 20), (True, True))


class SweepContract(PresenceCase):
    """Freeing what has expired."""

    def test_sweep_counts_the_clients_it_removed(self) -> None:
        """Within a second of being gone, and once."""
        self.come_online()
        self.come_online()
        self.register()
        swept = [self.done(self.store.sweep(NOW + since)).clients for since in (210.0, 211.0, 212.0, 300.0, 301.0)]
        self.assertEqual((swept, len(self.store.live)), ([0, 2, 0, 0, 1], 0))

    def test_sweep_leaves_those_who_are_there(self) -> None:
        """ONLINE or late."""
        client_id, key = self.come_online()
        late, _ = self.come_online()
        self.done(self.store.pulse(key, HERE, NOW + 33))
        self.assertEqual(self.done(self.store.sweep(NOW + 66)), Swept())
        self.assertEqual([self.online(peer, NOW + 66) for peer in (client_id, late)], [True, False])


PRESENCE = [RegisterContract, PulseContract, PeerContract, CredentialContract, SweepContract]
