"""A new secret in the place of the old one, through the whole server: what was given out stays good for a while."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from zope.interface import implementer

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.secret import rotate_secret
from rendezvous.testing import MemoryReactor, MemoryServer
from tests._live_table import clients
from tests._store_case import local

KEEP = 3600.0
JUST = 2.0**-10

ON_TIME, UNKNOWN = (code.to_bytes(4, "big") for code in (1020, 1060))


class RotationCase(SynchronousTestCase):
    """A server with a store and a secret file, and one client that has pulsed."""

    def setUp(self) -> None:
        """Start, register, pulse."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.secret = str(self.directory / "rendezvous.secret")
        self.reactor = MemoryReactor()
        self.reactor.advance(1_700_000_000)
        self.start()
        self.addCleanup(lambda: self.server.stop())
        self.client_id, self.key, self.headers = self.server.register()
        self.assertEqual(self.server.deliver(self.key), [ON_TIME])

    def start(self, **settings: Any) -> None:
        """Start a server on what the last one has left."""
        store = f"sqlite:{self.directory / 'rendezvous.sqlite3'}"
        self.server = MemoryServer(self.reactor, environ={}, store=store, error_time=10 * KEEP, **settings)

    def restart(self) -> list[str]:
        """:returns: what the new server warned of."""
        self.server.stop()
        warned: list[str] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            if event["log_level"].name == "warn":
                warned.append(event["log_format"].format(**event))

        globalLogPublisher.addObserver(observe)
        try:
            self.start()
        finally:
            globalLogPublisher.removeObserver(observe)
        return warned

    def rotate(self) -> float:
        """:returns: when the old secret ends."""
        now = self.reactor.seconds()
        rotate_secret(self.secret, os.urandom, KEEP, now)
        return now + KEEP

    def statuses(self) -> list[int]:
        """:returns: how each form of the old client's credential is answered."""
        forms = (f"Bearer {self.key.hex()}", f"Bearer {self.client_id}:{self.key.hex()}")
        return [
            self.server.request("POST", "/verify", headers={"Authorization": credential}).status for credential in forms
        ]


class RotatedTests(RotationCase):
    """After a rotation."""

    def test_running_server_goes_on_with_the_old_one(self) -> None:
        """It looks at the file when it starts."""
        self.rotate()
        self.assertEqual((self.server.deliver(self.key), self.statuses()), ([ON_TIME], [200, 200]))

    def test_old_client_goes_on_after_a_restart(self) -> None:
        """It pulses, both forms of its credential are good, and nothing is warned of."""
        self.rotate()
        self.assertEqual(self.restart(), [])
        self.assertEqual((self.server.deliver(self.key), self.statuses()), ([ON_TIME], [200, 200]))

    def test_old_client_ends_at_the_stated_time(self) -> None:
        """Up to it all is well, and past it nothing is."""
        until = self.rotate()
        self.restart()
        self.reactor.pause(until - self.reactor.seconds() - 1)
        self.assertEqual(self.statuses(), [200, 200])
        self.assertEqual(self.server.deliver(self.key), [ON_TIME])
        self.reactor.pause(1 + JUST)
        self.assertEqual(self.statuses(), [401, 401])
        self.assertEqual(self.server.deliver(self.key), [UNKNOWN])

    def test_time_goes_on_while_no_server_runs(self) -> None:
        """A restart after the stated time finds no old client, though a pause counts towards no timeout."""
        until = self.rotate()
        self.server.stop()
        self.reactor.pause(until - self.reactor.seconds() + JUST)
        self.start()
        self.assertEqual((self.server.deliver(self.key), self.statuses()), ([UNKNOWN], [401, 401]))

    def test_new_client_uses_the_new_one(self) -> None:
        """It outlives the old secret."""
        until = self.rotate()
        self.restart()
        _, key, headers = self.server.register()
        self.assertEqual(self.server.deliver(key), [ON_TIME])
        self.reactor.pause(until - self.reactor.seconds() + JUST)
        self.assertEqual(self.server.request("POST", "/verify", headers=headers).status, 200)
        self.assertEqual(self.server.deliver(key), [ON_TIME])

    def test_client_counts_once(self) -> None:
        """Whichever key it has: a table that has room for two has room for one more, and it is swept as one."""
        self.rotate()
        self.server.stop()
        self.start(max_clients=2)
        presence = local(self.server.rendezvous.store).tables.presence
        self.assertEqual((len(presence), len(list(clients(presence)))), (1, 1))
        self.server.register()
        self.assertEqual(self.server.request("POST", "/register").status, 503)
        self.assertEqual(presence.sweep(self.reactor.seconds() + 20 * KEEP, 100), 2)
        self.assertEqual(len(presence), 0)

    def test_logout_ends_both_keys(self) -> None:
        """The file has neither of them afterwards."""
        self.rotate()
        self.restart()
        self.assertEqual(self.server.request("POST", "/logout", headers=self.headers).status, 200)
        self.assertEqual((self.server.deliver(self.key), self.statuses()), ([UNKNOWN], [401, 401]))
        self.restart()
        self.assertEqual((self.server.deliver(self.key), self.statuses()), ([UNKNOWN], [401, 401]))

    def test_two_rotations(self) -> None:
        """Each old secret has an end of its own."""
        until = self.rotate()
        self.reactor.pause(KEEP / 2)
        self.restart()
        _, key, headers = self.server.register()
        self.server.deliver(key)
        self.rotate()
        self.assertEqual(self.restart(), [])
        self.assertEqual(self.statuses(), [200, 200])
        self.reactor.pause(until - self.reactor.seconds() + JUST)
        self.assertEqual(self.statuses(), [401, 401])
        self.assertEqual(self.server.request("POST", "/verify", headers=headers).status, 200)
        self.assertEqual(self.server.deliver(key), [ON_TIME])


class LostTests(RotationCase):
    """A secret that does not fit the store."""

    def test_it_is_warned_of(self) -> None:
        """Once, naming the store, and no secret; no client is recognised."""
        old = Path(self.secret).read_text().strip()
        os.unlink(self.secret)
        [warned] = self.restart()
        self.assertIn("rendezvous.sqlite3 were registered under: none of them can be recognised", warned)
        self.assertNotIn(old, warned)
        self.assertEqual((self.server.deliver(self.key), self.statuses()), ([UNKNOWN], [401, 401]))

    def test_secret_that_fits_is_not_warned_of(self) -> None:
        """Nor is an empty store with another secret."""
        self.assertEqual(self.restart(), [])
        self.server.request("POST", "/logout", headers=self.headers)
        os.unlink(self.secret)
        self.assertEqual(self.restart(), [])
