"""What is written down, when, and what becomes of it when it cannot be."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.notes import Key, PeerEvents, Removed
from rendezvous.core.tracker import TrackerPeer
from rendezvous.errors import Unavailable
from rendezvous.storage import journal as journal_module
from rendezvous.storage import waits as waits_module
from rendezvous.storage.batch import Batch
from rendezvous.storage.batchtimer import GATHER
from rendezvous.storage.database import open_database
from rendezvous.storage.journal import DECISIONS_PER_BATCH, ROWS_PER_BATCH, Journal
from rendezvous.storage.rows import Statement, statements
from rendezvous.storage.seen import LastSeen
from rendezvous.storage.waits import REFUSALS_PER_TURN
from rendezvous.storage.writer import Writer
from tests._store_thread import Thread

NOW = 1_700_000_000.0
PUT_META = "INSERT OR REPLACE INTO meta VALUES (?, ?)"


def put(value: int) -> Statement:
    """:returns: a statement that overwrites the one before."""
    return (PUT_META, ("x", value))


class JournalCase(SynchronousTestCase):
    """
    A journal on a file, whose thread the test is.

    :ivar batches: what was given to the thread.
    :ivar notified: the keys of decisions that were committed, in order.
    """

    def setUp(self) -> None:
        """Begin with an empty file."""
        self.path = self.mktemp()
        self.database = open_database(self.path)
        self.addCleanup(self.database.close)
        self.thread = Thread()
        self.batches: list[Batch] = []
        self.notified: list[Key] = []
        self.seen = LastSeen()
        writer = Writer(self.path, self.database)

        def write(batch: Batch) -> None:
            self.batches.append(batch)
            writer.write(batch)

        def notify(keys: Collection[Key]) -> None:
            self.notified.extend(keys)

        self.journal = Journal(self.path, write, self.thread.run, notify, self.seen, NOW)

    def peer(self, number: int) -> TrackerPeer:
        """:returns: a tracker peer of its own."""
        return TrackerPeer(("192.0.2.1", number, 5024), "192.0.2.1", number, "abcdefgh", NOW, None)

    def decide(
        self,
        *changed: TrackerPeer,
        made: Iterable[Statement] = (),
        ended: Iterable[TrackerPeer] = (),
        keys: Collection[Key] = (),
        now: float = NOW,
    ) -> int:
        """
        Take a decision that changes these peers, makes these statements, and ends those peers.

        :returns: what it has to wait for.
        """
        self.journal.begin(now)
        for peer in changed:
            self.journal.mark_changed(peer)
        self.journal.add(made)
        for peer in ended:
            self.journal.forget(peer)
            self.journal.add(statements(Removed(peer)))
        return self.journal.end(keys)

    def wait(self, position: int) -> Deferred[None]:
        """:returns: what fires when it is saved, which it is not yet."""
        saved = self.journal.saved(position)
        assert saved is not None
        return saved

    def refused(self, position: int) -> Deferred[None]:
        """:returns: what fires when the wait for this has been refused."""
        return self.refused_wait(self.wait(position))

    def refused_wait(self, wait: Deferred[None]) -> Deferred[None]:
        """:returns: what fires when a wait has been refused or cancelled."""
        return wait.addErrback(lambda failure: failure.trap(Unavailable, CancelledError) and None)

    def later(self, seconds: float) -> None:
        """Let time pass, and a sweep come."""
        self.journal.begin(self.journal._now + seconds)
        self.journal.end()
        self.journal.flush()

    def rows(self, what: str = "port, last_seen", table: str = "tracker_peers") -> list[tuple[Any, ...]]:
        """:returns: what another reader of the file sees."""
        reader = sqlite3.connect(self.path)
        try:
            return reader.execute(f"SELECT {what} FROM {table} ORDER BY 1").fetchall()  # noqa: S608
        finally:
            reader.close()

    def value(self) -> object:
        """:returns: what the last of the statements has put."""
        return dict(self.rows("*", "meta")).get("x")


class WritingTests(JournalCase):
    """A disk that does what it should, at its own speed."""

    def test_wait_ends_when_the_batch_is_in_the_file(self) -> None:
        """Nothing is acknowledged before another reader of the file could see it."""
        done = self.wait(self.decide(self.peer(1)))
        self.assertNoResult(done)
        self.assertEqual(self.rows(), [])
        self.thread.work()
        self.successResultOf(done)
        self.assertEqual(len(self.rows()), 1)
        self.assertIsNone(self.journal.saved(1))

    def test_decision_that_changed_nothing_has_nothing_to_wait_for(self) -> None:
        """Whatever others wait for."""
        self.wait(self.decide(self.peer(1)))
        self.decide(self.peer(2))
        self.assertEqual(self.decide(), 0)
        self.assertIsNone(self.journal.saved(0))
        self.thread.work_off()

    def test_decisions_that_come_during_a_batch_share_the_next(self) -> None:
        """While one batch is written the next gathers: a hundred waits are two batches, not a hundred."""
        dones = [self.wait(self.decide(self.peer(number))) for number in range(100)]
        self.thread.work()
        self.successResultOf(dones[0])
        self.assertNoResult(dones[1])
        self.thread.work()
        for done in dones[1:]:
            self.successResultOf(done)
        self.assertEqual((self.thread.batches, self.thread.is_idle, len(self.rows())), (2, True, 100))

    def test_statements_are_written_in_the_order_they_came(self) -> None:
        """Of two statements about one thing the later one holds, within a batch and across batches."""
        self.wait(self.decide(made=[put(1), ("DELETE FROM meta", ()), put(2)]))
        self.decide(made=[put(3)])
        self.decide(made=[put(4)])
        self.thread.work()
        self.assertEqual(self.value(), 2)
        self.thread.work()
        self.assertEqual(self.value(), 4)

    def test_record_that_changes_often_is_one_row(self) -> None:
        """It is written as it is when its batch is made, and every decision waits for that batch."""
        peer = self.peer(1)
        self.wait(self.decide(self.peer(2)))
        first = self.decide(peer)
        peer.last_seen = NOW + 5
        self.assertEqual(self.decide(peer), first)
        done = self.wait(first)
        self.thread.work()
        self.thread.work()
        self.successResultOf(done)
        self.assertEqual(len(self.batches[1].statements), 1)
        self.assertIn(NOW + 5, [last_seen for _, last_seen in self.rows()])

    def test_batch_is_bounded_and_splits_no_decision(self) -> None:
        """A wait ends with the batch that has its own decision."""
        self.wait(self.decide(self.peer(0)))
        peers = [self.peer(number) for number in range(1, 2 * ROWS_PER_BATCH + 1)]
        first = self.wait(self.decide(*peers[:ROWS_PER_BATCH]))
        second = self.wait(self.decide(*peers[ROWS_PER_BATCH:]))
        third = self.wait(self.decide(made=[put(1)]))
        self.thread.work()
        self.thread.work()
        self.successResultOf(first)
        self.assertNoResult(second)
        self.thread.work()
        self.successResultOf(second)
        self.assertNoResult(third)
        self.thread.work()
        self.successResultOf(third)
        self.assertEqual([len(batch.statements) for batch in self.batches], [1, ROWS_PER_BATCH, ROWS_PER_BATCH, 1])

    def test_batch_has_a_bounded_number_of_decisions(self) -> None:
        """After a disk that stood still, what waited is answered in turns and not all at once."""
        self.wait(self.decide(self.peer(0)))
        waiting = [self.wait(self.decide(self.peer(1 + number))) for number in range(2 * DECISIONS_PER_BATCH + 1)]
        self.thread.work()
        for _ in range(3):
            before = sum(not done.called for done in waiting)
            self.thread.work()
            self.assertLessEqual(before - sum(not done.called for done in waiting), DECISIONS_PER_BATCH)
        self.assertEqual(sum(done.called for done in waiting), len(waiting))

    def test_client_that_ends_during_a_batch_is_removed_by_the_next(self) -> None:
        """The batch under way may still write it; the one behind it takes it out."""
        peer = self.peer(1)
        self.wait(self.decide(peer))
        self.decide(ended=[peer])
        self.thread.work()
        self.assertEqual(len(self.rows()), 1)
        self.thread.work()
        self.assertEqual(self.rows(), [])

    def test_keys_are_notified_after_the_commit_of_their_decision(self) -> None:
        """In order, before the waits end, and although the one who has decided has gone away."""
        a, b = PeerEvents("a"), PeerEvents("b")
        gone = self.wait(self.decide(self.peer(1), keys=[a]))
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.wait(self.decide(self.peer(2), keys=[b])).addCallback(lambda _: self.assertEqual(self.notified, [a, b]))
        self.assertEqual(self.notified, [])
        self.thread.work()
        self.assertEqual(self.notified, [a])
        self.thread.work()
        self.assertEqual(self.notified, [a, b])

    def test_keys_of_a_decision_that_shares_a_row_are_notified_too(self) -> None:
        """It has nothing of its own to write, and something to say."""
        peer, key = self.peer(1), PeerEvents("a")
        self.wait(self.decide(self.peer(2)))
        self.decide(peer)
        self.decide(peer, keys=[key])
        self.thread.work()
        self.assertEqual(self.notified, [])
        self.thread.work()
        self.assertEqual(self.notified, [key])


class WaitingTests(JournalCase):
    """Those who wait for a disk."""

    def test_cancelling_a_wait_cancels_only_the_wait(self) -> None:
        """A peer that hangs up takes nothing back, spoils nothing for others, and leaves the list at once."""
        position = self.decide(self.peer(1))
        gone, stays = self.wait(position), self.wait(position)
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.assertEqual(self.journal.waiting, 1)
        later = self.wait(self.decide(self.peer(2)))
        later.cancel()
        self.failureResultOf(later, CancelledError)
        self.assertEqual(self.journal.waiting, 1)
        self.thread.work_off()
        self.successResultOf(stays)
        self.assertEqual((len(self.rows()), self.journal.waiting), (2, 0))

    def test_as_many_wait_as_may(self) -> None:
        """One more is refused, and so is the next decision before it is taken; with room again both are not."""
        self.patch(waits_module, "MAX_WAITING", 3)
        position = self.decide(self.peer(1))
        waits = [self.wait(position) for _ in range(2)]
        self.journal.raise_if_failing()
        waits.append(self.wait(position))
        self.assertEqual(self.assertRaises(Unavailable, self.journal.saved, position).code, "unsaved")
        self.assertRaises(Unavailable, self.journal.raise_if_failing)
        waits.pop().addErrback(lambda _: None).cancel()
        self.journal.raise_if_failing()
        self.wait(position)
        self.thread.work()
        self.assertEqual(self.journal.waiting, 0)

    def test_what_is_decided_in_one_turn_shares_a_commit(self) -> None:
        """
        A batch waits until it has as many decisions as the last one, for 5 ms at most. Then one that is alone does not
        wait.
        """
        clock = Clock()
        writer = Writer(self.path, self.database)

        def write(batch: Batch) -> None:
            self.batches.append(batch)
            writer.write(batch)

        self.journal = Journal(self.path, write, self.thread.run, lambda keys: None, self.seen, NOW, clock.callLater)
        waits = [self.wait(self.decide(self.peer(number))) for number in range(3)]
        self.assertTrue(self.thread.is_idle)
        clock.advance(0.0)
        waits += [self.wait(self.decide(self.peer(number))) for number in range(3, 5)]
        self.assertEqual(clock.getDelayedCalls(), [])
        self.thread.work()
        clock.advance(0.0)
        self.assertTrue(self.thread.is_idle)
        clock.advance(GATHER / 2)
        waits.append(self.wait(self.decide(self.peer(5))))
        clock.advance(0.0)
        self.thread.work()
        # What was to begin that batch at the latest does not begin the next one.
        waits.append(self.wait(self.decide(self.peer(6))))
        clock.advance(GATHER / 2)
        self.assertTrue(self.thread.is_idle)
        clock.advance(GATHER / 2)
        self.thread.work()
        waits.append(self.wait(self.decide(self.peer(7))))
        clock.advance(0.0)
        self.thread.work()
        for wait in waits:
            self.successResultOf(wait)
        self.assertEqual([len(batch.statements) for batch in self.batches], [3, 3, 1, 1])

    def test_turn_that_comes_after_the_end(self) -> None:
        """What was to begin then has been written already, and the file is closed."""
        clock = Clock()
        arguments = (self.path, self.batches.append, self.thread.run, lambda keys: None, self.seen, NOW)
        journal = Journal(*arguments, clock.callLater)
        journal.begin(NOW)
        journal.add([put(1)])
        saved = journal.saved(journal.end())
        assert saved is not None
        drained = Deferred.fromCoroutine(journal.drain())
        self.thread.work_off()
        self.successResultOf(drained)
        self.successResultOf(saved)
        journal.set_meta("alive", NOW)
        clock.advance(GATHER)
        self.assertTrue(self.thread.is_idle)

    def test_what_queues_is_bounded_in_bytes(self) -> None:
        """Beyond the bound nothing is begun that has to be saved; what is written gives its bytes back."""
        self.patch(journal_module, "MAX_BACKLOG", 2000)
        text = "t" * 599
        for name in ("a", "b"):
            self.decide(made=[(PUT_META, (name, text))])
            self.journal.raise_if_failing()
        self.decide(made=[put(1)])
        self.assertEqual(self.journal.backlog, 2 * (400 + 600) + 401)
        self.assertRaises(Unavailable, self.journal.raise_if_failing)
        self.journal.flush()
        self.assertRaises(Unavailable, self.journal.raise_if_failing)
        self.thread.work()
        self.journal.raise_if_failing()
        self.assertEqual(self.journal.backlog, 0)

    def test_fault_among_those_who_wait_stops_no_batch(self) -> None:
        """One of them may cancel another while both are being told."""
        position = self.decide(self.peer(1))
        first, second = self.wait(position), self.wait(position)
        second.addErrback(lambda failure: failure.trap(CancelledError))
        first.addCallback(lambda _: second.cancel())
        self.thread.work()
        self.successResultOf(first)
        self.assertIs(self.successResultOf(second), CancelledError)
        done = self.wait(self.decide(self.peer(2)))
        self.thread.work()
        self.successResultOf(done)


class UnsettledTests(JournalCase):
    """Records whose change is not on the disk yet."""

    def need(self, peer: TrackerPeer) -> int:
        """:returns: what a decision has to wait for that finds the peer as it is."""
        self.journal.begin(NOW)
        self.journal.need(peer)
        return self.journal.end()

    def test_repeat_waits_for_the_same_commit(self) -> None:
        """Whether the batch is still to be made or under way; it causes no other, and afterwards there is no wait."""
        self.wait(self.decide(self.peer(9)))
        peer = self.peer(1)
        self.journal.begin(NOW)
        self.journal.mark_changed(peer)
        self.journal.mark_unsettled(peer)
        first = self.journal.end()
        self.assertEqual(self.need(peer), first)
        self.thread.work()
        done = self.wait(self.need(peer))
        self.thread.work()
        self.successResultOf(done)
        self.assertEqual((self.need(peer), self.thread.batches, self.journal.unsettled), (0, 2, {}))

    def test_ended_record_is_not_waited_for(self) -> None:
        """There is nothing left of it."""
        peer = self.peer(1)
        self.journal.begin(NOW)
        self.journal.mark_changed(peer)
        self.journal.mark_unsettled(peer)
        self.journal.end()
        self.journal.forget(peer)
        self.assertEqual((self.need(peer), self.journal.unsettled), (0, {}))


class FailingTests(JournalCase):
    """A disk that is full."""

    def test_failed_batch_refuses_those_who_wait_and_is_kept(self) -> None:
        """Once it can be written it is, with what came later and its keys notified; the log has two lines."""
        key = PeerEvents("a")
        done = self.wait(self.decide(self.peer(1), keys=[key]))
        behind = self.wait(self.decide(self.peer(2)))
        with capturedLogs() as events:
            self.thread.fail()
            for each in (done, behind):
                self.assertEqual(self.failureResultOf(each, Unavailable).value.code, "unsaved")
            self.assertEqual(self.assertRaises(Unavailable, self.journal.raise_if_failing).code, "unsaved")
            self.assertTrue(self.thread.is_idle)
            for seconds in (1, 2, 4):
                self.later(seconds)
                self.thread.fail()
            self.decide(self.peer(3))
            self.later(10)
            self.assertEqual(self.notified, [])
            self.thread.work_off()
        self.journal.raise_if_failing()
        self.assertEqual((len(self.rows()), self.notified), (3, [key]))
        self.assertEqual([event["log_level"] for event in events], [LogLevel.error, LogLevel.info])

    def test_file_is_probed_before_a_batch_is_made_and_ever_more_seldom(self) -> None:
        """After 1 and 2 seconds, then every 4; a probe has no rows in it."""
        self.refused(self.decide(*map(self.peer, range(50))))
        self.thread.fail()
        probes = []
        for second in range(60):
            self.later(1)
            if not self.thread.is_idle:
                probes.append(second + 1)
                self.thread.fail()
        self.assertEqual(probes, [1, 3, *range(7, 61, 4)])
        self.later(5)
        self.thread.work()
        self.assertEqual([(batch.statements, batch.seen) for batch in self.batches], [([], None)])
        self.thread.work()
        self.assertEqual(len(self.rows()), 50)

    def test_batch_that_fails_after_a_good_probe_is_put_back(self) -> None:
        """There may be room for one fact and not for more; the error is logged once."""
        self.refused(self.decide(self.peer(1), made=[put(1)]))
        with capturedLogs() as events:
            self.thread.fail()
            self.later(1)
            self.thread.work()
            self.thread.fail()
            self.assertTrue(self.journal.failing)
            self.later(1)
            self.assertTrue(self.thread.is_idle)
            self.later(1)
            self.thread.work_off()
        self.assertEqual((len(self.rows()), self.value(), self.journal.failing), (1, 1, False))
        self.assertEqual(len(events), 2)

    def test_failed_statements_are_written_before_those_that_came_meanwhile(self) -> None:
        """None is lost, and the order holds across a failure."""
        self.refused(self.decide(made=[put(1), (PUT_META, ("first", 1))]))
        self.decide(made=[put(2), (PUT_META, ("second", 2))])
        self.thread.fail()
        self.decide(made=[put(3)])
        self.later(1)
        self.thread.work_off()
        meta = dict(self.rows("*", "meta"))
        self.assertEqual((meta["x"], meta["first"], meta["second"]), (3, 1, 2))

    def test_facts_of_a_failed_batch_are_written_later(self) -> None:
        """Facts about the file are kept over a failure, unless there is a newer one."""
        self.journal.set_meta("first", 1)
        self.journal.set_meta("second", 1)
        self.refused(self.decide(made=[put(1)]))
        self.thread.fail()
        self.journal.set_meta("second", 2)
        self.later(1)
        self.thread.work_off()
        meta = dict(self.rows("*", "meta"))
        self.assertEqual((meta["first"], meta["second"]), (1, 2))

    def test_record_without_a_row_is_a_failure_like_any_other(self) -> None:
        """Its batch is refused and kept, not lost, and writing goes on once the row can be made."""

        def faulty(record: object) -> Iterable[Statement]:
            raise TypeError("no row")

        self.patch(journal_module, "statements", faulty)
        with capturedLogs() as events:
            done = self.wait(self.decide(self.peer(1), made=[put(1)]))
            self.assertEqual(self.failureResultOf(done, Unavailable).value.code, "unsaved")
            self.later(1)
            self.thread.work()
            self.assertTrue(self.journal.failing)
            self.patch(journal_module, "statements", statements)
            self.later(2)
            self.thread.work_off()
        self.assertEqual((len(self.rows()), self.value(), self.journal.failing), (1, 1, False))
        self.assertIn("no row", events[0]["reason"])

    def test_many_waits_are_refused_some_at_a_time(self) -> None:
        """The reactor has a turn after each few; the file is not probed before all are refused."""
        position = self.decide(self.peer(1))
        waits = [self.wait(position) for _ in range(3 * REFUSALS_PER_TURN)]
        refused = [self.refused_wait(done) for done in waits]
        self.thread.fail()
        refused[-1].cancel()
        for turn in range(1, 4):
            self.assertEqual(sum(done.called for done in waits[:-1]), min(turn * REFUSALS_PER_TURN, len(waits) - 1))
            self.later(10)
            if turn < 3:
                self.thread.work()
        self.assertEqual((self.journal.waiting, self.journal.failing), (0, True))
        self.thread.work_off()
        self.assertEqual(len(self.rows()), 1)

    def test_batch_that_raises_in_the_file_leaves_nothing_of_itself(self) -> None:
        """A statement that fails half-way takes its whole batch with it."""
        bad = ("INSERT INTO revocations VALUES (?, ?, ?)", ("a", None, ""))
        done = self.wait(self.decide(made=[put(1), bad]))
        self.thread.work()
        self.failureResultOf(done, Unavailable)
        self.assertEqual(self.rows("*", "meta"), [])
        self.assertFalse(self.database.in_transaction)

    def test_client_that_ends_during_a_failing_batch_is_not_written_again(self) -> None:
        """Neither its change nor when it was last seen comes back behind its removal."""
        seen, changed = self.peer(1), self.peer(2)
        self.wait(self.decide(seen))
        self.thread.work()
        self.seen.add(seen)
        self.seen.turn()
        self.refused(self.decide(changed))
        self.decide(ended=[seen, changed])
        self.thread.fail()
        self.later(1)
        self.thread.work_off()
        self.assertEqual(self.rows(), [])

    def test_client_that_changes_again_during_a_failing_batch_is_written_once(self) -> None:
        """As it is by then."""
        peer = self.peer(1)
        self.refused(self.decide(peer))
        peer.last_seen = NOW + 7
        self.decide(peer)
        self.thread.fail()
        self.later(1)
        self.thread.work_off()
        self.assertEqual([last_seen for _, last_seen in self.rows()], [NOW + 7])
        self.assertEqual(len(self.batches[-1].statements), 1)

    def test_nothing_grows_while_it_fails(self) -> None:
        """The same few peers change and pulse for an hour of failures: what is kept is theirs, once."""
        peers = [self.peer(number) for number in range(5)]
        self.refused(self.decide(peers[0]))
        self.thread.fail()
        for _ in range(3600):
            self.decide(*peers)
            for peer in peers:
                self.seen.add(peer)
            self.journal.set_meta("alive", NOW)
            self.later(1)
            if not self.thread.is_idle:
                self.thread.fail()
        self.assertLessEqual((self.journal.pending, self.journal.waiting, self.journal.backlog), (2, 0, 0))
        self.seen.turn()
        taken = self.seen.take(100)
        self.assertEqual(len(taken.records), 5)
        self.seen.put_back(taken)
        self.later(10)
        self.thread.work_off()
        self.assertEqual((len(self.rows()), self.thread.is_idle), (5, True))

    def test_last_attempt_at_the_end_is_made_at_once(self) -> None:
        """A server that stops tries once more, and does not wait for the next probe."""
        self.refused(self.decide(self.peer(1)))
        self.thread.fail()
        ended = Deferred.fromCoroutine(self.journal.drain())
        self.thread.work_off()
        self.successResultOf(ended)
        self.assertEqual(len(self.rows()), 1)
        self.refused(self.decide(self.peer(2)))
        self.thread.fail()
        ended = Deferred.fromCoroutine(self.journal.drain())
        self.thread.fail()
        self.successResultOf(ended)
