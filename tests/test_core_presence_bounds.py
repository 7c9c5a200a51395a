"""Credentials, logouts, full tables and the sweep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rendezvous.core.identity import Credential, Keyring, Secret
from rendezvous.core.notes import Removed
from rendezvous.core.presence import presence
from rendezvous.core.presence.client import Client
from rendezvous.core.presence.endings import BLOCK, gone_in
from rendezvous.core.presence.logouts import LiveOnly, Revocation
from rendezvous.core.presence.presence import Presence
from rendezvous.core.presence.states import PulseCode, Timers
from rendezvous.core.shares import Shares
from rendezvous.core.sources import source_network
from rendezvous.errors import Conflict, Full, TooMany, Unauthorized
from tests._live_table import clients, find, restore
from tests._presence_case import DAY, HERE, ID, JUST, KEY, KEYRING, NOW, OTHER, OTHER_KEY, THERE, PresenceCase

MANY = 10**9

BARE, PAIR = Credential(KEY), Credential(KEY, ID)


def ids(count: int) -> list[bytes]:
    """:returns: that many different ids."""
    return [n.to_bytes(16, "big") for n in range(count)]


class CredentialTests(PresenceCase):
    """The two forms of one credential, in every state of its client."""

    def good(self, now: float) -> tuple[bool, bool]:
        """:returns: whether the bare key is good, and whether the pair is."""
        return self.proves(BARE, now), self.proves(PAIR, now)

    def proves(self, credential: Credential, now: float) -> bool:
        """:returns: whether the credential proves the id; it must prove no other."""
        try:
            self.assertEqual(self.table.authenticate(credential, now), ID)
        except Unauthorized as error:
            self.assertNotIn(KEY.hex(), error.message)
            return False
        return True

    def test_before_the_first_pulse(self) -> None:
        """Both are good for the registration time; the pair needs no client at all."""
        self.register()
        self.assertEqual(self.good(NOW), (True, True))
        self.assertEqual(self.good(NOW + 300.0), (True, True))
        self.assertEqual(self.good(NOW + 300.0 + JUST), (False, True))

    def test_online_late_and_gone(self) -> None:
        """Nothing can resolve the bare key once its client is gone, swept or not."""
        self.come_online()
        for since in (0.0, 33.0, 33.0 + JUST, 210.0):
            self.assertEqual(self.good(NOW + since), (True, True), since)
        self.assertEqual(self.good(NOW + 210.0 + JUST), (False, True))
        self.table.sweep(NOW + 1000, MANY)
        self.assertEqual(self.good(NOW + 1000), (False, True))

    def test_never_registered_here(self) -> None:
        """Another process of the same secret may have made it: the pair is checked by arithmetic alone."""
        self.assertEqual(self.good(NOW), (False, True))

    def test_logout_ends_both_for_thirty_days(self) -> None:
        """And no longer: what is forgotten is good again, as far as arithmetic goes."""
        self.come_online()
        self.table.logout(ID, NOW)
        for since in (0.0, 33.0 + JUST, DAY, 30 * DAY):
            self.assertEqual(self.good(NOW + since), (False, False), since)
        self.assertEqual(self.good(NOW + 30 * DAY + JUST), (False, True))

    def test_sweep_changes_no_credential(self) -> None:
        """Whether it comes often or never, a logout is remembered for as long."""
        self.come_online()
        self.table.logout(ID, NOW)
        for since in (1.0, DAY, 30 * DAY):
            self.table.sweep(NOW + since, MANY)
            self.assertEqual(self.good(NOW + since), (False, False), since)

    def test_logout_before_the_first_pulse_and_without_a_client(self) -> None:
        """The credential ends, whatever its client was doing."""
        self.register()
        self.table.logout(ID, NOW)
        self.table.logout(OTHER, NOW)
        self.assertEqual(self.good(NOW), (False, False))
        self.assertRaises(Unauthorized, self.table.authenticate, Credential(OTHER_KEY, OTHER), NOW)

    def test_time_of_the_memory_is_an_option(self) -> None:
        """Boundary included."""
        self.table = self.make_table(logout_memory=5.0)
        self.table.logout(ID, NOW)
        self.assertEqual([self.proves(PAIR, NOW + since) for since in (5.0, 5.0 + JUST)], [False, True])

    def test_id_and_key_must_belong_together(self) -> None:
        """A key that is good by itself does not vouch for another id."""
        self.come_online()
        self.table.register(OTHER, OTHER_KEY, NOW)
        for key, client_id in ((KEY, OTHER), (OTHER_KEY, ID), (bytes(32), None), (bytes(32), ID)):
            self.assertRaises(Unauthorized, self.table.authenticate, Credential(key, client_id), NOW)

    def test_clients_of_a_rotated_secret_are_clients(self) -> None:
        """They are found, proven and logged out by the key that they were given."""
        old = KEYRING
        self.table = Presence(Timers(), Keyring([Secret(b"\x09" * 32), Secret(bytes(32), NOW + 1000)]))
        restore(self.table, Client(ID, NOW), NOW)
        self.assertIs(self.table.pulse(old.key(ID), HERE, NOW), PulseCode.ON_TIME)
        self.assertEqual(self.good(NOW), (True, True))
        self.assertEqual(self.found(NOW).client_id, ID)
        self.table.logout(ID, NOW)
        self.assertEqual((self.good(NOW), len(self.table)), ((False, False), 0))


class LogoutTests(PresenceCase):
    """What a logout ends."""

    def test_client_is_gone_at_once(self) -> None:
        """Not found, its pulses unknown, its memory free."""
        self.come_online()
        self.table.logout(ID, NOW)
        self.assertIsNone(find(self.table, ID, NOW))
        self.assertIs(self.table.pulse(KEY, HERE, NOW), PulseCode.UNKNOWN)
        self.assertFalse(self.table.keep_alive(KEY, HERE, NOW))
        self.assertEqual(len(self.table), 0)
        self.assertEqual(self.table.sweep(NOW + 1000, MANY), 0)

    def test_others_stay(self) -> None:
        """One client's logout is no other's business."""
        self.come_online()
        self.table.register(OTHER, OTHER_KEY, NOW)
        self.table.logout(OTHER, NOW)
        self.assertEqual(self.found(NOW).client_id, ID)

    def test_logout_is_noted_with_its_end(self) -> None:
        """The client's end, the revocation, and in time that it is forgotten."""
        self.come_online()
        client = self.found(NOW)
        self.notes.clear()
        self.table.logout(ID, NOW)
        revocation = Revocation(ID, NOW + 30 * DAY)
        self.assertEqual(self.notes, [Removed(client), revocation])
        self.notes.clear()
        self.table.sweep(NOW + 30 * DAY, MANY)
        self.assertEqual(self.notes, [])
        self.table.sweep(NOW + 30 * DAY + 1, MANY)
        self.assertEqual(self.notes, [Removed(revocation)])

    def test_restored_revocation_counts(self) -> None:
        """In any order: what a journal gives back is forgotten at its own time."""
        for client_id, days in ((ID, 20), (OTHER, 10)):
            self.table.logouts.restore(Revocation(client_id, NOW + days * DAY))
        self.assertRaises(Unauthorized, self.table.authenticate, PAIR, NOW + 20 * DAY)
        self.table.sweep(NOW + 10 * DAY + 1, MANY)
        self.assertEqual(self.notes, [Removed(Revocation(OTHER, NOW + 10 * DAY))])

    def test_logout_is_never_refused(self) -> None:
        """Without room the logout that ends first is forgotten, and its credential stays refused all the same."""
        self.table = self.make_table(max_logouts=3, logout_memory=100.0)
        self.come_online()
        for n, client_id in enumerate(ids(3)):
            self.table.logout(client_id, NOW + n)
        self.notes.clear()
        client = self.found(NOW + 3)
        self.table.logout(ID, NOW + 3)
        first = Revocation(ids(1)[0], NOW + 100.0)
        self.assertEqual(
            self.notes, [Removed(client), Removed(first), LiveOnly(NOW + 100.0), Revocation(ID, NOW + 103.0)]
        )
        self.assertEqual(len(self.table.logouts), 3)
        for client_id in (*ids(3), ID):
            self.assertFalse(self.proves(Credential(KEYRING.key(client_id), client_id), NOW + 100.0))

    def proves(self, credential: Credential, now: float) -> bool:
        """:returns: whether the credential is good."""
        try:
            self.table.authenticate(credential, now)
        except Unauthorized:
            return False
        return True

    def test_forgotten_logout_costs_only_those_who_are_not_live(self) -> None:
        """Until the forgotten logout would have ended, a credential is good as long as its client is in the table."""
        self.table = self.make_table(max_logouts=1, logout_memory=1000.0)
        self.come_online()
        for client_id in ids(2):
            self.table.logout(client_id, NOW)
        other = Credential(OTHER_KEY, OTHER)
        self.assertEqual([self.proves(each, NOW + 210.0) for each in (BARE, PAIR, other)], [True, True, False])
        self.assertEqual([self.proves(each, NOW + 1000.0) for each in (BARE, PAIR, other)], [False, False, False])
        after = NOW + 1000.0 + JUST
        self.assertEqual([self.proves(each, after) for each in (BARE, PAIR, other)], [False, True, True])

    def test_restored_rule_counts(self) -> None:
        """It holds after a restart, and an earlier one does not shorten it."""
        self.table.logouts.restore_live_only(NOW + 10.0)
        self.table.logouts.restore_live_only(NOW + 5.0)
        self.assertEqual([self.proves(PAIR, NOW + 10.0 + since) for since in (0.0, JUST)], [False, True])

    def test_full_table_of_logouts_makes_room_without_a_sweep(self) -> None:
        """Two leave for each that enters, within a second of their end; then nothing is forgotten early."""
        self.table = self.make_table(max_logouts=3, logout_memory=100.0)
        for client_id in ids(3):
            self.table.logout(client_id, NOW)
        self.table.logout(ID, NOW + 101.0)
        self.assertEqual(len(self.table.logouts), 2)
        self.assertFalse(self.proves(PAIR, NOW + 101.0))
        self.assertTrue(self.proves(Credential(OTHER_KEY, OTHER), NOW + 101.0))

    def test_second_logout_takes_no_second_place(self) -> None:
        """Two requests may have been proven before either took effect; the table is no fuller for it."""
        self.table = self.make_table(max_logouts=2)
        for client_id in (*ids(2), *ids(2)):
            self.table.logout(client_id, NOW)
        self.assertEqual(len(self.table.logouts), 2)
        self.assertTrue(self.proves(PAIR, NOW))

    def test_source_that_logs_out_in_a_loop_may_register_no_more(self) -> None:
        """It may always log out; another source is not concerned, and the share is given back when a logout ends."""
        loop, other = source_network("198.51.100.7"), source_network("203.0.113.9")
        self.table = self.make_table(logout_memory=100.0, logout_shares=Shares("remembered logouts", 2, 3))
        for client_id in ids(2):
            self.table.register(client_id, KEYRING.key(client_id), NOW, loop)
            self.table.logout(client_id, NOW)
        error = self.assertRaises(TooMany, self.table.register, ID, KEY, NOW, loop)
        self.assertEqual(error.code, "source-share")
        self.table.register(ID, KEY, NOW, other)
        self.table.logout(b"gone by then ...", NOW, loop)
        self.table.logout(ID, NOW, loop)  # Counted for the source that has registered it.
        self.assertRaises(TooMany, self.table.register, OTHER, OTHER_KEY, NOW, loop)
        self.table.sweep(NOW + 101.0, MANY)
        self.table.register(OTHER, OTHER_KEY, NOW + 101.0, loop)

    def test_second_logout_changes_nothing(self) -> None:
        """It is neither noted nor remembered for longer, and the others are forgotten at their own times."""
        self.table = self.make_table(logout_memory=100.0)
        for client_id, since in ((ID, 0.0), (OTHER, 1.0), (ID, 50.0)):
            self.table.logout(client_id, NOW + since)
        self.assertEqual(self.notes, [Revocation(ID, NOW + 100.0), Revocation(OTHER, NOW + 101.0)])
        self.assertEqual(self.table.authenticate(PAIR, NOW + 100.0 + JUST), ID)
        self.notes.clear()
        self.table.sweep(NOW + 103.0, MANY)
        self.assertEqual(self.notes, [Removed(Revocation(ID, NOW + 100.0)), Removed(Revocation(OTHER, NOW + 101.0))])

    def test_logout_after_the_last_is_forgotten_counts_anew(self) -> None:
        """Even where no sweep has been."""
        self.table = self.make_table(logout_memory=100.0)
        self.table.logout(ID, NOW)
        self.table.logout(ID, NOW + 100.0 + JUST)
        self.assertRaises(Unauthorized, self.table.authenticate, PAIR, NOW + 200.0 + JUST)
        self.assertEqual(self.table.authenticate(PAIR, NOW + 200.0 + 2 * JUST), ID)


