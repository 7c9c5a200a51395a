"""Leaves out of a batch what comes from networks that are shut out."""

from __future__ import annotations

from collections.abc import Callable

from rendezvous.core.bans import Bans
from rendezvous.udp.mmsg import NAME_SIZE, Batch

__all__ = ["Admission"]


class Admission:
    """
    Looks at the sources of a batch. It is asked only while a network is shut out.

    :param bans: which networks are.
    :param drop: called with the length of each datagram that is left out.
    """

    def __init__(self, bans: Bans, drop: Callable[[int], None]) -> None:
        self._bans, self._drop = bans, drop

    @property
    def is_needed(self) -> bool:
        """:returns: whether a network is shut out."""
        return self._bans.has_networks

    def admit(self, batch: Batch, rows: int, now: float) -> int:
        """
        Leave out what comes from these networks. What is left moves to the first rows, in its order.

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
