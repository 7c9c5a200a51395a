"""Tests of :mod:`rendezvous.udp.workers`: how the main process starts, watches, replaces and ends its workers."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import struct
import sys
from collections import Counter, deque
from typing import Any

import attrs

from twisted.internet.error import CannotListenError, ProcessDone, ProcessTerminated
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from rendezvous.core.presence.grace import FEWEST_TICKS, TICK
from rendezvous.counters import DROPPED_DATAGRAMS
from rendezvous.errors import StartupError
from rendezvous.server import make_service
from rendezvous.settings import Settings
from rendezvous.testing import MemoryReactor
from rendezvous.udp.control import BUSY, UNRECEIVABLE, UNSENDABLE, Control
from rendezvous.udp.fast import FastPort
from rendezvous.udp.handing import MAX_MESSAGE, messages
from rendezvous.udp.mmsg import NAME_SIZE, SIZE, Batch
from rendezvous.udp.port import DATAGRAMS_A_TURN
from rendezvous.udp.sharing import where
from rendezvous.udp.worker import COLUMNS_FD, CONTROL_FD, FIRST_SOCKET_FD, KEYS_FD, PAIR_FD, TABLE_FD, Given
from rendezvous.udp.workers import Workers
from tests._live_table import clients
from tests._memory_fast import FastMemoryPort, FastMemoryReactor, fast_server, name

if sys.platform != "linux":
    raise SkipTest("workers need Linux")

HOME = ("192.0.2.1", 4000)
ON_TIME, UNKNOWN = (code.to_bytes(4, "big") for code in (1020, 1060))


class SharedMemoryPort(FastMemoryPort):
    """
    A UDP port in memory that has more sockets, which nobody sends to.

    :cvar fails: whether there are no more sockets.
    """

    fails = False

    def another_socket(self) -> socket.socket:
        """:returns: a socket of the same family."""
        if self.fails:
            raise OSError(24, "Too many open files")
        return socket.socket(self.handle.family, socket.SOCK_DGRAM)


class Process:
    """A process that does what the test wants: the worker's side of it."""

    def __init__(self, number: int, protocol: Any, environment: dict[str, str], descriptors: dict[int, Any]) -> None:
        self.pid = 10_000 + number
        self.protocol, self.environment = protocol, environment
        self.descriptors = {at: os.dup(each) for at, each in descriptors.items() if each != "r"}
        self.pair = socket.socket(fileno=self.descriptors.pop(PAIR_FD))
        self.pair.setblocking(False)
        self.given = Given.read(self.pair.recv(MAX_MESSAGE))
        self.killed = False
        self.is_over = False

    def signalProcess(self, number: int) -> None:
        """Be killed."""
        assert number == signal.SIGKILL
        self.killed = True

    def sees_end(self) -> bool:
        """:returns: whether the main process has ended what it says."""
        try:
            return self.pair.recv(1) == b""
        except BlockingIOError:
            return False

    def end(self, *, status: int | None = 0, by: int | None = None) -> None:
        """End, with a status or by a signal."""
        self.is_over = True
        self.pair.close()
        for each in self.descriptors.values():
            os.close(each)
        reason = ProcessDone(0) if status == 0 and by is None else ProcessTerminated(status, by)
        self.protocol.processEnded(Failure(reason))


class WorkersReactor(FastMemoryReactor):
    """A reactor in memory that starts such processes."""

    fails = False

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[Process] = []

    def listenUDP(self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192) -> SharedMemoryPort:
        """Open a port in memory."""
        opened = SharedMemoryPort(self, port or 49152 + len(self.udp_ports), protocol, interface)
        self.udp_ports.append(opened)
        return opened

    def spawnProcess(
        self, protocol: Any, executable: str, command: list[str], environment: dict[str, str], childFDs: dict[int, Any]
    ) -> Process:
        """Start a process."""
        assert command == [executable, "-P", "-m", "rendezvous.udp.worker"]
        if self.fails:
            raise OSError(11, "Resource temporarily unavailable")
        self.processes.append(Process(len(self.processes), protocol, environment, childFDs))
        return self.processes[-1]


