"""What a store answers before its file has it, and what it does not: the thread that writes is the test."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.identity import Keyring, Secret
from rendezvous.core.notes import PeerEvents
from rendezvous.core.presence.states import PulseCode
from rendezvous.core.signaling.offers import Offer
from rendezvous.core.signaling.specs import OfferSpec
from rendezvous.errors import NotFound, Unavailable
from rendezvous.limits import SignalingLimits
from rendezvous.model import Swept
from rendezvous.storage import journal
from rendezvous.storage import waits as waits_module
from rendezvous.storage.batch import STATEMENT_SIZE
from rendezvous.storage.registry import sqlite_store
from tests._live_table import clients
from tests._store_case import StoreOptions
from tests._store_thread import Thread

NOW = 1_700_000_000.0
NOW_MS = 1_700_000_000_000
HERE, THERE = ("198.51.100.7", 40000), ("198.51.100.7", 40001)
SOURCE, OTHER = (*HERE, 5024), (*THERE, 5024)
PORT = 5024


class SlowDiskCase(SynchronousTestCase):
    """A store whose thread the test is, with one client that is online."""

    def setUp(self) -> None:
        """Begin with an empty file."""
        self.thread = Thread()
        options = StoreOptions(case=self, keyring=Keyring([Secret(bytes(32))]), random=random.Random(1).randbytes)
        self.store = sqlite_store(self.mktemp(), self.thread.run, **options.parts())
        self.store.open(NOW)
        self.client_id, self.key = self.register()
        first = self.pulse(self.key)
        self.thread.work_off()
        self.successResultOf(first)

    def tearDown(self) -> None:
        """Close, whatever is still to be written."""
        closing = self.begun(self.store.close(NOW))
        self.thread.work_off()
        self.successResultOf(closing)

    def begun(self, verb: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        """:returns: what the verb will have returned."""
        return Deferred.fromCoroutine(verb)

    def register(self) -> tuple[bytes, bytes]:
        """:returns: the id and the key of a client that is on the disk."""
        registered = self.begun(self.store.register(NOW))
        self.thread.work_off()
        client_id, key = self.successResultOf(registered)
        return client_id, key

    def pulse(self, key: bytes, address: tuple[str, int] = HERE, now: float = NOW) -> Deferred[PulseCode]:
        """:returns: what a pulse will be answered."""
        return self.begun(self.store.pulse(key, address, now, PORT))

    def publish(self, id: str, ttl_ms: int = 60_000) -> Deferred[list[Offer]]:
        """:returns: what the client's publication will give."""
        spec = OfferSpec.check(SignalingLimits(), "offer", sdp="v=0", topics=["t"], id=id, ttl_ms=ttl_ms)
        return self.begun(self.store.publish(self.client_id.hex(), [spec], NOW))

    def stall(self) -> Deferred[Any]:
        """:returns: a registration that waits behind another one, on a disk that does nothing for now."""
        self.begun(self.store.register(NOW))
        return self.begun(self.store.register(NOW))


