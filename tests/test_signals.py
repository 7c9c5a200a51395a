"""Tests of :mod:`rendezvous.process`: its signals, its reloads, and what is said when the server cannot start."""

from __future__ import annotations

import gc
import io
import os
import signal
import weakref
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.errors import StartupError
from rendezvous.process import COLLECTIONS, CannotStart, ServerProcess, Signals, terminal_of
from rendezvous.supervisor import Supervisor


class _Reactor:
    """Keeps the calls that are handed to it until the test does them, as a reactor that has not begun to run."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.triggers: list[tuple[str, str, Any]] = []

    def callFromThread(self, call: Any) -> None:
        """Keep a call."""
        self.calls.append(call)

    def addSystemEventTrigger(self, phase: str, event: str, call: Any) -> None:
        """Keep a trigger."""
        self.triggers.append((phase, event, call))

    def run(self) -> None:
        """Do the calls."""
        while self.calls:
            self.calls.pop(0)()


class _Terminal(io.StringIO):
    """Keeps what was written when it is closed."""

    shown = ""

    def close(self) -> None:
        """Keep, and close."""
        if not self.closed:
            self.shown = self.getvalue()
        super().close()


class _Part(Service):
    """
    A part of the server that may be unable to start, and takes its time to stop.

    :param error: what its start raises.
    """

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.stopped: Deferred[None] = Deferred()

    def privilegedStartService(self) -> None:
        if self.error is not None:
            raise self.error

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return self.stopped


class ProcessCase(SynchronousTestCase):
    """A process of a server, whose signals are sent by the test to itself."""

    def setUp(self) -> None:
        """Listen to the log, and put the signals back afterwards."""
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.addCleanup(gc.unfreeze)
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        for number in (signal.SIGHUP, signal.SIGUSR1):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
            signal.signal(number, signal.SIG_DFL)
        self.reactor = _Reactor()
        self.terminal = _Terminal()
        self.reloads: list[object] = []
        self.messages: list[bytes] = []
        self.error: Exception | None = None

    def make(self, error: Exception | None = None) -> ServerProcess:
        """:returns: the service of the process."""
        self.part = _Part(error)
        supervisor = Supervisor(self.messages.append, lambda: 12.5)
        process = ServerProcess(Signals(self.reactor), self.terminal, self.reload, supervisor)
        self.part.setServiceParent(process)
        return process

    def reload(self) -> None:
        """Reload, or fail as the test wants."""
        self.reloads.append(None)
        if self.error is not None:
            raise self.error

    def start(self) -> ServerProcess:
        """:returns: the service of a process that has started."""
        process = self.make()
        process.privilegedStartService()
        process.startService()
        return process

    def send(self, number: signal.Signals) -> None:
        """Send a signal to ourselves, and let the reactor run."""
        os.kill(os.getpid(), number)
        self.reactor.run()

    def lines(self) -> list[str | None]:
        """:returns: what was logged, without the lines of each start and stop."""
        events = [event for event in self.events if not str(event.get("event")).startswith("server_")]
        return [formatEvent(event) for event in events]


class CollectionTests(ProcessCase):
    """What full collections of garbage look at."""

    def test_what_is_there_at_start_is_left_out(self) -> None:
        """A server that has started leaves all its objects out of further collections, and no garbage among them."""
        garbage = Service()
        garbage.setName(garbage)
        gone = weakref.ref(garbage)
        del garbage
        frozen = gc.get_freeze_count()
        self.start()
        self.assertGreater(gc.get_freeze_count(), frozen)
        self.assertIsNone(gone())
        self.assertEqual(gc.get_threshold(), COLLECTIONS)


class SignalTests(ProcessCase):
    """Tests of SIGHUP and SIGUSR1."""

    def test_hangup_reloads(self) -> None:
        """Once for each."""
        self.start()
        self.send(signal.SIGHUP)
        self.send(signal.SIGHUP)
        self.assertEqual(len(self.reloads), 2)

    def test_hangup_before_the_start_reloads_after_it(self) -> None:
        """It neither ends the process nor gets lost."""
        process = self.make()
        os.kill(os.getpid(), signal.SIGHUP)
        process.privilegedStartService()
        process.startService()
        self.assertEqual(self.reloads, [])
        self.reactor.run()
        self.assertEqual(len(self.reloads), 1)

    def test_hangup_while_stopping_is_ignored(self) -> None:
        """With one line."""
        process = self.start()
        stopping = process.stopService()
        self.send(signal.SIGHUP)
        self.assertEqual((self.reloads, self.lines()), ([], ["SIGHUP is ignored: the server is stopping"]))
        self.part.stopped.callback(None)
        self.successResultOf(stopping)

    def test_hangup_after_the_stop_cannot_end_a_process_that_ends(self) -> None:
        """Its pid file is still to be removed."""
        process = self.start()
        self.assertEqual([trigger[:2] for trigger in self.reactor.triggers], [("before", "shutdown")])
        self.reactor.triggers[0][2]()
        self.part.stopped.callback(None)
        self.successResultOf(process.stopService())
        for number in (signal.SIGHUP, signal.SIGUSR1):
            self.assertIs(signal.getsignal(number), signal.SIG_IGN)
            self.send(number)
        self.assertEqual(self.reloads, [])

    def test_stop_puts_handlers_back_where_the_process_goes_on(self) -> None:
        """Those that were there before, ours being replaced by none."""
        handlers: list[Any] = [lambda *_: None, lambda *_: None]
        signal.signal(signal.SIGHUP, handlers[0])
        process = self.start()
        self.assertIsNot(signal.getsignal(signal.SIGHUP), handlers[0])
        self.part.stopped.callback(None)
        self.successResultOf(process.stopService())
        self.assertIs(signal.getsignal(signal.SIGHUP), handlers[0])
        self.assertIs(signal.getsignal(signal.SIGUSR1), signal.SIG_DFL)

    def test_request_to_rotate_is_ignored_without_a_log_file(self) -> None:
        """With one line."""
        self.start()
        self.send(signal.SIGUSR1)
        self.assertEqual(self.lines(), ["SIGUSR1 is ignored: there is no log file to rotate"])

    def test_rotation_of_twistd_is_left_alone(self) -> None:
        """It has taken the signal when the server starts."""
        rotated: list[object] = []
        process = self.make()
        signal.signal(signal.SIGUSR1, lambda *_: rotated.append(None))
        process.privilegedStartService()
        process.startService()
        self.send(signal.SIGUSR1)
        self.assertEqual((len(rotated), self.lines()), (1, []))

    def test_reload_that_fails_is_one_line(self) -> None:
        """And what fails because of a bug is one with a traceback. The next one is tried again."""
        self.start()
        self.error = StartupError("the configuration file 'x' cannot be read: No such file or directory")
        self.send(signal.SIGHUP)
        self.assertEqual(self.lines(), [f"nothing was reloaded: {self.error}"])
        self.error = ZeroDivisionError()
        self.send(signal.SIGHUP)
        self.assertEqual(self.lines()[1:], ["a reload failed"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.send(signal.SIGHUP)
        self.assertEqual(len(self.reloads), 3)
        self.flushLoggedErrors(ZeroDivisionError)


class SupervisorTests(ProcessCase):
    """What a supervisor hears of the process."""

    def test_it_hears_of_the_start_and_the_stop(self) -> None:
        """Of the start when all is open, and of the stop when it begins."""
        process = self.make()
        process.privilegedStartService()
        self.assertEqual(self.messages, [])
        process.startService()
        self.assertEqual(self.messages, [b"READY=1"])
        process.stopService()
        self.assertEqual(self.messages[1:], [b"STOPPING=1"])
        self.part.stopped.callback(None)

    def test_it_hears_of_a_reload(self) -> None:
        """When it begins and when it ends, also if nothing was reloaded."""
        self.start()
        for error in (None, StartupError("a mistake")):
            self.error = error
            self.messages.clear()
            self.send(signal.SIGHUP)
            self.assertEqual(self.messages, [b"RELOADING=1\nMONOTONIC_USEC=12500000", b"READY=1"])

    def test_it_does_not_hear_of_a_start_that_fails(self) -> None:
        """The process ends."""
        self.assertRaises(CannotStart, self.make(StartupError("a setting")).privilegedStartService)
        self.assertEqual(self.messages, [])


class CannotStartTests(ProcessCase):
    """Tests of what an operator is shown when the server cannot start."""

    def refuse(self, error: Exception) -> CannotStart:
        """:returns: what a start raises when a part of the server cannot start."""
        raised = self.assertRaises(CannotStart, self.make(error).privilegedStartService)
        assert isinstance(raised, CannotStart)
        return raised

    def test_reason_is_one_line_in_the_log_and_one_on_standard_error(self) -> None:
        """For everything that the operator can mend: a port, a file, a setting."""
        for error in (
            CannotListenError("192.0.2.1", 80, OSError(98, "in use")), StartupError("a setting"), OSError(2, "no file")
        ):  # fmt: skip
            self.terminal = _Terminal()
            self.events.clear()
            self.refuse(error)
            (event,) = self.events
            self.assertEqual(event["log_level"].name, "critical")
            self.assertTrue(self.terminal.closed)
            self.assertEqual(self.terminal.shown, f"twistd rendezvous: {error}\n")

    def test_it_ends_the_process_with_status_1(self) -> None:
        """Without a traceback, and in a way that twistd reports from a daemon, too."""
        error = self.refuse(StartupError("a setting"))
        self.assertIsInstance(error, SystemExit)
        self.assertIsInstance(error, Exception)
        self.assertEqual((error.code, str(error)), (1, "a setting"))

    def test_bug_keeps_its_traceback(self) -> None:
        """It is not shown as a mistake of the operator."""
        self.assertRaises(ZeroDivisionError, self.make(ZeroDivisionError()).privilegedStartService)

    def test_terminal_is_given_back_by_a_start(self) -> None:
        """A daemon must not keep the pipe of the program that has started it."""
        self.start()
        self.assertTrue(self.terminal.closed)
        self.assertEqual(self.terminal.shown, "")

    def test_terminal_is_the_standard_error_of_the_process(self) -> None:
        """Even after that was replaced; and without one, nothing is written."""
        reader, writer = os.pipe()
        kept = os.dup(2)
        try:
            os.dup2(writer, 2)
            terminal = terminal_of()
            os.close(2)
            with terminal_of() as nowhere:
                nowhere.write("another line\n")
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(writer)
        with terminal:
            terminal.write("one line\n")
        with open(reader, "rb") as pipe:
            self.assertEqual(pipe.read(), b"one line\n")
