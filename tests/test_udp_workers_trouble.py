"""UDP workers when something else goes wrong: no descriptors, a second life, a main process that stands still."""

from __future__ import annotations

import errno
import gc
import os
import socket
import threading
from functools import partial
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.errors import StartupError
from rendezvous.udp import handing, workers
from rendezvous.udp import worker as worker_module
from rendezvous.udp.control import BUSY, Line
from rendezvous.udp.handing import MAX_MESSAGE, pair
from rendezvous.udp.mmsg import NAME_SIZE, Batch
from rendezvous.udp.port import GroupPort
from rendezvous.udp.worker import Worker
from tests._memory_fast import MemoryCalls, fast_server
from tests.test_udp_worker import control
from tests.test_udp_workers import WorkersCase, WorkersReactor


class StoppedRendezvousTests(WorkersCase):
    """The server without its ports is stopped, and started again; its ports stay open, as its docstring allows."""

    def stop_rendezvous(self) -> None:
        """Stop it while both workers run."""
        one, other = self.reactor.processes
        self.ticks(3, one, other)
        stopped: list[object] = []
        self.server.rendezvous.stopService().addBoth(stopped.append)
        one.end()
        other.end()
        self.assertEqual(len(stopped), 1)

    def test_sockets_of_ended_workers_are_read_here(self) -> None:
        """Otherwise what comes to them waits in the kernel instead of being dropped and counted."""
        self.stop_rendezvous()
        self.assertEqual((self.covered(0), self.covered(1)), ([True, True], [True, True]))

    def test_second_life_reads_the_sockets_of_workers_that_cannot_be_started(self) -> None:
        """Otherwise two thirds of all clients are not heard."""
        self.stop_rendezvous()
        self.reactor.fails = True
        self.server.rendezvous.startService()
        self.ticks(20)
        self.assertEqual((self.covered(0), self.covered(1)), ([True, True], [True, True]))


class NoDescriptorTests(WorkersCase):
    """No descriptor is left when a worker has to be replaced."""

    def setUp(self) -> None:
        """Have both workers run, and no pair of sockets from then on."""
        super().setUp()
        self.one, self.other = self.reactor.processes
        self.ticks(50, self.one, self.other)
        self.tries = 0

        def pair() -> Any:
            self.tries += 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        self.patch(handing, "pair", pair)

    def test_it_is_asked_for_ever_later(self) -> None:
        """As where the system starts no process."""
        self.one.end(status=None, by=9)
        self.ticks(100, self.other)
        logged = len(self.flushLoggedErrors(OSError))
        self.assertLess((self.tries, logged), (5, 5))

    def test_slots_are_freed_meanwhile(self) -> None:
        """The other worker goes on."""
        _, _, headers = self.server.register()
        self.server.request("POST", "/logout", headers=headers)
        self.one.end(status=None, by=9)
        self.ticks(100, self.other)
        self.flushLoggedErrors(OSError)
        self.assertEqual(len(self.workers._grace), 0)

    def test_other_workers_are_watched_meanwhile(self) -> None:
        """One that is stuck is covered and killed."""
        self.one.end(status=None, by=9)
        self.ticks(100)
        self.flushLoggedErrors(OSError)
        self.assertEqual((self.covered(1), self.other.killed), ([True, True], True))


class FreeingTests(WorkersCase):
    """Slots are freed in slices."""

    def test_one_slice_at_a_time_and_none_after_the_end(self) -> None:
        """However many ticks pass before all are freed."""
        self.patch(workers, "_FREED_A_TURN", 1)
        freed: list[int] = []
        self.workers._grace._free = freed.append
        self.workers._grace._due.extend(range(1000))
        before = len(self.reactor.getDelayedCalls())
        for _ in range(4):
            self.workers._look()
        self.assertEqual(len(self.reactor.getDelayedCalls()) - before, 1)


