"""Records of clients in flat memory, against a dictionary of what was recorded."""

from __future__ import annotations

import math
from typing import Any

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.addresses import packed
from rendezvous.core.presence.client import Client, pack_network
from rendezvous.core.presence.clients import ClientColumns, slots_for
from rendezvous.core.presence.flat import flat_memory
from rendezvous.core.presence.record import ADDRESS, BANNED, IPV6, KICKED, RECORD_SIZE, USED, VERIFIED
from rendezvous.errors import Unavailable
from rendezvous.limits import GROWTH

NOW = 1_700_000_000.0
ID = b"a client's id..."
OTHER = b"another one's..."
HERE = (packed("198.51.100.7"), 40000)
THERE = (packed("2001:db8::9"), 40001)
ROOM = 5

NETWORKS = st.sampled_from(["", "192.0.2.1", "0.0.0.0", "255.255.255.254", "2001:db8:1:2::/64", "::/64"])
HOSTS = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str).filter(lambda host: not host.startswith("::ffff:")),
)
PORTS = st.integers(0, 65535)
TIMES = st.floats(0, 1e12)


class ClientsMachine(RuleBasedStateMachine):
    """Takes, frees, moves and verifies at random, and compares every client."""

    def __init__(self) -> None:
        super().__init__()
        self.columns = ClientColumns(ROOM)
        self.model: dict[int, Client] = {}
        self.freed: list[int] = []
        self.made = 0

    def pick(self, which: int) -> int:
        """:returns: a slot in use."""
        return list(self.model)[which % len(self.model)]

    def change(self, slot: int, **fields: Any) -> None:
        """Change what the model says."""
        self.model[slot] = attrs.evolve(self.model[slot], **fields)

    @rule(now=TIMES, network=NETWORKS)
    def take(self, now: float, network: str) -> None:
        """A client comes. The slot that was freed longest ago is taken, if all have been used."""
        self.made += 1
        client_id = self.made.to_bytes(16, "big")
        slot = self.columns.take(client_id, now, network)
        if not slot:
            assert len(self.model) == ROOM
            return
        assert slot not in self.model
        assert slot == (self.freed.pop(0) if self.freed else len(self.model) + 1)
        self.model[slot] = Client(client_id, now, network)

    @precondition(lambda self: self.model)
    @rule(which=st.integers(0, ROOM))
    def free(self, which: int) -> None:
        """A client leaves."""
        slot = self.pick(which)
        del self.model[slot]
        self.freed.append(slot)
        self.columns.free(slot)
        assert self.columns.flags(slot) == 0
        assert self.columns.seen[slot * 8] == math.inf

    @precondition(lambda self: self.model)
    @rule(which=st.integers(0, ROOM), host=HOSTS, port=PORTS, local_port=st.integers(0, 2**24 - 1), now=TIMES)
    def move(self, which: int, host: str, port: int, local_port: int, now: float) -> None:
        """A client pulses from another address."""
        slot = self.pick(which)
        self.columns.move(slot, packed(host), port, local_port, now)
        self.change(slot, last_seen=now, host=host, port=port, local_port=local_port, pulse_before_verify=None)

    @precondition(lambda self: self.model)
    @rule(which=st.integers(0, ROOM), now=TIMES)
    def pulse(self, which: int, now: float) -> None:
        """A client pulses from where it was."""
        slot = self.pick(which)
        self.columns.pulse(slot, now)
        self.change(slot, last_seen=now, pulse_before_verify=None)

    @precondition(lambda self: self.model)
    @rule(which=st.integers(0, ROOM), now=TIMES)
    def verify(self, which: int, now: float) -> None:
        """A client is taken back; when it has pulsed last stays known."""
        slot = self.pick(which)
        self.columns.verify(slot, now)
        self.change(slot, last_seen=now, pulse_before_verify=self.model[slot].last_pulse)

    @precondition(lambda self: self.model)
    @rule(which=st.integers(0, ROOM))
    def drop_address(self, which: int) -> None:
        """An address turns out to be worthless."""
        slot = self.pick(which)
        self.columns.drop_address(slot)
        self.change(slot, host=None, port=0, local_port=0, pulse_before_verify=None)

    @invariant()
    def every_record_is_as_it_was_written(self) -> None:
        """All fields, and the check; free slots say that they are free."""
        for slot, client in self.model.items():
            found = self.columns.client(slot)
            assert found == client
            assert found.slot == slot
            assert found.last_pulse == client.last_pulse
            assert self.columns.client_id(slot) == client.client_id
            assert self.columns.network(slot) == client.network
            assert self.columns.is_whole(slot)


