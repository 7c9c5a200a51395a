"""Batches on a real file."""

from __future__ import annotations

import os
import re
import sqlite3
from pathlib import Path

import attrs

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.notes import Removed
from rendezvous.core.presence.logouts import Revocation
from rendezvous.core.signaling.events import Event, EventKind, EventLogged
from rendezvous.core.signaling.offers import Answer, Candidate, CandidatesAdded, Offer, OfferChanged, Role
from rendezvous.storage.batch import Batch
from rendezvous.storage.database import open_database
from rendezvous.storage.rows import Statement, read_events, read_offers, statements
from rendezvous.storage.writer import MAX_VARIABLES, Writer, _shape, execute_many
from tests.test_storage_rows import client

PUT = "INSERT OR REPLACE INTO meta VALUES (?, ?)"


def batch(*made: Statement, **meta: object) -> Batch:
    """:returns: a batch of these alone."""
    return Batch(list(made), None, meta)


def offer(id: str, sdp: bytes = b'"v=0"') -> Offer:
    """:returns: one of which little matters."""
    return Offer(id=id, owner="p", topics=("t",), sdp=sdp, created_at=1, expires_at=2, last_seen=3, seen=4)


class WriterTests(SynchronousTestCase):
    """A file that is open."""

    def setUp(self) -> None:
        """Make it."""
        directory = Path(self.mktemp())
        directory.mkdir()
        self.path = str(directory / "store.sqlite3")
        self.database = open_database(self.path)
        self.writer = Writer(self.path, self.database)
        self.addCleanup(self.writer.close)

    def meta(self) -> dict[str, object]:
        """:returns: what another reader sees."""
        reader = sqlite3.connect(self.path)
        try:
            return dict(reader.execute("SELECT * FROM meta"))
        finally:
            reader.close()

    def remove(self) -> None:
        """Delete the file and what is beside it."""
        for suffix in ("", "-wal", "-shm"):
            os.unlink(self.path + suffix)

    def test_statements_and_meta_are_one_transaction(self) -> None:
        """All of it, or nothing of it if one statement fails."""
        self.writer.write(batch((PUT, ("a", 1)), b=2))
        self.assertEqual(self.meta(), {"a": 1, "b": 2})
        bad = ("INSERT INTO nowhere VALUES (?)", (1,))
        self.assertRaises(sqlite3.OperationalError, self.writer.write, batch((PUT, ("c", 3)), bad))
        self.assertEqual(self.meta(), {"a": 1, "b": 2})
        self.assertFalse(self.database.in_transaction)

    def test_one_statement_has_no_more_values_than_sqlite_allows(self) -> None:
        """Whatever limit this SQLite was built with."""
        self.assertEqual(MAX_VARIABLES, 32766)
        self.database.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, MAX_VARIABLES)
        rows = [(str(number), number) for number in range(MAX_VARIABLES // 2 + 7)]
        execute_many(self.database, PUT, rows)
        self.assertEqual(len(self.meta()), len(rows))

    def test_statements_of_many_decisions_are_few_steps(self) -> None:
        """The end of an offer is a statement for each of two tables; each kind takes a step for many rows."""
        offers = [offer(f"{number}") for number in range(2 * 63)]
        self.writer.write(batch(*(made for each in offers for made in statements(each))))
        notes: list[object] = [Removed(each) for each in offers[:63]]
        notes += [OfferChanged(attrs.evolve(each, seen=1), ("last_seen", "seen")) for each in offers[63:]]
        steps: list[str] = []
        self.database.set_trace_callback(steps.append)
        self.writer.write(batch(*(made for note in notes for made in statements(note))))
        self.database.set_trace_callback(None)
        self.assertLessEqual(len(steps), 3 * 6 + 3)
        self.assertEqual({each.offer.seen for each in read_offers(self.database)}, {1})
        self.assertEqual(len(list(read_offers(self.database))), 63)

    def test_statements_about_one_offer_keep_their_order(self) -> None:
        """Of two changes the later one holds; an offer may end and come again under the same id."""
        first, other = offer("a"), offer("b")
        self.writer.write(batch(*statements(first), *statements(other)))
        seen = [OfferChanged(attrs.evolve(each, seen=seen), ("seen",)) for seen in (5, 6) for each in (first, other)]
        answer = Answer("q", b'"v=1"', 1, 7)
        answered = attrs.evolve(first, answer=answer)
        told = EventLogged("p", Event(7, EventKind.ANSWER, "a", ("t",), answer))
        added = CandidatesAdded(first, (Candidate(b"1", "p", Role.OFFERER, 1, 8),))
        again = offer("a", sdp=b'"again"')
        late = CandidatesAdded(again, (Candidate(b"2", "p", Role.OFFERER, 1, 9),))
        notes = [*seen, OfferChanged(answered, ("answer",)), told, added, Removed(answered), again, late]
        self.writer.write(batch(*(made for note in notes for made in statements(note))))
        found = {each.offer.id: each for each in read_offers(self.database)}
        self.assertEqual((found["a"].offer, found["b"].offer.seen), (again, 6))
        self.assertEqual([each.payload for each in found["a"].session().offerer], [b"2"])
        self.assertEqual(list(read_events(self.database)), [told])

    def test_no_statement_walks_a_table(self) -> None:
        """Whatever it changes is found by an index, alone and with others of its kind."""
        made = offer("a")
        answered = attrs.evolve(made, answer=Answer("q", b'"v=1"', 1, 7))
        notes = [
            Removed(answered),
            Removed(client()),
            Removed(Revocation(bytes(16), 1.0)),
            OfferChanged(made, ("seen",)),
        ]
        for sql, values in (statement for note in notes for statement in statements(note)):
            for several in (1, 2) if "VALUES" in sql else (1,):
                head, row, tail, _ = _shape(sql)
                text = f"{head}{', '.join([row] * several)}{tail}"
                plan = [step[3] for step in self.database.execute(f"EXPLAIN QUERY PLAN {text}", values * several)]
                self.assertFalse(
                    [step for step in plan if re.match("SCAN (?!new|gone|.*CONSTANT|.*subquery)", step)], sql
                )

    def test_deleted_file_is_written_anew(self) -> None:
        """With all that was in it; the next batch goes there as well."""
        self.writer.write(batch(a=1))
        self.remove()
        self.writer.write(batch(b=2))
        self.writer.write(batch(c=3))
        self.assertEqual(self.meta(), {"a": 1, "b": 2, "c": 3})

    def test_deleted_file_that_cannot_be_written_anew_is_left_deleted(self) -> None:
        """Half a file would be taken for a whole one; the next attempt writes it."""
        self.writer.write(batch(a=1))
        self.remove()
        wal = Path(self.path + "-wal")
        wal.mkdir()  # SQLite can put no log there.
        self.assertRaises(Exception, self.writer.write, batch(b=2))  # noqa: B017 - of whatever kind
        self.assertFalse(os.path.exists(self.path))
        wal.rmdir()
        self.writer.write(batch(b=2))
        self.assertEqual(self.meta(), {"a": 1, "b": 2})

    def test_copy_that_fails_is_removed(self) -> None:
        """The error is the copy's own, so that the batch counts as not written."""
        self.writer.write(batch(a=1))
        self.remove()

        class Broken:
            """A database that cannot be copied."""

            def backup(self, copy: sqlite3.Connection) -> None:
                raise sqlite3.OperationalError("disk I/O error")

        whole, self.writer._database = self.writer._database, Broken()  # type: ignore[assignment]
        self.assertRaises(sqlite3.OperationalError, self.writer.write, batch(b=2))
        self.assertFalse(os.path.exists(self.path))
        self.writer._database = whole
        self.writer.write(batch(b=2))
        self.assertEqual(self.meta(), {"a": 1, "b": 2})

    def test_other_file_in_its_place_is_left_alone(self) -> None:
        """It is somebody else's."""
        os.rename(self.path, self.path + ".ours")
        Path(self.path).write_text("another's")
        self.assertRaises(sqlite3.OperationalError, self.writer.write, batch(a=1))
        self.assertEqual(Path(self.path).read_text(), "another's")
