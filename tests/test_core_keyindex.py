"""The index over keys, against a dictionary."""

from __future__ import annotations

import random
from mmap import mmap
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.presence.keyindex import KeyIndex
from rendezvous.errors import StartupError

#: The table of 12 keys has 32 places, and its spread is 31 or 29. Most keys begin at the first two places of these, or
#: at the last two, so that they collide and searches go round the end.
BEGINNINGS = st.sampled_from([0, 1, 27, 28, 30, 31 * 29 - 1, 31 * 29, (1 << 64) - 1])
KEYS = st.builds(lambda beginning, n: beginning.to_bytes(8, "little") + bytes([n]) * 24, BEGINNINGS, st.integers(1, 6))
STEPS = st.lists(st.tuples(KEYS, st.integers(1, 12)), max_size=60)


def longest_search(index: KeyIndex) -> int:
    """:returns: the most places that one search may look at: the longest run of places that are in use."""
    longest = run = 0
    for slot in index.table:
        run = run + 1 if slot else 0
        longest = max(longest, run)
    return longest


class KeyIndexTests(SynchronousTestCase):
    """Adding, finding and removing."""

    @settings(max_examples=300, deadline=None)
    @given(STEPS, st.sampled_from([0, 1]))
    def test_index_agrees_with_a_dictionary(self, steps: list[tuple[bytes, int]], salt: int) -> None:
        """
        Keys that collide are added and removed in any order; each is found exactly while it is there.

        An index that is attached to the same memory finds the same.
        """
        index, model, slots = KeyIndex(12, salt=salt), dict[bytes, int](), dict[int, bytes]()
        table: Any = index.table.obj
        attached = KeyIndex.attached(index.keys, table, index.spread)
        for key, slot in steps:
            if key in model:
                index.remove(model[key])
                del slots[model.pop(key)]
            elif slot not in slots:
                index.add(key, slot)
                model[key], slots[slot] = slot, key
            self.assertEqual(len(index), len(model))
            for other, _ in steps:
                self.assertEqual(index.find(other), model.get(other, 0))
                self.assertEqual(attached.find(other), model.get(other, 0))
            for number in range(1, 13):
                self.assertEqual(index.key(number), slots.get(number, bytes(32)))

    def test_many_are_added_as_one_by_one(self) -> None:
        """The table is the same, also if it has to grow meanwhile and if something is in it already."""
        keys = [bytes([number % 3]) * 8 + number.to_bytes(24, "big") for number in range(40)]
        one_by_one, together = KeyIndex(100, 4, salt=5), KeyIndex(100, 4, salt=5)
        together.add(keys[0], 1)
        together.add_all(zip(keys[1:], range(2, 41), strict=True))
        for slot, key in enumerate(keys, 1):
            one_by_one.add(key, slot)
        self.assertEqual(bytes(together.table), bytes(one_by_one.table))
        self.assertEqual([together.find(key) for key in keys], [*range(1, 41)])
        self.assertEqual(len(together), 40)

    def test_removals_leave_nothing_behind(self) -> None:
        """A table that was full and emptied many times is as good as new: no search passes over what was removed."""
        index, source = KeyIndex(64), random.Random(1)
        for _ in range(50):
            for slot in range(1, 65):
                index.add(source.randbytes(32), slot)
            for slot in source.sample(range(1, 65), 64):
                index.remove(slot)
        self.assertEqual(bytes(index.table), bytes(len(index.table) * 4))
        self.assertEqual(index.keys[:], bytes(65 * 32))

    def test_slot_without_a_key_can_be_removed(self) -> None:
        """Nothing happens, whatever else is in the table."""
        index = KeyIndex(4)
        index.remove(1)
        index.add(bytes([7]) * 32, 2)
        index.remove(1)
        index.remove(3)
        self.assertEqual((len(index), index.find(bytes([7]) * 32)), (1, 2))

    def test_any_datagram_may_be_looked_up(self) -> None:
        """What has not the length of a key is no key, also where it begins like one."""
        index = KeyIndex(4)
        key = bytes(range(32))
        index.add(key, 3)
        for datagram in (b"", key[:3], key[:-1], key + b"\0", key.hex().encode(), bytes(32)):
            self.assertEqual(index.find(datagram), 0)
        self.assertEqual(index.find(key), 3)

    def test_table_is_at_most_a_third_full(self) -> None:
        """Whatever the capacity, so that searches stay short."""
        for capacity in (1, 2, 3, 1000, 1024, 1025, 1_000_000):
            index = KeyIndex(capacity)
            self.assertGreaterEqual(len(index.table), 3 * capacity)
            self.assertLess(len(index.table), 6 * capacity)

    def test_table_grows_for_more_keys(self) -> None:
        """When more are expected, and where more are kept than were expected; all are found before and after."""
        for expected in (4, 500):
            index, source = KeyIndex(1000, 4), random.Random(1)
            self.assertEqual(len(index.table), 16)
            keys = [source.randbytes(32) for _ in range(501)]
            for slot, key in enumerate(keys[:3], 1):
                index.add(key, slot)
            index.remove(2)
            index.expect(expected)
            self.assertEqual(len(index.table), 16 if expected == 4 else 2048)
            for slot, key in enumerate(keys[3:], 4):
                index.add(key, slot)
            self.assertEqual([index.find(key) for key in keys], [1, 0, *range(3, 502)])
            self.assertGreaterEqual(len(index.table), 2 * len(index))

    def test_table_grows_only_when_it_has_to(self) -> None:
        """It stays while it is at most a third full of what is expected, and until it is half full of keys."""
        keys = [bytes([number]) * 32 for number in range(1, 10)]
        index = KeyIndex(1000, 4)
        table = index.table
        index.expect(5)
        self.assertIs(index.table, table)
        for slot, key in enumerate(keys[:8], 1):
            index.add(key, slot)
        self.assertIs(index.table, table)
        index.add(keys[8], 9)
        self.assertEqual(len(index.table), 64)
        together = KeyIndex(1000, 4)
        table = together.table
        together.add_all(zip(keys[:8], range(1, 9), strict=True))
        self.assertIs(together.table, table)
        together.add_all([(keys[8], 9)])
        self.assertEqual(len(together.table), 64)
        other = KeyIndex(1000, 4)
        other.expect(6)
        self.assertEqual(len(other.table), 32)

    def test_chosen_keys_do_not_make_searches_long(self) -> None:
        """
        An attacker keeps those clients whose keys begin with numbers in one range, and lets the others expire.

        The range is one of the low bits, of the low bits modulo another spread, or of the high bits.
        """
        source, most = random.Random(1), 10_000
        length = 1 << 15
        other = KeyIndex(most, salt=1).spread
        chosen = {
            "low bits": lambda: source.getrandbits(32) << 32 | source.randrange(most // 4),
            "more low bits": lambda: source.getrandbits(48) << 16 | source.randrange(most // 4),
            "another spread": lambda: source.getrandbits(48) * other + source.randrange(most // 4),
            "high bits": lambda: source.randrange(most // 4) << 50 | source.getrandbits(50),
            "multiples": lambda: source.getrandbits(60) << 4,
        }
        for salt in (0, 0x1F2E3D4C5B6A7988):
            for name, choose in chosen.items():
                index = KeyIndex(most, salt=salt)
                self.assertEqual(len(index.table), length)
                for slot in range(1, most // 4 + 1):
                    index.add(choose().to_bytes(8, "little") + source.randbytes(24), slot)
                self.assertLess(longest_search(index), 30, (salt, name))

    def test_salt_decides_where_a_search_begins(self) -> None:
        """Each salt gives an odd spread between seven eighths of the table's length and the length."""
        for capacity in (1, 2, 4, 100):
            length = len(KeyIndex(capacity).table)
            spreads = {KeyIndex(capacity, salt=salt).spread for salt in [*range(length), (1 << 64) - 1]}
            self.assertTrue(all(spread % 2 and 7 * length <= 8 * spread + 8 <= 8 * length for spread in spreads))
            self.assertEqual(len(spreads), max(1, length // 16))

    def test_capacity_is_checked(self) -> None:
        """A table needs a slot, and a number of a slot has 31 bits."""
        asked: list[int] = []

        def flat(size: int) -> mmap:
            asked.append(size)
            raise StartupError("there is no memory for so many clients")

        for capacity in (0, -1, 1 << 31):
            self.assertRaises(ValueError, KeyIndex, capacity, flat=flat)
        self.assertEqual(asked, [])
        self.assertRaises(StartupError, KeyIndex, (1 << 31) - 1, flat=flat)
        self.assertEqual(asked, [32 << 31])
