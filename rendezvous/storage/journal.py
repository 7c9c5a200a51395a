"""
Writing down what has changed, in another thread, many decisions to one commit.

While one batch is being written the next one gathers, so the disk sets the size of the batches. A batch also waits a
little for as many decisions as the last one had. The queue is a list of decisions, each with the statements and the
changed records that it has noted. A batch takes as many whole decisions as fit, so a decision is on the disk completely
or not at all.

When a batch cannot be written, those who wait are refused, and what it held goes back to where it was. Then the file is
probed with a transaction of one row, at growing intervals, before another batch is made. Memory stays the truth, and
the file catches up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from functools import partial

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from rendezvous.core.histogram import Histogram
from rendezvous.core.notes import Key
from rendezvous.model import Saving
from rendezvous.storage.batch import Batch, Decision, WriteBatch
from rendezvous.storage.batchtimer import BatchTimer, Later
from rendezvous.storage.rows import Statement, statements
from rendezvous.storage.seen import LastSeen, Taken
from rendezvous.storage.waits import Waits, unsaved

__all__ = ["Journal", "RunBlocking"]

#: Calls a function where blocking is allowed; one call at a time.
RunBlocking = Callable[[Callable[[], None]], Deferred[None]]

#: Rows of one batch, unless a single decision has more: some 5 ms of the reactor's time, and 50 ms of the disk's.
ROWS_PER_BATCH = 5000

#: Decisions of one batch. All that waited for them is answered in one turn of the reactor, at some 0.15 ms each.
DECISIONS_PER_BATCH = 200

#: Bytes that may queue. Beyond, nothing is taken in that has to be saved.
MAX_BACKLOG = 64 * 1024 * 1024

#: Bytes in the queue beyond which the sweep frees nothing: what it frees adds to the queue, and no request needs it.
SWEEP_BACKLOG = MAX_BACKLOG // 4

#: Seconds until a file that could not be written is probed, at first, and at most: with room again on the disk, all
#: is well within 5 seconds.
FIRST_PROBE, LAST_PROBE = 1.0, 4.0


class Journal:
    """
    What is to be written, and what is being written.

    :param name: how the log calls the file.
    :param write: writes a batch, in the other thread; it raises if it cannot, and then nothing of it is written.
    :param run: runs ``write`` in the other thread.
    :param notify: called with the keys of a decision after its commit.
    :param seen: the tracker peers that were seen, which are written with the batches.
    :param now: server time.
    :param later: calls what begins a batch; see :class:`~rendezvous.storage.batchtimer.BatchTimer`.
    :param seconds: tells the time that commits are measured on; without it they are not.
    :ivar failing: whether the last attempt to write has failed.
    :ivar unsettled: the changed tracker peers that are not on the disk yet, and the position of the decision that puts
        them there.
    """

    log = Logger()

    def __init__(
        self,
        name: str,
        write: WriteBatch,
        run: RunBlocking,
        notify: Callable[[Collection[Key]], None],
        seen: LastSeen,
        now: float,
        later: Later | None = None,
        seconds: Callable[[], float] | None = None,
    ) -> None:
        self._name = name
        self._write = write
        self._run = run
        self._notify = notify
        self._seen = seen
        self._now = now
        self._timer = BatchTimer(later, self.flush)
        self._seconds = seconds
        self._began = 0.0
        self._commits = Histogram()
        self._failures = 0
        self._current: Decision | None = None
        self._needed = 0
        self._is_soon = False
        self._position = 0
        self._saved = 0
        self._queue: deque[Decision] = deque()
        self._backlog = 0
        # Records that wait to be written as they will be then, and the decision that will write them.
        self._changed: dict[object, int] = {}
        self._in_flight: set[object] = set()
        self._meta: dict[str, object] = {}
        # A call in the other thread ends in another turn of the reactor.
        self._waits = Waits(lambda: run(lambda: None))
        self._writing: Deferred[None] | None = None
        self._probe_at = now
        self._probe_interval = FIRST_PROBE
        self.failing = False
        self.unsettled: dict[object, int] = {}

    @property
    def pending(self) -> int:
        """:returns: how many decisions are queued, those being written not included."""
        return len(self._queue) + (self._current is not None)

    @property
    def waiting(self) -> int:
        """:returns: how many wait for a commit."""
        return len(self._waits)

    @property
    def backlog(self) -> int:
        """:returns: bytes of statements that are queued or being written."""
        return self._backlog

    def figures(self, size: int) -> Saving:
        """
        :param size: bytes of the files.
        :returns: how saving goes.
        """
        return Saving(self.failing, self._backlog, len(self._waits), self._commits, self._failures, size)

    @property
    def is_behind(self) -> bool:
        """:returns: whether so much is queued that what can wait should."""
        return self._backlog > SWEEP_BACKLOG

    # What a decision notes

    def begin(self, now: float) -> None:
        """A decision begins; what was noted since the last one, by a read that ended what was due, is one too."""
        if now > self._now:
            self._now = now
        if self._current is not None or self._needed:
            self.end()

    def end(self, keys: Collection[Key] = ()) -> int:
        """
        The decision has been taken.

        :param keys: whom to notify after the commit, unless there is none.
        :returns: the position up to which has to be saved what this decision needs; 0 if that is nothing.
        """
        if keys and self._needed:
            self._deciding()
        current, self._current = self._current, None
        needed, self._needed = self._needed, 0
        if current is not None:
            current.keys = keys
            self._queue.append(current)
            self._backlog += current.size
        if self._is_soon and self._writing is None:
            self._timer.gather(len(self._queue))
        self._is_soon = False
        return needed

    def add(self, made: Iterable[Statement]) -> None:
        """Write these, after all that was noted before."""
        for statement in made:
            self._deciding().add(statement)

    def mark_changed(self, record: object) -> None:
        """Write a record as it will be when its batch is made: many changes of one are one row."""
        position = self._changed.get(record)
        if position is None:
            decision = self._deciding()
            decision.entries.append(record)
            position = self._changed[record] = decision.position
        if position > self._needed:
            self._needed = position

    def mark_behind(self, record: object) -> None:
        """Write a record soon, as it will be then. No decision waits for it."""
        needed = self._needed
        self.mark_changed(record)
        self._needed = needed
        self._is_soon = True

    def mark_unsettled(self, record: object) -> None:
        """Let decisions about a record that was just marked as changed wait until it is on the disk."""
        if not self.failing:
            self.unsettled[record] = self._changed[record]

    def need(self, record: object) -> None:
        """Let this decision wait as long as the one that has changed the record, if that is not on the disk yet."""
        if record in self.unsettled:
            self._needed = max(self._needed, self.unsettled[record])

    def forget(self, record: object) -> None:
        """Do not write a record any more: it has ended."""
        self._changed.pop(record, None)
        self._in_flight.discard(record)
        self.unsettled.pop(record, None)
        self._seen.forget(record)

    def after(self, call: Callable[[], None]) -> None:
        """Call this once what the decision has noted is on the disk. It must not raise."""
        self._deciding().after.append(call)

    def set_meta(self, name: str, value: object) -> None:
        """Write a fact about the file itself with the next batch, in the place of the last one of that name."""
        self._meta[name] = value

    def _deciding(self) -> Decision:
        if self._current is None:
            self._position += 1
            self._current = Decision(self._position)
        self._needed = self._current.position
        return self._current

    # Waiting

    def raise_if_failing(self) -> None:
        """:raises Unavailable: nothing can be written now, or not soon, so nothing should be begun that has to be."""
        if self.failing or self._backlog > MAX_BACKLOG or self._waits.is_full:
            raise unsaved()

    def saved(self, position: int) -> Deferred[None] | None:
        """
        Wait until all up to a position is on the disk.

        :returns: fires then; fails with :exc:`~rendezvous.errors.Unavailable` if it could not be written. ``None`` if
            it is there. Cancelling it cancels only the wait.
        :raises Unavailable: too many wait.
        """
        if position <= self._saved:
            return None
        done = self._waits.add(position)
        if self._writing is None:
            self._timer.gather(len(self._queue))
        return done

    # Writing

    def flush(self) -> Deferred[None] | None:
        """
        Begin to write, unless that is under way, or there is nothing, or it is too soon after a failure.

        :returns: what is under way now.
        """
        if self._writing is not None:
            return self._writing
        if not self.failing:
            if self._queue or self._meta or self._seen.is_due:
                self._begin()
        elif self._now >= self._probe_at:
            self._probe()
        return self._writing

    async def drain(self) -> None:
        """Write all that there is, or try once. Nothing is noted afterwards."""
        self.end()
        self._probe_at = self._now
        self._seen.turn()
        while (writing := self.flush()) is not None:
            await writing
            if self.failing:
                break

    def _begin(self) -> Deferred[None]:
        decisions, made, records = self._take()
        self._timer.begun(len(decisions))
        if self._seconds is not None:
            self._began = self._seconds()
        # The last-seen times come last and fill the rest of the batch, because no request waits for them.
        seen = self._seen.take(max(0, ROWS_PER_BATCH - len(made) - len(records)))
        meta, self._meta = {**self._meta, "server_time": self._now}, {}
        ended: Deferred[None] = Deferred()
        self._writing = ended
        maybeDeferred(self._hand_over, made, records, seen, meta).addCallbacks(
            lambda _: self._written(decisions), lambda failure: self._failed(failure, decisions, seen, meta)
        ).addErrback(
            lambda failure: self.log.failure("the journal has a fault", failure, event="journal_failed")
        ).addCallback(lambda _: self._end(ended))
        return ended

    def _take(self) -> tuple[list[Decision], list[Statement], list[object]]:
        """:returns: the decisions of a batch, their statements, and the records whose rows are still to be made."""
        decisions: list[Decision] = []
        made: list[Statement] = []
        records: list[object] = []
        while self._queue and len(decisions) < DECISIONS_PER_BATCH and len(made) + len(records) < ROWS_PER_BATCH:
            decision = self._queue.popleft()
            decisions.append(decision)
            for entry in decision.entries:
                if isinstance(entry, tuple):
                    made.append(entry)
                elif self._changed.get(entry) == decision.position:
                    del self._changed[entry]
                    records.append(entry)
        self._in_flight = set(records)
        return decisions, made, records

    def _hand_over(
        self, made: list[Statement], records: list[object], seen: Taken | None, meta: dict[str, object]
    ) -> Deferred[None]:
        """
        Make the rows of records, on the reactor's thread, where nothing changes meanwhile, and begin to write.

        :raises Exception: a row cannot be made. That is a failure like any other: nothing of the batch is lost.
        """
        # A record's row may follow the removal of another one at its place, and never comes before it.
        rows = [*made, *(row for record in records for row in statements(record))]
        return self._run(partial(self._write, Batch(rows, seen, meta)))

    def _probe(self) -> None:
        """Write one row, to see whether writing is possible. A batch is made only after that."""
        ended: Deferred[None] = Deferred()
        self._writing = ended
        self._run(partial(self._write, Batch([], None, {"server_time": self._now}))).addCallbacks(
            lambda _: self._begin_again(ended), lambda failure: self._postpone(failure, ended)
        ).addErrback(lambda failure: self.log.failure("the journal has a fault", failure, event="journal_failed"))

    def _begin_again(self, ended: Deferred[None]) -> None:
        self._begin().addCallback(lambda _: ended.callback(None))

    def _postpone(self, failure: Failure, ended: Deferred[None]) -> None:
        self._writing = None
        self._probe_interval = min(2 * self._probe_interval, LAST_PROBE)
        self._probe_at = self._now + self._probe_interval
        ended.callback(None)

    def _end(self, ended: Deferred[None]) -> None:
        self._writing = None
        if self._queue and not self.failing:
            self._timer.gather(len(self._queue))
        elif not self.failing:
            self.flush()
        ended.callback(None)

    def _written(self, decisions: list[Decision]) -> None:
        if self._seconds is not None:
            self._commits.observe(self._seconds() - self._began)
        self._in_flight = set()
        if self.failing:
            self.failing = False
            self._probe_interval = FIRST_PROBE
            self.log.info("the store {path} can be written again", path=self._name, event="store_writable")
        if not decisions:
            return
        self._saved = decisions[-1].position
        self._backlog -= sum(decision.size for decision in decisions)
        self._settle()
        for decision in decisions:
            for call in decision.after:
                call()
            if decision.keys:
                self._notify(decision.keys)
        self._waits.end(self._saved)

    def _settle(self) -> None:
        saved = self._saved
        for record in [record for record, position in self.unsettled.items() if position <= saved]:
            del self.unsettled[record]

    def _failed(
        self, failure: Failure, decisions: list[Decision], seen: Taken | None, meta: dict[str, object]
    ) -> Deferred[None] | None:
        self._failures += 1
        if not self.failing:
            self.failing = True
            self.log.error(
                "the store {path} cannot be written: {reason}; writes are refused until it can",
                path=self._name,
                reason=failure.getErrorMessage(),
                event="store_unwritable",
            )
        else:
            self._probe_interval = min(2 * self._probe_interval, LAST_PROBE)
        self._probe_at = self._now + self._probe_interval
        self._put_back(decisions)
        if seen is not None:
            self._seen.put_back(seen)
        self._meta = meta | self._meta
        self.unsettled.clear()  # Those that move go on without waiting.
        return self._waits.refuse()

    def _put_back(self, decisions: list[Decision]) -> None:
        """Statements stay as they are, in order; records will be written as they are then."""
        self._queue.extendleft(reversed(decisions))
        for decision in decisions:
            for entry in decision.entries:
                if not isinstance(entry, tuple) and entry in self._in_flight:
                    # One that has changed again meanwhile is written by the later decision.
                    self._changed.setdefault(entry, decision.position)
        self._in_flight = set()
