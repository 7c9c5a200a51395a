"""Pulses in batches, against the same pulses one by one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from rendezvous.core.addresses import packed
from rendezvous.core.identity import Keyring, Secret
from rendezvous.core.presence.presence import Presence
from rendezvous.core.presence.states import Timers
from tests._live_table import clients, find, restore
from tests._presence_case import JUST, NOW

try:
    import numpy as np

    from rendezvous.core.presence.batch import LEFT, Places, PulseBatch
except ImportError as e:
    raise SkipTest("this needs NumPy") from e

#: Two secrets: clients that are restored are found by a key of each.
KEYRING = Keyring([Secret(bytes(32)), Secret(b"\x09" * 32, NOW + 100)])
ADDRESSES = [
    ("192.0.2.1", 1),
    ("192.0.2.1", 65535),
    ("2001:db8::1", 1),
    ("::", 1),
    ("0.0.0.0", 0),
    ("::ffff:192.0.2.1", 1),
]
LOCAL_PORTS = (0, 5024, 5025, 5024 + 3 * 65536)
MAPPED = bytes(10) + b"\xff\xff"
ON_TIME, UNKNOWN = 1020, 1060

Pulse = tuple[bytes, tuple[str, int]]

CLIENTS = st.integers(0, 11)
PULSES = st.lists(st.tuples(CLIENTS, st.integers(0, 1), st.sampled_from(ADDRESSES)), max_size=20)
PAUSES = st.sampled_from([0.0, 1.0, 33.0 - JUST, 33.0, 33.0 + JUST, 90.0, 100.0, 210.0, 300.0])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pulses"), PULSES, st.sampled_from(LOCAL_PORTS)),
        st.tuples(st.just("wait"), PAUSES),
        st.tuples(st.just("verify"), CLIENTS),
        st.tuples(st.just("logout"), CLIENTS),
    ),
    max_size=12,
)


def answers(
    batch: PulseBatch,
    pulses: Sequence[Pulse],
    now: float,
    local_port: int,
    elsewhere: Sequence[bytes] = (),
) -> list[int]:
    """:returns: how a batch answers these pulses."""
    keys = np.frombuffer(b"".join(key for key, _ in pulses), np.uint64).reshape(-1, 4)
    hosts = [packed(host) for _, (host, _) in pulses]
    ports = np.array([port for _, (_, port) in pulses], np.uint16)
    places = Places(5000, local_port)
    if all(len(host) == 4 for host in hosts):
        where = places.ipv4(np.frombuffer(b"".join(hosts), np.uint32), ports)
    else:
        whole = b"".join(MAPPED + host if len(host) == 4 else host for host in hosts)
        where = places.ipv6(np.frombuffer(whole, np.uint64).reshape(-1, 2), ports)
    codes = batch.take(keys, where, now, elsewhere)
    return [ON_TIME] * len(pulses) if codes is None else codes.tolist()


class BatchTests(SynchronousTestCase):
    """The same pulses, one by one and together."""

    def table(self) -> Presence:
        """:returns: eight clients of this run, and four of an earlier one."""
        table = Presence(Timers(), KEYRING, max_clients=16)
        earlier = Presence(Timers(), Keyring([Secret(b"\x09" * 32)]), max_clients=4)
        for n in range(12):
            client_id = n.to_bytes(16, "big")
            if n < 8:
                table.register(client_id, KEYRING.key(client_id), NOW)
            else:
                restore(table, earlier.register(client_id, bytes([n]) * 32, NOW), NOW)
        return table

    @settings(max_examples=300, deadline=None)
    @given(STEPS)
    def test_batch_agrees_with_the_plain_way(self, steps: list[tuple[object, ...]]) -> None:
        """The same pulses are taken, and leave the same records, whatever happens in between."""
        one_by_one, together = self.table(), self.table()
        batch, now = PulseBatch(together), NOW
        for what, *how in steps:
            if what == "wait":
                now += cast(float, how[0])
            elif what == "pulses":
                self.compare(one_by_one, together, batch, how, now)
            else:
                client_id = cast(int, how[0]).to_bytes(16, "big")
                for table in (one_by_one, together):
                    if what == "logout":
                        table.logout(client_id, now)
                    elif find(table, client_id, now) is not None:
                        table.verify(client_id, now)
            found = [sorted(clients(table), key=lambda each: each.client_id) for table in (one_by_one, together)]
            self.assertEqual(*found)

    def compare(
        self, one_by_one: Presence, together: Presence, batch: PulseBatch, how: list[object], now: float
    ) -> None:
        """Give both tables some pulses: to one in their order, to the other what a batch takes before the rest."""
        sent, local_port = how
        pulses = [
            (KEYRING.keys(client.to_bytes(16, "big"), NOW)[secret], address)
            for client, secret, address in cast(list[tuple[int, int, tuple[str, int]]], sent)
        ]
        port = cast(int, local_port)
        answered = answers(batch, pulses, now, port)
        for (key, address), answer in zip(pulses, answered, strict=True):
            code = self.plain(one_by_one, key, address, now, port)
            if answer != LEFT:
                self.assertEqual(answer, code)
            else:
                self.assertEqual(self.plain(together, key, address, now, port), code)

    @staticmethod
    def plain(table: Presence, key: bytes, address: tuple[str, int], now: float, port: int) -> int:
        """:returns: what the answer is to one pulse; none if its client has sent too many of these."""
        if table.keep_alive(key, address, now, port):
            return ON_TIME
        if key in table and not table.may_move(key, now):
            return LEFT
        return table.pulse(key, address, now, port)

    def test_pulses_of_one_client_keep_their_order(self) -> None:
        """A client that moves and comes back within a batch is left to the plain way, all three times."""
        home, away = ADDRESSES[0], ADDRESSES[2]
        for elsewhere in ([], [KEYRING.key(bytes(16))]):
            table = Presence(Timers(), KEYRING, max_clients=10)
            key = KEYRING.key(bytes(16))
            table.register(bytes(16), key, NOW)
            table.pulse(key, home, NOW)
            pulses = [(key, home), (key, away), (key, home)]
            self.assertEqual(answers(PulseBatch(table), pulses, NOW, 0), [LEFT] * 3)
            first = answers(PulseBatch(table), pulses[:1], NOW, 0, elsewhere)
            self.assertEqual(first, [LEFT if elsewhere else ON_TIME])

    def test_clients_move_together(self) -> None:
        """First pulses and moves are recorded whole; one that may not move or is late is left."""
        table, now = Presence(Timers(), KEYRING, max_clients=100), NOW
        ids = [n.to_bytes(16, "big") for n in range(60)]
        keys = [KEYRING.key(each) for each in ids]
        for client_id, key in zip(ids, keys, strict=True):
            table.register(client_id, key, now)
        for key in keys[:20]:
            table.pulse(key, ADDRESSES[0], now)
        now += 34
        for key in keys[20:40]:
            table.pulse(key, ADDRESSES[0], now)
        pulses = [(key, ADDRESSES[2]) for key in [*keys, bytes(32)]]
        while table.may_move(keys[30], now):
            pass
        done = answers(PulseBatch(table), pulses, now, 5024)
        self.assertEqual(done, [ON_TIME if n >= 20 and n != 30 else LEFT for n in range(60)] + [UNKNOWN])
        for n, client_id in enumerate(ids):
            client = find(table, client_id, now)
            assert client is not None
            self.assertEqual((client.host, client.port), ADDRESSES[2] if done[n] == ON_TIME else ADDRESSES[0])
            self.assertTrue(table.columns.is_whole(client.slot))
        self.assertEqual(table.sweep(now + 209, 10_000), 20)
        self.assertEqual(table.sweep(now + 211, 10_000), 40)

    def test_many_keys_are_found_among_many(self) -> None:
        """Also those that collide; unknown ones, and zeros, are answered 1060, wherever the searches begin."""
        for salt in (0, 1, (1 << 64) - 1):
            self.look_up_many(Presence(Timers(), KEYRING, max_clients=1000, salt=salt))

    def look_up_many(self, table: Presence) -> None:
        """See that a batch finds clients in an empty table, and nothing else."""
        source = random.Random(1)
        ids = [source.randbytes(16) for _ in range(1000)]
        for client_id in ids:
            table.register(client_id, KEYRING.key(client_id), NOW)
            table.pulse(KEYRING.key(client_id), ADDRESSES[0], NOW)
        known = [(KEYRING.key(client_id), ADDRESSES[0]) for client_id in ids]
        unknown = [(source.randbytes(32), ADDRESSES[0]) for _ in ids]
        forged = [(key[:31] + bytes([key[31] ^ 1]), ADDRESSES[0]) for key, _ in known]
        pulses = [*known, *unknown, *forged, (bytes(32), ADDRESSES[0])]
        self.assertEqual(answers(PulseBatch(table), pulses, NOW + 5, 0), [ON_TIME] * 1000 + [UNKNOWN] * 2001)
        self.assertEqual({client.last_seen for client in clients(table)}, {NOW + 5})

    def test_reload_may_move_the_table(self) -> None:
        """Pulses of clients that are there before and after it are taken, by either way."""
        table, source = Presence(Timers(), KEYRING, max_clients=2), random.Random(1)
        batch, keys = PulseBatch(table), []
        for most in (2, 4):
            table.change(most, (0, 0))
            for _ in range(2):
                client_id = source.randbytes(16)
                keys.append(KEYRING.key(client_id))
                table.register(client_id, keys[-1], NOW)
                table.pulse(keys[-1], ADDRESSES[0], NOW)
            self.assertEqual(answers(batch, [(key, ADDRESSES[0]) for key in keys], NOW, 0), [ON_TIME] * most)
            self.assertTrue(all(table.keep_alive(key, ADDRESSES[0], NOW) for key in keys))

    def test_table_may_get_other_memory(self) -> None:
        """As when a store is opened again."""
        table = Presence(Timers(), KEYRING, max_clients=10)
        batch = PulseBatch(table)
        for _ in range(2):
            client_id = bytes(16)
            key = KEYRING.key(client_id)
            table.register(client_id, key, NOW)
            table.pulse(key, ADDRESSES[0], NOW)
            self.assertEqual(answers(batch, [(key, ADDRESSES[0])], NOW, 0), [ON_TIME])
            table.clear()
            self.assertEqual(answers(batch, [(key, ADDRESSES[0])], NOW, 0), [UNKNOWN])

    def test_places_can_be_used_again(self) -> None:
        """For either family, whatever the last batch was."""
        places = Places(3, 5024)
        ports, full = np.array([7, 8], np.uint16), packed("2001:db8:1:2:3:4:5:6")
        hosts = np.frombuffer(full + MAPPED + packed("192.0.2.1"), np.uint64).reshape(-1, 2)
        addresses = np.frombuffer(packed("192.0.2.1") * 2, np.uint32)
        for _ in range(2):
            mixed = places.ipv6(hosts, ports).copy()
            plain = places.ipv4(addresses, ports).copy()
            self.assertEqual(mixed[1].tobytes(), plain[1].tobytes())
            self.assertEqual(plain[0].tobytes()[:16], MAPPED + packed("192.0.2.1"))
            self.assertEqual(mixed[0].tobytes()[:16], full)
            self.assertEqual(mixed.view(np.uint16)[:, 8:].tolist(), [[7, 5024, 7, 0], [8, 5024, 3, 0]])
