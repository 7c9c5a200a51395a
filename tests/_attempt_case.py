"""A table of attempts with a few clients, and what tests ask of it."""

from __future__ import annotations

import random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.core.attempts.attempt import AttemptView, Facilities, Given
from rendezvous.core.attempts.attempts import Attempts
from rendezvous.core.attempts.table import AttemptTable
from rendezvous.core.connect import AttemptState, Candidate, CandidateKind
from rendezvous.core.presence.states import PulseCode
from rendezvous.core.sources import UNKNOWN, SourceNetwork
from rendezvous.errors import RendezvousError
from rendezvous.limits import AttemptLimits

NOW = 1000.0
A, B, C = b"a" * 16, b"b" * 16, b"c" * 16
#: Where the sockets of A and B are seen.
AT_A, AT_B = ("198.51.100.1", 40000), ("203.0.113.2", 50000)
RELAY = Facilities(has_relay=True, relay_hosts=frozenset({"192.0.2.9"}))
#: What two ports see of sockets behind NATs with other mappings.
SYMMETRIC = (("198.51.100.1", 40000), ("198.51.100.1", 51234))
SYMMETRIC_B = (("203.0.113.2", 40000), ("203.0.113.2", 51234))
SEQUENTIAL = (("198.51.100.1", 40000), ("198.51.100.1", 40001))


def key_of(attempt: bytes) -> bytes:
    """:returns: a pair key."""
    return attempt * 4


class AttemptCase(SynchronousTestCase):
    """
    A table with a few clients.

    :ivar reported: what was noted, touched and notified.
    """

    facilities = Facilities()

    def setUp(self) -> None:
        """Begin with an empty table."""
        self.noted: list[object] = []
        self.touched: list[object] = []
        self.keys: list[object] = []
        self.wakes = 0
        self.make()

    def make(self, most: int = 100, share: float = 0.0, **limits: Any) -> None:
        """Make a table with other limits."""
        chance = random.Random(1)
        self.seq = 0
        self.time = 0
        self.table = AttemptTable(
            AttemptLimits(**limits), most, share, chance.randbytes, self.draw, key_of,
            self.noted.append, self.touched.append, self.keys.append,
        )  # fmt: skip
        self.table.facilities = self.facilities
        self.table.on_due = self.wake
        self.attempts = Attempts(self.table)

    def draw(self, now: float) -> int:
        """:returns: the number of an event."""
        self.seq += 1
        return self.seq

    def wake(self) -> None:
        """Count."""
        self.wakes += 1

    def begin(
        self,
        now: float = NOW,
        client: bytes = A,
        peer: bytes = B,
        given: Given = Given(),  # noqa: B008 - it is frozen
        source: SourceNetwork = UNKNOWN,
    ) -> bytes:
        """:returns: the id of a new attempt."""
        return self.attempts.begin(client, peer, given, now, source).attempt

    def joined(self, now: float = NOW, one: Given = Given(), other: Given = Given()) -> bytes:  # noqa: B008
        """:returns: the id of a new attempt that has been accepted."""
        attempt = self.begin(now, given=one)
        self.attempts.accept(B, attempt, other, now)
        return attempt

    def observe(
        self, client: bytes, attempt: bytes, *sources: tuple[str, int], now: float = NOW, round: int = 1
    ) -> None:
        """Have each UDP port see a source, one after the other."""
        for port, source in enumerate(sources):
            self.time += 1
            code = self.attempts.observe(client, attempt, round, self.time, port, source, now)
            self.assertEqual(code, PulseCode.ON_TIME)

    def gone(self, one: Given = Given(), other: Given = Given(), now: float = NOW) -> bytes:  # noqa: B008
        """:returns: the id of a new attempt that goes: both sides are behind NATs that are easy."""
        attempt = self.joined(now, one, other)
        self.observe(A, attempt, AT_A, AT_A, now=now)
        self.observe(B, attempt, AT_B, AT_B, now=now)
        self.assertEqual(self.see(A, attempt, now).state, AttemptState.GO)
        return attempt

    def see(self, client: bytes, attempt: bytes, now: float = NOW) -> AttemptView:
        """:returns: an attempt as a side sees it."""
        return self.attempts.see(client, attempt, now)

    def candidates(self, client: bytes, attempt: bytes, now: float = NOW) -> list[tuple[str, str, int]]:
        """:returns: the candidates of the other side that a client gets."""
        go = self.see(client, attempt, now).go
        assert go is not None
        return [(each.kind.value, *each.address) for each in go.candidates]

    def refused(self, kind: type[RendezvousError], call: Any, *args: Any) -> str:
        """:returns: the code of the error that a call raises."""
        code: str = self.assertRaises(kind, call, *args).code
        return code


def given(*candidates: tuple[CandidateKind, str, int], rtt: float = 0.0, birthday: bool = False) -> Given:
    """:returns: what a client says."""
    return Given(tuple(Candidate(kind, (host, port)) for kind, host, port in candidates), rtt, birthday)
