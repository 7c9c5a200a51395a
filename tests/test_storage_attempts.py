"""The SQLite store: an attempt to connect goes on after a restart, and after a crash, in whatever state it is."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import attrs

from rendezvous.core.attempts.attempt import AddressCheck, AttemptView, Given
from rendezvous.core.connect import AttemptState, Candidate, CandidateKind
from rendezvous.core.identity import Keyring, Secret
from rendezvous.core.notes import PeerEvents
from rendezvous.core.sources import source_network
from rendezvous.errors import NotFound, TooMany
from tests._store_case import NOW
from tests.test_storage_sqlite import FileCase

AT_A, AT_B = ("198.51.100.1", 40000), ("2001:db8::2", 50000)
MAPPED = Candidate(CandidateKind.MAPPED, ("198.51.100.1", 7000))
DOWN = 10_000.0


class RestartTests(FileCase):
    """A stop that was asked for."""

    def setUp(self) -> None:
        """Register two clients."""
        super().setUp()
        self.one, _ = self.done(self.store.register(NOW))
        self.other, _ = self.done(self.store.register(NOW))
        self.lives = 0

    def reopen(self, end: float = NOW + 1) -> float:
        """
        End the life that is, and begin another. Server time stands still meanwhile.

        :returns: the server time at which it goes on.
        """
        self.end_life(end)
        self.lives += 1
        self.store = self.opened(end + DOWN, random=random.Random(f"life {self.lives}").randbytes)
        return end

    def end_life(self, end: float) -> None:
        """Close the store as a process does when it is told to stop."""
        self.done(self.store.close(end))

    def begun(self) -> bytes:
        """:returns: the id of a new attempt."""
        given = Given((MAPPED,), 0.05, birthday=True)
        return self.done(self.store.begin_attempt(self.one, self.other, given, NOW)).attempt

    def observe(self, client: bytes, attempt: bytes, source: tuple[str, int], now: float, ms: int) -> None:
        """Have both ports see a source."""
        for port in (0, 1):
            self.assertEqual(self.done(self.store.observe(client, attempt, 1, ms, port, source, now)), 1020)

    def see(self, attempt: bytes, now: float) -> AttemptView:
        """:returns: what the controlling side sees."""
        return self.done(self.store.attempt(self.one, attempt, now))

    def test_invitation_waits_on(self) -> None:
        """Its number is the same, so a stream and a held request miss nothing and repeat nothing."""
        attempt = self.begun()
        self.done(self.store.attempts_due(NOW))
        [before] = self.done(self.store.invitations(self.other, NOW))
        now = self.reopen()
        [after] = self.done(self.store.invitations(self.other, now))
        self.assertEqual(after, before)
        [event] = self.done(self.store.events_since(self.other.hex(), before.seq - 1, now)).events
        self.assertEqual(event.seq, before.seq)
        self.assertEqual(self.done(self.store.accept_attempt(self.other, attempt, Given(), now)).role, "controlled")

    def test_attempt_in_the_middle_of_observation_goes_on(self) -> None:
        """What was observed is not lost, and what was not observed yet can be."""
        attempt = self.begun()
        self.done(self.store.accept_attempt(self.other, attempt, Given(), NOW))
        self.observe(self.one, attempt, AT_A, NOW, int(NOW * 1000))
        now = self.reopen()
        self.assertEqual(self.see(attempt, now).state, AttemptState.OBSERVING)
        self.observe(self.other, attempt, ("203.0.113.2", 50000), now, int((now + DOWN) * 1000) + 1)
        seen = self.see(attempt, now)
        self.assertEqual(seen.state, AttemptState.GO)

    def test_attempt_that_goes_keeps_its_key_and_its_start(self) -> None:
        """The version is greater than any that was seen before."""
        attempt = self.begun()
        self.done(self.store.accept_attempt(self.other, attempt, Given(), NOW))
        self.observe(self.one, attempt, AT_A, NOW, int(NOW * 1000))
        self.observe(self.other, attempt, ("203.0.113.2", 50000), NOW, int(NOW * 1000))
        before = self.see(attempt, NOW)
        now = self.reopen()
        after = self.see(attempt, now)
        self.assertEqual((after.state, after.go), (AttemptState.GO, before.go))
        self.assertGreater(after.version, before.version)

    def test_key_stays_when_the_secret_is_replaced(self) -> None:
        """One side may have it already, and the other one must get the same. New attempts use the new secret."""
        attempt = self.begun()
        self.done(self.store.accept_attempt(self.other, attempt, Given(), NOW))
        self.observe(self.one, attempt, AT_A, NOW, int(NOW * 1000))
        self.observe(self.other, attempt, ("203.0.113.2", 50000), NOW, int(NOW * 1000))
        before = self.see(attempt, NOW).go
        self.keyring = Keyring([Secret(b"\x07" * 32), Secret(bytes(32), until=NOW + 2 * DOWN)])
        now = self.reopen()
        after = self.done(self.store.attempt(self.other, attempt, now)).go
        assert before is not None
        assert after is not None
        self.assertEqual(after.key, before.key)
        self.assertNotEqual(self.keyring.key(b"pair key of attempt " + attempt), before.key)
        self.done(self.store.end_attempt(self.one, attempt, now))
        self.done(self.store.attempts_due(now + 31))
        self.assertEqual(len(self.store.tables.attempt_table._restored_keys), 0)

    def test_key_is_in_no_file(self) -> None:
        """Neither the database nor what lies beside it has it, in any form."""
        attempt = self.begun()
        self.done(self.store.accept_attempt(self.other, attempt, Given(), NOW))
        self.observe(self.one, attempt, AT_A, NOW, int(NOW * 1000))
        self.observe(self.other, attempt, ("203.0.113.2", 50000), NOW, int(NOW * 1000))
        go = self.see(attempt, NOW).go
        assert go is not None
        self.done(self.store.sweep(NOW))
        files = list(Path(self.path).parent.glob(Path(self.path).name + "*"))
        self.assertGreater(len(files), 1)
        for file in files:
            text = file.read_bytes()
            self.assertNotIn(go.key, text)
            self.assertNotIn(go.key.hex().encode(), text)

    def test_end_is_kept(self) -> None:
        """It can still be read, and is then forgotten, in the file as well."""
        attempt = self.begun()
        self.done(self.store.end_attempt(self.other, attempt, NOW))
        now = self.reopen()
        self.assertEqual(self.see(attempt, now).state, AttemptState.DECLINED)
        self.done(self.store.attempts_due(NOW + 30))
        self.refused(self.store.attempt(self.one, attempt, NOW + 30), NotFound)
        self.done(self.store.sweep(NOW + 30))
        with sqlite3.connect(self.path) as database:
            self.assertEqual(database.execute("SELECT count(*) FROM attempts").fetchone(), (0,))

    def test_source_and_client_are_charged_on(self) -> None:
        """The limits count what was read back."""
        source = source_network("198.51.100.1")
        self.store.change(attrs.evolve(self.store.tables.bounds, share=0.1))
        for _ in range(4):
            self.done(self.store.begin_attempt(self.one, self.other, Given(), NOW, source))
        now = self.reopen()
        self.store.change(attrs.evolve(self.store.tables.bounds, share=0.1))
        third, _ = self.done(self.store.register(now))
        refused = self.refused(self.store.begin_attempt(third, self.other, Given(), now, source), TooMany)
        self.assertEqual(refused.code, "too-many-invitations")

    def test_mapped_candidate_that_is_being_checked(self) -> None:
        """The answer may come after the restart."""
        attempt = self.begun()
        self.observe(self.one, attempt, AT_A, NOW, int(NOW * 1000))
        [check] = [each for each in self.done(self.store.attempts_due(NOW)).sends if isinstance(each, AddressCheck)]
        now = self.reopen()
        self.assertEqual(self.store.client_of_check(attempt, check.nonce), self.one)
        self.done(self.store.take_check_answer(attempt, check.nonce, now))
        now = self.reopen(now)
        self.assertIsNone(self.store.client_of_check(attempt, check.nonce))

    def test_those_who_wait_are_notified_in_the_next_life(self) -> None:
        """A subscription of the new life sees what happens then."""
        self.begun()
        now = self.reopen()
        waiting = self.store.subscribe(PeerEvents(self.other.hex())).changed()
        self.done(self.store.begin_attempt(self.one, self.other, Given(), now))
        self.assertIsNone(self.successResultOf(waiting))


class CrashTests(RestartTests):
    """The same after an end that came unasked: only what is in the file by then counts."""

    def end_life(self, end: float) -> None:
        """Leave the store as a process does that is killed."""
        self.kill()