class RaceTests(SynchronousTestCase):
    """Two servers with workers start at the same moment."""

    def test_only_one_has_the_port(self) -> None:
        """The other begins between the two binds of the first."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            number = free.getsockname()[1]
        one, other = [GroupPort(number, DatagramProtocol(), "127.0.0.1", 2048, WorkersReactor()) for _ in range(2)]
        plain = one.createInternetSocket

        def create() -> socket.socket:
            made = plain()
            other.startListening()
            return made

        one.createInternetSocket = create  # type: ignore[method-assign]
        try:
            self.assertRaises(CannotListenError, one.startListening)
        finally:
            for port in (one, other):
                if getattr(port, "connected", False) or hasattr(port, "socket"):
                    port.connectionLost(None)


class StopWithoutDescriptorsTests(SynchronousTestCase):
    """A server with workers and a file is stopped while the process has no descriptor left."""

    def test_store_is_closed_all_the_same(self) -> None:
        """Otherwise the file stays locked and is not flushed, and the process can never open it again."""
        store = f"sqlite:{self.mktemp()}"
        reactor = WorkersReactor()
        reactor.advance(1000.0)
        server = fast_server(reactor, store=store, udp_workers=1, max_clients=100)
        reactor.advance(0)

        def create(*args: object) -> int:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        stopped: list[object] = []
        with_patch = self.patch(os, "memfd_create", create)
        server.service.stopService().addBoth(stopped.append)
        reactor.processes[0].end()
        reactor.advance(1)
        with_patch.restore()
        again = WorkersReactor()
        again.advance(2000.0)
        fast_server(again, store=store, udp_workers=1, max_clients=100)
        del server, reactor, stopped
        gc.collect()
        # That it is said is well.
        self.flushLoggedErrors(StartupError)


class BusyTests(SynchronousTestCase):
    """The main process stands still for a moment."""

    def holding(self) -> tuple[socket.socket, socket.socket, Worker, Line]:
        """:returns: a pair of sockets, and a worker that has 2400 pulses to hand over, which came one by one."""
        ours, theirs = pair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        line = control().line(0)
        worker, batch = Worker(theirs, line), Batch(MemoryCalls(), socket.AF_INET)
        batch.fill(bytes(NAME_SIZE), [bytes(32)])
        for _ in range(2400):
            worker.hand_over(0, batch, [0])
        return ours, theirs, worker, line

    def test_worker_holds_as_much_as_the_receive_buffer_of_a_port(self) -> None:
        """2400 pulses that came one by one, which a port without workers would have kept."""
        ours, _, worker, line = self.holding()
        read = 0
        for _ in range(100):
            try:
                while ours.recv(MAX_MESSAGE):
                    read += 1
            except BlockingIOError:
                worker.turn(0.0)
        self.assertEqual((read, line.count(BUSY)), (2400, 0))

    def test_worker_that_is_to_end_hands_over_what_it_holds(self) -> None:
        """The main process reads on until the worker has ended, for example while it makes the index anew."""
        ours, theirs, worker, line = self.holding()
        read: list[bytes] = []
        ours.settimeout(60)
        reader = threading.Thread(target=lambda: read.extend(iter(partial(ours.recv, MAX_MESSAGE), b"")))
        ours.shutdown(socket.SHUT_WR)
        reader.start()
        self.assertFalse(worker.turn(0.0))
        theirs.close()
        reader.join()
        self.assertEqual((len(read), line.count(BUSY)), (2400, 0))

    def test_worker_waits_for_no_main_process_that_reads_nothing(self) -> None:
        """What is left is counted: of a main process that has ended, and of one that stands still."""
        self.patch(worker_module, "LAST", 0.01)
        for is_closed in (True, False):
            ours, _, worker, line = self.holding()
            (ours.close if is_closed else partial(ours.shutdown, socket.SHUT_WR))()
            self.assertFalse(worker.turn(0.0))
            self.assertGreater(line.count(BUSY), 1000)
