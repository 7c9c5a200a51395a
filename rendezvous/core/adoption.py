"""At the start: the clients whose records an earlier process has left, taken into the live table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from rendezvous.core.client import unpack_network
from rendezvous.core.clients import ClientColumns
from rendezvous.core.identity import Keyring
from rendezvous.core.keyindex import KeyIndex
from rendezvous.core.oldkeys import OldKeys
from rendezvous.core.shares import Shares
from rendezvous.core.sources import source_network

__all__ = ["Adoption"]

#: Networks whose clients are counted together.
_MANY_SOURCES = 10_000


@attrs.define
class Adoption:
    """
    Where adopted clients are entered.

    While an old secret is honoured, it is not known which key a client was given, so it is found by each of them.

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
        :param wall: the time on the wall clock.
        """
        olds = [(digest, self.old.index(digest, until)) for digest, until in keyring.old_secrets(wall)]
        key, counts = keyring.key, dict[bytes, int]()

        def keys() -> Iterator[tuple[bytes, int]]:
            for slot, client_id, source, whole in self.columns.adopt_all(clients, shift, latest):
                if not whole:
                    self.damaged += 1
                for digest, old in olds:
                    old.add(digest(client_id), slot)
                if source in counts:
                    counts[source] += 1
                else:
                    if len(counts) == _MANY_SOURCES:
                        self._count(counts)
                    counts[source] = 1
                yield key(client_id), slot

        self.index.add_all(keys())
        self._count(counts)

    def _count(self, counts: dict[bytes, int]) -> None:
        for source, count in counts.items():
            self.shares.add(source_network(unpack_network(source)), count)
        counts.clear()