class WorkersCase(SynchronousTestCase):
    """A server with two workers that do what the test wants."""

    def setUp(self) -> None:
        """Start it, and its workers."""
        self.start()

    def start(self, **settings: Any) -> None:
        """Start a server."""
        self.reactor = WorkersReactor()
        self.reactor.advance(1000.0)
        self.server = fast_server(self.reactor, **{"udp_workers": 2, "udp_port": [5024, 5025], **settings})
        self.addCleanup(self.stop)
        self.all_start()

    def all_start(self) -> None:
        """Let all workers be started: one at once, and one more at each tick."""
        self.reactor.advance(0)
        for _ in self.workers._processes[1:]:
            self.reactor.advance(TICK)

    def stop(self) -> None:
        """Stop the server, which waits for its workers."""
        if not self.server.rendezvous.running:
            return
        stopped: list[object] = []
        self.server.service.stopService().addBoth(stopped.append)
        for process in self.reactor.processes:
            if not process.is_over:
                self.assertTrue(process.sees_end())
                process.end()
        [results] = stopped
        assert isinstance(results, list)
        self.assertEqual({success for success, _ in results}, {True})
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def ticks(self, count: int, *running: Process) -> None:
        """Let ticks pass, at each of which these workers show that they run."""
        for _ in range(count):
            for process in running:
                self.line(process).turn()
                self.line(process).turn()
            self.reactor.advance(TICK)

    def control(self, process: Process) -> Control:
        """:returns: the control memory, as a worker has it."""
        return self.workers._control

    @property
    def workers(self) -> Workers:
        """:returns: the service."""
        [found] = [each for each in self.server.rendezvous if isinstance(each, Workers)]
        return found

    def line(self, process: Process) -> Any:
        """:returns: the words of a worker."""
        return self.workers._control.line(process.given.worker)

    def covered(self, worker: int) -> list[bool]:
        """:returns: of each port, whether the main process reads the socket of a worker."""
        return [group.covers[worker] in self.workers._turn for group in self.workers._groups.values()]