class ClientColumnsTests(SynchronousTestCase):
    """What a record says."""

    def setUp(self) -> None:
        """Begin with one client, in slot 1."""
        self.memory = memoryview(flat_memory(4 * RECORD_SIZE))
        self.columns = ClientColumns(3, self.memory)
        self.assertEqual(self.columns.take(ID, NOW), 1)

    def test_columns_agree_with_the_model(self) -> None:
        """In any order of events."""
        case = ClientsMachine.TestCase
        case.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
        case("runTest").debug()

    def test_flags_are_single_bits(self) -> None:
        """They are part of the format of the file, so none may get another value."""
        flags = [USED, ADDRESS, IPV6, VERIFIED, KICKED, BANNED]
        self.assertEqual(flags, [1, 2, 4, 8, 16, 32])

    def test_record_that_another_process_reads_is_whole_or_none(self) -> None:
        """It is none if the slot is free, was freed, has another client, is torn, or is beyond the table."""
        self.columns.move(1, *HERE, 5024, NOW)
        self.columns.fill(3, OTHER, NOW)
        self.assertEqual(self.columns.whole_client(1, ID), self.columns.client(1))
        self.assertEqual(self.columns.whole_client(3, OTHER), self.columns.client(3))
        for slot, client_id in ((1, OTHER), (2, ID), (2, bytes(16)), (4, ID), (1000, ID)):
            self.assertIsNone(self.columns.whole_client(slot, client_id))
        self.memory[RECORD_SIZE + 20] ^= 1
        self.assertIsNone(self.columns.whole_client(1, ID))
        self.memory[RECORD_SIZE + 20] ^= 1
        self.columns.free(1)
        self.assertEqual(self.columns.client_id(1), ID)
        self.assertIsNone(self.columns.whole_client(1, ID))

    def test_pulse_is_steady_only_at_the_known_address(self) -> None:
        """Of either family, also after a verify, which stays known if the pulse is not steady."""
        for host, port in (HERE, THERE):
            for verified in (False, True):
                self.columns.move(1, host, port, 5024, NOW)
                if verified:
                    self.columns.verify(1, NOW + 1)
                before = bytes(self.memory)
                other = host[:-1] + bytes([host[-1] ^ 1])
                for place in ((other, port, 5024), (host, port + 1, 5024), (host, port, 5024 + 65536)):
                    self.assertFalse(self.columns.take_steady(1, *place))
                self.assertEqual(bytes(self.memory), before)
                self.assertTrue(self.columns.take_steady(1, host, port, 5024))
                self.assertEqual(self.columns.flags(1), USED | ADDRESS | (IPV6 if len(host) == 16 else 0))

    def test_slots_that_are_left_out_are_free(self) -> None:
        """Whether one or several are missing between steady clients, all of these are given out later."""
        columns = ClientColumns(9)
        ids = {slot: slot.to_bytes(16, "big") for slot in (1, 3, 4, 7)}
        for slot in range(1, 8):
            columns.fill(slot, ids.get(slot, OTHER), NOW)
            columns.move(slot, *HERE, 5024, NOW)
        again = ClientColumns(9, memoryview(columns.memory))
        found = list(again.adopt_all(ids.items(), 0.0, NOW))
        self.assertEqual(found, [(pack_network(""), True)] * 4)
        self.assertEqual([again.client_id(slot) for slot in ids], list(ids.values()))
        self.assertEqual([again.flags(slot) for slot in (2, 5, 6)], [0, 0, 0])
        self.assertEqual([again.take(OTHER, NOW) for _ in range(6)], [2, 5, 6, 8, 9, 0])

    def test_slot_that_is_marked_as_free_has_no_client(self) -> None:
        """Although the id is still in it: the client comes back without an address, and its slot is in use."""
        for flags in (0, ADDRESS):
            self.columns.move(1, *HERE, 5024, NOW)
            memoryview(self.memory).cast("H")[32 + 18] = flags
            again = ClientColumns(3, self.memory)
            self.assertFalse(again.adopt(1, ID, 0.0, NOW + 9))
            self.assertEqual((again.client(1), again.flags(1)), (Client(ID, NOW + 9), USED))

    def test_table_can_grow_where_it_is(self) -> None:
        """There are slots for several times as many clients, and for those that have ended and are not freed yet."""
        for most in (1, 1000, 1_000_000):
            self.assertGreaterEqual(slots_for(most), GROWTH * most + 4096)

    def test_client_without_an_address_has_never_pulsed(self) -> None:
        """A verify does not change that."""
        self.columns.verify(1, NOW + 5)
        self.assertEqual(self.columns.client(1), Client(ID, NOW + 5))
        self.assertIsNone(self.columns.client(1).last_pulse)

    def test_address_is_compared_whole(self) -> None:
        """Host, port, the server's port and the family count."""
        self.assertFalse(self.columns.is_at(1, bytes(16), 0, 0))
        self.columns.move(1, *HERE, 5024, NOW)
        host = bytes([198, 51, 100, 7])
        self.assertTrue(self.columns.is_at(1, host, 40000, 5024))
        for other in (
            (bytes(4), 40000, 5024),
            (host, 40001, 5024),
            (host, 40000, 5026),
            (bytes(12) + host, 40000, 5024),
        ):
            self.assertFalse(self.columns.is_at(1, *other))

    def test_mapped_address_is_ipv4(self) -> None:
        """It is the same address, whatever kind of socket shows it."""
        self.columns.move(1, packed("::ffff:198.51.100.7"), 40000, 0, NOW)
        self.assertEqual(self.columns.client(1).host, "198.51.100.7")
        self.assertEqual(self.columns.flags(1), USED | ADDRESS)

    def test_damaged_address_is_found(self) -> None:
        """Whichever byte of the address, the ports, the id, the check or the family is another one."""
        for address in (HERE, THERE):
            self.columns.move(1, *address, 5024, NOW)
            whole = bytes(self.memory)
            for place in [*range(RECORD_SIZE + 16, RECORD_SIZE + 36), *range(RECORD_SIZE + 38, RECORD_SIZE + 56)]:
                self.memory[place] ^= 0x55
                self.assertFalse(self.columns.is_whole(1), place)
                self.memory[:] = whole
            self.memory[RECORD_SIZE + 36] ^= IPV6
            self.assertFalse(self.columns.is_whole(1))
            self.memory[:] = whole
            self.assertTrue(self.columns.is_whole(1))

    def test_half_written_move_leaves_no_address(self) -> None:
        """After each store of a move, the record has the old address, none, or the new one, never a mixture."""
        for before, after in ((HERE, THERE), (THERE, HERE), (HERE, (packed("198.51.100.7"), 1))):
            self.columns.move(1, *before, 5024, NOW)
            stages = Recorder(self.memory)
            columns = ClientColumns(3, self.memory)
            stages.watch(columns)
            columns.move(1, *after, 5026, NOW + 1)
            hosts = []
            for stage in stages.taken:
                self.memory[:] = stage
                self.assertTrue(self.columns.is_whole(1))
                client = self.columns.client(1)
                hosts.append((client.host and packed(client.host), client.port, client.local_port))
            self.assertEqual(hosts[0], (None, 0, 0))
            self.assertEqual(set(hosts), {(None, 0, 0), (*after, 5026)})
            self.assertGreaterEqual(len(hosts), 5)

    def test_full_columns_give_no_slot(self) -> None:
        """Until one is freed."""
        self.assertEqual([self.columns.take(OTHER, NOW) for _ in range(3)], [2, 3, 0])
        self.columns.free(2)
        self.assertEqual([self.columns.take(OTHER, NOW) for _ in range(2)], [2, 0])

    def test_space_is_asked_for_before_it_is_used(self) -> None:
        """In the pieces that are given; a refusal leaves everything as it was."""
        asked: list[int] = []

        def reserve(slot: int) -> int:
            asked.append(slot)
            if slot > 4:
                raise Unavailable("The disk is full.")
            return slot + 1

        columns = ClientColumns(6, reserve=reserve)
        self.assertEqual([columns.take(ID, NOW) for _ in range(4)], [1, 2, 3, 4])
        self.assertEqual(asked, [1, 3])
        self.assertRaises(Unavailable, columns.take, ID, NOW)
        self.assertEqual((columns.top, columns.flags(5)), (4, 0))
        columns.free(1)
        self.assertEqual(columns.take(OTHER, NOW), 1)


class Recorder:
    """
    Keeps a copy of the memory after each store that columns make.

    :ivar taken: the copies.
    """

    def __init__(self, memory: memoryview) -> None:
        self.memory = memory
        self.taken: list[bytes] = []

    def watch(self, columns: ClientColumns) -> None:
        """See every store of these columns from now on."""
        for name in ("memory", "seen", "_halves", "_words"):
            setattr(columns, name, Watched(self, getattr(columns, name)))


class Watched:
    """A view that reports each store."""

    def __init__(self, recorder: Recorder, view: memoryview) -> None:
        self._recorder = recorder
        self._view = view

    def __getitem__(self, at: Any) -> Any:
        return self._view[at]

    def __setitem__(self, at: Any, value: Any) -> None:
        if isinstance(at, slice):
            # A copy may stop after any byte.
            for n in range(len(value)):
                self._view[at.start + n] = value[n]
                self._recorder.taken.append(bytes(self._recorder.memory))
        else:
            self._view[at] = value
            self._recorder.taken.append(bytes(self._recorder.memory))
