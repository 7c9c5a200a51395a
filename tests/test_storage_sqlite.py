"""The SQLite store: it keeps the contract of every store, and its file to itself."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import maybeDeferred

from rendezvous.errors import StartupError, Unavailable
from rendezvous.interfaces import IStore
from rendezvous.storage.journaled import Journaled
from rendezvous.storage.local import LocalStore
from rendezvous.storage.registry import sqlite_store
from tests._store_case import NOW, StoreOptions
from tests.contract_offers import OfferCase
from tests.contract_presence import PresenceCase
from tests.contract_sessions import SessionCase
from tests.contract_store import make_store_tests
from tests.contract_tracker import TrackerCase


def make_store(options: StoreOptions) -> IStore:
    """:returns: a store in a file of its own."""
    return sqlite_store(options.case.mktemp(), maybeDeferred, **options.parts())


SqliteStoreTests = make_store_tests(make_store, "SqliteStoreTests", __name__)


class FileCase(PresenceCase, OfferCase, SessionCase, TrackerCase):
    """A store on a file that stays where it is."""

    store: LocalStore

    def setUp(self) -> None:
        """Choose the file."""
        self.path = self.mktemp()
        super().setUp()

    def make_store(self, options: StoreOptions) -> IStore:
        """:returns: a store on the file."""
        return sqlite_store(self.path, maybeDeferred, **options.parts())

    def opened(self, now: float = NOW, **options: Any) -> LocalStore:
        """:returns: a store that is closed when the test is over."""
        store = super().opened(now, **options)
        assert isinstance(store, LocalStore)
        return store

    def kill(self) -> None:
        """Leave the store as a process does that is killed; the system gives its lock back."""
        durability = self.store._durability
        assert isinstance(durability, Journaled)
        durability._lock.release()
        durability._clients.file.close()
        # Else it would be closed with the test, and write what the dead cannot.
        durability._journal = None
        self.addCleanup(durability._writer.close)


class FileTests(FileCase):
    """The file itself."""

    def test_file_is_its_owners_alone(self) -> None:
        """And so is what SQLite and we put beside it, whatever the umask says."""
        self.addCleanup(os.umask, os.umask(0))
        self.path = self.mktemp()
        self.store = self.opened()
        self.come_online()
        directory = os.path.dirname(self.path)
        names = [name for name in os.listdir(directory) if name.startswith(os.path.basename(self.path))]
        self.assertEqual(len(names), 5)
        self.assertEqual({os.stat(os.path.join(directory, name)).st_mode & 0o777 for name in names}, {0o600})

    def test_no_key_is_in_the_file(self) -> None:
        """Neither as bytes nor as digits; the id is there."""
        client_id, key = self.come_online()
        self.done(self.store.close(NOW))
        with open(self.path, "rb") as file:
            content = file.read()
        self.assertTrue(client_id in content or client_id.hex().encode() in content)
        self.assertNotIn(key, content)
        self.assertNotIn(key.hex().encode(), content)

    def test_file_has_one_store(self) -> None:
        """The second is refused, in one line that names the file, until the first is closed."""
        second = sqlite_store(
            self.path, maybeDeferred, **StoreOptions(case=self, keyring=self.keyring, random=bytes).parts()
        )
        message = str(self.assertRaises(StartupError, second.open, NOW))
        self.assertIn(repr(self.path), message)
        self.assertNotIn("\n", message)
        self.done(self.store.close(NOW))
        second.open(NOW)
        self.done(second.close(NOW))

    def test_closed_store_changes_nothing_more(self) -> None:
        """It refuses, rather than forget; closing it again does no harm."""
        client_id, _ = self.come_online()
        self.done(self.store.close(NOW))
        self.refused(self.store.register(NOW), Unavailable)
        self.refused(self.store.logout(client_id, NOW), Unavailable)
        self.done(self.store.close(NOW))