class StartTests(WorkersCase):
    """What workers are given."""

    def test_each_worker_is_given_memory_and_sockets(self) -> None:
        """Those of the table, of which the keys are in no file, and one socket for each port."""
        presence: Any = self.server.rendezvous.store.live
        self.assertEqual([process.given.worker for process in self.reactor.processes], [0, 1])
        for process in self.reactor.processes:
            given = process.given
            self.assertEqual((given.parent, given.spread), (os.getpid(), presence.index.spread))
            self.assertEqual([(at, number) for at, _, number in given.sockets], [(0, 5024), (1, 5025)])
            for at, memory, size in (
                (COLUMNS_FD, presence.columns.memory, sum(given.columns)),
                (KEYS_FD, presence.index.keys, given.keys),
                (TABLE_FD, presence.index.table, given.table),
                (CONTROL_FD, self.workers._memory, given.control),
            ):
                file, start, length = where(memory)
                self.assertTrue(os.path.sameopenfile(process.descriptors[at], file))
                self.assertEqual(size, start + length)
            for at, group in enumerate(self.workers._groups.values()):
                fd = process.descriptors[FIRST_SOCKET_FD + at]
                self.assertTrue(os.path.sameopenfile(fd, group.sockets[given.worker].fileno()))

    def test_environment_holds_no_settings_and_no_secret(self) -> None:
        """A worker needs its modules, wherever the server was started."""
        environment = self.reactor.processes[0].environment
        self.assertEqual([each for each in environment if each.startswith("RENDEZVOUS_")], [])
        paths = environment["PYTHONPATH"].split(os.pathsep)
        absolute = list(dict.fromkeys(filter(os.path.isabs, sys.path)))
        self.assertEqual(paths[: len(absolute)], absolute)
        self.assertTrue(any(os.path.exists(os.path.join(path, "rendezvous", "udp", "worker.py")) for path in paths))

    def test_line_about_a_port_says_how_many_there_are(self) -> None:
        """One is one worker."""
        [port] = [each for each in self.reactor.getReaders() if isinstance(each, FastPort)][:1]
        self.assertRegex(port.udp_path, r"^fast path with(out)? NumPy, 2 workers$")
        self.stop()
        self.start(udp_workers=1, udp_port=5024)
        [port] = [each for each in self.reactor.getReaders() if isinstance(each, FastPort)]
        self.assertRegex(port.udp_path, r", 1 worker$")

    def test_without_workers_nothing_is_shared(self) -> None:
        """The memory is private, and each of the two ports has one socket."""
        reactor = WorkersReactor()
        server = fast_server(reactor)
        presence: Any = server.rendezvous.store.live
        for memory in (presence.columns.memory, presence.index.keys, presence.index.table):
            self.assertRaises(TypeError, where, memory)
        self.assertEqual(len(reactor.getReaders()), 2)
        reactor.advance(1)
        self.assertEqual(reactor.processes, [])
        server.stop()

    def test_what_workers_need_is_looked_for_at_the_start(self) -> None:
        """The fast path, an interpreter, and a descriptor for each socket. What is missing is one line."""
        settings = Settings(store="memory:", udp_workers=2)
        error = self.assertRaises(StartupError, make_service, settings, MemoryReactor(), None)
        self.assertEqual(str(error), "--udp-workers needs Linux, and the system calls recvmmsg and sendmmsg")
        for executable in ("/nonexistent/python", ""):
            self.patch(sys, "executable", executable)
            error = self.assertRaises(StartupError, fast_server, WorkersReactor(), udp_workers=1)
            self.assertIn(f"this process cannot run {executable!r}", str(error))
        self.patch(SharedMemoryPort, "fails", True)
        error = self.assertRaises(StartupError, fast_server, WorkersReactor(), udp_workers=1)
        self.assertIn("cannot listen for UDP on", str(error))
        self.assertIn("Too many open files", str(error))
        self.assertIsInstance(error.__cause__, CannotListenError)


