"""One UDP worker, through all the processes that take each other's place."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from rendezvous.udp import handing
from rendezvous.udp.control import Line
from rendezvous.udp.turn import SharedTurn
from rendezvous.udp.worker import PAIR_FD, Given

__all__ = ["WorkerProcess"]

#: Ticks without a sign of a worker after which its sockets are read here as well: half a second.
_COVERED = 2
#: Ticks without a sign after which a process is replaced: two seconds.
_STUCK = 8
#: The same for a process that has yet to begin: half a minute, as the machine may be starting much else.
_STARTING = 120

#: Ticks that a process lasts unless something is wrong: ten seconds. After a shorter life the next waits.
_LASTING = 40
#: Ticks that the next process waits, at most: half a minute.
_LONGEST_WAIT = 120

#: Seconds that a process has to end by itself.
_ENDING = 1.0

#: Characters of what a process says last that are kept for the log.
_SAID = 2000

_MODULE = "rendezvous.udp.worker"

#: What a process is given, by the number of its worker: a message, and descriptors.
Give = Callable[[int], tuple[Given, dict[int, int]]]


class _Handed:
    """Reads what a worker hands over."""

    def __init__(self, pair: socket.socket, turn: SharedTurn, take: Callable[[Sequence[bytes]], None]) -> None:
        self._pair, self._turn, self._take = pair, turn, take

    def fileno(self) -> int:
        return self._pair.fileno()

    def drain(self) -> None:
        """Take everything that a process has handed over before it ended. The system has bounded how much that is."""
        self.read(sys.maxsize)

    def read(self, at_most: int) -> int:
        """
        Take messages until they hold as many datagrams as are wanted, or none is left.

        At the end of the other side of the pair, this is removed from the turn.

        :param at_most: how many datagrams are wanted. The last message may hold more.
        :returns: how many datagrams the messages say that they hold.
        """
        messages, count = list[bytes](), 0
        while count < at_most:
            try:
                message = self._pair.recv(handing.MAX_MESSAGE)
            except BlockingIOError:
                break
            except OSError:
                message = b""
            if not message:
                self._turn.remove(self)
                break
            messages.append(message)
            count += handing.count(message)
        self._take(messages)
        return count


class WorkerProcess(ProcessProtocol):
    """
    A worker.

    :param number: from 0 on.
    :param turn: in which what the worker hands over is read.
    :param cover: called with whether the worker's sockets are to be read in this process.
    :param take: takes messages of datagrams.
    :ivar line: the worker's words of the control memory.
    """

    log = Logger()

    def __init__(
        self,
        number: int,
        reactor: Any,
        turn: SharedTurn,
        line: Line,
        cover: Callable[[bool], None],
        take: Callable[[Sequence[bytes]], None],
    ) -> None:
        self.number, self.line = number, line
        self._reactor, self._turn, self._cover, self._take = reactor, turn, cover, take
        self._process: Any = None
        self._pair: socket.socket | None = None
        self._handed: _Handed | None = None
        self._ended: Deferred[None] | None = None
        self._killing: Any = None
        self._said = b""
        self._is_expected = False
        self._epoch = self._still = self._age = self._wait = self._waited = 0

    def look(self) -> bool:
        """
        See whether the process runs. To be called each tick.

        :returns: whether it is time to :meth:`start` one.
        """
        if self._process is None:
            self._waited += 1
            return self._waited > self._wait
        self._watch()
        return False

    def _watch(self) -> None:
        self._age += 1
        epoch = self.line.epoch
        if epoch != self._epoch:
            if not self._epoch:
                self.log.info(
                    "UDP worker {worker} answers, as process {process}",
                    worker=self.number,
                    process=self._process.pid,
                    event="worker_started",
                )
            self._epoch, self._still = epoch, 0
            self._cover(False)
            return
        self._still += 1
        if self._still >= _COVERED:
            self._cover(True)
        if self._still == (_STUCK if epoch else _STARTING):
            self.log.warn(
                "UDP worker {worker} does not react; its process is ended", worker=self.number, event="worker_stuck"
            )
            self._kill()

    def restart(self) -> None:
        """Let another process take the place of this one, at once."""
        self._is_expected = True
        if self._pair is not None:
            # It sees an end, and what it has handed over can still be read.
            self._pair.shutdown(socket.SHUT_WR)

    def end(self) -> Deferred[None]:
        """End the process; fires when it has ended."""
        self._close_pair()
        if self._process is None:
            return succeed(None)
        self._ended = Deferred()
        self._killing = self._reactor.callLater(_ENDING, self._kill)
        return self._ended

    def start(self, give: Give) -> None:
        """
        Start a process; none runs.

        :param give: see :data:`Give`.
        """
        self.line.reset()
        self._said, self._is_expected = b"", False
        self._epoch = self._still = self._age = self._waited = 0
        try:
            self._spawn(*give(self.number))
        except OSError as e:
            self.log.error(
                "UDP worker {worker} cannot be started: {reason}",
                worker=self.number,
                reason=e.strerror,
                event="worker_not_started",
            )
            self._wait = _LONGEST_WAIT

    def _spawn(self, given: Given, descriptors: dict[int, int]) -> None:
        with ExitStack() as opened:
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            opened.callback(os.close, null)
            ours, theirs = handing.pair()
            opened.callback(theirs.close)
            ours.send(given.packed())
            children: dict[int, Any] = {0: null, 1: null, 2: "r", PAIR_FD: theirs.fileno(), **descriptors}
            command = [sys.executable, "-P", "-m", _MODULE]
            try:
                self._process = self._reactor.spawnProcess(
                    self, sys.executable, command, _environment(), childFDs=children
                )
            except BaseException:
                ours.close()
                raise
        self._pair, self._handed = ours, _Handed(ours, self._turn, self._take)
        self._turn.add(self._handed)

    def _kill(self) -> None:
        if self._process is not None:
            self._process.signalProcess(signal.SIGKILL)

    def _close_pair(self) -> None:
        if self._pair is not None and self._handed is not None:
            self._turn.remove(self._handed)
            self._pair.close()
            self._pair = None

    # A process

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Keep what the process says: only one that fails says something."""
        self._said = (self._said + data)[-_SAID:]

    def processEnded(self, reason: Failure) -> None:
        """Nothing of the process is left."""
        self._process = None
        if self._handed is not None and self._pair is not None:
            self._handed.drain()
        self._close_pair()
        self.line.reset()
        # Also at the end: a port may stay open, and what comes to it is dropped and counted here.
        self._cover(True)
        ended, self._ended = self._ended, None
        if ended is not None:
            if self._killing.active():
                self._killing.cancel()
            ended.callback(None)
            return
        if self._is_expected:
            self._wait = 0
            return
        # The first is replaced at once; those that do not last, ever later.
        self._wait = min(2 * self._wait + 1, _LONGEST_WAIT) if self._age < _LASTING else 0
        self.log.warn(
            "UDP worker {worker} has ended ({reason}); another process takes its place",
            worker=self.number,
            reason=_why(reason, self._said),
            event="worker_ended",
        )


def _why(reason: Failure, said: bytes) -> str:
    error: Any = reason.value
    how = f"signal {error.signal}" if error.signal is not None else f"status {error.exitCode}"
    lines = said.decode("utf-8", "replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"{how}: {last}" if last else how


def _environment() -> dict[str, str]:
    """:returns: what a worker needs to find its modules; a secret in our environment is not for it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RENDEZVOUS_")}
    # What was found relative to a directory is not found from where a daemon runs. The order stays: what is installed
    # must not hide modules of the standard library.
    paths = [*filter(os.path.isabs, sys.path), _home()]
    return {**kept, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)), "OPENBLAS_NUM_THREADS": "1"}


def _home() -> str:
    """:returns: the directory that the package is in."""
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