class WaitingTests(SlowDiskCase):
    """Only what a decision itself has changed is waited for."""

    def test_nothing_else_waits_for_what_others_have_changed(self) -> None:
        """Pulses in any form, unknown keys, late clients, and what fails, are answered at once."""
        _, late = self.register()
        self.thread.work_off()
        first = self.pulse(late)
        self.thread.work_off()
        self.successResultOf(first)
        behind = self.stall()
        later = NOW + 30.0
        self.assertTrue(self.store.live.keep_alive(self.key, HERE, later, PORT))
        self.assertIs(self.successResultOf(self.pulse(self.key, HERE, later)), PulseCode.ON_TIME)
        self.assertIs(self.successResultOf(self.pulse(bytes(32))), PulseCode.UNKNOWN)
        self.assertIs(self.successResultOf(self.pulse(late, HERE, NOW + 34)), PulseCode.VERIFY)
        self.successResultOf(self.begun(self.store.alive(SOURCE, NOW)))
        self.failureResultOf(self.begun(self.store.push(SOURCE, NOW, "abcdefgh")), NotFound)
        self.failureResultOf(self.begun(self.store.heartbeat("p", "x", NOW)), NotFound)
        self.assertNoResult(behind)
        self.thread.work_off()
        self.successResultOf(behind)

    def test_pulses_and_verifies_wait_for_nothing(self) -> None:
        """First pulses, moves to another address or port of the server, and verifies, whatever the disk does."""
        behind = self.stall()
        _, key = self.register_without_waiting()
        for address, port in ((HERE, PORT), (THERE, PORT), (THERE, PORT + 1)):
            moved = self.begun(self.store.pulse(key, address, NOW, port))
            self.assertIs(self.successResultOf(moved), PulseCode.ON_TIME)
            self.assertTrue(self.store.live.keep_alive(key, address, NOW, port))
        self.successResultOf(self.begun(self.store.verify(self.client_id, NOW + 40)))
        self.assertNoResult(behind)

    def register_without_waiting(self) -> tuple[bytes, bytes]:
        """:returns: the id and the key of a client whose registration is on its way to the disk."""
        self.begun(self.store.register(NOW))
        (client,) = [each for each in clients(self.store.tables.presence) if each.slot == len(self.store.live)]
        return client.client_id, self.store.tables.keyring.key(client.client_id)

    def test_slot_of_a_client_that_left_waits_for_the_commit(self) -> None:
        """A crash before it must find the client as it was; another one comes only after it."""
        slot = self.store.tables.presence.columns.top
        logout = self.begun(self.store.logout(self.client_id, NOW))
        before = self.begun(self.store.register(NOW))
        self.assertEqual(self.store.tables.presence.columns.client(slot).client_id, self.client_id)
        self.thread.work_off()
        self.successResultOf(logout)
        self.successResultOf(before)
        after, _ = self.register()
        self.assertEqual(self.store.tables.presence.columns.client(slot).client_id, after)

    def test_repeated_announcement_waits_like_the_first(self) -> None:
        """For the same commit; and so do other requests of a peer whose entry is on its way to the disk."""
        batches = self.thread.batches
        verbs = [self.begun(self.store.announce(SOURCE, NOW)) for _ in range(2)]
        verbs.append(self.begun(self.store.alive(SOURCE, NOW)))
        for verb in verbs:
            self.assertNoResult(verb)
        self.thread.work()
        for verb in verbs:
            self.successResultOf(verb)
        self.assertEqual(self.thread.batches - batches, 1)

    def test_too_many_waits(self) -> None:
        """Requests are refused before they change anything; pulses go on."""
        self.patch(waits_module, "MAX_WAITING", 2)
        self.stall()
        clients = len(self.store.live)
        self.failureResultOf(self.begun(self.store.register(NOW)), Unavailable)
        self.failureResultOf(self.publish("x"), Unavailable)
        self.assertIs(self.successResultOf(self.pulse(self.key, THERE)), PulseCode.ON_TIME)
        self.assertEqual(len(self.store.live), clients)
        self.assertIs(self.successResultOf(self.pulse(bytes(32))), PulseCode.UNKNOWN)
        self.thread.work_off()
        self.successResultOf(self.pulse(self.key, THERE))


class ViewTests(SlowDiskCase):
    """What is answered, and who is notified, when the disk is slow."""

    def test_answer_is_of_the_decision(self) -> None:
        """Two publications of one offer are each answered with their own end, and heartbeats with their own time."""
        first, second = self.publish("x", 60_000), self.publish("x", 3_600_000)
        self.thread.work_off()
        ends = [self.successResultOf(each)[0].expires_at - NOW_MS for each in (first, second)]
        self.assertEqual(ends, [60_000, 3_600_000])
        owner = self.client_id.hex()
        seen = [self.begun(self.store.heartbeat(owner, "x", NOW + late)) for late in (1, 2)]
        self.thread.work_off()
        self.assertEqual([self.successResultOf(each).last_seen - NOW_MS for each in seen], [1000, 2000])

    def test_those_who_wait_are_notified_after_the_commit(self) -> None:
        """Also if the one who has caused it hangs up meanwhile."""
        self.publish("x")
        self.thread.work_off()
        changed = self.store.subscribe(PeerEvents(self.client_id.hex())).changed()
        answering = self.begun(self.store.answer("x", "q", "v=1", None, NOW))
        answering.addErrback(lambda _: None).cancel()
        self.assertNoResult(changed)
        self.thread.work()
        self.successResultOf(changed)

    def test_those_who_wait_are_notified_after_a_commit_that_failed_first(self) -> None:
        """When the batch is written at last."""
        self.publish("x")
        self.thread.work_off()
        changed = self.store.subscribe(PeerEvents(self.client_id.hex())).changed()
        answering = self.begun(self.store.answer("x", "q", "v=1", None, NOW))
        self.thread.fail()
        self.failureResultOf(answering, Unavailable)
        self.assertNoResult(changed)
        self.successResultOf(self.begun(self.store.sweep(NOW + 2)))
        self.thread.work_off()
        self.successResultOf(changed)

    def test_expiry_is_notified_at_once(self) -> None:
        """It needs no commit: after a crash the offer expires again."""
        self.publish("x")
        self.thread.work_off()
        changed = self.store.subscribe(PeerEvents(self.client_id.hex())).changed()
        self.begun(self.store.register(NOW))
        self.successResultOf(self.begun(self.store.sweep(NOW + 60)))
        self.successResultOf(changed)

    def test_expiry_that_a_read_finds_is_notified_too(self) -> None:
        """A listing between two sweeps ends what is due. Those who wait for it need no sweep."""
        self.publish("x")
        self.thread.work_off()
        changed = self.store.subscribe(PeerEvents(self.client_id.hex())).changed()
        self.successResultOf(self.begun(self.store.by_topic("t", 9, None, NOW + 60)))
        self.successResultOf(changed)


