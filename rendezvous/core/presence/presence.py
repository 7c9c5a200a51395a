"""
Who is there: registration, pulses, verification, logout.

A client's state is never stored. It follows from one timestamp, the last accepted pulse or verify. So the state cannot
disagree with the timestamp: a sweep that runs late, or not at all, changes no answer.

Times. ``now`` is server time, in seconds: it does not run while the server is down. Times that must also run then (the
end of a remembered logout, the end of an old secret) are on the wall clock; ``wall`` converts.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable

from rendezvous.core.addresses import Address, packed
from rendezvous.core.identity import KEY_SIZE, Credential, Keyring
from rendezvous.core.notes import Note, Removed, ignore_changes, same_clock
from rendezvous.core.presence.adoption import Adoption
from rendezvous.core.presence.client import Client
from rendezvous.core.presence.clients import ClientColumns, slots_for
from rendezvous.core.presence.endings import BLOCK, Endings, gone_in
from rendezvous.core.presence.flat import Flat, flat_memory
from rendezvous.core.presence.history import Happened, History
from rendezvous.core.presence.keyindex import BEGINNING, KeyIndex
from rendezvous.core.presence.logouts import Logouts
from rendezvous.core.presence.movelimit import MoveLimit
from rendezvous.core.presence.oldkeys import OldKeys
from rendezvous.core.presence.record import ADDRESS, RECORD_SIZE, STEADY_IPV4, WORDS
from rendezvous.core.presence.signedrequests import SignedRequests
from rendezvous.core.presence.states import ON_PULSE, PresenceState, PulseCode, Timers, state_of
from rendezvous.core.shares import Shares
from rendezvous.core.sources import UNKNOWN, SourceNetwork, source_network
from rendezvous.errors import Conflict, Full, NotFound, Unauthorized

__all__ = ["Presence"]


#: Slots that a registration looks at, at most, for a client that is gone: less than a millisecond.
_LOOKS_FOR_ROOM = 4 * BLOCK

#: Of a record: last seen, an IPv4 address, its port, the server's port, flags.
_steady = struct.Struct("=d20x4sHHH").unpack_from

_beginning = BEGINNING.unpack


class Presence:
    """
    The live table: every client that this process knows, by key.

    :param timers: the times that decide a state.
    :param keyring: resolves a client id to its key.
    :param max_clients: how many clients are kept.
    :param logouts: where logouts are remembered; by default for 30 days, and as many as there may be clients.
        Restore them through :attr:`logouts`.
    :param shares: how many of the clients each source may hold.
    :param note: called with every client that is new, and with every one that has ended. What a pulse or a verify
        changes is in the columns, and not noted.
    :param wall: converts server time to the wall clock.
    :param pack: turns an address into bytes, as :func:`~rendezvous.core.addresses.packed` does.
    :param salt: a random number of 64 bits that is kept secret, for
        :class:`~rendezvous.core.presence.keyindex.KeyIndex`.
    :param flat: reserves the memory of the keys, and of the records unless :meth:`clear` brings them.
    :ivar columns: the clients' records.
    :ivar index: their keys under the secret in use.
    :ivar moves: how many of the pulses that cost more than the common one each client may send.
    :ivar signed: decides signed requests.
    :ivar frees_later: whether the store calls :meth:`free` for the slot of a client that has ended, once a crash will
        not undo the end. Until then the record stays as it was.
    :ivar history: where it is written down what happens to clients; ``None`` if that is off.
    :ivar free: frees the slot of a client that has ended. UDP workers have it done later.
    """

    def __init__(
        self,
        timers: Timers,
        keyring: Keyring,
        *,
        max_clients: int = 1_000_000,
        logouts: Logouts | None = None,
        shares: Shares | None = None,
        note: Note = ignore_changes,
        wall: Callable[[float], float] = same_clock,
        pack: Callable[[str], bytes] = packed,
        salt: int = 0,
        flat: Flat = flat_memory,
    ) -> None:
        self.timers = timers
        self._on_time = timers.on_time
        self._shortest = min(timers.kept, timers.registration_time)
        self._keyring = keyring
        self.max_clients = max_clients
        self._shares = Shares("clients") if shares is None else shares
        self.logouts = Logouts(30 * 86400.0, max_clients, note=note) if logouts is None else logouts
        self._note = note
        self._wall = wall
        self._pack = pack
        self._salt = salt
        self._flat = flat
        self.frees_later = False
        self.history: History | None = None
        self._use(self._empty_columns())

    def change(self, max_clients: int, shares: tuple[int, int]) -> None:
        """Use other bounds from now on, for clients and for logouts. What is there already stays, and is counted."""
        self.max_clients = max_clients
        self.index.expect(max_clients)
        self._old.expect(max_clients)
        self._bind()
        self._shares.change(*shares)
        self.logouts.change(max_clients, shares)

    def _empty_columns(self) -> ClientColumns:
        slots = slots_for(self.max_clients)
        return ClientColumns(slots, self._flat((slots + 1) * RECORD_SIZE))

    def _use(self, columns: ClientColumns) -> None:
        self.columns = columns
        self.free: Callable[[int], None] = columns.free
        self._seen = columns.seen
        self.index = self._make_index()
        self._find: Callable[[bytes], int] = self.index.find
        # Under an old secret that is still honoured, clients of an earlier run have another key.
        self._old = OldKeys(self._make_index)
        self._endings = Endings(columns.capacity + 1)
        self.moves = MoveLimit(columns.capacity + 1)
        self.signed = SignedRequests(self, self._keyring, self._wall)
        self._bind()

    def _make_index(self) -> KeyIndex:
        return KeyIndex(self.columns.capacity, self.max_clients, salt=self._salt, flat=self._flat)

    def _bind(self) -> None:
        """Put together what keep_alive reads, so that it looks up one attribute instead of eight."""
        index, columns = self.index, self.columns
        search = index.table, index.keys, index.mask, index.spread
        self._common = *search, columns.memory, columns.seen, self._on_time, self._pack

    def clear(self, columns: ClientColumns | None = None) -> None:
        """
        Remove all clients. The object stays the same, so that its users can keep their references.

        :param columns: records to go on with, to be brought in by :meth:`adopt`; by default empty ones in memory.
        """
        self._shares.clear()
        self.logouts.clear()
        self._use(self._empty_columns() if columns is None else columns)

    def __len__(self) -> int:
        return len(self.index)

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, bytes):
            return False
        return bool(self._find(key)) or (bool(self._old.indexes) and key in self._old)

    # What a client does

    def register(self, client_id: bytes, key: bytes, now: float, source: SourceNetwork = UNKNOWN) -> Client:
        """
        Let a client in.

        :raises Full: there are as many as there may be; nothing was recorded.
        :raises TooMany: the source holds its share of the clients, or has caused its share of the logouts.
        :raises Conflict: the id is taken (it was not drawn from a random source).
        :raises Unavailable: there is no space for its record.
        """
        if self._find(key) or client_id in self.logouts:
            raise Conflict("This client id is taken.")
        # A full table makes room as it is asked, so that a late sweep changes no answer.
        if len(self) >= self.max_clients and not self._remove_gone(now, _LOOKS_FOR_ROOM):
            raise Full(
                "The server has as many clients as it can keep; some will leave soon.", holder=self._shares.largest
            )
        self._shares.check(source)
        self.logouts.check(source)
        slot = self.columns.take(client_id, now, source.subscriber)
        if not slot:
            raise Full("The server has as many clients as it can keep; some have left just now.")
        self.index.add(key, slot)
        self.moves.clear(slot)
        self.signed.freshness.clear(slot)
        self._shares.add(source)
        self._endings.put(slot, self._deadline(slot))
        client = Client(client_id, now, source.subscriber, slot=slot)
        self._note(client)
        return client

    def may_move(self, key: bytes, now: float) -> bool:
        """
        Count a pulse that :meth:`keep_alive` has left.

        :returns: whether the limit of its client allows it now; see :mod:`rendezvous.core.presence.movelimit`.
        """
        slot = self._find(key) or self._find_old(key, now)
        return not slot or self.moves.take(slot, now)

    def keep_alive(self, key: bytes, address: Address, now: float, local_port: int = 0) -> bool:
        """
        Take the pulse of a client that is ONLINE and has not moved. This is the common case.

        :param key: any datagram; one that is not a known key is left to :meth:`pulse`.
        :param local_port: the UDP socket of the server that it came to.
        :returns: whether the pulse was taken. Then only the timestamp has changed, and the answer is ``ON_TIME``.
        """
        table, keys, mask, spread, memory, times, on_time, pack = self._common
        # This is KeyIndex.find. A call of it would cost as much as all the rest.
        if len(key) != KEY_SIZE:
            return False
        place: int = _beginning(key)[0] % spread
        while slot := table[place]:
            start = slot << 5
            if keys[start : start + KEY_SIZE] == key:
                break
            place = (place + 1) & mask
        else:
            slot = self._find_old(key, now) if self._old.indexes else 0
            if not slot:
                return False
        seen, host, port, local, flags = _steady(memory, slot << 6)
        if now > seen + on_time or port != address[1]:
            return False
        if flags == STEADY_IPV4:
            if local != local_port or host != pack(address[0]):
                return False
        elif not self.columns.take_steady(slot, pack(address[0]), address[1], local_port):
            return False
        times[slot << 3] = now
        return True

    def pulse(self, key: bytes, address: Address, now: float, local_port: int = 0) -> PulseCode:
        """
        Take any pulse.

        :param address: where it came from; recorded if the pulse is on time.
        :param local_port: the UDP socket of the server that it came to; recorded with the address.
        :returns: what to answer.
        """
        slot = self._find(key) or self._find_old(key, now)
        if not slot:
            return PulseCode.UNKNOWN
        code = ON_PULSE[self.state(slot, now)]
        if code is PulseCode.ON_TIME:
            place = (self._pack(address[0]), address[1], local_port)
            if self.columns.is_at(slot, *place):
                self.columns.pulse(slot, now)
            else:
                if self.history is not None:
                    kind = Happened.MOVED if self.columns.flags(slot) & ADDRESS else Happened.FIRST_PULSE
                    self.history.add(kind, self.columns.client_id(slot), now, *place[:2])
                self.columns.move(slot, *place, now)
                self.expect_ends((slot,), now)
        return code

    def authenticate(self, credential: Credential, now: float) -> bytes:
        """
        :returns: the client id that the credential proves.
        :raises Unauthorized: it proves none, or was ended by a logout.
        """
        client_id, slot = credential.client_id, self._find(credential.key)
        if slot and client_id == self.columns.client_id(slot) and not self._is_gone(slot, now):
            # Its key was made of its id under the secret in use, and a client that was logged out is not in the table.
            return client_id
        wall = self._wall(now)
        if client_id is None:
            slot = slot or self._find_old(credential.key, now)
            if not slot or self._is_gone(slot, now):
                raise Unauthorized("No client with this key is here: register again.")
            client_id = self.columns.client_id(slot)
            if not self._keyring.proves(client_id, credential.key, wall):
                raise Unauthorized("No client with this key is here: register again.")
            return client_id
        if not self._keyring.proves(client_id, credential.key, wall) or self.logouts.has_revoked(client_id, wall):
            raise Unauthorized("This credential is wrong, or was ended by a logout: register again.")
        if self.logouts.live_only(wall) and not self.slot_of(client_id, now):
            raise Unauthorized("This client is not here any more: register again.")
        return client_id

    def verify(self, client_id: bytes, now: float) -> Client:
        """
        Take a client back that was late; harmless for one that was not.

        A client that has never pulsed stays without an address, and has the registration time once more.

        :raises NotFound: the client is gone and must register again.
        """
        slot = self._slot(client_id)
        if not slot or self._is_gone(slot, now):
            raise NotFound("This client is gone: register again.", code="not-registered")
        self.columns.verify(slot, now)
        return self.columns.client(slot)

    def logout(self, client_id: bytes, now: float, source: SourceNetwork = UNKNOWN) -> None:
        """
        End a client and its credential; it need not be live. A logout is never refused.

        :param source: where the request came from. It is charged if the client is gone, and otherwise the source that
            registered the client.
        """
        # A table that is full makes room as it is asked, so that a late sweep changes no answer.
        self.logouts.forget(self._wall(now), 2)
        slot = self._slot(client_id)
        if slot:
            source = source_network(self.columns.network(slot))
            self._remove(slot)
        self.logouts.add(client_id, source, self._wall(now))

    # What others ask

    def slot_of(self, client_id: bytes, now: float) -> int:
        """:returns: the slot of a client; 0 if it is unknown or gone."""
        slot = self._slot(client_id)
        return 0 if not slot or self._is_gone(slot, now) else slot

    def state(self, slot: int, now: float) -> PresenceState:
        """:returns: what a client's timestamp means now."""
        return state_of(self.timers, self._seen[slot * WORDS], bool(self.columns.flags(slot) & ADDRESS), now)

    # What the server does

    def sweep(self, now: float, at_most: int) -> int:
        """
        Free the memory of clients that are gone, and of logouts that need not be remembered any more.

        :param at_most: how many clients, and as many logouts, to look at, so that no pass holds the reactor for long;
            clients are looked at in whole blocks (:data:`~rendezvous.core.presence.endings.BLOCK`).
        :returns: how many clients were removed; :meth:`is_due` says whether there is more to do.
        """
        removed = self._remove_gone(now, at_most)
        wall = self._wall(now)
        self._old.forget(wall)
        self.logouts.forget(wall, at_most)
        return removed

    def is_due(self, now: float) -> bool:
        """:returns: whether a sweep would look at something."""
        return self._endings.is_due(now) or self.logouts.is_due(self._wall(now))

    def adopt(self, clients: Iterable[tuple[int, bytes]], shift: float, latest: float, wall: float) -> int:
        """
        Bring in the clients whose records are in the columns already.

        :param clients: slots, ascending, and ids.
        :param shift: seconds that are added to the times in the records.
        :param latest: server time; no time in a record may be later.
        :param wall: the time on the wall clock.
        :returns: how many records were not whole; see :class:`~rendezvous.core.presence.adoption.Adoption`.
        """
        adoption = Adoption(self.columns, self.index, self._old, self._shares)
        adoption.enter(clients, self._keyring, shift, latest, wall)
        self._bind()
        # The first sweeps find out when each may end.
        self._endings.expect_all(self.columns.top)
        return adoption.damaged

    def expect_ends(self, slots: Iterable[int], now: float) -> None:
        """Note when clients that have pulsed now will end. A first pulse may bring the deadline nearer."""
        self._endings.put_all(slots, now + self.timers.kept)

    def old_indexes(self, now: float) -> list[KeyIndex]:
        """:returns: the keys that clients of an earlier run have under old secrets that are still honoured."""
        return self._old.honoured(self._wall(now)) if self._old.indexes else []

    def _slot(self, client_id: bytes) -> int:
        return self._find(self._keyring.key(client_id))

    def _find_old(self, key: bytes, now: float) -> int:
        return self._old.find(key, self._wall(now)) if self._old.indexes else 0

    def _deadline(self, slot: int) -> float:
        # One that has ended may not be freed yet.
        return self._ends_at(slot) if self.index.has(slot) else math.inf

    def _ends_at(self, slot: int) -> float:
        pulsed = self.columns.flags(slot) & ADDRESS
        seen: float = self._seen[slot * WORDS]
        return seen + (self.timers.kept if pulsed else self.timers.registration_time)

    def _is_gone(self, slot: int, now: float) -> bool:
        # The slot was found by a key, so it is in use.
        return now > self._ends_at(slot)

    def _remove(self, slot: int) -> None:
        client = self.columns.client(slot)
        self.index.remove(slot)
        self._old.remove(slot)
        if not self.frees_later:
            self.free(slot)
        self._shares.remove(source_network(client.network))
        self._note(Removed(client))

    def _remove_gone(self, now: float, at_most: int) -> int:
        removed = looked = 0
        for block in self._endings.due(now):
            if looked >= at_most:
                break
            looked += BLOCK
            gone, ending = gone_in(block, self.columns, self._deadline, self._shortest, now, at_most - removed)
            self._endings.set(block, ending)
            removed += len(gone)
            for slot in gone:
                if self.history is not None:
                    self.history.add(Happened.EXPIRED, self.columns.client_id(slot), now)
                self._remove(slot)
        return removed
