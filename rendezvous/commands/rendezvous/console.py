"""Stdin as lines at a bounded rate, and stdout with a bounded buffer; neither blocks the reactor."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import attrs
from zope.interface import implementer

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.internet.stdio import StandardIO
from twisted.python.failure import Failure

__all__ = ["LINES_IN_A_SLOT", "SLOT", "Console", "ConsoleEvents", "open_console"]

#: A file that is piped in is sent at 1,000 lines a second at most: nothing else slows down a sender of datagrams.
SLOT = 0.01
LINES_IN_A_SLOT = 10

#: Seconds for which the command waits at its end until stdout has taken what is buffered.
_FLUSH_TIME = 1.0


class ConsoleEvents(Protocol):
    """What takes the lines of stdin."""

    def line(self, line: bytes) -> None:
        """Take a line, without its end."""
        ...

    def too_long(self, size: int) -> None:
        """Learn that a line of this many bytes was left out."""
        ...

    def input_ended(self) -> None:
        """Learn that there will be no more lines."""
        ...

    def output_closed(self) -> None:
        """Learn that the reader of stdout has gone."""
        ...


@attrs.define
class _Splitter:
    """
    Splits bytes into lines, and keeps no more of a line than it may have.

    :ivar longest: bytes that a line may have.
    """

    longest: int
    _rest: bytes = attrs.field(default=b"", init=False)
    _size: int = attrs.field(default=0, init=False)

    def feed(self, data: bytes) -> Iterator[bytes | int]:
        """Yield each line that is whole now, or its size if it is too long."""
        *whole, rest = data.split(b"\n")
        for part in whole:
            self._add(part)
            yield from self.end(even_if_empty=True)
        self._add(rest)

    def end(self, *, even_if_empty: bool = False) -> Iterator[bytes | int]:
        """Yield the last line, which has no end."""
        if self._size or even_if_empty:
            yield self._rest if self._size <= self.longest else self._size
        self._rest, self._size = b"", 0

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        self._rest = self._rest + part if self._size <= self.longest else b""


@implementer(IPushProducer)
@attrs.define
class _Backpressure:
    """Knows whether stdout has more than 64 KiB to write."""

    is_full: bool = False

    def pauseProducing(self) -> None:
        self.is_full = True

    def resumeProducing(self) -> None:
        self.is_full = False

    def stopProducing(self) -> None:
        self.is_full = True


@implementer(IHalfCloseableProtocol)
class Console(TwistedProtocol):
    """
    Stdin and stdout. It begins paused, so that lines stay in stdin until they can be sent.

    :param reactor: provides ``IReactorTime``.
    :param events: takes the lines.
    :param longest: bytes that a line may have.
    :param restore: called when both are closed.
    """

    def __init__(
        self, reactor: Any, events: ConsoleEvents, longest: int, restore: Callable[[], object] = lambda: None
    ) -> None:
        self._reactor = reactor
        self._restore = restore
        self._events = events
        self._splitter = _Splitter(longest)
        self._queue: deque[bytes | int] = deque()
        self._backpressure = _Backpressure()
        self._is_wanted = False
        self._input_over = False
        self._end_is_said = False
        self._output_over = False
        self._slot: IDelayedCall | None = None
        self._closed: Deferred[None] | None = None

    def connectionMade(self) -> None:
        """Begin."""
        self._io.registerProducer(self._backpressure, True)
        self._io.pauseProducing()

    def resume(self) -> None:
        """Read lines."""
        self._is_wanted = True
        self._take()

    def pause(self) -> None:
        """Leave lines in stdin."""
        self._is_wanted = False
        self._take()

    def write(self, text: str, *, droppable: bool = False) -> bool:
        """
        Write to stdout.

        :param text: surrogates stand for bytes that are no UTF-8 (PEP 383).
        :param droppable: whether to drop it while more than 64 KiB wait for a slow reader.
        :returns: whether it was written.
        """
        if self._output_over or (droppable and self._backpressure.is_full):
            return False
        self._io.write(text.encode("utf-8", "surrogateescape"))
        return True

    def close(self) -> Deferred[None]:
        """
        Stop reading, and write what is buffered.

        :returns: fires when it is written, or after a second.
        """
        if self._closed is not None:
            return succeed(None)
        closed: Deferred[None] = Deferred()
        self._closed = closed
        if self._slot is not None:
            self._slot.cancel()
            self._slot = None
        closed.addCallback(lambda _: self._restore())
        self._io.unregisterProducer()
        self._io.loseConnection()
        if self._output_over:
            self._finish()
            return closed
        late = self._reactor.callLater(_FLUSH_TIME, self._finish)
        return closed.addCallback(lambda _: late.cancel() if late.active() else None)

    def dataReceived(self, data: bytes) -> None:
        """Take what was typed or piped in."""
        self._queue.extend(self._splitter.feed(data))
        self._take()

    def readConnectionLost(self) -> None:
        """Stdin has ended."""
        self._input_over = True
        self._queue.extend(self._splitter.end())
        self._take()

    def writeConnectionLost(self) -> None:
        """The reader of stdout has gone."""
        self._output_over = True
        if self._closed is None:
            self._events.output_closed()
        self._finish()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Both are closed."""
        self._output_over = True
        self._finish()

    @property
    def _io(self) -> Any:
        return self.transport

    def _finish(self) -> None:
        if self._closed is not None and not self._closed.called:
            self._closed.callback(None)

    def _take(self) -> None:
        """Hand on what the present slot allows, and read on if nothing is left."""
        if self._closed is not None:
            return
        if self._slot is None and self._is_wanted and self._queue:
            self._slot = self._reactor.callLater(SLOT, self._next_slot)
            for _ in range(LINES_IN_A_SLOT):
                if self._queue and self._is_wanted:
                    self._hand_on(self._queue.popleft())
        if not self._is_wanted or self._queue:
            self._io.pauseProducing()
        elif not self._input_over:
            self._io.resumeProducing()
        elif not self._end_is_said:
            self._end_is_said = True
            self._events.input_ended()

    def _next_slot(self) -> None:
        self._slot = None
        self._take()

    def _hand_on(self, line: bytes | int) -> None:
        if isinstance(line, int):
            self._events.too_long(line)
        else:
            self._events.line(line)


def open_console(reactor: Any, events: ConsoleEvents, longest: int) -> Console:
    """
    Take over stdin and stdout of the process.

    :param reactor: the running reactor.
    :param events: takes the lines.
    :param longest: bytes that a line may have.
    """
    before = [(descriptor, os.get_blocking(descriptor)) for descriptor in (0, 1)]

    def restore() -> None:
        # A shell and other programs share them.
        for descriptor, blocking in before:
            os.set_blocking(descriptor, blocking)

    console = Console(reactor, events, longest, restore)
    StandardIO(console, os.dup(0), os.dup(1), reactor)  # type: ignore[call-arg]  # POSIX's takes one
    return console
