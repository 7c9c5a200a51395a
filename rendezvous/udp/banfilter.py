"""Removes the datagrams of banned networks from a batch."""

from __future__ import annotations

from collections.abc import Callable

from rendezvous.core.bans import Bans
from rendezvous.udp.mmsg import NAME_SIZE, Batch

__all__ = ["BanFilter"]


class BanFilter:
    """
    Looks up the sources of a batch. It is used only while a network is banned.

    :param bans: the bans.
    :param drop: called with the length of each datagram that is removed.
    """

    def __init__(self, bans: Bans, drop: Callable[[int], None]) -> None:
        self._bans, self._drop = bans, drop

    @property
    def is_needed(self) -> bool:
        """:returns: whether a network is banned."""
        return self._bans.has_networks

    def apply(self, batch: Batch, rows: int, now: float) -> int:
        """
        Remove the datagrams of banned networks. The others move to the first rows, in their order.

        :param rows: how many rows are filled.
        :param now: server time.
        :returns: how many are left.
        """
        of_address = self._bans.of_address
        # Each source is looked up once: a flood comes from few of them.
        banned: dict[bytes, bool] = {}
        kept = []
        for row in range(rows):
            host = batch.raw_host(row)
            if host not in banned:
                banned[host] = of_address(host, now) is not None
            if banned[host]:
                self._drop(batch.length(row))
            else:
                kept.append(row)
        if len(kept) < rows:
            names = memoryview(bytes(batch.names))
            datagrams = [batch.datagram(row) for row in kept]
            batch.fill(b"".join(names[row * NAME_SIZE : (row + 1) * NAME_SIZE] for row in kept), datagrams)
        return len(kept)
