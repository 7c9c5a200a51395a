"""What is written down, when, and what becomes of it when it cannot be."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogLevel, capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.identity import Keyring, Secret
from rendezvous.core.notes import Removed
from rendezvous.core.presence import Client
from rendezvous.errors import Unavailable
from rendezvous.storage.database import open_database
from rendezvous.storage.journal import TOUCHES_PER_BATCH, Journal
from rendezvous.storage.rows import statements
from rendezvous.storage.sqlite import SqliteStore
from tests._store_case import StoreOptions

NOW = 1_700_000_000.0
SOURCE = ("198.51.100.7", 40000, 5024)
OTHER = ("198.51.100.7", 40001, 5024)
PUT_FACT = "INSERT OR REPLACE INTO meta VALUES (?, ?)"


class Thread:
    """Runs what it is given when it is told to, or says that it cannot; :ivar:`batches` counts what it was given."""

    def __init__(self) -> None:
        self.batches = 0
        self._given: tuple[Callable[[], None], Deferred[None]] | None = None

    def run(self, call: Callable[[], None]) -> Deferred[None]:
        """Take one call; a second one before the first has ended is a fault."""
        assert self._given is None
        self.batches += 1
        self._given = call, Deferred()
        return self._given[1]

    def work(self) -> None:
        """Do it."""
        call, done = self._take()
        try:
            call()
        except Exception:
            done.errback(Failure())
        else:
            done.callback(None)

    def fail(self) -> None:
        """Do nothing of it, as on a full disk."""
        self._take()[1].errback(Failure(sqlite3.OperationalError("database or disk is full")))

    @property
    def is_idle(self) -> bool:
        """:returns: whether there is nothing to do."""
        return self._given is None

    def _take(self) -> tuple[Callable[[], None], Deferred[None]]:
        assert self._given is not None
        given, self._given = self._given, None
        return given


class JournalTests(SynchronousTestCase):
    """A journal on a file, whose thread the test is."""

    def setUp(self) -> None:
        """Begin with an empty file."""
        self.path = self.mktemp()
        self.database = open_database(self.path)
        self.addCleanup(self.database.close)
        self.thread = Thread()
        self.journal = Journal(self.path, self.database, self.thread.run)

    def client(self, number: int, last_seen: float = NOW) -> Client:
        """:returns: a client that has an id of its own."""
        return Client(number.to_bytes(16, "big"), last_seen)

    def committed(self, *records: Client) -> None:
        """Have clients in the file."""
        for record in records:
            self.journal.change(record)
        self.journal.commit()
        self.thread.work()

    def rows(self, what: str = "client_id, last_seen", table: str = "clients") -> list[tuple[Any, ...]]:
        """:returns: what another reader of the file sees."""
        reader = sqlite3.connect(self.path)
        try:
            return reader.execute(f"SELECT {what} FROM {table} ORDER BY 1").fetchall()  # noqa: S608
        finally:
            reader.close()

    def test_commit_fires_when_the_batch_is_in_the_file(self) -> None:
        """Nobody is told that something is kept before another reader of the file could see it."""
        self.journal.change(self.client(1))
        done = self.journal.commit()
        self.assertNoResult(done)
        self.assertEqual(self.rows(), [])
        self.thread.work()
        self.successResultOf(done)
        self.assertEqual(len(self.rows()), 1)

    def test_commits_that_come_during_a_batch_share_the_next(self) -> None:
        """While one batch is written the next gathers: a hundred commits are two batches, not a hundred."""
        dones = []
        for number in range(100):
            self.journal.change(self.client(number))
            dones.append(self.journal.commit())
        self.thread.work()
        self.successResultOf(dones[0])
        self.assertNoResult(dones[1])
        self.thread.work()
        for done in dones[1:]:
            self.successResultOf(done)
        self.assertEqual((self.thread.batches, self.thread.is_idle, len(self.rows())), (2, True, 100))

    def test_statements_are_written_in_the_order_they_came(self) -> None:
        """Of two statements about one thing the later one holds, within a batch and across batches."""
        self.journal.add([(PUT_FACT, ("x", 1)), ("DELETE FROM meta", ()), (PUT_FACT, ("x", 2))])
        self.journal.commit()
        self.journal.add([(PUT_FACT, ("x", 3)), (PUT_FACT, ("x", 4))])
        self.thread.work()
        self.assertEqual(self.rows("*", "meta"), [("x", 2)])
        self.thread.work()
        self.assertEqual(self.rows("*", "meta"), [("x", 4)])

    def test_cancelling_a_wait_cancels_only_the_wait(self) -> None:
        """A client that hangs up takes nothing back, and spoils nothing for those who wait with it."""
        self.journal.change(self.client(1))
        gone, stays = self.journal.commit(), self.journal.commit()
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        later = self.journal.commit()
        later.cancel()
        self.failureResultOf(later, CancelledError)
        self.thread.work()
        self.thread.work()
        self.successResultOf(stays)
        self.assertEqual(len(self.rows()), 1)

    def test_failed_batch_refuses_those_who_wait_and_is_kept(self) -> None:
        """They learn that it could not be saved; once it can be, it is, with what came later, and all can write."""
        self.journal.change(self.client(1))
        done = self.journal.commit()
        with capturedLogs() as events:
            self.thread.fail()
            self.assertEqual(self.failureResultOf(done, Unavailable).value.code, "unsaved")
            self.assertRaises(Unavailable, self.journal.check)
            self.assertTrue(self.thread.is_idle)
            for _ in range(3):
                self.journal.flush()
                self.thread.fail()
            self.journal.change(self.client(2))
            self.journal.flush()
            self.thread.work()
        self.journal.check()
        self.assertEqual(len(self.rows()), 2)
        self.assertEqual([event["log_level"] for event in events], [LogLevel.error, LogLevel.info])

    def test_failed_statements_stay_before_those_that_came_meanwhile(self) -> None:
        """The order holds across a failure."""
        self.journal.add([(PUT_FACT, ("x", 1))])
        self.journal.commit().addErrback(lambda _: None)
        self.journal.add([(PUT_FACT, ("x", 2))])
        self.thread.fail()
        self.journal.flush()
        self.thread.work()
        self.assertEqual(self.rows("*", "meta"), [("x", 2)])

    def test_batch_that_raises_in_the_file_leaves_nothing_of_itself(self) -> None:
        """A statement that fails half-way takes its whole batch with it."""
        self.journal.add([(PUT_FACT, ("x", 1)), ("INSERT INTO revocations VALUES (?, ?)", ("a", None))])
        done = self.journal.commit()
        self.thread.work()
        self.failureResultOf(done, Unavailable)
        self.assertEqual(self.rows("*", "meta"), [])
        self.assertFalse(self.database.in_transaction)

    def test_client_that_ends_during_a_failing_batch_is_not_written_again(self) -> None:
        """Neither its change nor its sign of life comes back behind its removal."""
        touched, changed = self.client(1), self.client(2)
        self.committed(touched)
        self.journal.touch([touched])
        self.journal.change(changed)
        self.journal.commit().addErrback(lambda _: None)
        for each in (touched, changed):
            self.journal.drop(each)
            self.journal.add(statements(Removed(each)))
        self.thread.fail()
        self.journal.flush()
        self.thread.work()
        self.assertEqual(self.rows(), [])

    def test_client_that_ends_during_a_batch_is_removed_by_the_next(self) -> None:
        """The batch under way may still write it; the one behind it takes it out."""
        client = self.client(1)
        self.journal.change(client)
        self.journal.commit()
        self.journal.drop(client)
        self.journal.add(statements(Removed(client)))
        self.thread.work()
        self.assertEqual(len(self.rows()), 1)
        self.thread.work()
        self.assertEqual(self.rows(), [])

    def test_touches_are_bounded_in_a_batch(self) -> None:
        """However many have pulsed, those who wait for a batch wait for so many signs of life at most."""
        clients = [self.client(number, 0.0) for number in range(2 * TOUCHES_PER_BATCH + 1)]
        self.committed(*clients)
        for client in clients:
            client.last_seen = NOW
        self.journal.touch(clients)
        self.journal.flush()
        written = []
        while not self.thread.is_idle:
            self.thread.work()
            written.append(sum(last_seen == NOW for _, last_seen in self.rows()))
        self.assertEqual(written, [TOUCHES_PER_BATCH, 2 * TOUCHES_PER_BATCH, 2 * TOUCHES_PER_BATCH + 1])

    def test_nothing_grows_while_it_fails(self) -> None:
        """The same few clients change, pulse and move for an hour of failures: what is kept is theirs, once."""
        clients = [self.client(number) for number in range(5)]
        self.journal.change(clients[0])
        self.journal.commit().addErrback(lambda _: None)
        self.thread.fail()
        for second in range(3600):
            for client in clients:
                self.journal.change(client)
            self.journal.touch(clients)
            self.journal.know("alive", NOW + second)
            self.journal.flush()
            self.thread.fail()
        kept = self.journal
        self.assertEqual((len(kept._statements), len(kept._changed), len(kept._facts)), (0, 5, 1))
        self.assertLessEqual(len(kept._touched) + len(kept._waiting), 5)
        self.journal.flush()
        self.thread.work()
        self.assertEqual((len(self.rows()), self.thread.is_idle), (5, True))


class AcknowledgedTests(SynchronousTestCase):
    """A store whose thread the test is: what it answers before its file has it."""

    def setUp(self) -> None:
        """Begin with an empty file."""
        self.thread = Thread()
        options = StoreOptions(case=self, keyring=Keyring([Secret(bytes(32))]), random=random.Random(1).randbytes)
        self.store = SqliteStore(self.mktemp(), self.thread.run, **options.parts())
        self.store.open(NOW)

    def tearDown(self) -> None:
        """Close, whatever is still to be written."""
        closing = Deferred.fromCoroutine(self.store.close(NOW))
        while not self.thread.is_idle:
            self.thread.work()
        self.successResultOf(closing)

    def begun(self, verb: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        """:returns: what the verb will have returned."""
        return Deferred.fromCoroutine(verb)

    def test_repeated_announcement_waits_like_the_first(self) -> None:
        """A peer that asks again while its entry is being written is not told that it is there before it is."""
        first = self.begun(self.store.announce(SOURCE, NOW))
        again = self.begun(self.store.announce(SOURCE, NOW))
        self.assertNoResult(first)
        self.assertNoResult(again)
        self.thread.work()
        self.successResultOf(first)
        self.assertNoResult(again)
        self.thread.work()
        self.successResultOf(again)

    def test_tracker_goes_on_for_those_it_knows_while_nothing_can_be_written(self) -> None:
        """Signs of life and introductions need no file; a new peer or another address does."""
        announced = self.begun(self.store.announce(SOURCE, NOW))
        self.thread.work()
        ((reply, _),) = self.successResultOf(announced)
        changed = self.begun(self.store.register(NOW))
        self.thread.fail()
        self.failureResultOf(changed, Unavailable)
        plain = {"ip": None, "port": None, "multiaddr": None, "renew_share_id": False}
        for verb in (
            self.store.alive(SOURCE, NOW),
            self.store.push(SOURCE, NOW, reply.share_id),
            self.store.tracker_pulse(SOURCE, NOW, override=False, **plain),
        ):
            self.successResultOf(self.begun(verb))
        for refused in (
            self.store.announce(OTHER, NOW),
            self.store.tracker_pulse(SOURCE, NOW, override=True, **{**plain, "port": 9}),
        ):
            self.failureResultOf(self.begun(refused), Unavailable)
