"""The server as a process of its own: its signals, and its messages when it cannot start."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized

from rendezvous._version import __version__
from rendezvous.errors import StartupError
from rendezvous.supervisor import Supervisor

__all__ = ["CannotStart", "ServerProcess", "Signals", "collect_seldom", "terminal_of"]

#: New objects until a collection of the youngest, and how many of those until one of the middle ones, and of all. With
#: Python's own (700, 10, 10) a thousand sessions opened a second meant two full collections a second, of 100 ms each.
COLLECTIONS = (2000, 10, 50)

#: What a handler of signals is for Python.
Handler = Any


class CannotStart(SystemExit, Exception):
    """
    The end of a server that could not start: status 1. The reason has been written already.

    It is an Exception too, because twistd reports only those from a daemon to the process that started it, which would
    otherwise wait for ever.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.code = 1


class Signals:
    """
    SIGHUP and SIGUSR1, neither of which may end the server.

    SIGHUP reloads. SIGUSR1 begins a new log file; without a log file it is ignored.

    :param reactor: what runs the process.
    """

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._previous: dict[signal.Signals, Handler] = {}
        self._process_ends = False
        self._reload: Callable[[], None] | None = None
        reactor.addSystemEventTrigger("before", "shutdown", self._shutting_down)
        self._handle(signal.SIGHUP, self._hung_up)

    def start(self, reload: Callable[[], None]) -> None:
        """
        Reload on SIGHUP from now on, also if one came earlier.

        By now SIGUSR1 has been taken, by :meth:`rotate_with` or by twistd, if there is a log file.

        :param reload: called on the reactor's thread; it must not raise.
        """
        self._reload = reload
        if signal.getsignal(signal.SIGUSR1) in (signal.SIG_DFL, None):
            self._handle(signal.SIGUSR1, self._asked_to_rotate)

    def rotate_with(self, rotate: Callable[[], None]) -> None:
        """
        Begin a new log file on SIGUSR1.

        :param rotate: called on the reactor's thread.
        """
        self._handle(signal.SIGUSR1, rotate)

    def pause(self) -> None:
        """Reload no more: the server is stopping."""
        self._reload = None

    def stop(self) -> None:
        """Put back the handlers that were there before; at the end of the process ignore what would kill it now."""
        self.pause()
        for number, previous in self._previous.items():
            signal.signal(number, signal.SIG_IGN if self._process_ends else previous)
        self._previous.clear()

    def _handle(self, number: signal.Signals, handler: Callable[[], None]) -> None:
        # Python may call a handler between any two instructions, so that all work is left to the reactor.
        self._previous[number] = signal.signal(number, lambda *_: self._reactor.callFromThread(handler))

    def _hung_up(self) -> None:
        if self._reload is None:
            self.log.info("SIGHUP is ignored: the server is stopping", event="reload_too_late")
        else:
            self._reload()

    def _asked_to_rotate(self) -> None:
        self.log.info("SIGUSR1 is ignored: there is no log file to rotate", event="rotation_ignored")

    def _shutting_down(self) -> None:
        self._process_ends = True


class ServerProcess(MultiService):
    """
    Turns what an operator can mend at start into one plain line and status 1, and reloads on SIGHUP.

    :param signals: the signals of the process.
    :param terminal: where the line is written; closed when the server has started.
    :param reload: takes over new settings; raises :exc:`~rendezvous.errors.StartupError`.
    :param supervisor: hears when the server has started, reloads and stops.
    :param observer: takes the log of the process, unless twistd has another one (``--logger``).
    """

    log = Logger()

    def __init__(
        self,
        signals: Signals,
        terminal: Any,
        reload: Callable[[], None],
        supervisor: Supervisor,
        observer: ILogObserver | None = None,
    ) -> None:
        super().__init__()
        self._supervisor = supervisor
        self._observer = observer
        self._signals = signals
        self._terminal = terminal
        self._reload = reload

    def setServiceParent(self, parent: Any) -> None:
        """Belong to an application, and take its log."""
        if self._observer is not None and isinstance(parent, Componentized):
            # Here twistd looks for an observer before it makes one of its own (AppLogger.start).
            parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """Open the ports."""
        self._start(super().privilegedStartService)

    def startService(self) -> None:
        """Open the store, and begin."""
        self._start(super().startService)
        collect_seldom()
        self._signals.start(self._reload_or_say)
        self._terminal.close()
        self.log.info(
            "rendezvous {version} has started, as process {process}",
            version=__version__,
            process=os.getpid(),
            event="server_started",
        )
        self._supervisor.ready()

    def stopService(self) -> Deferred[Any]:
        """Stop."""
        self.log.info("the server is stopping", event="server_stopping")
        self._supervisor.stopping()
        self._signals.pause()
        stopped: Deferred[Any] = super().stopService()
        return stopped.addBoth(self._stopped)

    def _stopped(self, result: Any) -> Any:
        self._signals.stop()
        self._terminal.close()
        self.log.info("the server has stopped", event="server_stopped")
        return result

    def _start(self, start: Callable[[], None]) -> None:
        try:
            start()
        except (CannotListenError, OSError, StartupError) as e:
            self.log.critical("cannot start: {reason}", reason=str(e), event="start_failed")
            self._terminal.write(f"twistd rendezvous: {e}\n")
            self._terminal.close()
            raise CannotStart(str(e)) from None

    def _reload_or_say(self) -> None:
        self._supervisor.reloading()
        try:
            self._reload()
        except StartupError as e:
            self.log.error("nothing was reloaded: {reason}", reason=str(e), event="reload_refused")
        except Exception:
            self.log.failure("a reload failed", event="reload_failed")
        self._supervisor.ready()


def collect_seldom() -> None:
    """
    Let the collector of garbage leave out the objects that are there now, and run less often.

    A full collection stops the reactor while it looks at every object. What is there when a server has started stays
    until its end, and nearly all that a full collection would find is found by the collections of young objects.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTIONS)


def terminal_of() -> Any:
    """
    Keep the standard error that the process was started with, which a daemon loses before it starts to listen.

    :returns: a text file for it; one that drops everything if there is none.
    """
    try:
        descriptor = os.dup(2)
    except OSError:
        descriptor = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    sys.stderr.flush()
    return open(descriptor, "w", encoding="utf-8", errors="backslashreplace", buffering=1)
