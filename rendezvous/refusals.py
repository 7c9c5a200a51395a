"""Counts what is refused because of a limit of a source, or because a table is full."""

from __future__ import annotations

from rendezvous.core.sources import UNKNOWN, SourceNetwork
from rendezvous.counters import Counters
from rendezvous.errors import Full, RendezvousError, TooMany

__all__ = ["FULL_TABLES", "LIMITED_SOURCES", "LIMITS", "TABLES", "Refusals"]

LIMITED_SOURCES = "limited sources"
"""The family of requests and connections that were refused to one source; its reasons are codes of errors."""

FULL_TABLES = "full tables"
"""The family of requests that were refused because the server holds as much as it may; its reasons are codes too."""


#: The codes of everything that is refused because of a limit of one source.
LIMITS = (
    "source-bodies",
    "source-connections",
    "source-messages",
    "source-publications",
    "source-registrations",
    "source-requests",
    "source-share",
    "source-sockets",
    "source-subscriptions",
    "source-tickets",
    "source-unread",
    "source-waiting",
    # Not of one source: there are as many connections as there may be.
    "connections",
    # Of a banned network, and closed without an answer.
    "banned",
)

#: The codes of everything that is refused because a table is full.
TABLES = (
    "full",
    "full-attempts",
    "full-bodies",
    "full-messages",
    "full-sockets",
    "full-subscriptions",
    "full-tickets",
    "full-tracker",
    "full-unread",
    "too-many-waiting",
)


class Refusals:
    """
    The two families of refusals, with the networks that caused them.

    :param counters: what the server counts.
    """

    def __init__(self, counters: Counters) -> None:
        self._limited = counters.family(LIMITED_SOURCES, LIMITS)
        self._networks = counters.limited
        self._limited_networks = counters.networks(LIMITED_SOURCES)
        self._full = counters.family(FULL_TABLES, TABLES)
        self._full_networks = counters.networks(FULL_TABLES)

    def note(self, error: RendezvousError, source: SourceNetwork) -> None:
        """Count an error, if it is one of these."""
        if isinstance(error, Full):
            self._full[error.code] += 1
            # The network that is refused is mostly not the one that has filled the table.
            holder = error.holder() if error.holder is not None and len(self._full_networks) == 0 else None
            if holder is not None:
                self._full_networks.add(holder)
        elif isinstance(error, TooMany) and error.code.startswith("source-"):
            self.limited(error.code, source)

    def limited(self, code: str, source: SourceNetwork) -> None:
        """Count a refusal to one source."""
        self._limited[code] += 1
        if source is not UNKNOWN:
            self._limited_networks.add(source.subscriber)
            self._networks.add(source.subscriber, code)