class FreeingTests(SlowDiskCase):
    """What has ended adds to what is to be written, once it is freed."""

    def test_nothing_is_freed_while_the_disk_is_behind(self) -> None:
        """It stays until the disk has caught up, and is not found meanwhile."""
        later = NOW + 100_000
        self.stall()
        self.patch(journal, "SWEEP_BACKLOG", 2 * STATEMENT_SIZE)
        self.assertEqual(self.successResultOf(self.begun(self.store.sweep(NOW))), Swept())
        self.begun(self.store.register(NOW))
        self.assertEqual(self.successResultOf(self.begun(self.store.sweep(later))), Swept())
        self.assertEqual(len(self.store.live), 4)
        self.failureResultOf(self.begun(self.store.status(self.client_id, later)), NotFound)
        self.thread.work_off()
        self.assertEqual(self.successResultOf(self.begun(self.store.sweep(later))).clients, 4)


class FullDiskTests(SlowDiskCase):
    """Nothing can be written."""

    def fill(self) -> None:
        """Have a write fail."""
        changed = self.begun(self.store.register(NOW))
        self.thread.fail()
        self.failureResultOf(changed, Unavailable)

    def test_those_that_are_known_go_on(self) -> None:
        """Pulses, moves, tracker pulses and introductions need no file; a new peer or another address does."""
        announced = self.begun(self.store.announce(SOURCE, NOW))
        self.thread.work()
        ((reply, _),) = self.successResultOf(announced)
        self.fill()
        self.assertIs(self.successResultOf(self.pulse(self.key, THERE)), PulseCode.ON_TIME)
        self.assertTrue(self.store.live.keep_alive(self.key, THERE, NOW, PORT))

        def tracker_pulse(**changes: Any) -> Deferred[Any]:
            asked = {"override": False, "ip": None, "port": None, "multiaddr": None, "renew_share_id": False, **changes}
            return self.begun(self.store.tracker_pulse(SOURCE, NOW, **asked))

        for verb in (
            self.begun(self.store.alive(SOURCE, NOW)),
            self.begun(self.store.push(SOURCE, NOW, reply.share_id)),
            tracker_pulse(),
        ):
            self.successResultOf(verb)
        for verb in (
            self.begun(self.store.announce(OTHER, NOW)),
            tracker_pulse(override=True, port=9),
            tracker_pulse(multiaddr="/ip4/192.0.2.1"),
            tracker_pulse(renew_share_id=True),
        ):
            self.failureResultOf(verb, Unavailable)

    def test_store_that_never_was_open_refuses(self) -> None:
        """In words of its own."""
        options = StoreOptions(case=self, keyring=Keyring([Secret(bytes(32))]), random=bytes)
        store = sqlite_store(self.mktemp(), self.thread.run, **options.parts())
        error = self.failureResultOf(self.begun(store.register(NOW)), Unavailable).value
        self.assertEqual(error.message, "The server is not running.")
        self.successResultOf(self.begun(store.close(NOW)))

    def test_each_process_has_another_index(self) -> None:
        """Where a search for a key begins is drawn when the process starts, so that clients cannot know it."""

        def spread(random: Callable[[int], bytes]) -> int:
            options = StoreOptions(case=self, keyring=Keyring([Secret(bytes(32))]), random=random, max_clients=1000)
            return sqlite_store(self.mktemp(), self.thread.run, **options.parts()).tables.presence.index.spread

        self.assertEqual(spread(bytes), spread(bytes))
        self.assertNotEqual(spread(bytes), spread(lambda count: b"\x07" * count))
