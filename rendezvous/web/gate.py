"""What a server knows of the sources of its HTTP requests: one for all of its ports and mounted resources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from twisted.internet.interfaces import IReactorTime

from rendezvous.clock import WorkingTime, working_time
from rendezvous.core.bans import Bans
from rendezvous.core.sources import SourceNetwork
from rendezvous.core.tokenbucket import TokenBucket
from rendezvous.counters import Counters
from rendezvous.limits import SourceLimits, UnreadLimits
from rendezvous.refusals import Refusals
from rendezvous.web.admission import Admission
from rendezvous.web.held import HeldRequests
from rendezvous.web.quotas import Quotas
from rendezvous.web.requestcounts import RequestCounts
from rendezvous.web.requestids import RequestIds
from rendezvous.web.sending import Sender
from rendezvous.web.sources import Proxies

__all__ = ["ANSWERED", "Gate", "make_gate"]

ANSWERED = 20.0
"""Connections of banned networks a second, all of them together, on which requests are answered 403."""


@attrs.frozen
class Gate:
    """
    Where requests come from, what each source may take, and what was refused.

    :ivar proxies: the reverse proxies whose headers are believed.
    :ivar quotas: what each source has taken.
    :ivar sender: sends what is large, and counts what is not read of it.
    :ivar refusals: counts what is refused because of a limit.
    :ivar requests: counts what is answered.
    :ivar bans: the bans.
    :ivar held: the requests that wait.
    :ivar admission: whether new clients are admitted.
    :ivar request_ids: names the requests that the server fails.
    :ivar answered: which connections of banned networks are not closed at once.
    :ivar working: for how long the reactor has worked, by which sources are charged.
    """

    proxies: Proxies
    quotas: Quotas
    sender: Sender
    refusals: Refusals
    requests: RequestCounts
    bans: Bans
    held: HeldRequests
    admission: Admission
    request_ids: RequestIds
    answered: TokenBucket
    working: WorkingTime

    def refuse_banned(self, request: Any) -> None:
        """
        Refuse a request from a banned network.

        :param request: one that :attr:`proxies` has looked at.
        :raises Forbidden: ``banned``.
        """
        if self.bans.has_networks:
            self.bans.check_host(request.source_host, self.requests.seconds())

    def turns_away(self, peer: Any, source: SourceNetwork) -> bool:
        """
        Look whether a new connection is closed at once, before TLS and without an answer; it is counted then.

        A banned network that floods the server would otherwise use the time of all others: an answer to a request
        takes as long as that of a request that is let in.

        :param peer: the address of the other end, which is no trusted proxy.
        :param source: of the same.
        """
        if not self.bans.has_networks:
            return False
        now = self.requests.seconds()
        if self.bans.of_host(getattr(peer, "host", ""), now) is None or self.answered.take(now):
            return False
        self.refusals.limited("banned", source)
        return True

    def change(self, limits: SourceLimits, unread: UnreadLimits, trusted: Sequence[str]) -> None:
        """Use other limits and believe other proxies from now on."""
        self.proxies.trust(trusted)
        self.quotas.change(limits)
        self.sender.change(unread)


def make_gate(
    limits: SourceLimits,
    unread: UnreadLimits,
    trusted: Sequence[str],
    clock: IReactorTime,
    counters: Counters,
    random: Callable[[int], bytes],
    bans: Bans | None = None,
    working: WorkingTime | None = None,
) -> Gate:
    """
    :param limits: of each source.
    :param unread: what clients may leave unread.
    :param trusted: networks of reverse proxies.
    :param clock: the time that rates and stalls are measured on.
    :param counters: where refusals are counted.
    :param random: gives that many random bytes.
    :param bans: the bans; by default there are none.
    :param working: for how long the reactor has worked; that of this process by default.
    """
    return Gate(
        Proxies(trusted),
        Quotas(limits, clock),
        Sender(clock, unread),
        Refusals(counters),
        RequestCounts(clock.seconds),
        Bans() if bans is None else bans,
        HeldRequests(),
        Admission(),
        RequestIds(random),
        TokenBucket(ANSWERED, ANSWERED),
        working or working_time(),
    )
