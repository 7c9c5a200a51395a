"""How much of a table each source holds: a full table must never be the doing of one source."""

from __future__ import annotations

from itertools import islice

from rendezvous.core.sources import UNKNOWN, SourceNetwork
from rendezvous.errors import TooMany

__all__ = ["SITE_SHARE", "Shares", "share_of"]

#: How many times as much of a table as a subscriber a site may hold. It is less than
#: :data:`~rendezvous.core.sources.SITE_FACTOR`: with a share of a tenth, three sites could fill the table otherwise.
SITE_SHARE = 2.5

#: Networks that are looked at for the largest one: some 5 ms. A table of a million clients has more of them.
LOOKED_AT = 10_000


def share_of(total: int, part: float) -> tuple[int, int]:
    """
    Work out the shares of one table. Of 100 entries and a tenth, for example, a subscriber may hold 10 and a site 25.

    :param total: the entries or bytes of the table.
    :param part: the part of them that a subscriber may hold, from 0 to 1; 0 for no limit.
    :returns: the most that a subscriber and a site may hold, each at least 1; 0 for no limit.
    """
    if not part:
        return 0, 0
    # Rounded first: a tenth of ten is one, though 0.1 is not exactly a tenth.
    subscriber, site = round(total * part, 6), round(total * part * SITE_SHARE, 6)
    return max(1, int(subscriber)), max(1, min(total, int(site)))


class Shares:
    """
    The part of one table that each source holds, in entries or in bytes.

    :param what: what the table holds, for the error: ``"clients"``.
    :param subscriber: the most that one subscriber may hold; 0 for no limit.
    :param site: the most that one site may hold; 0 for no limit.
    :param code: the code of the error.
    """

    __slots__ = ("_code", "_grown", "_held", "_site", "_subscriber", "_what")

    def __init__(self, what: str, subscriber: int = 0, site: int = 0, code: str = "source-share") -> None:
        self._what = what
        self._code = code
        self._subscriber = subscriber
        self._site = site
        self._held: dict[str, int] = {}
        # Of the networks that have grown, one that was larger then than the one that stood here before.
        self._grown = ""

    def change(self, subscriber: int, site: int) -> None:
        """Use other shares from now on. What a source holds already stays, and is counted."""
        self._subscriber, self._site = subscriber, site

    @property
    def are_limited(self) -> bool:
        """:returns: whether there is a limit for a subscriber."""
        return self._subscriber > 0

    def __len__(self) -> int:
        """Count the networks that hold something; never more than two for each entry of the table."""
        return len(self._held)

    def held(self, source: SourceNetwork) -> int:
        """:returns: what a subscriber holds."""
        return self._held.get(source.subscriber, 0)

    def largest(self) -> str | None:
        """
        Find the network that holds most, for the log.

        Where more than :data:`LOOKED_AT` networks hold something, it is the largest of those that have held something
        for longest and of those that have grown to more than all that grew before.

        :returns: ``None`` if none holds anything.
        """
        # Of a site with one subscriber, this is the subscriber, which was counted first.
        looked_at = list(islice(self._held, LOOKED_AT))
        if self._grown in self._held:
            looked_at.append(self._grown)
        return max(looked_at, key=self._held.__getitem__, default=None)

    def clear(self) -> None:
        """Forget what everyone holds."""
        self._held.clear()

    def check(self, source: SourceNetwork, amount: int = 1) -> None:
        """
        See that a source may take more.

        :raises TooMany: it would hold more than its share. Nothing has changed.
        """
        if source is UNKNOWN:
            return
        for network, most in ((source.subscriber, self._subscriber), (source.site, self._site)):
            if most and self._held.get(network, 0) + amount > most:
                raise TooMany(f"The network {network} holds its full share of the {self._what}.", code=self._code)

    def add(self, source: SourceNetwork, amount: int = 1) -> None:
        """Count what a source has taken, also when that is more than its share (an entry that was restored, say)."""
        if source is UNKNOWN:
            return
        held = self._held
        for network in (source.subscriber, source.site):
            now_held = held[network] = held.get(network, 0) + amount
            if now_held > held.get(self._grown, 0):
                self._grown = network

    def remove(self, source: SourceNetwork, amount: int = 1) -> None:
        """Count what a source has given back. A network that holds nothing is forgotten."""
        if source is UNKNOWN:
            return
        for network in (source.subscriber, source.site):
            left = self._held.get(network, 0) - amount
            if left > 0:
                self._held[network] = left
            else:
                self._held.pop(network, None)
