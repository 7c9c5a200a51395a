"""
Tickets: single-use credentials for an event stream, good for a minute.

A browser sends no ``Authorization`` header with ``EventSource`` and ``WebSocket``, and a credential in a URL ends up in
the logs of proxies. A ticket in a URL is of no use to a person who reads it there later.
"""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Callable

import attrs

from rendezvous.core.identity import Credential
from rendezvous.core.shares import Shares, share_of
from rendezvous.core.sources import SourceNetwork
from rendezvous.errors import Full, Unauthorized
from rendezvous.limits import SignalingLimits

__all__ = ["TICKET_CHARS", "Tickets", "make_tickets"]

#: Bytes of randomness in a ticket, and its characters.
_SIZE = 32
TICKET_CHARS = 43

#: Tickets that one call expires: some 2 ms. The next one goes on.
AT_ONCE = 1000


@attrs.frozen(weakref_slot=False)
class _Ticket:
    """
    One ticket.

    :ivar until: when it is no longer good, in seconds of server time.
    """

    credential: Credential
    source: SourceNetwork
    until: float


class Tickets:
    """
    The tickets that were given out and not used yet.

    :param most: how many there may be.
    :param lifetime: seconds for which each is good.
    :param shares: how many each source may have.
    :param random: gives that many random bytes.
    :ivar shares: as given.
    """

    def __init__(self, most: int, lifetime: float, shares: Shares, random: Callable[[int], bytes]) -> None:
        self._most = most
        self._lifetime = lifetime
        self.shares = shares
        self._random = random
        # In the order in which they end, as all have the same lifetime.
        self._tickets: OrderedDict[str, _Ticket] = OrderedDict()

    def __len__(self) -> int:
        """How many there are, those that have ended lately included."""
        return len(self._tickets)

    def change(self, share: float) -> None:
        """
        Use another limit from now on. What sources have already stays, and is counted.

        :param share: as for :func:`make_tickets`.
        """
        self.shares.change(*share_of(self._most, share))

    def give(self, credential: Credential, source: SourceNetwork, now: float) -> tuple[str, float]:
        """
        Make a ticket.

        :param credential: which it stands for. It has been checked, and is checked again when the ticket is used.
        :returns: 43 characters of base64url, and the server time until which it is good.
        :raises TooMany: ``source-tickets``, the source has as many as it may.
        :raises Full: ``full-tickets``, there are as many as there may be.
        """
        self._expire(now)
        self.shares.check(source)
        if len(self._tickets) >= self._most:
            raise Full(
                "There are as many unused tickets as there may be.", code="full-tickets", holder=self.shares.largest
            )
        text = base64.urlsafe_b64encode(self._random(_SIZE)).decode("ascii").rstrip("=")
        ticket = self._tickets[text] = _Ticket(credential, source, now + self._lifetime)
        self.shares.add(source)
        return text, ticket.until

    def use(self, text: str, now: float) -> Credential:
        """
        Use a ticket up.

        :returns: the credential that it stands for.
        :raises Unauthorized: it is unknown, was used, or is too old.
        """
        self._expire(now)
        ticket = self._tickets.pop(text, None)
        if ticket is not None:
            self.shares.remove(ticket.source)
        if ticket is None or ticket.until <= now:
            raise Unauthorized("The ticket is unknown, was used, or is too old.")
        return ticket.credential

    def _expire(self, now: float) -> None:
        for _ in range(min(AT_ONCE, len(self._tickets))):
            text, ticket = next(iter(self._tickets.items()))
            if ticket.until > now:
                return
            del self._tickets[text]
            self.shares.remove(ticket.source)


def make_tickets(limits: SignalingLimits, share: float, random: Callable[[int], bytes]) -> Tickets:
    """
    :param share: the part of all tickets that one subscriber may have; 0 for no limit.
    :returns: a table without a ticket.
    """
    shares = Shares("tickets for event streams", *share_of(limits.tickets, share), code="source-tickets")
    return Tickets(limits.tickets, limits.ticket_time, shares, random)
