"""
The program of a UDP worker: a process that answers steady pulses, and hands over all else.

It has no reactor. It waits for datagrams on its sockets, takes what :mod:`rendezvous.core.presence.steady` allows,
answers, and sends the other datagrams to the main process through a pair of sockets. It ends when the other side of the
pair is closed, and at the latest with the main process.

The main process gives it descriptors with fixed numbers, and one message through the pair, which :class:`Given`
describes.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from mmap import ACCESS_READ, mmap
from typing import Any, Protocol

import attrs

from rendezvous.core.identity import KEY_SIZE
from rendezvous.core.presence.keyindex import KeyIndex
from rendezvous.core.presence.states import PulseCode
from rendezvous.core.presence.steady import SteadyPulses, place
from rendezvous.udp.control import ANSWERED, BUSY, UNRECEIVABLE, UNSENDABLE, Control, Line
from rendezvous.udp.handing import MAX_MESSAGE, messages
from rendezvous.udp.mmsg import MESSAGE_SIZE, Batch, Calls, keys_in_hex, load_calls
from rendezvous.wire import pulse

__all__ = [
    "BATCHES",
    "BEAT",
    "COLUMNS_FD",
    "CONTROL_FD",
    "FIRST_SOCKET_FD",
    "KEYS_FD",
    "LAST",
    "PAIR_FD",
    "SLOW",
    "TABLE_FD",
    "Decide",
    "Given",
    "OneByOne",
    "Port",
    "Worker",
    "decide_on",
    "main",
]

PAIR_FD, CONTROL_FD, COLUMNS_FD, KEYS_FD, TABLE_FD, FIRST_SOCKET_FD = range(3, 9)

#: Seconds between two changes of the epoch, at most, by which the main process sees that a worker runs.
BEAT = 0.1

#: Seconds after which a batch has taken so long that its pulses are left to the main process: see
#: :mod:`rendezvous.core.presence.steady`. It takes less than a millisecond unless the process was stopped.
SLOW = 0.05

#: Bytes that are held for the main process while it is busy: as much as the receive buffer of a port.
HELD = 1024 * 1024

#: Seconds that an ending worker waits for the main process to read one more message of those that are held.
LAST = 0.5

#: Batches of one socket before the next socket has its turn.
BATCHES = 4

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4


@attrs.frozen
class Given:
    """
    What the main process says to a worker.

    :ivar parent: the main process.
    :ivar worker: the number of the worker.
    :ivar columns: where the records begin in their file, and their bytes.
    :ivar keys: bytes of the keys.
    :ivar table: bytes of the table of the index.
    :ivar spread: see :class:`~rendezvous.core.presence.keyindex.KeyIndex`.
    :ivar control: bytes of the control memory.
    :ivar sockets: of each socket the number in messages, the family, and the number of the port's protocol.
    """

    parent: int
    worker: int
    columns: tuple[int, int]
    keys: int
    table: int
    spread: int
    control: int
    sockets: list[tuple[int, int, int]]

    def packed(self) -> bytes:
        """:returns: the message."""
        return json.dumps(attrs.asdict(self)).encode()

    @classmethod
    def read(cls, message: bytes) -> Given:
        """:returns: what a message says."""
        return cls(**json.loads(message))


class Decide(Protocol):
    """Takes the steady pulses of a batch. It is made for one port and its :class:`~rendezvous.udp.mmsg.Batch`."""

    def take(self, count: int, now: float, on_time: float) -> tuple[Any, Sequence[int]]:
        """
        Take pulses.

        :param count: how many rows of the batch are filled.
        :param now: server time.
        :returns: the rows that were taken, for :meth:`answer`, and those that are left.
        """

    def answer(self, taken: Any) -> int:
        """
        Queue the replies at the batch.

        :returns: how many there are.
        """


class OneByOne:
    """
    Takes pulses in a plain loop.

    :param batch: where they are.
    :param number: of the socket that they come to.
    :param pulses: takes one.
    """

    def __init__(self, batch: Batch, number: int, pulses: SteadyPulses) -> None:
        self._batch, self._number, self._pulses = batch, number, pulses
        reply = pulse.encode_reply(PulseCode.ON_TIME)
        rows = batch.rows(len(reply), len(reply))
        rows.buffers[:] = reply * batch.size
        self._replies = [
            bytes(rows.messages[at : at + MESSAGE_SIZE]) for at in range(0, len(rows.messages), MESSAGE_SIZE)
        ]

    def take(self, count: int, now: float, on_time: float) -> tuple[Sequence[int], Sequence[int]]:
        """Take pulses; see :class:`Decide`."""
        batch, pulses, number = self._batch, self._pulses, self._number
        found = dict[int, tuple[int, bytes, bytes]]()
        others = set(keys_in_hex(batch, range(count)))
        for row in range(count):
            if batch.length(row) == KEY_SIZE:
                key, at = batch.datagram(row), place(batch.raw_host(row), batch.port(row), number)
                slot = pulses.look(key, at, now, on_time)
                if slot:
                    found[row] = slot, key, at
                else:
                    others.add(key)
        taken, left = list[int](), list[int]()
        for row in range(count):
            looked = found.get(row)
            is_taken = looked is not None and looked[1] not in others and pulses.record(*looked, now)
            (taken if is_taken else left).append(row)
        return taken, left

    def answer(self, taken: Sequence[int]) -> int:
        """Queue the replies; see :class:`Decide`."""
        if taken:
            self._batch.queue(b"".join([self._replies[row] for row in taken]))
        return len(taken)


class Port:
    """
    One socket of a worker.

    :param fd: its descriptor.
    :param hand_over: sends rows of the batch to the main process.
    :param seconds: the clock of the system that only goes forward.
    """

    def __init__(
        self,
        fd: int,
        batch: Batch,
        decide: Decide,
        control: Control,
        line: Line,
        hand_over: Callable[[Batch, Sequence[int]], None],
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self.fd, self._batch, self._decide = fd, batch, decide
        self._control, self._line, self._hand_over, self._seconds = control, line, hand_over, seconds

    def read(self) -> None:
        """Take what is waiting, a bounded number of batches."""
        for _ in range(BATCHES):
            try:
                count = self._batch.receive(self.fd)
            except OSError:
                self._line.add(UNRECEIVABLE, 1)
                return
            if count:
                self._take(count)
            if count < self._batch.size:
                return

    def _take(self, count: int) -> None:
        began = self._seconds()
        now = self._control.now(began)
        taken, left = ((), range(count)) if now is None else self._decide.take(count, now, self._control.on_time)
        if self._seconds() - began > SLOW:
            taken, left = (), range(count)
        if len(left) < count:
            self._line.add(ANSWERED, self._decide.answer(taken))
            self._line.add(UNSENDABLE, self._batch.flush(self.fd))
        if len(left):
            self._hand_over(self._batch, left)


class Worker:
    """
    The loop.

    :param pair: to the main process, which closes the other side when the worker is to end.
    :param line: the worker's words of the control memory.
    """

    def __init__(self, pair: socket.socket, line: Line) -> None:
        self._pair, self._line = pair, line
        self._ports: dict[int, Port] = {}
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._held = 0
        self._poll = select.poll()
        # Nothing more is sent to a worker, so whatever happens there is the end.
        self._poll.register(pair, select.POLLIN)

    def add(self, port: Port) -> None:
        """Have a port served."""
        self._ports[port.fd] = port
        self._poll.register(port.fd, select.POLLIN)

    def hand_over(self, port: int, batch: Batch, rows: Sequence[int]) -> None:
        """Send rows of a batch to the main process. What does not fit is held, and beyond :data:`HELD` dropped."""
        for message, count in messages(port, batch, rows):
            if not self._waiting and self._sends(message):
                continue
            if self._held + len(message) > HELD:
                self._line.add(BUSY, count)
                continue
            if not self._waiting:
                self._poll.modify(self._pair, select.POLLIN | select.POLLOUT)
            self._waiting.append((message, count))
            self._held += len(message)

    def _sends(self, message: bytes) -> bool:
        try:
            self._pair.send(message)
        except OSError:
            return False
        return True

    def _send_waiting(self) -> None:
        while self._waiting and self._sends(self._waiting[0][0]):
            self._held -= len(self._waiting.popleft()[0])
        if not self._waiting:
            self._poll.modify(self._pair, select.POLLIN)

    def turn(self, wait: float = BEAT) -> bool:
        """
        Serve each port that has something to read.

        :param wait: seconds to wait for that.
        :returns: whether to go on.
        """
        ready = self._poll.poll(wait * 1000)
        # What is found in the table from here on is used until the epoch is even again, and not longer.
        self._line.turn()
        for fd, events in ready:
            if fd in self._ports:
                self._ports[fd].read()
            elif events != select.POLLOUT:
                # The main process still reads what is held. If it has ended itself, sending fails at once.
                self._pair.settimeout(LAST)
                self._send_waiting()
                self._line.add(BUSY, sum(count for _, count in self._waiting))
                return False
            else:
                self._send_waiting()
        self._line.turn()
        return True


def decide_on(batch: Batch, number: int, index: KeyIndex, memory: mmap | memoryview) -> Decide:
    """Decide with NumPy where it is installed, otherwise in a plain loop."""
    one_by_one = OneByOne(batch, number, SteadyPulses(index, memory))
    try:
        from rendezvous.core.presence.lookup import Lookup
        from rendezvous.udp.workercolumns import InColumns
    except ImportError:
        return one_by_one
    return InColumns(batch, number, Lookup(index, memory), one_by_one)


def _end_with(parent: int) -> None:
    """Have the system end this process when its parent ends."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    # The keys are in memory: no core dump is written, and no other process of the user can open /proc/PID/fd.
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if os.getppid() != parent:
        # It has ended before.
        sys.exit(0)