class RegistrationTests(PresenceCase):
    """Letting clients in, as far as there is room."""

    def test_registered_client_is_noted(self) -> None:
        """It is in the table under its key."""
        client = self.table.register(ID, KEY, NOW)
        self.assertEqual(self.notes, [client])
        self.assertEqual((list(clients(self.table)), KEY in self.table, ID in self.table), ([client], True, False))

    def test_table_is_full_at_its_limit(self) -> None:
        """One below there is room, at the limit there is none, and nothing is recorded of who was refused."""
        self.table = self.make_table(max_clients=3)
        for client_id in ids(3):
            self.table.register(client_id, KEYRING.key(client_id), NOW)
        self.notes.clear()
        error = self.assertRaises(Full, self.table.register, ID, KEY, NOW)
        self.assertEqual((error.status, error.retry_after), (503, 30))
        self.assertEqual((len(self.table), KEY in self.table, self.notes), (3, False, []))
        self.assertIs(self.table.pulse(KEY, HERE, NOW), PulseCode.UNKNOWN)

    def test_every_way_out_makes_room(self) -> None:
        """Logout, sweep, the pulse that comes too late, and another registration a second after the end."""
        ways: list[Callable[[], object]] = [
            lambda: self.table.logout(ID, NOW),
            lambda: self.table.sweep(NOW + 302, MANY),
            lambda: self.table.pulse(KEY, HERE, NOW + 302),
            lambda: None,
        ]
        for leave in ways:
            self.table = self.make_table(max_clients=1)
            self.register()
            self.assertRaises(Full, self.table.register, OTHER, OTHER_KEY, NOW + 300)
            leave()
            self.table.register(OTHER, OTHER_KEY, NOW + 302)

    def test_source_holds_no_more_than_its_share(self) -> None:
        """Every way out gives it back; a source that is not known is not counted, and a restored client is."""
        one, site = source_network("198.51.100.7"), source_network("198.51.100.8")
        self.table = self.make_table(shares=Shares("clients", 2, 3))
        for client_id in ids(2):
            self.table.register(client_id, KEYRING.key(client_id), NOW, one)
        self.assertRaises(TooMany, self.table.register, ID, KEY, NOW, one)
        self.table.register(ID, KEY, NOW, site)
        self.assertRaises(TooMany, self.table.register, OTHER, OTHER_KEY, NOW, site)
        self.table.register(OTHER, OTHER_KEY, NOW)
        self.table.logout(ids(1)[0], NOW)
        third = ids(3)[2]
        self.table.register(third, KEYRING.key(third), NOW, one)
        self.table.sweep(NOW + 301.0, MANY)
        restore(self.table, Client(ID, NOW + 301.0, one.subscriber), NOW + 301.0)
        restore(self.table, Client(OTHER, NOW + 301.0, one.subscriber), NOW + 301.0)
        self.assertRaises(TooMany, self.table.register, third, KEYRING.key(third), NOW + 301.0, one)

    def test_taken_id_is_a_conflict(self) -> None:
        """Live or logged out, it is not given to a second client, and the first is left alone."""
        self.come_online()
        self.notes.clear()
        self.assertRaises(Conflict, self.table.register, ID, KEY, NOW + 5)
        self.assertEqual((self.found(NOW).last_pulse, self.notes), (NOW, []))
        self.table.logout(ID, NOW)
        self.assertRaises(Conflict, self.table.register, ID, KEY, NOW + 5)

    def test_restored_client_is_where_it_was(self) -> None:
        """As it was kept elsewhere, and without being noted again; it is swept like any other."""
        restore(self.table, Client(ID, NOW, host=THERE[0], port=THERE[1]), NOW)
        self.assertEqual(self.notes, [])
        self.assertTrue(self.table.keep_alive(KEY, THERE, NOW + 33.0))
        self.assertEqual([self.table.sweep(NOW + since, MANY) for since in (33 + 210, 33 + 211 + JUST)], [0, 1])


