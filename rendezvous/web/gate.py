"""What a server knows of the sources of its HTTP requests: one for all of its ports and mounted resources."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from twisted.internet.interfaces import IReactorTime

from rendezvous.counters import Counters
from rendezvous.limits import SourceLimits, UnreadLimits
from rendezvous.refusals import Refusals
from rendezvous.web.quotas import Quotas
from rendezvous.web.requestcounts import RequestCounts
from rendezvous.web.sending import Sender
from rendezvous.web.sources import Proxies

__all__ = ["Gate", "make_gate"]


@attrs.frozen
class Gate:
    """
    Where requests come from, what each source may take, and what was refused.

    :ivar proxies: the reverse proxies whose headers are believed.
    :ivar quotas: what each source has taken.
    :ivar sender: sends what is large, and counts what is not read of it.
    :ivar refusals: counts what is refused because of a limit.
    :ivar requests: counts what is answered.
    """

    proxies: Proxies
    quotas: Quotas
    sender: Sender
    refusals: Refusals
    requests: RequestCounts

    def change(self, limits: SourceLimits, unread: UnreadLimits, trusted: Sequence[str]) -> None:
        """Use other limits and believe other proxies from now on."""
        self.proxies.trust(trusted)
        self.quotas.change(limits)
        self.sender.change(unread)


def make_gate(
    limits: SourceLimits, unread: UnreadLimits, trusted: Sequence[str], clock: IReactorTime, counters: Counters
) -> Gate:
    """
    :param limits: of each source.
    :param unread: what clients may leave unread.
    :param trusted: networks of reverse proxies.
    :param clock: the time that rates and stalls are measured on.
    :param counters: where refusals are counted.
    """
    return Gate(
        Proxies(trusted), Quotas(limits, clock), Sender(clock, unread), Refusals(counters), RequestCounts(clock.seconds)
    )
