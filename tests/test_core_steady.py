"""Tests of steady pulses: a worker's look and store, with each change of the table between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.trial.unittest import SkipTest

from rendezvous.core.addresses import packed
from rendezvous.core.presence.keyindex import KeyIndex
from rendezvous.core.presence.record import ADDRESS, BANNED, KICKED, RECORD_SIZE, USED, WORDS
from rendezvous.core.presence.states import PresenceState, PulseCode
from rendezvous.core.presence.steady import SteadyPulses, place
from tests._presence_case import HERE, ID, JUST, KEY, NOW, OTHER, OTHER_KEY, THERE, PresenceCase

PORT = 5024
#: The same port on another socket.
SECOND = PORT + 65536
LATER = NOW + 10.0

Address = tuple[str, int]


class ChangedAfterwards:
    """
    Times of clients, after each store to which something else happens.

    :param times: the times.
    :param change: what happens.
    """

    def __init__(self, times: Any, change: Callable[[], object]) -> None:
        self._times, self._change = times, change

    def __getitem__(self, at: Any) -> Any:
        return self._times[at]

    def __setitem__(self, at: Any, value: Any) -> None:
        self._times[at] = value
        self._change()


class Plain:
    """
    Takes one pulse without NumPy, in two steps.

    :param index: the keys.
    """

    def __init__(self, index: KeyIndex, memory: Any, on_time: float) -> None:
        self._pulses, self._on_time = SteadyPulses(index, memory), on_time

    def look(self, key: bytes, address: Address, now: float, number: int = PORT) -> Callable[[], bool]:
        """:returns: the second step, which says whether the pulse is taken."""
        at = place(packed(address[0]), address[1], number)
        slot = self._pulses.look(key, at, now, self._on_time)
        return lambda: bool(slot) and self._pulses.record(slot, key, at, now)

    @contextmanager
    def after_the_store(self, change: Callable[[], object]) -> Iterator[None]:
        """Have the main process make a change as soon as a time has been written."""
        seen = self._pulses._seen
        stored: Any = ChangedAfterwards(seen, change)
        self._pulses._seen = stored
        yield
        self._pulses._seen = seen


class Together:
    """The same with NumPy, as one of a batch."""

    def __init__(self, index: KeyIndex, memory: Any, on_time: float) -> None:
        try:
            from rendezvous.core.presence.lookup import Lookup
            from rendezvous.core.presence.steadybatch import SteadyBatch
        except ImportError as e:
            raise SkipTest("this needs NumPy") from e
        self._pulses, self._on_time = SteadyBatch(Lookup(index, memory)), on_time

    def look(self, key: bytes, address: Address, now: float, number: int = PORT) -> Callable[[], bool]:
        """:returns: the second step, which says whether the pulse is taken."""
        import numpy as np

        from rendezvous.core.presence.batch import Places

        host = packed(address[0])
        ports, places = np.array([address[1]], np.uint16), Places(1, number)
        if len(host) == 4:
            where = places.ipv4(np.frombuffer(host, np.uint32), ports)
        else:
            where = places.ipv6(np.frombuffer(host, np.uint64).reshape(1, 2), ports)
        looked = self._pulses.look(np.frombuffer(key, np.uint64).reshape(1, 4), where, now, self._on_time)
        return lambda: bool(self._pulses.record(looked, now)[0])

    @contextmanager
    def after_the_store(self, change: Callable[[], object]) -> Iterator[None]:
        """Have the main process make a change as soon as times have been written."""
        lookup = self._pulses._lookup
        seen = lookup.seen
        stored: Any = ChangedAfterwards(seen, change)
        lookup.seen = stored
        yield
        lookup.seen = seen


class SteadyTests(PresenceCase):
    """What a worker takes, and what it leaves to the main process."""

    way: type[Plain] | type[Together] = Plain

    def setUp(self) -> None:
        """Have a client that is ONLINE."""
        super().setUp()
        self.table.register(ID, KEY, NOW)
        self.table.pulse(KEY, HERE, NOW, PORT)
        self.worker = self.attach()

    def attach(self) -> Plain | Together:
        """:returns: a worker that sees the memory of the table."""
        index = self.table.index
        table: Any = index.table.obj
        return self.way(
            KeyIndex.attached(index.keys, table, index.spread), self.table.columns.memory, self.table.timers.on_time
        )

    def slot(self, key: bytes = KEY) -> int:
        """:returns: the client's slot."""
        return self.table.index.find(key)

    def seen(self) -> float:
        """:returns: when the client was last seen."""
        seen: float = self.table.columns.seen[self.slot() * WORDS]
        return seen

    def take(self, key: bytes = KEY, address: Address = HERE, now: float = LATER, number: int = PORT) -> bool:
        """:returns: whether a pulse is taken."""
        return self.worker.look(key, address, now, number)()

    def memory(self) -> bytes:
        """:returns: all records."""
        return bytes(self.table.columns.memory[: 10 * RECORD_SIZE])

    def assertLeft(self, key: bytes = KEY, address: Address = HERE, now: float = LATER, number: int = PORT) -> None:
        """Fail unless a pulse is left, and nothing has changed."""
        before = self.memory()
        self.assertFalse(self.take(key, address, now, number))
        self.assertEqual(self.memory(), before)

    def test_steady_pulse_is_one_store_of_eight_bytes(self) -> None:
        """All else stays as it was."""
        before = bytearray(self.memory())
        self.assertTrue(self.take())
        self.assertEqual(self.seen(), LATER)
        start = self.slot() * RECORD_SIZE
        before[start : start + 8] = self.memory()[start : start + 8]
        self.assertEqual(self.memory(), bytes(before))

    def test_ipv6_is_taken_likewise(self) -> None:
        """With its own flag."""
        self.table.pulse(KEY, THERE, NOW, PORT)
        self.assertTrue(self.take(address=THERE))
        self.assertLeft(address=HERE)

    def test_late_pulse_is_left(self) -> None:
        """To the last bit: on time at 33 seconds, late after."""
        self.assertLeft(now=NOW + 33.0 + JUST)
        self.assertTrue(self.take(now=NOW + 33.0))

    def test_unknown_key_and_another_place_are_left(self) -> None:
        """Another host, port, or socket of the server."""
        self.assertLeft(OTHER_KEY)
        for address in ((HERE[0], HERE[1] + 1), ("198.51.100.8", HERE[1]), THERE):
            self.assertLeft(address=address)
        for number in (PORT + 1, SECOND):
            self.assertLeft(number=number)

    def test_each_socket_of_the_server_counts(self) -> None:
        """Whichever of them the client pulses to, only a pulse to this one is steady."""
        numbers = [PORT, PORT + 1, *(PORT + 65536 * which for which in (1, 2, 3, 255))]
        for number in numbers:
            self.table.pulse(KEY, HERE, NOW, number)
            self.assertEqual([other for other in numbers if self.take(number=other)], [number])

    def test_client_that_has_never_pulsed_is_left(self) -> None:
        """Its first pulse changes more than a time."""
        self.table.register(OTHER, OTHER_KEY, NOW)
        self.assertLeft(OTHER_KEY)

    def test_verified_kicked_and_banned_clients_are_left(self) -> None:
        """Also if they are ONLINE at this place: flags hold from the next batch on."""
        halves = memoryview(self.table.columns.memory).cast("H")
        at = self.slot() * RECORD_SIZE // 2 + 18
        for flag in (KICKED, BANNED):
            halves[at] |= flag
            self.assertLeft()
            halves[at] &= ~flag
        self.table.verify(ID, NOW + 1)
        self.assertLeft()

    def test_zero_bytes_are_no_key(self) -> None:
        """Also where the table still refers to a slot whose key is zeroed already, in the middle of a removal."""
        start = self.slot() * 32
        keys = self.table.index.keys
        key = bytes(32)
        home = 0  # Where a search for zero bytes begins.
        self.table.index.table[home] = self.slot()
        keys[start : start + 32] = key
        self.assertLeft(key)

    def test_half_written_key_is_not_found(self) -> None:
        """At any byte, of the old key and of the new one."""
        start, keys = self.slot() * 32, self.table.index.keys
        for size in range(1, 32):
            keys[start : start + 32] = OTHER_KEY[:size] + KEY[size:]
            for key in (KEY, OTHER_KEY):
                self.assertLeft(key)
        keys[start : start + 32] = KEY
        self.assertTrue(self.take())

    def test_half_moved_record_is_no_place_of_the_client(self) -> None:
        """After each store of a move, a pulse from the old or the new place is left until the move has ended."""
        old = self.memory()
        self.table.pulse(KEY, THERE, LATER, PORT)
        new, memory = self.memory(), self.table.columns.memory
        start = self.slot() * RECORD_SIZE
        flags = start + 36
        for size in range(0, 20):
            torn = bytearray(old)
            torn[start + 16 : start + 16 + size] = new[start + 16 : start + 16 + size]
            torn[flags : flags + 2] = USED.to_bytes(2, "little")
            memory[: len(torn)] = bytes(torn)
            for address in (HERE, THERE):
                self.assertLeft(address=address)
        memory[: len(new)] = new
        self.assertTrue(self.take(address=THERE, now=LATER + 1))

    def test_index_that_was_made_anew_elsewhere_finds_no_wrong_slot(self) -> None:
        """A worker with the old table leaves new clients, and those that have ended, to the main process."""
        worker, old = self.worker, self.table.index.table
        self.table.index.expect(100_000)
        self.assertIsNot(self.table.index.table, old)
        self.table.register(OTHER, OTHER_KEY, NOW)
        self.table.pulse(OTHER_KEY, HERE, NOW, PORT)
        self.assertLeft(OTHER_KEY)
        self.assertTrue(self.take())
        self.table.frees_later = True
        self.table.logout(ID, LATER)
        self.assertLeft()
        self.worker = self.attach()
        self.assertTrue(self.take(OTHER_KEY))
        self.worker = worker

    # Changes between the two steps

    def test_client_ends_between_look_and_store(self) -> None:
        """The pulse is left. The record is still the ended client's, because its slot is freed later."""
        retired: list[int] = []
        self.table.free = retired.append
        slot, record = self.slot(), self.worker.look(KEY, HERE, LATER)
        self.table.logout(ID, LATER)
        self.assertFalse(record())
        self.assertEqual(retired, [slot])
        self.assertEqual(self.table.columns.client_id(slot), ID)

    def test_slot_is_given_to_another_client_only_after_it_was_freed(self) -> None:
        """A store that comes before the freeing leaves no trace in the next client's record."""
        retired: list[int] = []
        self.table.free = retired.append
        slot, record = self.slot(), self.worker.look(KEY, HERE, LATER)
        self.table.logout(ID, LATER)
        self.table.register(OTHER, OTHER_KEY, NOW)
        self.assertNotEqual(self.slot(OTHER_KEY), slot)
        record()
        self.table.columns.free(slot)
        self.assertEqual(self.table.columns.seen[slot * WORDS], math.inf)
        self.assertEqual(self.table.columns.take(b"yet another one.", NOW), slot)
        self.assertEqual(self.table.columns.client(slot).last_seen, NOW)

    def test_client_moves_between_look_and_store(self) -> None:
        """The pulse is left, so that the main process takes it as a later move back."""
        record = self.worker.look(KEY, HERE, LATER)
        self.table.pulse(KEY, THERE, LATER + JUST, PORT)
        self.assertFalse(record())
        self.assertEqual(self.found(LATER).host, THERE[0])
        self.assertGreaterEqual(self.seen(), LATER + JUST)

    def test_client_verifies_between_look_and_store(self) -> None:
        """The pulse is left; the main process takes it, and with it the verify is over."""
        record = self.worker.look(KEY, HERE, LATER)
        self.table.verify(ID, LATER)
        self.assertFalse(record())
        self.assertEqual(self.table.pulse(KEY, HERE, LATER + JUST, PORT), PulseCode.ON_TIME)
        found = self.found(LATER + JUST)
        self.assertEqual((found.last_seen, found.pulse_before_verify), (LATER + JUST, None))

    def test_client_is_kicked_between_look_and_store(self) -> None:
        """The pulse is left to the main process, which knows what to do."""
        record = self.worker.look(KEY, HERE, LATER)
        memoryview(self.table.columns.memory).cast("H")[self.slot() * RECORD_SIZE // 2 + 18] |= KICKED
        self.assertFalse(record())

    def test_second_look_comes_after_the_store(self) -> None:
        """A client that ends or moves as soon as the time is written has its pulse left."""
        self.table.frees_later = True
        for change in (
            lambda: self.table.pulse(KEY, THERE, LATER + JUST, PORT),
            lambda: self.table.logout(ID, LATER),
        ):
            record = self.worker.look(KEY, HERE, LATER)
            with self.worker.after_the_store(change):
                self.assertFalse(record())
            self.table.pulse(KEY, HERE, NOW, PORT)

    def test_time_does_not_go_back(self) -> None:
        """A pulse that was read earlier than another one of the same client leaves the later time."""
        record = self.worker.look(KEY, HERE, LATER)
        self.assertTrue(self.table.keep_alive(KEY, HERE, LATER + 1, PORT))
        self.assertTrue(record())
        self.assertEqual(self.seen(), LATER + 1)

    def test_time_that_is_still_to_come_means_online(self) -> None:
        """After a pause of the main process a time may be two seconds ahead of server time. Nothing is wrong then."""
        now = LATER - 2.0
        self.assertTrue(self.take(now=LATER))
        self.assertIs(self.table.state(self.slot(), now), PresenceState.ONLINE)
        self.assertEqual(self.table.sweep(now, 1000), 0)
        self.assertTrue(self.take(now=now))
        self.assertEqual(self.seen(), LATER)
        self.assertIs(self.table.pulse(KEY, THERE, now, PORT), PulseCode.ON_TIME)
        self.assertEqual(self.seen(), now)

    def test_flags_of_a_free_slot_are_no_clients(self) -> None:
        """The time of a free slot is infinite, so its flags have to keep workers away."""
        slot = self.slot()
        self.table.columns.free(slot)
        self.assertEqual(self.table.columns.flags(slot) & (USED | ADDRESS), 0)
        self.assertLeft()


class SteadyTogetherTests(SteadyTests):
    """The same, with NumPy."""

    way = Together

    def test_one_client_with_several_pulses(self) -> None:
        """If one of its pulses is left, whatever its form, all are; those of other clients are taken."""
        import numpy as np

        from rendezvous.core.presence.batch import Places
        from rendezvous.core.presence.lookup import Lookup
        from rendezvous.core.presence.steadybatch import SteadyBatch

        self.table.register(OTHER, OTHER_KEY, NOW)
        self.table.pulse(OTHER_KEY, HERE, NOW, PORT)
        pulses = SteadyBatch(Lookup(self.table.index, self.table.columns.memory))
        keys = np.frombuffer(KEY + OTHER_KEY + KEY, np.uint64).reshape(3, 4)
        for ports, elsewhere, expected in (
            ([HERE[1], HERE[1], HERE[1] + 1], (), [False, True, False]),
            ([HERE[1]] * 3, (), [True] * 3),
            ([HERE[1]] * 3, (OTHER_KEY,), [True, False, True]),
            ([HERE[1]] * 3, (KEY, bytes(32)), [False, True, False]),
        ):
            where = Places(3, PORT).ipv4(np.frombuffer(packed(HERE[0]) * 3, np.uint32), np.array(ports, np.uint16))
            taken = pulses.record(pulses.look(keys, where, LATER, 33.0, elsewhere), LATER)
            self.assertEqual(taken.tolist(), expected)
