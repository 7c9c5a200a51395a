"""An hour in which everything comes and goes, compressed: the file stays as big as what is in it."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, execute
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.identity import Keyring, Secret
from rendezvous.core.signaling.offers import Role
from rendezvous.core.signaling.specs import OfferSpec
from rendezvous.storage.registry import sqlite_store
from tests._store_case import StoreOptions

T = TypeVar("T")

NOW = 1_700_000_000.0
STEP = 4.0
ORIGIN = "https://app.example"
TABLES = ("clients", "revocations", "offers", "candidates", "events", "tracker_peers")


class ChurnTests(SynchronousTestCase):
    """A store whose clock is the test's."""

    def setUp(self) -> None:
        """Begin with an empty file."""
        self.path = self.mktemp()
        self.random = random.Random(1)
        self.drawn = 0
        options = StoreOptions(
            case=self, keyring=Keyring([Secret(bytes(32))]), random=self.random.randbytes, logout_memory=300.0
        )
        run: Callable[[Callable[[], None]], Deferred[None]] = execute
        self.store = sqlite_store(self.path, run, **options.parts())
        self.store.open(NOW)
        self.now = NOW

    def tearDown(self) -> None:
        """Close."""
        self.done(self.store.close(self.now))

    def done(self, verb: Coroutine[Any, Any, T]) -> T:
        """:returns: what the verb has returned."""
        return self.successResultOf(Deferred.fromCoroutine(verb))

    def step(self) -> None:
        """Let two clients come, meet, and one of them leave; everything else ends by itself, as it expires."""
        self.drawn += 1
        store, now, name = self.store, self.now, str(self.drawn)
        limits = store.limits
        (caller, key), (callee, _) = self.done(store.register(now)), self.done(store.register(now))
        self.done(store.pulse(key, ("198.51.100.7", 1024 + self.drawn), now))
        for suffix in "ab":
            spec = OfferSpec.check(limits, "", sdp="s" * 2000, topics=["t" + name], ttl_ms=60_000, id=name + suffix)
            self.done(store.publish(caller.hex(), [spec], now))
        self.done(store.answer(name + "a", callee.hex(), "s" * 2000, None, now))
        self.done(store.add_candidates(name + "a", callee.hex(), ["c" * 200], now))
        self.done(store.open_session(ORIGIN, "t", "", "s" * 2000, name, now))
        self.done(store.add_session_candidate(ORIGIN, name, Role.OFFERER, "c" * 200, now))
        self.done(store.announce(("198.51.100.7", 1024 + self.drawn, 5024), now))
        self.done(store.logout(callee, now))
        self.now += STEP
        self.done(store.sweep(self.now))

    def size(self) -> int:
        """:returns: bytes of the file with all that is in its log."""
        checkpointed = sqlite3.connect(self.path)
        checkpointed.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        checkpointed.close()
        return os.stat(self.path).st_size

    def rows(self) -> dict[str, int]:
        """:returns: how many there are in each table."""
        reader = sqlite3.connect(self.path)
        try:
            return {table: reader.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}  # noqa: S608
        finally:
            reader.close()

    def test_file_does_not_grow_with_time(self) -> None:
        """After ten minutes the file has its size, and it has it after an hour; its log is bounded too."""
        log = 0
        sizes = []
        for _ in range(6):
            for _ in range(int(600 / STEP)):
                self.step()
            log = max(log, os.stat(self.path + "-wal").st_size)
            sizes.append(self.size())
        self.assertGreater(sizes[0], 100_000)
        self.assertLess(max(sizes[1:]), 1.25 * sizes[0], sizes)
        self.assertLess(log, 8_000_000)

    def test_expired_rows_leave_the_file(self) -> None:
        """Once everything has expired the tables are empty, and what comes next uses the room again."""
        for _ in range(100):
            self.step()
        full, before = self.rows(), self.size()
        self.assertEqual({table for table in TABLES if not full[table]}, set())
        self.now += 1000.0
        for _ in range(3):
            self.done(self.store.sweep(self.now))
            self.now += 200.0
        self.assertEqual(self.rows(), dict.fromkeys(TABLES, 0))
        for _ in range(100):
            self.step()
        self.assertLess(self.size(), 1.25 * before)
