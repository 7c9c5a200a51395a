"""A store whose clients' times and addresses stand in a file of their own: restarts, crashes, copies, and damage."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import attrs

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.identity import CLIENT_ID_SIZE, Keyring, Secret
from rendezvous.core.presence.client import Client
from rendezvous.core.presence.clients import ClientColumns
from rendezvous.core.presence.states import PulseCode, Timers
from rendezvous.core.sources import source_network
from rendezvous.errors import StartupError
from rendezvous.model import ObservedAddress, PeerStatus
from rendezvous.storage import client_header, inspection, journaled
from rendezvous.storage import clients as storage_clients
from rendezvous.storage.client_file import ClientFile
from rendezvous.storage.database import schema_steps
from rendezvous.storage.journaled import Journaled
from rendezvous.storage.local import LocalStore
from rendezvous.storage.registry import sqlite_store
from tests._live_table import clients
from tests._store_case import NOW, StoreOptions

T = TypeVar("T")

HERE, THERE = ("198.51.100.7", 40000), ("2001:db8::9", 40001)
KEYRING = Keyring([Secret(bytes(32))])
ONLINE, LATE, NEW = (n.to_bytes(16, "big") for n in (1, 2, 3))


class ClientsCase(SynchronousTestCase):
    """A store with a client that is online at NOW + 100, one that is late, and one that has never pulsed."""

    def setUp(self) -> None:
        """Make it, and leave it as a killed process does."""
        self.directory = self.mktemp()
        os.mkdir(self.directory)
        self.path = os.path.join(self.directory, "store")
        self.file = self.path + ".clients"
        self.ids = [ONLINE, LATE, NEW]
        self.store = self.opened(wall=NOW)
        for _ in range(3):
            self.done(self.store.register(NOW))
        self.pulse(LATE, HERE, NOW)
        self.done(self.store.verify(LATE, NOW + 1))
        self.pulse(ONLINE, HERE, NOW)
        self.pulse(ONLINE, THERE, NOW + 20)
        self.pulse(ONLINE, THERE, NOW + 50)
        self.pulse(ONLINE, THERE, NOW + 80)
        self.done(self.store.sweep(NOW + 100))
        self.now = NOW + 100

    def opened(self, path: str | None = None, wall: float = NOW + 1_000_000, **options: Any) -> LocalStore:
        """:returns: the store, opened; but for the first time when the wall clock is far ahead."""
        parts = StoreOptions(case=self, keyring=KEYRING, random=self.draw, **options)
        store = sqlite_store(path or self.path, maybeDeferred, **parts.parts())
        self.now = store.open(wall)
        return store

    def draw(self, size: int) -> bytes:
        """:returns: the next id, and zeros where something else is drawn."""
        return self.ids.pop(0) if size == CLIENT_ID_SIZE else bytes(size)

    def killed(self) -> None:
        """The process ends without another word. Its locks go with it."""
        durability = self.store._durability
        assert isinstance(durability, Journaled)
        durability._lock.release()
        durability._clients.file.close()

    def done(self, verb: Coroutine[Any, Any, T]) -> T:
        """:returns: what the verb has returned."""
        return self.successResultOf(Deferred.fromCoroutine(verb))

    def pulse(self, client_id: bytes, address: tuple[str, int], now: float) -> PulseCode:
        """:returns: what a pulse is answered."""
        key = KEYRING.key(client_id)
        if self.store.live.keep_alive(key, address, now, 5024):
            return PulseCode.ON_TIME
        return self.done(self.store.pulse(key, address, now, 5024))

    def assertAsBefore(self) -> None:
        """All that was known is known, at the server time when the process ended."""
        now = self.now
        self.assertEqual(len(self.store.live), 3)
        self.assertEqual(self.done(self.store.status(ONLINE, now)), PeerStatus(True, now - NOW - 80))
        self.assertEqual(self.done(self.store.address(ONLINE, now)), ObservedAddress(*THERE))
        self.assertEqual(self.done(self.store.status(LATE, now)), PeerStatus(False, now - NOW))
        self.assertEqual(self.done(self.store.address(LATE, now)), ObservedAddress(*HERE))
        self.assertEqual(self.done(self.store.status(NEW, now)), PeerStatus(False, None))
        self.assertIs(self.pulse(LATE, HERE, now), PulseCode.VERIFY)
        self.assertIs(self.pulse(ONLINE, THERE, now), PulseCode.ON_TIME)

    def assertWithoutAddresses(self) -> None:
        """All are registered, none has an address, and each next pulse is on time."""
        for client_id in (ONLINE, LATE, NEW):
            self.assertEqual(self.done(self.store.status(client_id, self.now)), PeerStatus(False, None))
            self.assertIs(self.pulse(client_id, HERE, self.now + 299), PulseCode.ON_TIME)

    def refusal(self, path: str | None = None) -> str:
        """:returns: why the store is refused; no file is changed by that."""
        before = {name: Path(self.directory, name).read_bytes() for name in os.listdir(self.directory)}
        message = str(self.assertRaises(StartupError, self.opened, path))
        after = {name: Path(self.directory, name).read_bytes() for name in os.listdir(self.directory)}
        for name in before:
            if not name.endswith(("-wal", "-shm")):
                self.assertEqual(after[name], before[name], name)
        self.assertNotIn("\n", message)
        return message


class RestartTests(ClientsCase):
    """The next process knows what this one knew."""

    def test_after_a_kill(self) -> None:
        """Server time goes on from the last second; first pulses and moves needed no commit."""
        self.killed()
        self.store = self.opened()
        self.assertEqual(self.now, NOW + 100)
        self.assertAsBefore()

    def test_one_wrong_bit_in_the_server_time(self) -> None:
        """It does not set server time forward, by which all clients would have ended."""
        self.killed()
        # In each copy of the time: a bit that sets it forward by 161 years, and one that does by three days.
        for place, bit in ((6, 0x20), (5, 0x01), (22, 0x20), (21, 0x01)):
            with open(self.file, "r+b") as file:
                was = os.pread(file.fileno(), 1, 64 + place)[0]
                os.pwrite(file.fileno(), bytes([was ^ bit]), 64 + place)
            self.store = self.opened()
            self.assertEqual(self.now, NOW + 100)
            self.killed()
        self.store = self.opened()
        self.assertAsBefore()

    def test_after_a_stop(self) -> None:
        """Also if the system has been started anew since."""
        for boot in (client_header.boot(), b"another boot...."):
            self.done(self.store.close(self.now))
            self.patch(client_header, "boot", lambda boot=boot: boot)
            self.store = self.opened()
            self.assertEqual(self.now, NOW + 100)
        self.assertAsBefore()

    def test_after_a_power_cut(self) -> None:
        """Server time goes on from the last flush, however much later the database is: no client is late."""
        self.killed()
        for cut in (0.0, 40.0):
            self.set_server_time(NOW + 100 + cut)
            self.set_times(NOW + 120 + cut, NOW + 90)
            self.store = self.opened()
            self.assertEqual(self.now, NOW + 100 + cut)
            self.assertEqual(self.done(self.store.status(ONLINE, self.now)), PeerStatus(True, 10.0))
            self.killed()
            # Next time the times have been shifted already.
            self.pulse(ONLINE, THERE, NOW + 80)

    def test_file_may_know_a_later_time_than_the_database(self) -> None:
        """Nothing but pulses came since the last commit. A client that was late by then is late."""
        durability = self.store._durability
        assert isinstance(durability, Journaled)
        durability._clients.file.renew(NOW + 130)
        self.killed()
        self.store = self.opened()
        self.assertEqual(self.now, NOW + 130)
        self.assertEqual(self.done(self.store.status(ONLINE, self.now)), PeerStatus(False, 50.0))

    def test_looking_into_the_store_goes_by_the_later_time(self) -> None:
        """Counts and a copy are of the moment that the file of clients says."""
        durability = self.store._durability
        assert isinstance(durability, Journaled)
        durability._clients.file.renew(NOW + 130)
        found = inspection.stats(self.path, Timers())
        self.assertEqual((found["clients_online"], found["clients_pending"]), (0, 2))
        inspection.backup(self.path, copy := os.path.join(self.directory, "copy"))
        self.store = self.opened(copy)
        self.assertEqual(self.now, NOW + 130)

    def test_database_may_know_a_later_time_than_the_file(self) -> None:
        """By 10 seconds: the file is renewed more often. By more, times are shifted, as the file may be a copy."""
        for ahead, silent in ((1.0, 21.0), (10.0, 30.0), (10.5, 20.0)):
            self.killed()
            self.set_server_time(self.now + ahead)
            self.store = self.opened()
            self.assertEqual(self.done(self.store.status(ONLINE, self.now)), PeerStatus(True, silent))
            self.pulse(ONLINE, THERE, self.now - 20)

    def set_server_time(self, moment: float) -> None:
        """Have the database know another server time."""
        database = sqlite3.connect(self.path)
        database.execute("UPDATE meta SET value = ? WHERE name = 'server_time'", (moment,))
        database.commit()
        database.close()

    def set_times(self, time: float, flushed: float) -> None:
        """Have the file know other times, and another boot of the system."""
        with open(self.file, "r+b") as file:
            header = client_header.read_header(self.file, file.fileno())
            file.write(attrs.evolve(header, time=time, flushed=flushed, boot=b"another boot....").pack())

    def test_start_that_fails_promises_nothing(self) -> None:
        """While the clients are being read, the header still says of which moment the records are."""
        self.killed()
        self.set_times(NOW + 100, NOW + 90)
        before = Path(self.file).read_bytes()[:4096]

        def end(database: sqlite3.Connection) -> Iterator[tuple[int, bytes]]:
            yield 1, ONLINE
            raise StartupError("the process ends here")

        patch = self.patch(storage_clients, "read_clients", end)
        self.assertRaises(StartupError, self.opened)
        patch.restore()
        self.assertEqual(Path(self.file).read_bytes()[:4096], before)
        self.store = self.opened()
        self.assertEqual(self.done(self.store.status(LATE, self.now)), PeerStatus(False, 90.0))

    def test_slots_are_given_out_anew_only_after_the_end_is_saved(self) -> None:
        """A client that left is gone after a restart, its slot is used again, and the others are as they were."""
        self.done(self.store.logout(LATE, self.now))
        self.killed()
        self.store = self.opened()
        self.assertEqual(len(self.store.live), 2)
        self.ids = [b"a fourth client."]
        self.done(self.store.register(self.now))
        self.assertEqual(sorted(each.slot for each in clients(self.store.tables.presence)), [1, 2, 3])
        self.assertEqual(self.done(self.store.address(ONLINE, self.now)), ObservedAddress(*THERE))

    def test_registration_that_was_not_saved_is_gone(self) -> None:
        """Its record is there, but the database decides."""
        columns = self.store.tables.presence.columns
        slot = columns.take(b"never saved.....", self.now)
        columns.move(slot, bytes(4), 1, 1, self.now)
        self.killed()
        self.store = self.opened()
        self.assertEqual(len(self.store.live), 3)
        self.assertEqual((slot, self.store.tables.presence.columns.top), (4, 3))
        self.assertAsBefore()

    def test_bound_may_be_raised_and_lowered(self) -> None:
        """No client is lost, and the higher one can be used."""
        for most in (100_000, 1, 5):
            self.killed()
            self.store = self.opened(max_clients=most)
            self.assertEqual(len(self.store.live), 3)
        self.assertAsBefore()

    def test_closed_store_writes_no_more_to_the_file(self) -> None:
        """Another process may have opened it."""
        self.done(self.store.close(self.now))
        before = Path(self.file).read_bytes()
        self.assertFalse(self.store.live.keep_alive(KEYRING.key(ONLINE), THERE, self.now, 5024))
        self.assertEqual(Path(self.file).read_bytes(), before)

    def test_no_key_is_in_a_file(self) -> None:
        """Neither as bytes nor as digits; ids are there."""
        self.done(self.store.close(self.now))
        for name in os.listdir(self.directory):
            content = Path(self.directory, name).read_bytes()
            for client_id in (ONLINE, LATE, NEW):
                self.assertNotIn(KEYRING.key(client_id), content)
                self.assertNotIn(KEYRING.key(client_id).hex().encode(), content)
        self.assertIn(LATE, Path(self.file).read_bytes())


class DamageTests(ClientsCase):
    """A file that is not what it should be is repaired or refused, and never trusted."""

    def setUp(self) -> None:
        """The server is stopped."""
        super().setUp()
        self.done(self.store.close(self.now))

    def warned(self) -> list[str]:
        """:returns: what opening the store warns of."""
        with capturedLogs() as events:
            self.store = self.opened()
        return [str(formatEvent(event)) for event in events if event["log_level"] is LogLevel.warn]

    def test_missing_file_is_made_anew(self) -> None:
        """The clients stay, without an address until their next pulse, for which they have the registration time."""
        os.unlink(self.file)
        warnings = self.warned()
        self.assertEqual(warnings[0], f"the table of clients {self.file} is missing")
        self.assertIn("have no address until their next pulse", warnings[1])
        self.assertWithoutAddresses()

    def test_file_that_is_made_anew_has_room_for_every_client(self) -> None:
        """Also for one whose slot is higher than what the bound of clients asks for."""
        database = sqlite3.connect(self.path)
        database.execute("UPDATE clients SET slot = 9000 WHERE slot = 2")
        database.commit()
        database.close()
        os.unlink(self.file)
        self.store = self.opened(max_clients=1)
        self.assertWithoutAddresses()

    def test_older_copy_of_the_file_makes_no_client_late(self) -> None:
        """Also in the same boot of the system: what the copy lacks counts as after a power cut."""
        copy = Path(self.file).read_bytes()
        self.store = self.opened()
        for second in range(10, 300, 20):
            self.assertIs(self.pulse(ONLINE, THERE, self.now + second), PulseCode.ON_TIME)
            self.done(self.store.sweep(self.now + second))
        self.killed()
        os.unlink(self.file)
        Path(self.file).touch(0o600)
        Path(self.file).write_bytes(copy)
        last = self.now + second
        self.store = self.opened()
        self.assertEqual(self.now, last)
        self.assertIs(self.pulse(ONLINE, THERE, self.now + 13), PulseCode.ON_TIME)

    def test_flush_that_fails_is_logged_once(self) -> None:
        """It is tried again every 30 seconds, and the end of it is logged too. Pulses go on."""
        self.store = self.opened()
        with capturedLogs() as events:
            patch = self.patch(ClientFile, "flush", _disk_fails)
            for second in (31, 62):
                self.done(self.store.sweep(self.now + second))
            self.assertIs(self.pulse(ONLINE, THERE, self.now + 5), PulseCode.ON_TIME)
            patch.restore()
            for second in (93, 124):
                self.done(self.store.sweep(self.now + second))
        lines = [formatEvent(event) for event in events]
        self.assertEqual(
            lines,
            [
                f"the clients of {self.path} cannot be flushed: [Errno {errno.EIO}] Input/output error;"
                " a power cut would set server time back",
                f"the clients of {self.path} can be flushed again",
            ],
        )

    def test_file_that_was_moved_away_is_written_anew(self) -> None:
        """As one that was deleted."""
        self.store = self.opened()
        os.rename(self.file, self.file + ".moved")
        self.pulse(ONLINE, HERE, self.now)
        self.done(self.store.sweep(self.now + 31))
        self.killed()
        self.store = self.opened()
        self.assertEqual(self.done(self.store.address(ONLINE, self.now)), ObservedAddress(*HERE))

    def test_missing_file_of_an_empty_store_is_no_matter(self) -> None:
        """Nothing was in it."""
        for client_id in (ONLINE, LATE, NEW):
            self.store = self.opened()
            self.done(self.store.logout(client_id, self.now))
            self.done(self.store.close(self.now))
        os.unlink(self.file)
        self.assertEqual(self.warned(), [])

    def test_torn_record_costs_its_client_the_address(self) -> None:
        """The others are as they were."""
        with open(self.file, "r+b") as file:
            file.seek(4096 + 64 + 20)
            file.write(b"\x55")
        self.assertIn("have no address until their next pulse", self.warned()[0])
        self.assertEqual(self.done(self.store.status(ONLINE, self.now)), PeerStatus(False, None))
        self.assertIs(self.pulse(ONLINE, HERE, self.now), PulseCode.ON_TIME)
        self.assertEqual(self.done(self.store.address(LATE, self.now)), ObservedAddress(*HERE))

    def test_network_is_lost_only_with_the_whole_record(self) -> None:
        """It counts as long as it is there. A client that has lost it takes nothing from its network when it ends."""
        source = source_network("192.0.2.1")
        self.store = self.opened()
        made = [number.to_bytes(16, "big") for number in (4, 5)]
        self.ids = list(made)
        for client_id in made:
            self.done(self.store.register(self.now, source))
            self.pulse(client_id, HERE, self.now)
        self.done(self.store.close(self.now))
        # The address of the one; then all of its record.
        for place, content, held in ((20, b"\x55", 2), (0, bytes(64), 1)):
            with open(self.file, "r+b") as file:
                file.seek(4096 + 4 * 64 + place)
                file.write(content)
            self.assertIn("have no address until their next pulse", self.warned()[0])
            self.assertEqual(self.store.tables.presence._shares.held(source), held)
            self.done(self.store.close(self.now))
        self.store = self.opened()
        self.done(self.store.logout(made[0], self.now))
        self.assertEqual(self.store.tables.presence._shares.held(source), 1)

    def test_other_files_are_refused(self) -> None:
        """Short, damaged, of another store, of a newer server, or none of ours at all."""
        whole = Path(self.file).read_bytes()
        other = whole[:40] + bytes([whole[40] ^ 1]) + whole[41:]
        for content, reason in (
            (whole[:-1], "damaged"),
            (whole[:100], "damaged"),
            (other, "damaged"),
            (b"not ours", "no table of clients"),
            (b"", "no table of clients"),
        ):
            Path(self.file).write_bytes(content)
            self.assertIn(reason, self.refusal())
        Path(self.file).write_bytes(whole)
        self.store = self.opened()
        self.assertAsBefore()

    def test_file_of_another_store_is_refused(self) -> None:
        """As when only one of the two was put back. Nothing is read from it, and no copy is made of the two."""
        other = os.path.join(self.directory, "other")
        self.ids = []
        store = self.opened(other)
        self.done(store.close(self.now))
        os.replace(other + ".clients", self.file)
        self.assertIn("belongs to another store", self.refusal())
        copy = os.path.join(self.directory, "copy")
        for look in (
            inspection.check,
            lambda path: inspection.stats(path, Timers()),
            lambda path: inspection.backup(path, copy),
        ):
            self.assertIn("belongs to another store", str(self.assertRaises(StartupError, look, self.path)))
        self.assertFalse(os.path.lexists(copy))

    def test_new_store_takes_the_place_of_ours_and_of_nothing_else(self) -> None:
        """A database that was moved away leaves a file behind, which is of no use."""
        os.unlink(self.path)
        self.assertEqual(self.warned(), [])
        self.assertEqual(len(self.store.live), 0)
        self.done(self.store.close(self.now))
        os.unlink(self.path)
        Path(self.file).write_bytes(b"precious")
        self.assertIn("no table of clients", self.refusal())
        os.unlink(self.file)
        os.mkfifo(self.file)
        self.assertIn("no table of clients", str(self.assertRaises(StartupError, self.opened)))

    def test_full_disk_at_the_start_is_refused(self) -> None:
        """In one line; later it works."""

        def fail(descriptor: int, offset: int, length: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        allocate = os.posix_fallocate
        self.patch(os, "posix_fallocate", fail)
        self.assertIn("No space left on device", str(self.assertRaises(StartupError, self.opened)))
        self.patch(os, "posix_fallocate", allocate)
        self.store = self.opened()
        self.assertAsBefore()


class SecondServerTests(ClientsCase):
    """Somebody deletes the lock file of a server that runs, and starts another server with its store."""

    def setUp(self) -> None:
        """Delete it."""
        super().setUp()
        os.unlink(self.path + ".lock")

    def test_clients_are_not_shared(self) -> None:
        """The second server does not start, also if it would need a larger file; the first one goes on."""
        expected = f"the table of clients {self.file!r} is in use by another server: stop it, or give another --store"
        for options in ({}, {"max_clients": 100_000}):
            error = self.assertRaises(StartupError, self.opened, **options)
            self.assertEqual(str(error), expected)
        self.assertAsBefore()

    def test_file_in_use_is_not_replaced(self) -> None:
        """Also if the database has been deleted too."""
        os.unlink(self.path)
        self.assertIn("in use by another server", self.refusal())

    def test_file_is_free_after_a_stop_a_kill_and_a_refusal(self) -> None:
        """The next server has it at once."""
        self.killed()
        self.store = self.opened()
        self.done(self.store.close(self.now))
        # What is read after the clients cannot be read.
        patch = self.patch(journaled, "read_tracker_peers", _not_readable)
        self.assertIn("is damaged", str(self.assertRaises(StartupError, self.opened)))
        patch.restore()
        self.store = self.opened(max_clients=100_000)
        self.assertAsBefore()
        self.assertIn("in use", str(self.assertRaises(StartupError, ClientFile.open, self.file, 1, bytes(16))))


def _disk_fails(self: ClientFile, now: float) -> None:
    raise OSError(errno.EIO, "Input/output error")


def _not_readable(database: sqlite3.Connection) -> None:
    raise ValueError


class LinkTests(ClientsCase):
    """A store that is named by a symbolic link."""

    def setUp(self) -> None:
        """The link is in another directory, and has another name."""
        super().setUp()
        self.link = os.path.join(self.directory, "elsewhere", "link")
        os.mkdir(os.path.dirname(self.link))
        os.symlink(os.path.abspath(self.path), self.link)

    def test_second_server_does_not_start(self) -> None:
        """Whichever name it uses."""
        self.assertIn("in use by another server", str(self.assertRaises(StartupError, self.opened, self.link)))

    def test_clients_are_found(self) -> None:
        """Their file lies beside the store, not beside the link."""
        self.killed()
        self.store = self.opened(self.link)
        self.assertAsBefore()

    def test_copy_has_times_and_addresses(self) -> None:
        """Also if it is taken by the link."""
        copy = os.path.join(self.directory, "copy")
        inspection.backup(self.link, copy)
        self.store = self.opened(copy)
        self.assertAsBefore()


class CopyTests(ClientsCase):
    """One file is a copy of both."""

    def copied(self) -> str:
        """:returns: the name of a copy."""
        copy = os.path.join(self.directory, "copy")
        inspection.backup(self.path, copy)
        return copy

    def test_copy_has_times_and_addresses(self) -> None:
        """Of a running server, and of one that was stopped or killed; put anywhere it goes on from there."""
        ends = [lambda: None, self.killed, lambda: self.done(self.store.close(self.now))]
        for number, end in enumerate(ends):
            end()
            copy, place = self.copied(), os.path.join(self.directory, f"place{number}")
            inspection.restore(copy, place)
            os.unlink(copy)
            running, self.store = self.store, self.opened(place)
            self.assertEqual(self.now, NOW + 100)
            self.assertAsBefore()
            self.done(self.store.close(self.now))
            self.store = self.opened() if number == 1 else running

    def test_records_get_their_space_before_they_are_written(self) -> None:
        """A store to a page without space ends the process, if the disk is full."""
        copy, events = self.copied(), list[str]()
        put, allocate = ClientColumns.put, os.posix_fallocate

        def put_one(columns: ClientColumns, client: Client) -> int:
            events.append("put")
            return put(columns, client)

        def give(descriptor: int, start: int, length: int) -> None:
            events.append("space")
            allocate(descriptor, start, length)

        self.patch(ClientColumns, "put", put_one)
        self.patch(os, "posix_fallocate", give)
        self.store = self.opened(copy)
        self.assertEqual(events, ["space", "space", "put", "put", "put"])

    def test_copy_goes_before_the_file_that_is_there(self) -> None:
        """A store that is put back is as it was, whatever has become of its clients since."""
        copy = self.copied()
        self.pulse(ONLINE, HERE, self.now)
        self.done(self.store.logout(LATE, self.now))
        self.done(self.store.close(self.now + 50))
        self.assertRaises(StartupError, inspection.restore, copy, self.path)
        os.unlink(self.path)
        inspection.restore(copy, self.path)
        self.store = self.opened()
        self.assertEqual(self.now, NOW + 100)
        self.assertAsBefore()

    def test_copy_with_a_record_that_makes_no_sense_is_refused(self) -> None:
        """In one line: a port that is none, and an address that is none."""
        for column, value in (("port", 70_000), ("local_port", -1), ("host", "nowhere"), ("network", "nowhere")):
            copy = self.copied()
            database = sqlite3.connect(copy, isolation_level=None)
            database.execute(f"UPDATE client_snapshot SET {column} = ? WHERE host IS NOT NULL", (value,))  # noqa: S608
            database.close()
            place = os.path.join(self.directory, "place")
            for use in (self.opened, inspection.check, lambda copy, place=place: inspection.restore(copy, place)):
                self.assertIn("a record cannot be read", str(self.assertRaises(StartupError, use, copy)))
            self.assertFalse(os.path.lexists(place))
            os.unlink(copy)

    def test_rest_of_a_store_is_in_the_way(self) -> None:
        """A log that is left would be written into the copy."""
        copy = self.copied()
        for rest in ("-wal", "-shm"):
            place = os.path.join(self.directory, "place")
            Path(place + rest).write_bytes(b"")
            error = self.assertRaises(StartupError, inspection.restore, copy, place)
            self.assertEqual(
                str(error),
                f"{place + rest!r} is there already: stop the server, and move {place!r} away together with the files"
                " beside it whose names end in -wal, -shm and .clients",
            )
            os.unlink(place + rest)

    def test_check_counts_clients_without_a_record(self) -> None:
        """And refuses what the server would refuse."""
        self.assertEqual(inspection.check(self.path)["without_record"], 0)
        self.done(self.store.close(self.now))
        whole = Path(self.file).read_bytes()
        Path(self.file).write_bytes(whole[: 4096 + 64] + bytes(64) + whole[4096 + 128 :])
        self.assertEqual(inspection.check(self.path)["without_record"], 1)
        os.unlink(self.file)
        self.assertEqual(inspection.check(self.path)["without_record"], 3)
        found = inspection.stats(self.path, Timers())
        self.assertEqual((found["clients"], found["clients_never_pulsed"]), (3, 3))
        Path(self.file).write_bytes(whole[:-1])
        for look in (inspection.check, lambda path: inspection.stats(path, Timers())):
            self.assertIn("damaged", str(self.assertRaises(StartupError, look, self.path)))

    def test_stats_are_as_of_the_last_second(self) -> None:
        """States follow from the records."""
        self.killed()
        found = inspection.stats(self.path, Timers())
        counts = [found[f"clients{state}"] for state in ("", "_online", "_pending", "_never_pulsed", "_gone")]
        self.assertEqual(counts, [3, 1, 1, 1, 0])


class UpgradeTests(ClientsCase):
    """A store of before."""

    def test_clients_move_into_the_file(self) -> None:
        """With all that was known of them; what a crash had cost the database is made good as it was then."""
        self.done(self.store.close(self.now))
        old = os.path.join(self.directory, "old")
        os.close(os.open(old, os.O_CREAT, 0o600))
        database = sqlite3.connect(old, isolation_level=None)
        steps = {version: sql for version, sql in schema_steps().items() if version < 3}
        for sql in steps.values():
            database.executescript(sql)
        database.executemany(
            "INSERT INTO clients (client_id, last_seen, host, port, pulse_before_verify, local_port, network)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (LATE.hex(), NOW - 4, *HERE, NOW - 5, 5024, "192.0.2.1"),
                (ONLINE.hex(), NOW + 75, *THERE, None, 5024, ""),
                (NEW.hex(), NOW, None, 0, None, 0, "2001:db8:1:2::/64"),
            ],
        )
        meta = {"server_time": NOW + 100, "seen_until": NOW + 95, "alive": NOW}
        database.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta.items())
        database.executescript(f"PRAGMA application_id = {0x5244565A}; PRAGMA user_version = 2;")
        database.close()
        found = inspection.stats(old, Timers())
        counts = [found[f"clients{state}"] for state in ("", "_online", "_pending", "_never_pulsed", "_gone")]
        self.assertEqual(counts, [3, 2, 0, 1, 0])
        checked = inspection.check(old)
        self.assertEqual((checked["version"], checked["records"], checked["without_record"]), (2, 0, 0))
        self.store = self.opened(old)
        self.assertEqual(self.now, NOW + 100)
        networks = {each.client_id: each.network for each in clients(self.store.tables.presence)}
        self.assertEqual(networks, {ONLINE: "", LATE: "192.0.2.1", NEW: "2001:db8:1:2::/64"})
        self.assertAsBefore()
        self.killed()
        self.store = self.opened(old)
        self.assertEqual(len(self.store.live), 3)
        left = sqlite3.connect(old).execute("SELECT count(*) FROM client_snapshot").fetchone()
        self.assertEqual(left, (0,))
        # A copy that is made later says when each was seen, and nothing of the crash of long ago.
        self.done(self.store.sweep(self.now + 60))
        inspection.backup(old, copy := os.path.join(self.directory, "copy"))
        self.store = self.opened(copy)
        self.assertEqual(self.now, NOW + 160)
        self.assertEqual(self.done(self.store.status(ONLINE, self.now)), PeerStatus(False, 60.0))
