"""
Steady pulses taken by a process that shares the memory of the live table, but must not change the table.

Such a process is a UDP worker. It takes the pulse of a client that is ONLINE at the address that it is known by: it
writes the time of the pulse into the record, one aligned store of eight bytes, and answers 1020. It leaves every other
datagram to the main process, which alone registers, moves, verifies and removes clients. So a worker never answers 1050
or 1060.

A pulse is taken in two steps. *Look*: find the slot of the key, see that the client is ONLINE and at this place.
*Record*: write the time, then look at the key and the place once more. If these are not the same any more, the pulse
is left to the main process as if nothing had been written. The main process may change the table between any two
instructions of this. These are the races, and what makes each of them harmless:

**A key is looked up while the index changes.** An entry of the table is a store of four bytes, so a reader sees the old
slot or the new one. It compares all 32 bytes of the key that stands at the slot. If they are equal, the main process
has written this key for this slot. What else may happen, a key that is half written or zeroed, or an entry that moves
to where the search has passed already, ends in "not found", and the pulse is left. Zero bytes are no key, so 32 of them
are never looked up. If the table is made anew
(:meth:`KeyIndex.expect <rendezvous.core.presence.keyindex.KeyIndex.expect>`), a reader of the old one lacks new
clients; those that end are missing in the block of keys, which stays the same.

**The client ends, and its slot goes to another client.** The slot of a client that ends is freed only after every
worker has ended the batch that it was in (:mod:`rendezvous.core.presence.grace`). So the record stays that of the
client that was found until the store is done. If the client has ended, the second look does not find its key.

**The client moves.** A move changes three words of the record, and takes ``ADDRESS`` away meanwhile. A look may see old
and new words mixed. For example, it sees the new host with the old port, and the datagram comes from just there. Then
the second look differs, since the move has ended or ``ADDRESS`` is missing, and the pulse is left. If the client moves
between look and store, the second look differs, too: the main process takes the pulse as another move, later than the
first. That is one of the orders in which the two may have come.

**One client has several pulses in a batch.** If one of them is left, all are, so that the main process takes them in
their order.

**The client verifies, is kicked or banned.** That changes the flags, which are compared with the place. A change that
is made before a batch holds in this batch.

**The time of the pulse is earlier than what the main process has written.** A worker writes no earlier time than it has
read. If the main process writes a later time between look and store, a pulse from another place or a verify, the second
look differs and the main process records the pulse with its own time. If the place was changed and changed back, or if
the stores pass each other on two processors, a time is left that is as old as the batch. A worker that was stopped in
a batch, so that it took long, leaves all of its pulses to the main process. So a time is milliseconds too early at
most, as if the pulse had waited a little less.

**The time is later than the main process's clock.** Both read the same clock of the system, and a worker adds what the
main process has last published. The worker takes nothing once that is older than two seconds. If the main process was
stopped for more than 10 seconds, server time leaves the gap out, and pulses of these first two seconds have times that
are still to come. A time that is still to come means ONLINE, which these clients are, and
:meth:`~rendezvous.core.presence.clients.ClientColumns.adopt` puts it back after a restart.
"""

from __future__ import annotations

import struct
from mmap import mmap

from rendezvous.core.addresses import IPV4_MAPPED
from rendezvous.core.identity import KEY_SIZE
from rendezvous.core.presence.keyindex import KeyIndex
from rendezvous.core.presence.record import CHECK_AT, PLACE_AT, STEADY_IPV4, STEADY_IPV6, WORDS

__all__ = ["SteadyPulses", "place"]

_NO_KEY = bytes(KEY_SIZE)
_END = struct.Struct("=HHH")
#: Bytes of a place in a record: address, port, the server's port, flags.
_PLACE_SIZE = CHECK_AT - PLACE_AT


def place(host: bytes, port: int, local_port: int) -> bytes:
    """
    :param host: 4 or 16 bytes; IPv4-mapped ones count as IPv4.
    :param local_port: the UDP socket of the server, as :attr:`Client.local_port` says it.
    :returns: where a datagram came from, in the form that records of steady clients have.
    """
    if len(host) == 4:
        host = IPV4_MAPPED + host
    flags = STEADY_IPV4 if host.startswith(IPV4_MAPPED) else STEADY_IPV6
    return host + _END.pack(port, local_port & 0xFFFF, flags | local_port >> 16 << 8)


class SteadyPulses:
    """
    Takes steady pulses one by one.

    :param index: the keys.
    :param memory: the records.
    """

    def __init__(self, index: KeyIndex, memory: mmap | memoryview) -> None:
        self._find, self._keys = index.find, index.keys
        self._memory = memoryview(memory)
        self._seen = self._memory.cast("d")

    def look(self, key: bytes, place: bytes, now: float, on_time: float) -> int:
        """
        See whether a pulse is steady.

        :param key: any datagram.
        :param place: where it came from; see :func:`place`.
        :param now: server time.
        :param on_time: seconds after its last activity for which a client is ONLINE.
        :returns: the slot of the client, 0 if it is not ONLINE at this place.
        """
        slot = self._find(key)
        if not slot or key == _NO_KEY or not self._is_at(slot, place):
            return 0
        return slot if now <= self._seen[slot * WORDS] + on_time else 0

    def record(self, slot: int, key: bytes, place: bytes, now: float) -> bool:
        """
        Write the time of a pulse that is steady.

        :returns: whether it is taken: the client is still there. If not, it is left to the main process.
        """
        at = slot * WORDS
        if self._seen[at] < now:
            self._seen[at] = now
        return self._keys[slot * KEY_SIZE : (slot + 1) * KEY_SIZE] == key and self._is_at(slot, place)

    def _is_at(self, slot: int, place: bytes) -> bool:
        start = slot * WORDS * 8 + PLACE_AT
        return self._memory[start : start + _PLACE_SIZE] == place
