"""The attempts that a path consists of: each has endpoints, pairs of addresses and keys of its own."""

from __future__ import annotations

from collections.abc import Iterator

from rendezvous.core.punching.actions import Release
from rendezvous.core.punching.pairs import Local, Pair
from rendezvous.core.punching.puncher import Puncher

__all__ = ["CONSENT_TIME", "MAX_ATTEMPTS", "KeptAttempts"]

CONSENT_TIME = 30.0
"""Seconds without a datagram heard after which a path, or an attempt of it, is lost (RFC 7675, section 5.1)."""

MAX_ATTEMPTS = 4
"""Attempts of a path that are kept: the newest one, the one in use, and those that were heard last."""


class KeptAttempts:
    """
    The attempts of one path, the newest one last.

    :param puncher: of the first attempt.
    :ivar used: the attempt that the pair in use belongs to.
    """

    def __init__(self, puncher: Puncher) -> None:
        self.used = puncher
        self._punchers = [puncher]

    def __iter__(self) -> Iterator[Puncher]:
        """Iterate over all of them."""
        return iter(self._punchers)

    def __len__(self) -> int:
        """:returns: how many there are."""
        return len(self._punchers)

    @property
    def newest(self) -> Puncher:
        """:returns: the attempt that has joined last."""
        return self._punchers[-1]

    @property
    def locals(self) -> list[Local]:
        """:returns: the endpoints of all of them."""
        return [local for puncher in self._punchers for local in puncher.locals]

    def add(self, puncher: Puncher) -> None:
        """Add an attempt, which is then the newest one."""
        self._punchers.append(puncher)

    def by_endpoint(self, name: str) -> list[Puncher]:
        """:returns: all of them, those first that an endpoint belongs to: two of them may use the same relay."""
        return sorted(self._punchers, key=lambda each: not each.has(name))

    def pairs_beside(self, used: Pair) -> list[tuple[Puncher, Pair]]:
        """:returns: all pairs but one, and the attempts that they belong to."""
        return [
            (puncher, pair) for puncher in self._punchers for pair in puncher.checks.pairs.values() if pair is not used
        ]

    def due(self) -> list[float]:
        """:returns: when :meth:`release` is to be called, in seconds, for each attempt that may be forgotten."""
        return [puncher.checks.heard_at + CONSENT_TIME for puncher in self._earlier()]

    def release(self, now: float) -> list[Release]:
        """:returns: the endpoints of earlier attempts that are too many, or on which nothing was heard for long."""
        released = []
        for puncher in sorted(self._earlier(), key=lambda each: each.checks.heard_at):
            if len(self._punchers) > MAX_ATTEMPTS or now >= puncher.checks.heard_at + CONSENT_TIME:
                self._punchers.remove(puncher)
                kept = {local.name for local in self.locals}
                released.append(Release(tuple(local for local in puncher.locals if local.name not in kept)))
        return released

    def _earlier(self) -> list[Puncher]:
        """:returns: earlier attempts that are not in use."""
        return [puncher for puncher in self._punchers[:-1] if puncher is not self.used]
