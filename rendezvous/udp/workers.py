"""
The UDP workers of a server, as the main process sees them: it starts them, replaces them, and ends them.

For each worker the main process opens one more socket on each UDP port, and keeps it open. While a worker does not run
or does not react, the main process reads its sockets itself, so nothing waits for a worker that is being replaced.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import attrs

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from rendezvous.clock import ServerClock
from rendezvous.core.identity import KEY_SIZE
from rendezvous.core.presence.grace import TICK, Grace
from rendezvous.core.presence.presence import Presence
from rendezvous.core.presence.states import PulseCode
from rendezvous.counters import DROPPED_DATAGRAMS, Counters
from rendezvous.errors import StartupError
from rendezvous.udp.control import ANSWERED, BUSY, UNRECEIVABLE, UNSENDABLE, Control, control_size
from rendezvous.udp.fast import FastPort
from rendezvous.udp.handing import batches
from rendezvous.udp.shared import Drop, Served
from rendezvous.udp.sharing import shared_memory, where
from rendezvous.udp.turn import SharedTurn
from rendezvous.udp.worker import COLUMNS_FD, CONTROL_FD, FIRST_SOCKET_FD, KEYS_FD, TABLE_FD, Given
from rendezvous.udp.workerprocess import WorkerProcess

__all__ = ["Workers"]

#: Slots that are freed in one turn of the reactor: some 2 ms.
_FREED_A_TURN = 4096

_DROPS = {BUSY: Drop.NOT_HANDED_OVER, UNSENDABLE: Drop.UNSENDABLE, UNRECEIVABLE: Drop.UNRECEIVABLE}


class _Cover:
    """Reads the socket of a worker in the main process."""

    def __init__(self, port: FastPort, sock: socket.socket) -> None:
        self._port, self._fd = port, sock.fileno()

    def fileno(self) -> int:
        return self._fd

    def read(self, at_most: int) -> int:
        """Read a turn of the port. It bounds itself as it does for the port's own socket, whatever is wanted."""
        return self._port.read(self._fd)


@attrs.frozen
class _Group:
    """
    A port that workers share.

    :ivar number: of the port's protocol.
    :ivar sockets: one for each worker.
    :ivar covers: what reads them in this process, if something does.
    """

    port: FastPort
    number: int
    sockets: Sequence[socket.socket]
    covers: Sequence[_Cover]


