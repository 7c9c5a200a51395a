"""The history of clients: a ring of events in flat memory, of which the oldest are overwritten."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import StrEnum
from ipaddress import ip_address
from itertools import islice

import attrs

from rendezvous.core.addresses import IPV4_MAPPED
from rendezvous.core.presence.flat import flat_memory

__all__ = ["EVENTS", "SHOWN", "ClientEvent", "Happened", "History"]

#: How many events are kept, where nothing else is said: 12 MB.
EVENTS = 262_144

#: Bytes of the ring that one step of a search looks at: a millisecond.
SEARCHED = 1024 * 1024

#: Events of one client that a search gives at most. A client that causes events on purpose may fill the whole ring;
#: all of them would take the reactor three seconds.
SHOWN = 500

# When, whom, the address, its port, the number of the event.
_RECORD = struct.Struct("=d16s16sHH4x")
_SIZE = _RECORD.size
#: Where the client id stands in a record.
_ID_AT = 8
_NOWHERE = bytes(16)


class Happened(StrEnum):
    """The kinds of events. The ring holds the place of a kind in this list."""

    REGISTERED = "registered"
    FIRST_PULSE = "first_pulse"
    MOVED = "moved"
    VERIFIED = "verified"
    EXPIRED = "expired"
    LOGGED_OUT = "logged_out"
    KICKED = "kicked"
    BANNED = "banned"


_KINDS = tuple(Happened)
_NUMBERS = {kind: number for number, kind in enumerate(_KINDS)}


@attrs.frozen
class ClientEvent:
    """
    An event in the life of a client.

    :ivar time: server time.
    :ivar address: where the client was from then on, for pulses.
    """

    time: float
    kind: Happened
    address: tuple[str, int] | None = None


class History:
    """
    The ring of events of all clients.

    :param size: how many events it holds; 48 bytes each.
    """

    def __init__(self, size: int = EVENTS) -> None:
        self._memory = flat_memory(size * _SIZE)
        self._size = size
        self._next = 0
        self._is_full = False

    def add(self, kind: Happened, client_id: bytes, now: float, host: bytes = _NOWHERE, port: int = 0) -> None:
        """
        Record an event.

        :param host: 4 or 16 bytes.
        """
        place = host if len(host) == 16 else IPV4_MAPPED + host
        _RECORD.pack_into(self._memory, self._next * _SIZE, now, client_id, place, port, _NUMBERS[kind])
        self._next += 1
        if self._next == self._size:
            self._next, self._is_full = 0, True

    def of(self, client_id: bytes) -> Iterator[list[ClientEvent]]:
        """
        Search for the last :data:`SHOWN` events of a client, the latest first; each step takes about a millisecond.

        :returns: what each step has found.
        """
        end, left = self._next * _SIZE, SHOWN
        parts = [(0, end), (end, self._size * _SIZE)] if self._is_full else [(0, end)]
        step = SEARCHED // _SIZE * _SIZE
        for first, last in parts:
            for stop in range(last, first, -step):
                found = list(islice(self._search(client_id, max(first, stop - step), stop), left))
                yield found
                left -= len(found)
                if not left:
                    return

    def _search(self, client_id: bytes, start: int, end: int) -> Iterator[ClientEvent]:
        at = self._memory.rfind(client_id, start, end)
        while at >= 0:
            # What stands elsewhere in a record is no id, whatever it looks like.
            if at % _SIZE == _ID_AT:
                yield self._read(at - _ID_AT)
            at = self._memory.rfind(client_id, start, at + len(client_id) - 1)

    def _read(self, at: int) -> ClientEvent:
        time, _, host, port, number = _RECORD.unpack_from(self._memory, at)
        if host == _NOWHERE:
            return ClientEvent(time, _KINDS[number])
        plain = host[12:] if host.startswith(IPV4_MAPPED) else host
        return ClientEvent(time, _KINDS[number], (str(ip_address(plain)), port))
