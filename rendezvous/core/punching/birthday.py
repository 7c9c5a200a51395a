"""
Birthday probing: a path between a NAT with endpoint-dependent mapping and one without.

The side with endpoint-dependent mapping, here the *hard* one, opens 256 sockets to one address of the other side. Its
NAT gives them 256 ports. The other side, the *easy* one, sends to random ports of that NAT. With 1024 of them it hits
one of the 256 with a probability of 98.3 %.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rendezvous.core.addresses import Address
from rendezvous.core.connect import CandidateKind
from rendezvous.core.punching.actions import Send
from rendezvous.core.punching.checks import Checks
from rendezvous.core.punching.pairs import Local
from rendezvous.core.punching.probes import RandomSource
from rendezvous.core.punching.schedule import OPENER_TTL

__all__ = ["SOCKETS", "Easy", "Hard"]

SOCKETS = 256
"""Sockets of the hard side."""

PORTS = 1024
"""Ports that the easy side tries."""

RATE = 100.0
"""Ports that the easy side tries in a second."""

HEAD_START = 0.6
"""Seconds that the easy side waits, while the hard side opens its sockets."""

OPENER_GAP = 0.002
"""Seconds between two openers of the hard side."""

REPEAT_AFTER = 4.0
"""Seconds after which the hard side sends its openers once more, since some may be lost."""

FIRST_PORT, LAST_PORT = 1024, 65535


class Easy:
    """
    The side that sends to random ports.

    :param locals: its sockets.
    :param hosts: the public addresses of the peer; the ports are those of the first one of the family of a socket.
    :param start: when the round begins.
    """

    def __init__(
        self, checks: Checks, random: RandomSource, locals: Sequence[Local], hosts: Sequence[str], start: float
    ) -> None:
        self._checks = checks
        self._targets = [
            (local, host)
            for local in locals
            if not local.relayed
            for host in next(([host] for host in hosts if (":" in host) == local.ipv6), [])
        ][:1]
        self._ports = _sample(random, PORTS) if self._targets else []
        self._at = start + HEAD_START

    def due(self) -> float | None:
        """:returns: when the next probe is due."""
        return self._at if self._ports else None

    def tick(self, now: float) -> list[Send]:
        """:returns: the probes that are due."""
        sends = []
        while self._ports and self._at <= now:
            [(local, host)] = self._targets
            sends.append(self._checks.probe_address(now, local, (host, self._ports.pop())))
            self._at = max(self._at + 1 / RATE, now - 0.1)
        return sends


class Hard:
    """
    The side with many sockets. Its openers have a low TTL, and so do those that it repeats.

    If one reached a NAT that runs Linux before the easy side has sent to the port of that socket, this NAT would give
    the easy side another port.

    :param target: the public address of the easy side.
    """

    def __init__(self, checks: Checks, target: Address, start: float) -> None:
        self._checks, self._target, self._at = checks, target, start
        self._queue: list[Local] = []
        self._again: list[Local] = []

    def add(self, locals: Iterable[Local]) -> None:
        """Have openers sent from more sockets."""
        fitting = [local for local in locals if local.birthday and local.ipv6 == (":" in self._target[0])]
        self._queue += fitting
        self._again += fitting

    def due(self) -> float | None:
        """:returns: when the next opener is due."""
        return self._at if self._queue else None

    def tick(self, now: float) -> list[Send]:
        """:returns: the openers that are due."""
        sends = []
        while self._queue and self._at <= now:
            pair = self._checks.add(self._queue.pop(0), self._target, CandidateKind.SERVER_REFLEXIVE)
            sends.append(self._checks.probe(now, pair, ttl=OPENER_TTL))
            self._at = max(self._at + OPENER_GAP, now - 0.1)
            if not self._queue and self._again:
                self._at += REPEAT_AFTER
                self._queue, self._again = self._again, []
        return sends


def _sample(random: RandomSource, count: int) -> list[int]:
    """:returns: different random ports."""
    ports = list(range(FIRST_PORT, LAST_PORT + 1))
    for index in range(count):
        other = index + int(random.random() * (len(ports) - index))
        ports[index], ports[other] = ports[other], ports[index]
    return ports[:count]
