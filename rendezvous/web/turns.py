"""How sources share the turns of the reactor."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from heapq import heappop, heappush
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from rendezvous.clock import WorkingTime

__all__ = ["BUDGET", "Turns"]

#: Seconds that all requests may take in one turn of the reactor, and WebSockets as much again. Pulses and timers come
#: in between. A new connection is accepted in one turn, and served in the turn after the next.
BUDGET = 0.003

#: Sources whose use is remembered while others wait; there are more only as long as they use any.
REMEMBERED = 1024


class Turns:
    """
    Ends the work of a turn of the reactor when it has cost its budget. What is left is done in the next turns, and the
    sources share the budget equally (start-time fair queueing: Goyal, Vin and Cheng, 1996).

    Requests cost the time that they take. For example, fifty sources send bodies of which each piece takes 3 ms, and
    another one looks up an address, which takes 0.3 ms. The look-up is next, because its source has used less time than
    those that wait. Pieces of long answers cost one each: the time that they take comes later, when the reactor sends
    them.

    What arrives while nothing waits is done at once. It is charged to its source if it ends the turn, and is otherwise
    too little to be charged: all such work of a turn costs less than the budget.

    :param reactor: calls later.
    :param budget: what the work of one turn may cost.
    :param working: the time that work is measured on; that of the reactor by default.
    """

    def __init__(self, reactor: Any, budget: float = BUDGET, working: WorkingTime | None = None) -> None:
        self._reactor = reactor
        self._budget = budget
        self._working = WorkingTime(reactor.seconds) if working is None else working
        self._spent = 0.0
        # Virtual time: what a source has used that has always had work to do.
        self._now = 0.0
        self._used: dict[Hashable, float] = {}
        self._works: dict[Hashable, deque[Callable[[], None]]] = {}
        self._order: list[tuple[float, int, Hashable]] = []
        self._waiting = 0
        self._number = 0
        self._next: IDelayedCall | None = None

    @property
    def waiting(self) -> int:
        """:returns: the number of sources for which something is to be done in later turns."""
        return len(self._works)

    @property
    def are_over(self) -> bool:
        """:returns: whether further work has to wait for a later turn."""
        return self._spent >= self._budget

    def run(self, source: Hashable, work: Callable[[bytes], None], data: bytes) -> None:
        """
        Do something now, and charge the time that it takes.

        :param source: who it is done for.
        """
        working = self._working
        cpu = working.cpu
        began = cpu() - working.collected
        try:
            work(data)
        finally:
            took = cpu() - working.collected - began
            spent = self._spent + took
            if self._works or spent >= self._budget:
                self.charge(source, took)
            else:
                self._spent = spent

    def charge(self, source: Hashable, cost: float) -> None:
        """
        Charge for something that is done in this turn.

        :param source: who it is done for.
        :param cost: in the unit of the budget.
        """
        spent = self._spent = self._spent + cost
        # What is done while nothing waits keeps nothing back until the turn is over. Until then it is less than the
        # budget, and is not remembered.
        if self._works or spent >= self._budget:
            self._used[source] = self._start(source) + cost
            if spent >= self._budget:
                self._schedule()

    def add(self, source: Hashable, work: Callable[[], None]) -> None:
        """
        Do something in a later turn of the reactor.

        :param source: who it is done for.
        :param work: is charged by :meth:`run` or :meth:`charge`.
        """
        self._works_of(source).append(work)

    def add_first(self, source: Hashable, work: Callable[[], None]) -> None:
        """
        Do something in a later turn of the reactor, before all else that is to be done for the source.

        :param source: who it is done for.
        :param work: as for :meth:`add`; the rest of what was begun in this turn.
        """
        self._works_of(source).appendleft(work)

    def _works_of(self, source: Hashable) -> deque[Callable[[], None]]:
        """:returns: what is to be done for a source. The caller adds something."""
        self._waiting += 1
        works = self._works.get(source)
        if works is None:
            works = self._works[source] = deque()
            self._enter(source)
        self._schedule()
        return works

    async def take(self, source: Hashable, cost: float = 1.0) -> None:
        """Wait until something may be done for a source, and charge for it."""
        if self.are_over:
            turn: Deferred[None] = Deferred()
            self.add(source, partial(_begin, turn))
            await turn
        self.charge(source, cost)

    def _start(self, source: Hashable) -> float:
        return max(self._now, self._used.get(source, 0.0))

    def _enter(self, source: Hashable) -> None:
        self._number += 1
        heappush(self._order, (self._start(source), self._number, source))

    def _schedule(self) -> None:
        if self._next is None:
            self._next = self._reactor.callLater(0, self._begin)

    def _begin(self) -> None:
        self._next = None
        self._spent = 0.0
        try:
            # What is added meanwhile waits for the next turn, even if no time seems to pass.
            for _ in range(self._waiting):
                if self._spent >= self._budget:
                    break
                self._serve()
        finally:
            self._forget()
            if self._works:
                self._schedule()

    def _serve(self) -> None:
        """Do one thing for the source that has used least."""
        self._now, _, source = heappop(self._order)
        works = self._works[source]
        self._waiting -= 1
        try:
            works.popleft()()
        finally:
            if works:
                self._enter(source)
            else:
                del self._works[source]

    def _forget(self) -> None:
        if not self._works:
            self._now = 0.0
            self._used.clear()
        elif len(self._used) > REMEMBERED:
            self._used = {source: used for source, used in self._used.items() if used > self._now}


def _begin(turn: Deferred[None]) -> None:
    if not turn.called:  # Its client has not left meanwhile.
        turn.callback(None)