class Workers(Service):
    """
    Processes that answer steady pulses.

    :param count: how many.
    :param reactor: runs timers and processes.
    :param clock: server time; its monotonic clock is the system's.
    :param presence: the live table. Its memory is shared.
    :param counters: where dropped datagrams are counted.
    :param served: where answered ones are.
    :param is_on: says whether pulses are answered at present.
    :raises StartupError: there is no memory, or no descriptor.
    """

    log = Logger()

    def __init__(
        self,
        count: int,
        reactor: Any,
        clock: ServerClock,
        presence: Presence,
        counters: Counters,
        served: Served,
        is_on: Callable[[], bool],
    ) -> None:
        self._reactor, self._clock, self._presence, self._is_on = reactor, clock, presence, is_on
        self._dropped = counters.family(DROPPED_DATAGRAMS)
        self._answered = served
        self._counted = [dict.fromkeys((ANSWERED, *_DROPS), 0) for _ in range(count)]
        self._memory = shared_memory(control_size(count))
        self._control = Control(self._memory)
        self._control.withdraw()
        try:
            self._turn = SharedTurn(reactor)
        except OSError as e:
            raise StartupError(f"the UDP workers cannot be watched: {e.strerror}") from None
        self._groups: dict[int, _Group] = {}
        self._grace = Grace(self._free)
        self._processes = [
            WorkerProcess(
                number, reactor, self._turn, self._control.line(number), partial(self._cover, number), self._take
            )
            for number in range(count)
        ]
        self._served: object = None
        self._next: Any = None
        self._freeing: Any = None

    # Ports

    def add(self, port: FastPort, number: int) -> None:
        """
        Share a port with the workers.

        :param port: was opened as a :class:`~rendezvous.udp.port.GroupPort`.
        :param number: of the port's protocol.
        :raises CannotListenError: no more sockets can be opened; the port is closed again.
        """
        sockets: list[socket.socket] = []
        try:
            for _ in self._processes:
                sockets.append(port.another_socket())
        except OSError as e:
            host: Any = port.getHost()
            for each in sockets:
                each.close()
            port.stopListening()
            raise CannotListenError(host.host, host.port, e) from None
        group = _Group(port, number, sockets, [_Cover(port, each) for each in sockets])
        # Their own numbers: a worker that has yet to be replaced may speak of a port that is closed.
        at = next(at for at in range(len(self._groups) + 1) if at not in self._groups)
        self._groups[at] = group
        for cover in group.covers:
            self._turn.add(cover)
        count = len(sockets)
        port.shared_by = f", {count} worker{'s' if count > 1 else ''}"
        port.on_closed = partial(self._remove, at)

    def _remove(self, at: int) -> None:
        group = self._groups.pop(at)
        for cover, each in zip(group.covers, group.sockets, strict=True):
            self._turn.remove(cover)
            each.close()

    def _cover(self, worker: int, is_covered: bool) -> None:
        """Read the sockets of a worker in this process, or leave them to the worker."""
        for group in self._groups.values():
            (self._turn.add if is_covered else self._turn.remove)(group.covers[worker])

    def _take(self, messages: Sequence[bytes]) -> None:
        """Take what a worker hands over."""
        for at, names, datagrams in batches(messages, self._unreadable):
            if at in self._groups:
                self._groups[at].port.take(names, datagrams)

    def _unreadable(self) -> None:
        self.log.failure("what a UDP worker has handed over could not be read", event="handing_over_failed")

    def withdraw(self) -> None:
        """Have the workers hand over everything, from their next batches on, until pulses are on again."""
        self._control.withdraw()

    # A service

    def startService(self) -> None:
        """
        Start the workers, the first one in the next turn of the reactor: by then all ports are open.

        :raises StartupError: this process cannot start others.
        """
        if not os.access(sys.executable or "", os.X_OK):
            raise StartupError(
                f"--udp-workers needs the Python interpreter, and this process cannot run {sys.executable!r}: with"
                " --chroot it is not there, and with --uid that user needs access to it"
            )
        super().startService()
        self._presence.free = self._grace.retire
        self._next = self._reactor.callLater(0.0, self._tick)

    def stopService(self) -> Deferred[None]:
        """End the workers; fires when none is left."""
        if not self.running:
            return succeed(None)
        super().stopService()
        self._control.withdraw()
        for call in (self._next, self._freeing):
            if call is not None and call.active():
                call.cancel()
        self._freeing = None
        ended: Deferred[Any] = gatherResults([process.end() for process in self._processes])
        return ended.addCallback(self._ended)

    def _ended(self, _: object) -> None:
        self._count()
        self._served = None
        self._grace.free_all()
        self._presence.free = self._presence.columns.free

    def _tick(self) -> None:
        # Not a TimerService: two ticks must never follow each other in less than TICK.
        try:
            self._look()
        except Exception:
            self.log.failure(
                "the UDP workers could not be looked after; they are looked at again", event="workers_failed"
            )
        self._next = self._reactor.callLater(TICK, self._tick)

    def _look(self) -> None:
        if self._is_on():
            self._control.publish(*self._clock.reading(), self._presence.timers.on_time)
        else:
            self._control.withdraw()
        serves = (self._presence.index.table, self._presence.columns, *self._groups.values())
        if self._served is None or not _same(serves, self._served):
            # A larger index is found by new processes. The old ones lack new clients, and do nothing wrong.
            self._served = serves
            for process in self._processes:
                process.restart()
        # One a tick: with 18,000 open connections, to start a process takes the reactor 0.1 s.
        for process in [each for each in self._processes if each.look()][:1]:
            process.start(self._given)
        self._grace.tick([process.line.epoch for process in self._processes])
        if self._freeing is None:
            self._free_some()
        self._count()

    def _free(self, slot: int) -> None:
        self._presence.columns.free(slot)

    def _free_some(self) -> None:
        self._freeing = self._reactor.callLater(0.0, self._free_some) if self._grace.free_some(_FREED_A_TURN) else None

    def _count(self) -> None:
        for process, counted in zip(self._processes, self._counted, strict=True):
            for count, before in counted.items():
                number = process.line.count(count)
                if number != before:
                    self._add(count, number - before)
                    counted[count] = number

    def _add(self, count: int, number: int) -> None:
        if count == ANSWERED:
            # Workers answer steady pulses alone.
            self._answered.batch(PulseCode.ON_TIME, number, number * KEY_SIZE)
        else:
            self._dropped[_DROPS[count]] += number

    def _given(self, worker: int) -> tuple[Given, dict[int, int]]:
        """:returns: what a worker's process is given: the message, and descriptors."""
        presence, index = self._presence, self._presence.index
        columns, start, size = where(presence.columns.memory)
        keys, _, keys_size = where(index.keys)
        table, _, table_size = where(index.table)
        given = Given(
            parent=os.getpid(),
            worker=worker,
            columns=(start, size),
            keys=keys_size,
            table=table_size,
            spread=index.spread,
            control=len(self._memory),
            sockets=[(at, int(group.sockets[worker].family), group.number) for at, group in self._groups.items()],
        )
        descriptors = {CONTROL_FD: self._memory.descriptor, COLUMNS_FD: columns, KEYS_FD: keys, TABLE_FD: table}
        for at, group in enumerate(self._groups.values()):
            descriptors[FIRST_SOCKET_FD + at] = group.sockets[worker].fileno()
        return given, descriptors


def _same(one: Sequence[object], other: Any) -> bool:
    """:returns: whether these are the same objects; comparing tables would look at all of their entries."""
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))
