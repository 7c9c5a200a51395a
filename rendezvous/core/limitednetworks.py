"""The networks that limits have refused lately: each with the reason, how often, and when last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from operator import attrgetter

import attrs

__all__ = ["MAX_LIMITED", "Limited", "LimitedNetworks"]

MAX_LIMITED = 1000
"""Pairs of a network and a reason that are kept; the one whose last refusal is oldest makes room."""


@attrs.define
class Limited:
    """
    A network and a reason.

    :ivar network: an IPv4 address or an IPv6 /64.
    :ivar reason: a code of an error, such as ``source-requests``; ``rate-limit`` for datagrams.
    :ivar times: how often.
    :ivar last: when last, in server time.
    """

    network: str
    reason: str
    times: int = 0
    last: float = 0.0


class LimitedNetworks:
    """
    Counts refusals by network and reason, since the process started and as far as there is room.

    :param seconds: tells server time.
    """

    def __init__(self, seconds: Callable[[], float] = lambda: 0.0) -> None:
        self._seconds = seconds
        self._kept: OrderedDict[tuple[str, str], Limited] = OrderedDict()

    def add(self, network: str, reason: str) -> None:
        """Count a refusal."""
        key = network, reason
        found = self._kept.get(key)
        if found is None:
            if len(self._kept) >= MAX_LIMITED:
                self._kept.popitem(last=False)
            found = self._kept[key] = Limited(network, reason)
        else:
            self._kept.move_to_end(key)
        found.times += 1
        found.last = self._seconds()

    def worst(self, network: str | None = None) -> list[Limited]:
        """
        :param network: only of this one.
        :returns: the counts, the greatest first.
        """
        found = (each for each in self._kept.values() if network in (None, each.network))
        return sorted(found, key=attrgetter("times"), reverse=True)
