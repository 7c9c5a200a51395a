"""What tests ask of a live table, and put into it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rendezvous.core.presence.client import Client
from rendezvous.core.presence.presence import Presence


def find(table: Presence, client_id: bytes, now: float) -> Client | None:
    """:returns: a client, unless it is unknown or gone."""
    slot = table.slot_of(client_id, now)
    return table.columns.client(slot) if slot else None


def clients(table: Presence) -> Iterator[Client]:
    """:returns: every client in a table, those included that are gone but not yet swept."""
    return map(table.columns.client, table.index.slots())


def restore(table: Presence, client: Client, wall: float) -> None:
    """Put in a client as if it had been read back: in its slot or, if it has none, in a free one."""
    slot = table.columns.put(client)
    table.adopt([(slot, client.client_id)], 0.0, math.inf, wall)
