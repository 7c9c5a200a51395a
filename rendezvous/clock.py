"""
The clocks of a server: server time, by which everything expires; the wall clock, which is shown; and working time, by
which the time of the reactor is shared.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from functools import cache
from threading import get_ident
from typing import Any

from zope.interface import implementer

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["LONGEST_GAP", "ServerClock", "WorkingTime", "wall_clock", "working_time"]

#: Seconds between two readings of the clock beyond which the process is taken to have been paused: a laptop that
#: slept, a virtual machine that was suspended. A server that runs reads its clock at least once a second.
LONGEST_GAP = 10.0


def wall_clock() -> float:
    """:returns: seconds since the epoch on the machine's clock, which may be set at any time."""
    return time.time()


@implementer(IReactorTime)
class ServerClock:
    """
    Server time, in seconds. It only goes forward, and does not run while the server is down or paused.

    A wall clock that is set back or forward changes nothing. For example, a client that is ONLINE stays so when the
    machine's clock jumps by an hour, and when the machine sleeps for an hour.

    When a server is stopped and started again, its clock is started again with the time that the store gives.

    :param reactor: runs what is to happen later.
    :param monotonic: seconds on a clock that only goes forward.
    :param wall: seconds since the epoch, on the machine's clock.
    """

    def __init__(self, reactor: IReactorTime, monotonic: Callable[[], float], wall: Callable[[], float]) -> None:
        self._reactor = reactor
        self._monotonic = monotonic
        self.wall = wall
        self._read_at = monotonic()
        self._now = wall()

    def start(self, server_time: float) -> None:
        """
        Go on from a time; it runs from this moment on.

        :param server_time: what :meth:`rendezvous.interfaces.IStore.open` has returned.
        """
        self._read_at = self._monotonic()
        self._now = server_time

    def seconds(self) -> float:
        """:returns: server time."""
        read_at = self._monotonic()
        passed = read_at - self._read_at
        self._read_at = read_at
        if 0.0 < passed <= LONGEST_GAP:
            self._now += passed
        return self._now

    def reading(self) -> tuple[float, float]:
        """:returns: the time on the monotonic clock, and server time at the same moment."""
        now = self.seconds()
        return self._read_at, now

    def to_wall(self, server_time: float) -> float:
        """
        Convert a moment for people to read.

        :returns: what the wall clock shows at that moment if the server runs until then, as far as it lies ahead.
        """
        return server_time + (self.wall() - self.seconds())

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kwargs: object) -> IDelayedCall:
        """Have the reactor call something after a delay."""
        return self._reactor.callLater(delay, callable, *args, **kwargs)

    def getDelayedCalls(self) -> Any:
        """:returns: what the reactor has to call."""
        return self._reactor.getDelayedCalls()


class WorkingTime:
    """
    How long the thread that makes it has worked, in seconds: :attr:`cpu` less :attr:`collected`.

    Two things are left out, since they are not the doing of the work in which they happen to fall: the time of other
    programs that the system ran meanwhile, and that of the garbage collector, which takes up to some 15 ms. For
    example, a hundred sources share the reactor equally, and one of them is charged for such a collection by mistake.
    It would not get its turn before each of the others has used as much: for 1.5 s.

    It is read twice for each request, so its readers subtract for themselves and do without a call.

    :param cpu: CPU seconds of the present thread.
    :ivar cpu: as given.
    :ivar collected: those of the garbage collector.
    """

    __slots__ = ("_began", "_thread", "collected", "cpu")

    def __init__(self, cpu: Callable[[], float] = time.thread_time) -> None:
        self.cpu = cpu
        self.collected = 0.0
        self._thread = get_ident()
        self._began = 0.0

    def collecting(self, phase: str, info: object) -> None:
        """Leave a collection out; this is what :data:`gc.callbacks` calls. One of another thread is not counted."""
        if get_ident() != self._thread:
            return
        if phase == "start":
            self._began = self.cpu()
        else:
            self.collected += self.cpu() - self._began


@cache
def working_time() -> WorkingTime:
    """:returns: that of the thread of the reactor."""
    working = WorkingTime()
    gc.callbacks.append(working.collecting)
    return working
