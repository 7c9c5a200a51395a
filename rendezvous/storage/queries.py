"""Reads of many entries: lists, counts and histories. Large tables are read in slices over turns of the reactor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from zope.interface import implementer

from twisted.internet.defer import Deferred, succeed

from rendezvous.core.attempts.records import AttemptRecord
from rendezvous.core.presence.census import census
from rendezvous.core.presence.client import Client
from rendezvous.core.presence.history import ClientEvent, History
from rendezvous.core.presence.record import USED
from rendezvous.core.presence.states import PresenceState
from rendezvous.core.signaling.offers import OFFERS, Offer
from rendezvous.core.signaling.pages import Page
from rendezvous.errors import NotFound
from rendezvous.interfaces import IQueries
from rendezvous.model import ClientDetails, ClientPage, ClientQuery
from rendezvous.storage.batchtimer import Later
from rendezvous.storage.slices import Slices
from rendezvous.storage.tables import Tables

__all__ = ["LOOKED_AT", "SLICE", "Queries"]

#: Slots that one slice looks at, and slots that one request does. With a million clients a slice takes 0.3 ms if it
#: looks at ids, 0.6 ms at states and 1.3 ms at networks.
SLICE, LOOKED_AT = 250, 100_000

#: Offers and sessions that one request looks at.
_OFFERS = 5000


@implementer(IQueries)
class Queries:
    """
    Reads of the tables of one process.

    :param tables: what is read.
    :param later: calls something after a time; without it, all slices are read in one turn.
    """

    def __init__(self, tables: Tables, later: Later | None = None) -> None:
        self._tables = tables
        self._slices = None if later is None else Slices(later)

    def keep_history(self) -> None:
        if self._tables.presence.history is None:
            self._tables.presence.history = History()

    async def census(self, now: float) -> Mapping[PresenceState, int]:
        presence, found = self._tables.presence, Counter[PresenceState]()
        await self._turn()
        for counted in census(presence.columns, presence.timers, now):
            found.update(counted)
            await self._turn()
        return found

    async def clients(self, query: ClientQuery, after: int, limit: int, now: float) -> ClientPage:
        columns, found = self._tables.presence.columns, list[tuple[Client, PresenceState]]()
        for first in range(after + 1, min(columns.top, after + LOOKED_AT) + 1, SLICE):
            await self._turn()
            for slot, client, state in self._slice(query, first, now):
                found.append((client, state))
                if len(found) == limit:
                    return ClientPage(found, slot)
        return ClientPage(found, after + LOOKED_AT if after + LOOKED_AT < columns.top else None)

    def _slice(self, query: ClientQuery, first: int, now: float) -> Iterator[tuple[int, Client, PresenceState]]:
        """Yield the clients of a slice of the slots that are looked for, each with its slot."""
        presence, columns = self._tables.presence, self._tables.presence.columns
        for slot in range(first, min(first + SLICE, columns.top + 1)):
            # One that has ended may not be freed yet.
            if not columns.flags(slot) & USED or not presence.index.has(slot):
                continue
            state = presence.state(slot, now)
            if state is PresenceState.GONE or query.state not in (None, state):
                continue
            if query.prefix and not columns.client_id(slot).hex().startswith(query.prefix):
                continue
            client = columns.client(slot)
            if query.is_in is None or any(map(query.is_in, filter(None, (client.host, client.network)))):
                yield slot, client, state

    async def client(self, client_id: bytes, now: float) -> ClientDetails:
        presence, events = self._tables.presence, list[ClientEvent]()
        if presence.history is not None:
            await self._turn()
            for part in presence.history.of(client_id):
                events += part
                await self._turn()
        # Only here: the tables may have been cleared meanwhile.
        offers, hex_id = self._tables.offers, client_id.hex()
        slot = presence.slot_of(client_id, now)
        if not slot and not events:
            raise NotFound("There is no such client, and nothing is known of it.", code="no-such-client")
        return ClientDetails(
            presence.columns.client(slot) if slot else None,
            presence.state(slot, now) if slot else PresenceState.GONE,
            offers.catalogue.count_owned(hex_id),
            offers.streams.has(hex_id),
            events[::-1],
        )

    async def offers(
        self, after: tuple[int, int] | None, limit: int, now: float, *, sessions: bool = False
    ) -> Page[Offer, tuple[int, int]]:
        table = self._tables.offers
        table.expire(now)
        found: list[Offer] = []
        for looked, entry in enumerate(table.catalogue.in_order(after), 1):
            if (entry.offer.namespace != OFFERS) == sessions:
                found.append(entry.offer)
            if len(found) == limit or looked == _OFFERS:
                return Page(tuple(found), next=(entry.ends_at, entry.number))
        return Page(tuple(found))

    async def attempts(
        self, client_id: bytes | None = None, before: int | None = None, most: int | None = None
    ) -> list[AttemptRecord]:
        return self._tables.attempt_table.records(client_id, before, most)

    def _turn(self) -> Deferred[None]:
        """:returns: fires when a slice may be taken."""
        return succeed(None) if self._slices is None else self._slices.next()