class WatchTests(WorkersCase):
    """Workers that run, stop, and end."""

    def setUp(self) -> None:
        """Keep what is logged."""
        self.events: list[LogEvent] = []
        keep: Any = self.events.append
        globalLogPublisher.addObserver(keep)
        self.addCleanup(globalLogPublisher.removeObserver, keep)
        super().setUp()

    def logged(self) -> list[str]:
        """:returns: what processes have been logged for since the last call."""
        return [each["log_format"] for each in self.events if "UDP worker" in each.get("log_format", "")]

    def test_main_process_reads_the_sockets_of_a_worker_that_has_not_begun(self) -> None:
        """And leaves them to it from then on."""
        one, other = self.reactor.processes
        self.assertEqual((self.covered(0), self.covered(1)), ([True, True], [True, True]))
        self.ticks(3, one)
        self.assertEqual((self.covered(0), self.covered(1)), ([False, False], [True, True]))
        self.ticks(1, one, other)
        self.assertEqual((self.covered(0), self.covered(1)), ([False, False], [False, False]))
        self.assertEqual(self.logged(), ["UDP worker {worker} answers, as process {process}"] * 2)

    def test_one_process_is_started_at_a_time(self) -> None:
        """That stops the reactor for a moment, and workers are many. Also those that take the place of others."""
        self.stop()
        self.reactor.processes.clear()
        self.server.service.startService()
        self.reactor.advance(0)
        started = len(self.reactor.processes)
        self.ticks(1)
        self.assertEqual((started, len(self.reactor.processes)), (1, 2))
        for process in self.reactor.processes[:2]:
            process.end(status=None, by=9)
        self.ticks(1)
        for expected in (3, 4, 4):
            self.ticks(1)
            self.assertEqual(len(self.reactor.processes), expected)

    def test_worker_without_a_sign_is_covered_and_then_killed(self) -> None:
        """After half a second, and after two. A worker whose process has ended is replaced at the next tick."""
        one, other = self.reactor.processes
        self.ticks(50, one, other)
        self.ticks(1, other)
        self.assertEqual(self.covered(0), [False, False])
        self.ticks(1, other)
        self.assertEqual((self.covered(0), one.killed), ([True, True], False))
        self.ticks(5, other)
        self.assertFalse(one.killed)
        self.ticks(1, other)
        self.assertTrue(one.killed)
        one.end(status=None, by=9)
        self.assertEqual(self.line(one).epoch, 0)
        self.ticks(1, other)
        self.assertEqual([process.given.worker for process in self.reactor.processes], [0, 1, 0])
        self.assertEqual(
            self.logged()[2:],
            [
                "UDP worker {worker} does not react; its process is ended",
                "UDP worker {worker} has ended ({reason}); another process takes its place",
            ],
        )

    def test_worker_that_goes_on_in_time_is_not_killed(self) -> None:
        """It gets its sockets back."""
        one, other = self.reactor.processes
        self.ticks(5, one, other)
        self.ticks(7, other)
        self.ticks(1, one, other)
        self.ticks(7, other)
        self.assertFalse(one.killed)
        self.assertEqual(self.covered(0), [True, True])
        self.ticks(1, one, other)
        self.assertEqual(self.covered(0), [False, False])

    def test_process_that_never_begins_is_killed_later(self) -> None:
        """The machine may be busy while the server starts."""
        one, other = self.reactor.processes
        self.ticks(110, other)
        self.assertFalse(one.killed)
        self.ticks(20, other)
        self.assertTrue(one.killed)

    def test_processes_that_do_not_last_are_replaced_ever_later(self) -> None:
        """The log says how each has ended, and what it has said last. Nothing is said more than once a process."""
        other = self.reactor.processes[1]
        pauses = []
        for _ in range(8):
            process = (
                self.reactor.processes[-1] if self.reactor.processes[-1] is not other else self.reactor.processes[0]
            )
            process.protocol.childDataReceived(2, b"Traceback\n  File\nImportError: no module\n")
            process.end(status=1)
            count, waited = len(self.reactor.processes), 0
            while len(self.reactor.processes) == count:
                self.ticks(1, other)
                waited += 1
            pauses.append(waited)
        self.assertEqual(pauses, [2, 4, 8, 16, 32, 64, 121, 121])
        reasons = {each["reason"] for each in self.events if "has ended" in each.get("log_format", "")}
        self.assertEqual(reasons, {"status 1: ImportError: no module"})
        # One that lasts is replaced at once, as the first was.
        self.ticks(40, *self.reactor.processes[1:2], self.reactor.processes[-1])
        self.reactor.processes[-1].end(status=None, by=9)
        count = len(self.reactor.processes)
        self.ticks(1, other)
        self.assertEqual(len(self.reactor.processes), count + 1)
        self.assertEqual(
            [each["reason"] for each in self.events if "has ended" in each.get("log_format", "")][-1], "signal 9"
        )

    def test_system_that_starts_no_process_is_asked_again_later(self) -> None:
        """Meanwhile the main process does the work."""
        self.reactor.fails = True
        one, other = self.reactor.processes
        self.ticks(50, one, other)
        one.end(status=None, by=9)
        self.ticks(10, other)
        self.assertEqual((len(self.reactor.processes), self.covered(0)), (2, [True, True]))
        self.assertEqual(self.logged()[-1], "UDP worker {worker} cannot be started: {reason}")
        self.reactor.fails = False
        self.ticks(130, other)
        self.assertEqual(len(self.reactor.processes), 3)

    def test_stop_waits_for_workers_and_kills_those_that_stay(self) -> None:
        """Only then the store is closed."""
        one, other = self.reactor.processes
        stopped: list[object] = []
        closed: list[object] = []
        store: Any = self.server.rendezvous.store
        plain = store.close

        def close(now: float) -> Any:
            closed.append(now)
            return plain(now)

        self.patch(store, "close", close)
        self.server.service.stopService().addBoth(stopped.append)
        self.assertTrue(one.sees_end() and other.sees_end())
        one.end()
        self.reactor.advance(0.5)
        self.assertEqual((stopped, closed, other.killed), ([], [], False))
        self.reactor.advance(0.6)
        self.assertTrue(other.killed)
        self.assertEqual(closed, [])
        other.end(status=None, by=9)
        self.assertEqual((len(stopped), len(closed)), (1, 1))
        self.assertFalse([each for each in self.logged() if "has ended" in each])

    def test_server_can_be_started_again(self) -> None:
        """With new processes."""
        self.stop()
        self.server.service.startService()
        self.all_start()
        self.assertEqual([process.given.worker for process in self.reactor.processes], [0, 1, 0, 1])
        self.ticks(3, *self.reactor.processes[2:])
        self.assertEqual(self.covered(0), [False, False])

    def test_fault_in_a_tick_is_logged_and_the_next_tick_comes(self) -> None:
        """A worker that is not watched for a moment does no harm."""
        self.patch(self.workers, "_is_on", lambda: 1 // 0)
        self.ticks(2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)


class WorkTests(WorkersCase):
    """What the main process does for its workers."""

    def handed(self, process: Process, port: int, datagrams: list[bytes]) -> list[tuple[bytes, Any]]:
        """:returns: what is sent when a worker hands these over."""
        memory_port = self.reactor.udp_ports[port]
        assert isinstance(memory_port, SharedMemoryPort)
        batch = Batch(self.reactor.system, self.reactor.family)
        self.fill(batch, datagrams)
        for message, _ in messages(port, batch, range(len(datagrams))):
            process.pair.send(message)
        self.read()
        before = len(memory_port.sent)
        memory_port.take_sent()
        return memory_port.sent[before:]

    def fill(self, batch: Batch, datagrams: list[bytes]) -> None:
        """Put datagrams from one source into a batch."""
        batch.fill(name(HOME, self.reactor.family).ljust(NAME_SIZE, b"\0") * len(datagrams), datagrams)

    def read(self) -> None:
        """Have the main process read what workers have handed over, as one turn of the reactor does."""
        for reader in self.reactor.getReaders():
            if not isinstance(reader, FastPort):
                reader.doRead()

    def test_what_is_handed_over_is_answered(self) -> None:
        """From the port that it came to, as if it had come there."""
        key = self.server.register()[1]
        for process in self.reactor.processes:
            for port in (0, 1):
                sent = [reply for reply, _ in self.handed(process, port, [key, bytes(32), b"nothing"])]
                self.assertEqual(sent, [ON_TIME, UNKNOWN])
        presence: Any = self.server.rendezvous.store.live
        self.assertEqual([client.local_port for client in clients(presence)], [5025])

    def test_small_batches_become_a_large_one(self) -> None:
        """That costs less for each datagram; a batch is of one port."""
        process, batch = self.reactor.processes[0], Batch(self.reactor.system, self.reactor.family)
        self.fill(batch, [bytes(32)] * 50)
        self.reactor.system.batches.clear()
        for port, count in ((0, 50), (0, 30), (1, 5), (0, 10)):
            [(message, _)] = messages(port, batch, range(count))
            process.pair.send(message)
        self.read()
        self.assertEqual(self.reactor.system.batches, [80, 5, 10])

    def test_turn_of_the_reactor_takes_a_bounded_number(self) -> None:
        """However many workers have handed something over. Each of them has its turn; the rest waits."""
        for count in (1, 8):
            self.stop()
            self.start(udp_workers=count)
            batch = Batch(self.reactor.system, self.reactor.family)
            taken: list[bytes] = []
            port: Any = self.workers._groups[0].port
            self.patch(port, "take", lambda names, datagrams, taken=taken: taken.extend(datagrams))
            for process in self.reactor.processes:
                self.fill(batch, [b"%d" % process.given.worker] * 60)
                [(message, _)] = messages(0, batch, range(60))
                for _ in range(4):
                    process.pair.send(message)
            for expected in (120, 240):
                for _ in range(count):
                    before = len(taken)
                    self.read()
                    self.assertEqual(len(taken) - before, 120)
                self.assertEqual(Counter(taken), {b"%d" % worker: expected for worker in range(count)})

    def test_sockets_that_are_read_here_have_one_turn_together(self) -> None:
        """However many workers do not run."""
        self.stop()
        self.start(udp_workers=8)
        family = self.reactor.family
        for group in self.workers._groups.values():
            for sock in group.sockets:
                sock.bind(("::1", 0))
                sock.sendto(b"", sock.getsockname())
                self.reactor.system.waiting[sock.fileno()] = deque([(b"nothing", name(HOME, family))] * 500)
        dropped = self.server.rendezvous.counters.family(DROPPED_DATAGRAMS)
        taken = []
        for _ in range(17):
            before = dropped["unreadable"]
            self.read()
            taken.append(dropped["unreadable"] - before)
        # A batch of each of the ports is whole; those behind it are smaller.
        self.assertEqual(
            Counter(taken), {SIZE: len(self.workers._groups), DATAGRAMS_A_TURN: 17 - len(self.workers._groups)}
        )

    def test_no_descriptor_for_that_turn_is_one_line(self) -> None:
        """At the start, as any other that is missing."""

        def fail() -> None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        self.patch(select, "epoll", fail)
        error = self.assertRaises(StartupError, fast_server, WorkersReactor(), udp_workers=1)
        self.assertEqual(str(error), "the UDP workers cannot be watched: Too many open files")

    def test_what_was_handed_over_by_a_worker_that_has_ended_is_answered(self) -> None:
        """All of it, although nothing reads it before the end."""
        process, batch = self.reactor.processes[0], Batch(self.reactor.system, self.reactor.family)
        self.fill(batch, [b"nothing"] * 60)
        [(message, _)] = messages(0, batch, range(60))
        for _ in range(5):
            process.pair.send(message)
        process.end(status=None, by=9)
        self.assertEqual(self.server.rendezvous.counters.family(DROPPED_DATAGRAMS)["unreadable"], 300)

    def test_message_that_cannot_be_read_or_is_of_no_port_is_left_out(self) -> None:
        """Nothing of it reaches a port, and the next is taken."""
        process = self.reactor.processes[0]
        process.pair.send(b"\0")
        process.pair.send(struct.pack("=HHH", 0xFFFF, 1, 0) + bytes(NAME_SIZE))
        self.assertEqual([reply for reply, _ in self.handed(process, 0, [bytes(32)])], [UNKNOWN])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_socket_of_a_worker_is_read_here_before_it_has_begun(self) -> None:
        """And answered from the port itself."""
        sock = self.workers._groups[0].sockets[0]
        key = self.server.register()[1]
        self.reactor.system.waiting[sock.fileno()] = deque([(key, name(HOME, self.reactor.family))])
        # So that the system says that there is something to read; what it is comes from the reactor in memory.
        sock.bind(("::1", 0))
        sock.sendto(b"", sock.getsockname())
        self.read()
        port = self.reactor.udp_ports[0]
        assert isinstance(port, SharedMemoryPort)
        port.take_sent()
        self.assertEqual([reply for reply, _ in port.sent], [ON_TIME])

    def test_time_is_published_while_pulses_are_answered(self) -> None:
        """On the clock of the system, as the main process has it."""
        self.ticks(2)
        control = self.workers._control
        self.assertEqual(control.now(self.reactor.seconds()), self.server.rendezvous.clock.seconds())
        self.assertEqual(control.on_time, 33.0)
        self.stop()
        self.assertIsNone(control.now(self.reactor.seconds()))

    def test_time_is_not_published_where_pulses_are_off(self) -> None:
        """Workers hand over everything, which is then dropped and counted."""
        self.stop()
        self.start(without="rendezvous")
        self.ticks(4)
        self.assertIsNone(self.workers._control.now(self.reactor.seconds()))

    def test_counts_of_workers_are_the_servers(self) -> None:
        """What they drop is counted with the rest, once; also by a process that has ended."""
        dropped = self.server.rendezvous.counters.family(DROPPED_DATAGRAMS)
        one, other = self.reactor.processes
        for count, reason in ((BUSY, "not handed over"), (UNSENDABLE, "unsendable"), (UNRECEIVABLE, "receive error")):
            self.line(one).add(count, 3)
            self.line(other).add(count, 4)
            self.ticks(2)
            self.assertEqual(dropped[reason], 7)
        self.line(one).add(BUSY, 1)
        one.end(status=None, by=9)
        self.ticks(1)
        self.assertEqual(dropped["not handed over"], 8)

    def test_slot_is_freed_after_the_batches_that_may_use_it(self) -> None:
        """Not while one of them goes on; if its worker ends, that is the end of the batch."""
        presence: Any = self.server.rendezvous.store.live
        freed: list[int] = []
        plain = presence.columns.free

        def free(columns: object, slot: int) -> None:
            freed.append(slot)
            plain(slot)

        self.patch(type(presence.columns), "free", free)
        _, key, headers = self.server.register()
        slot = presence.index.find(key)
        one, other = self.reactor.processes
        self.ticks(3, one, other)
        self.line(one).turn()
        self.server.request("POST", "/logout", headers=headers)
        self.ticks(FEWEST_TICKS + 1, other)
        self.assertEqual(freed, [])
        one.end(status=None, by=9)
        self.ticks(1, other)
        self.assertEqual(freed, [])
        self.ticks(1, other)
        self.assertEqual(freed, [slot])

    def test_slots_that_wait_are_freed_at_the_end(self) -> None:
        """A server that is started again gives them out."""
        presence: Any = self.server.rendezvous.store.live
        for _ in range(3):
            _, _, headers = self.server.register()
            self.server.request("POST", "/logout", headers=headers)
        self.assertEqual(len(self.workers._grace), 3)
        self.stop()
        self.assertEqual(len(self.workers._grace), 0)
        self.assertEqual(presence.columns.take(b"sixteen bytes...", 0.0), 1)

    def test_larger_index_is_given_to_new_processes(self) -> None:
        """Those that run end by themselves, and are not called failures."""
        self.stop()
        self.start(max_clients=64)
        one, other = self.reactor.processes
        self.ticks(2, one, other)
        self.server.service.reload(attrs.evolve(self.server.rendezvous.settings, max_clients=128))
        self.ticks(1, one, other)
        self.assertTrue(one.sees_end() and other.sees_end())
        one.end()
        other.end()
        self.ticks(2)
        presence: Any = self.server.rendezvous.store.live
        for process in self.reactor.processes[2:]:
            self.assertTrue(os.path.sameopenfile(process.descriptors[TABLE_FD], where(presence.index.table)[0]))
        self.assertEqual(len(self.reactor.processes), 4)

    def test_port_that_closes_is_taken_from_the_workers(self) -> None:
        """Messages about it are left out, and new processes serve the others."""
        one, other = self.reactor.processes
        self.ticks(2, one, other)
        port = self.reactor.udp_ports[0]
        port.stopListening()
        self.assertEqual(list(self.workers._groups), [1])
        self.assertEqual(self.handed(one, 0, [bytes(32)]), [])
        self.ticks(1, one, other)
        self.assertTrue(one.sees_end())
        one.end()
        self.ticks(1, other)
        self.assertEqual([at for at, *_ in self.reactor.processes[-1].given.sockets], [1])