class SweepTests(PresenceCase):
    """Freeing memory, which is all that a sweep does."""

    def setUp(self) -> None:
        """Count the blocks of slots that are looked at."""
        super().setUp()
        self.looks = 0

        def counted(*arguments: Any) -> tuple[list[int], float]:
            self.looks += 1
            return gone_in(*arguments)

        self.patch(presence, "gone_in", counted)

    def fill(self, count: int, **options: Any) -> Presence:
        """:returns: a table of that many clients, which came online at NOW."""
        table = Presence(Timers(), KEYRING, note=self.notes.append, **options)
        for client_id in ids(count):
            table.register(client_id, KEYRING.key(client_id), NOW)
            table.pulse(KEYRING.key(client_id), HERE, NOW)
        return table

    def test_gone_clients_are_removed_within_a_second_and_noted(self) -> None:
        """No sooner than they are gone."""
        self.come_online()
        client = self.found(NOW)
        self.notes.clear()
        self.assertEqual([self.table.sweep(NOW + since, MANY) for since in (33.0 + JUST, 210.0)], [0, 0])
        self.assertEqual(self.table.sweep(NOW + 211.0, MANY), 1)
        self.assertEqual((self.notes, len(self.table)), ([Removed(client)], 0))

    def test_client_that_never_pulses_is_removed_after_its_registration_time(self) -> None:
        """Three hundred seconds and no less."""
        self.register()
        removed = [self.table.sweep(NOW + since, MANY) for since in (211.0, 300.0, 301.0)]
        self.assertEqual((removed, len(self.table)), ([0, 0, 1], 0))

    def test_long_registration_time_keeps_no_client_that_has_pulsed(self) -> None:
        """The first pulse brings the deadline nearer, whenever it comes, and memory is free just as soon."""
        for first in (0.0, 100.0, 209.0, 211.0, 1000.0, 5000.0):
            self.table = self.make_table(Timers(registration_time=1e6))
            self.register()
            for second in range(int(first) + 1):
                self.table.sweep(NOW + second, MANY)
            self.table.pulse(KEY, HERE, NOW + first)
            removed = [self.table.sweep(NOW + first + since, MANY) for since in (210.0, 211.0)]
            self.assertEqual(removed, [0, 1], first)

    def test_sweep_costs_what_expires_and_not_what_lives(self) -> None:
        """A block of clients that pulse is looked at once a lifetime; the passes in between look at nothing."""
        table = self.fill(1000)
        costs = []
        for second in range(1, 1000):
            if second % 25 == 0:
                for client_id in ids(1000):
                    self.assertTrue(table.keep_alive(KEYRING.key(client_id), HERE, NOW + second))
            before = self.looks
            self.assertEqual(table.sweep(NOW + second, MANY), 0)
            costs.append(self.looks - before)
        self.assertEqual({cost for cost in costs if cost}, {1})
        self.assertLessEqual(len([cost for cost in costs if cost]), 1000 // 180)

    def test_pass_is_bounded(self) -> None:
        """It removes no more clients than it may, and the next goes on where it stopped."""
        table = self.fill(10)
        self.assertEqual([table.sweep(NOW + 211, n) for n in (0, 4, 4, 4, 4)], [0, 4, 4, 2, 0])
        self.assertEqual((len(table), table.is_due(NOW + 1000)), (0, False))

    def test_pass_that_finds_life_is_bounded_too(self) -> None:
        """It looks at whole blocks, and begins none once it has looked at as many clients as it may."""
        table = self.fill(3 * BLOCK - 1)
        for client_id in ids(3 * BLOCK - 1):
            table.keep_alive(KEYRING.key(client_id), HERE, NOW + 30)
        looks, due = [], []
        for at_most in (0, 1, BLOCK, 2 * BLOCK, MANY):
            before = self.looks
            self.assertEqual(table.sweep(NOW + 212, at_most), 0)
            looks.append(self.looks - before)
            due.append(table.is_due(NOW + 212))
        self.assertEqual((looks, due), ([0, 1, 1, 1, 0], [True, True, True, False, False]))

    def test_pass_goes_on_in_the_block_where_it_stopped(self) -> None:
        """Clients that live in between do not keep it from those that are gone."""
        table = self.fill(100)
        for client_id in ids(100)[:50]:
            table.keep_alive(KEYRING.key(client_id), HERE, NOW + 30)
        removed = [table.sweep(NOW + 212, 20) for _ in range(4)]
        self.assertEqual((removed, len(table), table.is_due(NOW + 212)), ([20, 20, 10, 0], 50, False))

    def test_next_end_is_known_to_the_second(self) -> None:
        """After a look, the block is left alone until its first client may end, and is not forgotten then."""
        table = self.fill(3)
        for n, client_id in enumerate(ids(3)):
            table.keep_alive(KEYRING.key(client_id), HERE, NOW + 10 * n)
        table.sweep(NOW + 210.0 + JUST, MANY)
        self.assertEqual(len(table), 2)
        due = [table.is_due(NOW + since) for since in (220.0, 220.0 + JUST)]
        self.assertEqual((due, table.sweep(NOW + 220.0 + JUST, MANY)), ([False, True], 1))

    def test_forgetting_logouts_is_bounded(self) -> None:
        """A clock that leaps, or a long pause, does not make one pass hold the reactor for all of them."""
        for client_id in ids(10):
            self.table.logout(client_id, NOW)
        forgotten = []
        for _ in range(4):
            self.notes.clear()
            self.table.sweep(NOW + 31 * DAY, 4)
            forgotten.append(len(self.notes))
        self.assertEqual(forgotten, [4, 4, 2, 0])

    def test_late_sweep_changes_no_answer(self) -> None:
        """With it or without it, the same is found, and the same is answered."""
        swept, never = self.fill(5), self.fill(5)
        for since in (0.0, 33.0, 34.0, 210.0, 211.0, 301.0, 1000.0):
            swept.sweep(NOW + since, MANY)
            for client_id in ids(5):
                found = [find(table, client_id, NOW + since) is None for table in (swept, never)]
                self.assertEqual(found[0], found[1], since)
        keys = [KEYRING.key(client_id) for client_id in ids(5)]
        answers = {table.pulse(key, HERE, NOW + 1e3) for table in (swept, never) for key in keys}
        self.assertEqual(answers, {PulseCode.UNKNOWN})

    def test_clock_that_goes_back_sweeps_no_client(self) -> None:
        """And once it has caught up, everybody goes as usual."""
        table = self.fill(3)
        self.assertEqual([table.sweep(NOW + since, MANY) for since in (-1e6, -1.0, 0.0, 211.0)], [0, 0, 0, 3])


class RotationTests(PresenceCase):
    """Clients that were restored while the old secret is honoured."""

    def setUp(self) -> None:
        """Restore a client of the old secret, which is honoured for another 100 seconds."""
        super().setUp()
        self.keyring = Keyring([Secret(b"\x09" * 32), Secret(bytes(32), NOW + 100)])
        self.notes = []
        self.table = Presence(Timers(), self.keyring, max_clients=2, note=self.notes.append)
        restore(self.table, Client(ID, NOW, host=THERE[0], port=THERE[1]), NOW)
        self.new_key = self.keyring.key(ID)

    def test_client_counts_once(self) -> None:
        """Against the bound, and in a listing."""
        self.assertEqual((len(self.table), len(list(clients(self.table)))), (1, 1))
        self.table.register(OTHER, self.keyring.key(OTHER), NOW)
        self.assertRaises(Full, self.table.register, bytes(16), self.keyring.key(bytes(16)), NOW)

    def test_old_key_pulses_until_its_secret_ends(self) -> None:
        """To the second of the sweep; the client itself is there until it falls silent."""
        for since in range(0, 100, 25):
            self.table.sweep(NOW + since, MANY)
            self.assertTrue(self.table.keep_alive(KEY, THERE, NOW + since))
        self.table.sweep(NOW + 102, MANY)
        self.assertIs(self.table.pulse(KEY, THERE, NOW + 102), PulseCode.UNKNOWN)
        self.assertEqual((len(self.table), self.notes), (1, []))

    def test_old_secrets_may_end_at_the_same_moment(self) -> None:
        """The keys of each are honoured until then, and all of them end with the client."""
        old = [Secret(bytes([n]) * 32, NOW + 100) for n in (1, 2, 3)]
        self.table = Presence(Timers(), Keyring([Secret(b"\x09" * 32), *old]), max_clients=2)
        restore(self.table, Client(ID, NOW, host=THERE[0], port=THERE[1]), NOW)
        keys = [Keyring([Secret(secret.value)]).key(ID) for secret in old]
        for key in keys:
            self.assertTrue(self.table.keep_alive(key, THERE, NOW + 1))
        self.table.logout(ID, NOW + 2)
        for key in keys:
            self.assertNotIn(key, self.table)
        self.assertEqual([len(index) for index in self.table.old_indexes(NOW + 2)], [0, 0, 0])

    def test_silent_client_ends_once(self) -> None:
        """However many keys lead to it."""
        self.assertEqual(self.table.sweep(NOW + 10_000, MANY), 1)
        self.assertEqual((len(self.table), len(self.notes)), (0, 1))

    def test_logout_ends_every_key(self) -> None:
        """Also after the end of the secret, when a sweep is late."""
        self.table.logout(ID, NOW + 150)
        for key in (KEY, self.new_key):
            self.assertIs(self.table.pulse(key, THERE, NOW + 150), PulseCode.UNKNOWN)
        self.assertEqual(len(self.table), 0)
