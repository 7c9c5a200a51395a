"""Clients of an earlier process, adopted together with NumPy and one by one."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from rendezvous.core.addresses import packed
from rendezvous.core.identity import Keyring, Secret
from rendezvous.core.presence import adoption
from rendezvous.core.presence.adoption import adopt_each
from rendezvous.core.presence.clients import ClientColumns
from rendezvous.core.presence.keyindex import KeyIndex
from rendezvous.core.presence.presence import Presence
from rendezvous.core.presence.record import RECORD_SIZE, USED
from rendezvous.core.presence.states import Timers
from tests.test_core_keyindex import BEGINNINGS

try:
    from rendezvous.core.presence.adoptionbatch import add_together, adopt_together
except ImportError:
    HAS_NUMPY = False
else:
    HAS_NUMPY = True

NOW = 1_000_000.0
SECRETS = [Secret(bytes(32)), Secret(b"\x09" * 32, NOW + 100)]
CAPACITY = 24
NETWORKS = ("", "192.0.2.1", "192.0.2.2", "2001:db8::")

Change = Callable[[ClientColumns, int], object]


def client_id(slot: int) -> bytes:
    """:returns: the id of the client in a slot."""
    return slot.to_bytes(16, "big")


def moved(host: str, local_port: int = 5024, now: float = NOW) -> Change:
    """:returns: what records a pulse."""
    return lambda columns, slot: columns.move(slot, packed(host), 4711, local_port, now)


def verified(columns: ClientColumns, slot: int) -> None:
    """Record a pulse and then a verify."""
    moved("192.0.2.1")(columns, slot)
    columns.verify(slot, NOW + 1)


def altered(offset: int) -> Change:
    """:returns: what records a pulse and then damages a byte of the record."""

    def alter(columns: ClientColumns, slot: int) -> None:
        moved("192.0.2.1")(columns, slot)
        memoryview(columns.memory).cast("B")[slot * RECORD_SIZE + offset] ^= 1

    return alter


#: What happened to a client before the process ended.
CHANGES: list[Change] = [
    moved("192.0.2.1"),
    moved("2001:db8::1"),
    moved("192.0.2.1", 5024 + 3 * 65536),
    moved("192.0.2.1", now=NOW + 99),
    moved("192.0.2.1", now=-1.0),
    moved("192.0.2.1", now=math.nan),
    verified,
    lambda columns, slot: None,
    lambda columns, slot: columns.free(slot),
    *(altered(offset) for offset in (0, 16, 32, 34, 36, 37, 38, 40, 55, 56)),
]
RECORDS = st.dictionaries(
    st.integers(1, CAPACITY), st.tuples(st.sampled_from(CHANGES), st.sampled_from(NETWORKS)), min_size=1
)


def left(records: dict[int, tuple[Change, str]]) -> bytes:
    """:returns: the memory that an earlier process has left."""
    columns = ClientColumns(CAPACITY)
    for slot in range(1, CAPACITY + 1):
        change, network = records.get(slot, (CHANGES[0], ""))
        columns.fill(slot, client_id(slot), NOW - 1, network)
        change(columns, slot)
    return bytes(columns.memory)


def state(columns: ClientColumns) -> tuple[object, ...]:
    """:returns: all that columns have: the records, and the slots in the order in which they are given out."""
    records = bytes(columns.memory)
    return records, columns.top, [columns.take(bytes(16), NOW) for _ in range(CAPACITY + 1)]


class AdoptionTests(SynchronousTestCase):
    """Clients are entered in chunks."""

    def adopted(self, memory: bytes, slots: list[int]) -> Presence:
        """:returns: a live table that has adopted the clients in these slots."""
        table = Presence(Timers(), Keyring(SECRETS), max_clients=CAPACITY)
        columns = ClientColumns(CAPACITY, memoryview(bytearray(memory)))
        table.clear(columns)
        self.damaged = table.adopt(((slot, client_id(slot)) for slot in slots), 0.0, NOW, NOW)
        return table

    @settings(deadline=None)
    @given(RECORDS, st.booleans())
    def test_chunks_agree_with_one_by_one(self, records: dict[int, tuple[Change, str]], has_numpy: bool) -> None:
        """The clients are the same whether they come in many chunks or in one, also where there is no NumPy."""
        memory, slots = left(records), sorted(records)
        whole = self.adopted(memory, slots)
        damaged = self.damaged
        missing = {} if has_numpy else {"rendezvous.core.presence.adoptionbatch": None}
        with mock.patch.object(adoption, "CHUNK", 3), mock.patch.dict(sys.modules, missing):
            chunks = self.adopted(memory, slots)
        self.assertEqual(self.damaged, damaged)
        for secret in SECRETS:
            for slot in range(1, CAPACITY + 1):
                key = Keyring([secret]).key(client_id(slot))
                self.assertEqual(key in chunks, slot in records)
        self.assertEqual(len(chunks), len(records))
        self.assertEqual(chunks._shares._held, whole._shares._held)
        self.assertEqual(state(chunks.columns), state(whole.columns))


class TogetherTests(SynchronousTestCase):
    """What NumPy does is what is done without it."""

    def setUp(self) -> None:
        """Skip these tests where there is no NumPy."""
        if not HAS_NUMPY:
            raise SkipTest("this needs NumPy")

    @settings(max_examples=300, deadline=None)
    @given(RECORDS, st.sampled_from([0.0, 5.0]), st.integers(1, CAPACITY))
    def test_records_agree(self, records: dict[int, tuple[Change, str]], shift: float, cut: int) -> None:
        """Also if some slots are free, records are damaged, times make no sense, or all of them are shifted."""
        memory = left(records)
        each, together = (ClientColumns(CAPACITY, memoryview(bytearray(memory))) for _ in range(2))
        for slots in filter(
            None, ([slot for slot in records if slot <= cut], [slot for slot in records if slot > cut])
        ):
            slots.sort()
            ids = [client_id(slot) for slot in slots]
            self.assertEqual(adopt_together(together, slots, ids, shift, NOW), adopt_each(each, slots, ids, shift, NOW))
        self.assertEqual(state(together), state(each))

    def test_steady_clients_are_not_looked_at_one_by_one(self) -> None:
        """Neither are those on another of several sockets. That is what makes a start quick."""
        records = {slot: (CHANGES[slot % 3], "") for slot in range(1, 9)}
        columns = ClientColumns(CAPACITY, memoryview(bytearray(left(records))))
        self.patch(ClientColumns, "trust", None)
        slots = [*range(1, 9)]
        self.assertEqual(adopt_together(columns, slots, [client_id(slot) for slot in slots], 0.0, NOW)[0], 0)
        self.assertEqual([columns.flags(slot) & USED for slot in slots], [USED] * 8)

    def test_space_is_reserved_before_a_record_changes(self) -> None:
        """A store into a page of a file that has no space on the disk would end the process."""
        memory, ready = bytearray(left({})), [0]

        def reserve(slot: int) -> int:
            self.assertEqual(memory[(ready[-1] + 1) * RECORD_SIZE :], left({})[(ready[-1] + 1) * RECORD_SIZE :])
            ready.append(slot)
            return slot

        columns = ClientColumns(CAPACITY, memoryview(memory), reserve)
        adopt_together(columns, [2, 7, 8], [client_id(2), bytes(16), bytes(16)], 0.0, NOW)
        self.assertEqual(ready[-1], 8)
        self.assertEqual([columns.flags(slot) for slot in range(1, 9)], [0, 3, 0, 0, 0, 0, USED, USED])

    @settings(max_examples=300, deadline=None)
    @given(st.lists(BEGINNINGS, max_size=40), st.integers(0, 40), st.sampled_from([0, 1]))
    def test_keys_are_found_and_can_be_removed(self, beginnings: list[int], first: int, salt: int) -> None:
        """Also if they collide, come in two parts, and are more than the table was made for."""
        keys = [each.to_bytes(8, "little") + bytes([n]) * 24 for n, each in enumerate(beginnings, 1)]
        together, each = KeyIndex(64, 8, salt=salt), KeyIndex(64, 8, salt=salt)
        for part in (slice(first), slice(first, None)):
            slots = [*range(1, len(keys) + 1)][part]
            if slots:
                add_together(together, iter(keys[part]), slots)
        for slot, key in enumerate(keys, 1):
            each.add(key, slot)
        self.assertEqual(
            (len(together), together.spread, len(together.table)), (len(each), each.spread, len(each.table))
        )
        self.assertEqual([not slot for slot in together.table], [not slot for slot in each.table])
        self.assertEqual(bytes(together.keys), bytes(each.keys))
        gone = random.Random(first).sample(range(1, len(keys) + 1), len(keys) // 2)
        for slot in gone:
            together.remove(slot)
        for slot, key in enumerate(keys, 1):
            self.assertEqual(together.find(key), 0 if slot in gone else slot)
