"""
Clients: one record of 64 bytes each, by the number of its slot, in one block of flat memory.

No object stands for a client, so a million clients take 64 MB, the garbage collector has nothing to walk, and a pulse
is one aligned store of eight bytes. The block may be private memory or a mapped file. A record is described in
:mod:`rendezvous.core.presence.record`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv6Address
from mmap import mmap
from typing import Any
from zlib import crc32

import attrs

from rendezvous.core.addresses import IPV4_MAPPED, ipv4_text, packed
from rendezvous.core.presence.client import Client, pack_network, unpack_network
from rendezvous.core.presence.flat import flat_memory
from rendezvous.core.presence.record import (
    ADDRESS,
    FLAGS_AT,
    ID_AT,
    IPV6,
    PLACE_AT,
    RECORD_SIZE,
    SOURCE_AT,
    STATE,
    STEADY_IPV4,
    STEADY_IPV6,
    USED,
    VERIFIED,
    WORDS,
)
from rendezvous.limits import GROWTH

__all__ = ["ClientColumns", "slots_for"]

#: Slots beyond the bound of clients. The slot of a client that has ended is free again only after a commit.
_SPARE_SLOTS = 4096

_RECORD = struct.Struct("=dd16sHHHH16s8s")
_ADDRESS = struct.Struct("=16sHH")

# In units of two bytes: the size of a record, and where in it the flags stand. The check is behind the flags.
_HALVES, _FLAGS = RECORD_SIZE // 2, FLAGS_AT // 2
#: Where the low byte of the flags is.
_STATE_AT = FLAGS_AT + struct.pack("=H", 1).index(1)


# As client_file reads it back: last seen, the address with its ports, flags, check, client id, network.
_STORED = struct.Struct("=d8x20sHH16s8s")

_STEADY = (STEADY_IPV4, STEADY_IPV6)

#: Of the flags, what says nothing of an address.
_NO_ADDRESS = STATE & ~(ADDRESS | IPV6 | VERIFIED)
#: Of the flags, what the check covers.
_KIND = 0xFF00 | ADDRESS | IPV6


def slots_for(max_clients: int) -> int:
    """:returns: how many slots a table of so many clients has, so that it can grow without being moved."""
    return GROWTH * max_clients + _SPARE_SLOTS


class ClientColumns:
    """
    The records, and which slots are free.

    Slots are numbered from 1. A slot that was freed is given out again as late as possible, so that whatever still
    refers to it is found to be wrong by its client id.

    :param capacity: the highest number of a slot.
    :param memory: where the records stand, from offset 0 on, ``(capacity + 1) * RECORD_SIZE`` bytes; by default private
        memory. Of slot 0 nothing is used.
    :param reserve: is called with a number of slots before any beyond those asked for last is written to; it returns up
        to which slot they may be, at least the one asked for. It may raise
        :exc:`~rendezvous.errors.RendezvousError`; then nothing has changed.
    :param signed_times: where the times of signed pulses stand, if that is beside the records; see
        :class:`~rendezvous.core.presence.freshness.Freshness`.
    :ivar memory: the records.
    :ivar seen: the same as doubles: ``seen[slot * WORDS]`` is when a client was last seen.
    :ivar top: the highest slot that was ever in use.
    """

    __slots__ = (
        "_bytes",
        "_first_free",
        "_halves",
        "_last_free",
        "_ready",
        "_reserve",
        "_words",
        "capacity",
        "memory",
        "seen",
        "signed_times",
        "top",
    )

    def __init__(
        self,
        capacity: int,
        memory: mmap | memoryview | None = None,
        reserve: Callable[[int], int] | None = None,
        signed_times: memoryview | None = None,
    ) -> None:
        self.capacity = capacity
        self.signed_times = signed_times
        self.memory = flat_memory((capacity + 1) * RECORD_SIZE) if memory is None else memory
        whole = memoryview(self.memory)
        self.seen = whole.cast("d")
        self._words = whole.cast("Q")
        self._halves = whole.cast("H")
        self._bytes = whole.cast("B")
        self._reserve = reserve
        self._ready = capacity if reserve is None else 0
        self.top = self._first_free = self._last_free = 0

    # Slots

    def take(self, client_id: bytes, now: float, network: str = "") -> int:
        """
        Put a client that has never pulsed into a free slot.

        :returns: the slot, or 0 if there is none.
        """
        slot = self._first_free
        if slot:
            self._first_free = self._words[slot * WORDS + 1]
        elif self.top < self.capacity:
            slot = self.top + 1
            self.ready(slot)
            self.top = slot
        else:
            return 0
        self.fill(slot, client_id, now, network)
        return slot

    def ready(self, slot: int) -> None:
        """See that all slots up to this one can be written to."""
        if slot > self._ready and self._reserve is not None:
            self._ready = self._reserve(slot)

    def fill(self, slot: int, client_id: bytes, now: float, network: str = "") -> None:
        """Make the record of a client that has never pulsed."""
        source = pack_network(network)
        _RECORD.pack_into(self.memory, slot * RECORD_SIZE, now, 0.0, bytes(16), 0, 0, USED, 0, client_id, source)

    def free(self, slot: int) -> None:
        """Empty a slot; it is given out again once all that were freed before have been."""
        self._halves[slot * _HALVES + _FLAGS] = 0
        self.seen[slot * WORDS] = math.inf
        self._words[slot * WORDS + 1] = 0
        if self._first_free:
            self._words[self._last_free * WORDS + 1] = slot
        else:
            self._first_free = slot
        self._last_free = slot

    # Records

    def flags(self, slot: int) -> int:
        """:returns: the flags of a slot, 0 if it is free."""
        flags: int = self._halves[slot * _HALVES + _FLAGS]
        return flags & STATE

    def slice(self, first: int, count: int) -> tuple[bytes, list[float]]:
        """
        :param first: a slot.
        :param count: how many slots to look at, as far as they have ever been in use.
        :returns: the flags of each without the high byte, 0 if it is free; and when its client was last seen.
        """
        end = min(first + count, self.top + 1)
        flags = self._bytes[first * RECORD_SIZE + _STATE_AT : end * RECORD_SIZE : RECORD_SIZE]
        seen: Any = self.seen[first * WORDS : end * WORDS : WORDS]
        return bytes(flags), seen.tolist()

    def client_id(self, slot: int) -> bytes:
        """:returns: whose record it is."""
        start = slot * RECORD_SIZE + ID_AT
        return bytes(self.memory[start : start + 16])

    def source(self, slot: int) -> bytes:
        """:returns: the eight bytes that stand for :attr:`Client.network`."""
        start = slot * RECORD_SIZE + SOURCE_AT
        return bytes(self.memory[start : start + 8])

    def network(self, slot: int) -> str:
        """:returns: what :attr:`Client.network` says."""
        return unpack_network(self.source(slot))

    def client(self, slot: int) -> Client:
        """:returns: the client as it is now."""
        seen, before, host, port, local_port, flags, _, client_id, source = _RECORD.unpack_from(
            self.memory, slot * RECORD_SIZE
        )
        network = unpack_network(source)
        if not flags & ADDRESS:
            return Client(client_id, seen, network, slot=slot)
        shown = _text(host, flags)
        local_port |= flags >> 8 << 16
        return Client(client_id, seen, network, shown, port, local_port, before if flags & VERIFIED else None, slot)

    def address(self, slot: int) -> tuple[str, int] | None:
        """:returns: the host and the port that the client's pulses come from, or ``None`` until the first."""
        start = slot * RECORD_SIZE + PLACE_AT
        host, port, _ = _ADDRESS.unpack_from(self.memory, start)
        flags = self._halves[slot * _HALVES + _FLAGS]
        return (_text(host, flags), port) if flags & ADDRESS else None

    def last_pulse(self, slot: int) -> float | None:
        """:returns: what :attr:`Client.last_pulse` says."""
        flags = self._halves[slot * _HALVES + _FLAGS]
        if not flags & ADDRESS:
            return None
        moment: float = self.seen[slot * WORDS + (1 if flags & VERIFIED else 0)]
        return moment

    def put(self, client: Client) -> int:
        """
        Write a client that is known from elsewhere.

        :returns: the slot: its own, which has to be free or hold the same client, or otherwise a free one.
        """
        slot = client.slot or self.take(client.client_id, client.last_seen, client.network)
        self.fill(slot, client.client_id, client.last_seen, client.network)
        if client.host is not None and client.last_pulse is not None:
            self.move(slot, packed(client.host), client.port, client.local_port, client.last_pulse)
            if client.pulse_before_verify is not None:
                self.verify(slot, client.last_seen)
        return slot

    def whole_client(self, slot: int, client_id: bytes) -> Client | None:
        """
        Read a record that another process may be writing to.

        :returns: ``None`` if it is not of this client, or not whole.
        """
        for _ in range(3):
            start = slot * RECORD_SIZE
            copy = ClientColumns(
                1, memoryview(bytearray(RECORD_SIZE) + bytes(self.memory[start : start + RECORD_SIZE]))
            )
            if slot <= self.capacity and copy.flags(1) & USED and copy.client_id(1) == client_id and copy.is_whole(1):
                return attrs.evolve(copy.client(1), slot=slot)
        return None

    def pulse(self, slot: int, now: float) -> None:
        """Record a pulse from the address that is known."""
        self.forget_verify(slot)
        self.seen[slot * WORDS] = now

    def take_steady(self, slot: int, host: bytes, port: int, local_port: int) -> bool:
        """:returns: whether the client is at this address. If so, no pulse before a verify is remembered any more."""
        flags = self.flags(slot)
        if flags & ~(IPV6 | VERIFIED) != STEADY_IPV4 or not self.is_at(slot, host, port, local_port):
            return False
        if flags & VERIFIED:
            self.forget_verify(slot)
        return True

    def forget_verify(self, slot: int) -> None:
        """Have the client's last pulse be when it was last seen."""
        self._halves[slot * _HALVES + _FLAGS] &= ~VERIFIED

    def move(self, slot: int, host: bytes, port: int, local_port: int, now: float) -> None:
        """
        Record a pulse from another address than before.

        :param host: 4 or 16 bytes, as :func:`~rendezvous.core.addresses.packed` gives them.
        :param local_port: below 2**24.
        """
        kind = (ADDRESS if len(host) == 4 else ADDRESS | IPV6) | local_port >> 16 << 8
        content = _ADDRESS.pack(IPV4_MAPPED + host if len(host) == 4 else host, port, local_port & 0xFFFF)
        halves, flags = self._halves, slot * _HALVES + _FLAGS
        kept = halves[flags] & _NO_ADDRESS
        halves[flags] = kept
        start = slot * RECORD_SIZE + PLACE_AT
        self.memory[start : start + _ADDRESS.size] = content
        halves[flags + 1] = self._check(content, self.client_id(slot), kind)
        self.seen[slot * WORDS] = now
        halves[flags] = kept | kind

    def is_at(self, slot: int, host: bytes, port: int, local_port: int) -> bool:
        """:returns: whether this is what :meth:`move` has recorded last."""
        found, its_port, its_local_port = _ADDRESS.unpack_from(self.memory, slot * RECORD_SIZE + PLACE_AT)
        flags = self._halves[slot * _HALVES + _FLAGS]
        return (
            bool(flags & ADDRESS)
            and found == (IPV4_MAPPED + host if len(host) == 4 else host)
            and its_port == port
            and its_local_port | flags >> 8 << 16 == local_port
        )

    def verify(self, slot: int, now: float) -> None:
        """Record a verify; the last pulse stays known."""
        flags = self.flags(slot)
        if flags & ADDRESS and not flags & VERIFIED:
            self.seen[slot * WORDS + 1] = self.seen[slot * WORDS]
            self._halves[slot * _HALVES + _FLAGS] |= VERIFIED
        self.seen[slot * WORDS] = now

    def adopt(self, slot: int, client_id: bytes, shift: float, latest: float) -> bool:
        """
        Take over a record that an earlier process has written, as far as it can be trusted.

        Slots are to be adopted in ascending order, before any is taken; those left out are free.

        :param client_id: whose record it has to be.
        :param shift: is added to its times.
        :param latest: no time may be later; it stands in for one that makes no sense, too.
        :returns: whether the record was whole. Otherwise the client has lost its address until its next pulse.
        """
        if slot != self.top + 1:
            self.skip_to(slot)
        if slot > self._ready:
            self.ready(slot)
        self.top = slot
        return self.trust(slot, client_id, shift, latest)

    def trust(self, slot: int, client_id: bytes, shift: float, latest: float) -> bool:
        """Do what :meth:`adopt` does with the record of a slot that is known to be in use."""
        seen, content, flags, check, its_id, _ = _STORED.unpack_from(self.memory, slot << 6)
        if not flags & USED or its_id != client_id:
            self.fill(slot, client_id, latest)
            return False
        if shift or not 0.0 <= seen <= latest:
            self.seen[slot << 3] = self._shifted(seen, shift, latest)
        if flags & VERIFIED:
            self.seen[slot * WORDS + 1] = self._shifted(self.seen[slot * WORDS + 1], shift, latest)
        if not flags & ADDRESS or crc32(content + client_id + (flags & _KIND).to_bytes(2, "little")) & 0xFFFF == check:
            return True
        self.drop_address(slot)
        return False

    def adopt_all(
        self, clients: Iterable[tuple[int, bytes]], shift: float, latest: float
    ) -> Iterator[tuple[bytes, bool]]:
        """
        Do :meth:`adopt` for many clients, the common case in half the time.

        :param clients: slots, ascending, and ids.
        :returns: networks in eight bytes, and whether the record was whole.
        """
        memory, unpack = self.memory, _STORED.unpack_from
        kinds = {kind: kind.to_bytes(2, "little") for kind in (ADDRESS, ADDRESS | IPV6)}
        for slot, client_id in clients:
            if slot == self.top + 1 and slot <= self._ready and not shift:
                seen, content, flags, check, its_id, source = unpack(memory, slot << 6)
                if (
                    flags in _STEADY
                    and its_id == client_id
                    and 0.0 <= seen <= latest
                    and crc32(content + client_id + kinds[flags & _KIND]) & 0xFFFF == check
                ):
                    self.top = slot
                    yield source, True
                    continue
            whole = self.adopt(slot, client_id, shift, latest)
            yield self.source(slot), whole

    @staticmethod
    def _shifted(moment: float, shift: float, latest: float) -> float:
        moment += shift
        return moment if 0.0 <= moment <= latest else latest

    def skip_to(self, slot: int) -> None:
        """Go on with this slot; those that are left out are free. Slots are to be given in ascending order."""
        self.ready(slot)
        for free in range(self.top + 1, slot):
            self.free(free)
        self.top = slot

    def drop_address(self, slot: int) -> None:
        """Make it a client that has never pulsed."""
        self._halves[slot * _HALVES + _FLAGS] &= _NO_ADDRESS

    def is_whole(self, slot: int) -> bool:
        """:returns: whether the address, if there is one, is as it was written."""
        start = slot * RECORD_SIZE + PLACE_AT
        flags, check = self._halves[slot * _HALVES + _FLAGS], self._halves[slot * _HALVES + _FLAGS + 1]
        if not flags & ADDRESS:
            return True
        content = bytes(self.memory[start : start + _ADDRESS.size])
        return check == self._check(content, self.client_id(slot), flags & _KIND)

    @staticmethod
    def _check(content: bytes, client_id: bytes, kind: int) -> int:
        return crc32(content + client_id + kind.to_bytes(2, "little")) & 0xFFFF


def _text(host: bytes, flags: int) -> str:
    """:returns: an address of 16 bytes as :attr:`Client.host` spells it."""
    return str(IPv6Address(host)) if flags & IPV6 else ipv4_text(host[12:])
