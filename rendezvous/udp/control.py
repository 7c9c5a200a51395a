"""
What the main process and its UDP workers say to each other in memory that they share.

====== ======== =======================================================================================================
word   type     field
====== ======== =======================================================================================================
0      double   when the time was last published, on the clock of the system that only goes forward; -infinity while
                workers are to hand over everything
1      double   server time, less the time on that clock
2      double   seconds after its last activity for which a client is ONLINE
====== ======== =======================================================================================================

Behind them each worker has eight words of its own: its epoch, which is odd while it is in a batch, and counts of
:data:`ANSWERED` and so on. A word has eight bytes and is written with one aligned store.
"""

from __future__ import annotations

import math
from mmap import mmap

__all__ = ["ANSWERED", "BUSY", "FRESH", "UNRECEIVABLE", "UNSENDABLE", "Control", "Line", "control_size"]

#: Seconds after which what was published is too old: the main process, or the machine, has been stopped.
FRESH = 2.0

#: Seconds by which server time may drift from the clock of the system, as rounded sums do, before workers have to stop.
_DRIFT = 0.01

_MOMENT, _OFFSET, _ON_TIME = range(3)
_WORDS = 8

#: The counts in a worker's words: pulses that were answered; datagrams that were not handed over, because the main
#: process had too many waiting; replies that could not be sent; batches that could not be received.
ANSWERED, BUSY, UNSENDABLE, UNRECEIVABLE = range(1, 5)


def control_size(workers: int) -> int:
    """:returns: the bytes that it takes."""
    return (1 + workers) * _WORDS * 8


class Control:
    """
    The memory, as both sides see it.

    :param memory: shared, :func:`control_size` bytes.
    """

    def __init__(self, memory: mmap | memoryview) -> None:
        self._words = memoryview(memory).cast("Q")
        self._doubles = memoryview(memory).cast("d")

    def line(self, worker: int) -> Line:
        """:returns: the words of a worker."""
        start = (1 + worker) * _WORDS
        return Line(self._words[start : start + _WORDS])

    # The main process

    def withdraw(self) -> None:
        """Have workers hand over everything, from their next batch on."""
        self._doubles[_MOMENT] = -math.inf

    def publish(self, moment: float, server_time: float, on_time: float) -> None:
        """
        Let workers take pulses for some time; to be called several times a second.

        If server time has left out a gap, workers take no pulse until the next call, so that none sees a new moment
        beside an old difference.

        :param moment: the time on the clock of the system.
        :param server_time: at this moment.
        :param on_time: seconds after its last activity for which a client is ONLINE.
        """
        doubles, offset = self._doubles, server_time - moment
        moved = abs(offset - doubles[_OFFSET]) > _DRIFT or doubles[_ON_TIME] != on_time
        if moved:
            self.withdraw()
        doubles[_OFFSET], doubles[_ON_TIME] = offset, on_time
        if not moved:
            doubles[_MOMENT] = moment

    # A worker

    def now(self, moment: float) -> float | None:
        """
        :param moment: the time on the clock of the system.
        :returns: server time, or ``None`` if everything is to be handed over.
        """
        age = moment - self._doubles[_MOMENT]
        now: float = moment + self._doubles[_OFFSET]
        # It is negative if something was published meanwhile.
        return now if abs(age) <= FRESH else None

    @property
    def on_time(self) -> float:
        """:returns: seconds after its last activity for which a client is ONLINE."""
        on_time: float = self._doubles[_ON_TIME]
        return on_time


class Line:
    """
    The words of one worker.

    :param words: eight of them.
    """

    def __init__(self, words: memoryview) -> None:
        self._words = words

    @property
    def epoch(self) -> int:
        """:returns: the epoch; 0 until the worker has begun its first batch."""
        epoch: int = self._words[0]
        return epoch

    def reset(self) -> None:
        """Begin with another process; the one before has ended."""
        self._words[0] = 0

    def turn(self) -> None:
        """Begin or end a batch."""
        self._words[0] += 1

    def add(self, count: int, number: int) -> None:
        """Add to one of the counts."""
        if number:
            self._words[count] += number

    def count(self, count: int) -> int:
        """:returns: one of the counts, which only grow."""
        number: int = self._words[count]
        return number