def _calls() -> Calls:
    calls = load_calls()
    if calls is None:
        raise SystemExit("this system has no recvmmsg and sendmmsg, or forbids them")
    return calls


def main() -> None:
    """Run until the main process ends or says so."""
    # What a terminal or a service manager sends to all processes of a server is the main process's to handle.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(ignored, signal.SIG_IGN)
    pair = socket.socket(fileno=PAIR_FD)
    pair.setblocking(False)
    given = Given.read(pair.recv(MAX_MESSAGE))
    _end_with(given.parent)
    control = Control(mmap(CONTROL_FD, given.control))
    line, calls = control.line(given.worker), _calls()
    start, size = given.columns
    memory = memoryview(mmap(COLUMNS_FD, start + size))[start:]
    keys, table = mmap(KEYS_FD, given.keys, access=ACCESS_READ), mmap(TABLE_FD, given.table, access=ACCESS_READ)
    index = KeyIndex.attached(keys, table, given.spread)
    worker = Worker(pair, line)
    for fd, (at, family, number) in enumerate(given.sockets, FIRST_SOCKET_FD):
        batch = Batch(calls, family)

        def hand_over(batch: Batch, rows: Sequence[int], at: int = at) -> None:
            worker.hand_over(at, batch, rows)

        decide = decide_on(batch, number, index, memory)
        worker.add(Port(fd, batch, decide, control, line, hand_over))
    while worker.turn():
        pass


if __name__ == "__main__":
    main()
