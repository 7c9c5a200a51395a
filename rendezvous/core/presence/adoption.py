"""The clients whose records an earlier process has left, taken into the live table when the server starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice

import attrs

from rendezvous.core.identity import Keyring
from rendezvous.core.presence.client import unpack_network
from rendezvous.core.presence.clients import ClientColumns
from rendezvous.core.presence.keyindex import KeyIndex
from rendezvous.core.presence.oldkeys import OldKeys
from rendezvous.core.shares import Shares
from rendezvous.core.sources import source_network

__all__ = ["CHUNK", "Adoption", "add_each", "adopt_each"]

#: Clients that are entered together. For fewer it takes longer to load NumPy than to enter them one by one.
CHUNK = 16_384

#: Networks whose clients are counted before the counts are added to the shares. It bounds the memory that this takes.
_MANY_SOURCES = 10_000

_Adopt = Callable[[ClientColumns, Sequence[int], Sequence[bytes], float, float], tuple[int, Mapping[bytes, int]]]
_Add = Callable[[KeyIndex, Iterable[bytes], Sequence[int]], None]


def adopt_each(
    columns: ClientColumns, slots: Sequence[int], ids: Sequence[bytes], shift: float, latest: float
) -> tuple[int, Mapping[bytes, int]]:
    """
    Take over the records of clients; see :meth:`~rendezvous.core.presence.clients.ClientColumns.adopt`.

    :param slots: at least one, ascending.
    :param ids: of the clients in them.
    :param shift: seconds that are added to the times in the records.
    :param latest: server time; no time in a record may be later.
    :returns: how many records were not whole, and how many clients each network has, by its eight bytes.
    """
    sources, wholes = zip(*columns.adopt_all(zip(slots, ids, strict=True), shift, latest), strict=True)
    return wholes.count(False), Counter(sources)


def add_each(index: KeyIndex, keys: Iterable[bytes], slots: Sequence[int]) -> None:
    """
    Enter keys into an index.

    :param keys: that are not in it yet.
    :param slots: of the keys, in the same order.
    """
    index.add_all(zip(keys, slots, strict=True))


def _ways(number: int) -> tuple[_Adopt, _Add]:
    """:returns: the functions that enter this number of clients: those with NumPy if it is worth it and installed."""
    if number < CHUNK:
        return adopt_each, add_each
    try:
        from rendezvous.core.presence.adoptionbatch import add_together, adopt_together
    except ImportError:
        return adopt_each, add_each
    return adopt_together, add_together


@attrs.define
class Adoption:
    """
    Enters adopted clients into the parts of a live table.

    While an old secret is honoured, it is not known which key a client was given, so it is found by each of its keys.

    :ivar columns: the records.
    :ivar index: the keys under the secret in use.
    :ivar old: the keys under old secrets.
    :ivar shares: how many clients each source holds.
    :ivar damaged: how many records were not whole: these clients have no address until their next pulse.
    """

    columns: ClientColumns
    index: KeyIndex
    old: OldKeys
    shares: Shares
    damaged: int = 0

    def enter(
        self, clients: Iterable[tuple[int, bytes]], keyring: Keyring, shift: float, latest: float, wall: float
    ) -> None:
        """
        Enter clients whose records are in the columns already.

        :param clients: slots, ascending, and ids.
        :param keyring: gives the keys.
        :param shift: seconds that are added to the times in the records.
        :param latest: server time; no time in a record may be later.
        :param wall: the time on the wall clock, in seconds since the epoch. It decides which old secrets are honoured.
        """
        olds = [(digest, self.old.index(digest, until)) for digest, until in keyring.old_secrets(wall)]
        counts, clients = Counter[bytes](), iter(clients)
        while chunk := list(islice(clients, CHUNK)):
            slots, ids = [slot for slot, _ in chunk], [client_id for _, client_id in chunk]
            adopt, add = _ways(len(chunk))
            damaged, sources = adopt(self.columns, slots, ids, shift, latest)
            self.damaged += damaged
            counts.update(sources)
            if len(counts) > _MANY_SOURCES:
                self._count(counts)
            add(self.index, map(keyring.key, ids), slots)
            for digest, old in olds:
                add(old, map(digest, ids), slots)
        self._count(counts)

    def _count(self, counts: Counter[bytes]) -> None:
        for source, count in counts.items():
            self.shares.add(source_network(unpack_network(source)), count)
        counts.clear()
