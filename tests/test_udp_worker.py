"""Tests of a UDP worker's parts, in one process: the memory it shares, what it hands over, and its loop."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from rendezvous.errors import StartupError
from rendezvous.udp import handing, sharing
from rendezvous.udp.control import (
    ANSWERED,
    BUSY,
    FRESH,
    UNRECEIVABLE,
    UNSENDABLE,
    Control,
    Line,
    control_size,
)
from rendezvous.udp.handing import MAX_MESSAGE, messages, pair, unpacked
from rendezvous.udp.mmsg import MAX_DATAGRAM, NAME_SIZE, SIZE, Batch
from rendezvous.udp.sharing import shared_memory, where
from rendezvous.udp.worker import SLOW, Given, Port, Worker
from tests._memory_fast import MemoryCalls, name
from tests._memory_workers import WorkerMemoryPort, WorkerMemoryReactor, worker_server

if sys.platform != "linux":
    raise SkipTest("workers need Linux")

HOME, AWAY = ("192.0.2.1", 4000), ("198.51.100.7", 5000)
ON_TIME, VERIFY, UNKNOWN = (code.to_bytes(4, "big") for code in (1020, 1050, 1060))


def source(port: int) -> bytes:
    """:returns: an address as a batch has it."""
    return name((HOME[0], port), socket.AF_INET6).ljust(NAME_SIZE, b"\0")


def control(workers: int = 1) -> Control:
    """:returns: control memory as it is at the start."""
    made = Control(memoryview(bytearray(control_size(workers))))
    made.withdraw()
    return made


class ControlTests(SynchronousTestCase):
    """Tests of :mod:`rendezvous.udp.control`."""

    def test_nothing_is_taken_before_a_time_is_published(self) -> None:
        """Also if the clock of the system has just begun."""
        for moment in (0.0, 1.0, 1e9):
            self.assertIsNone(control().now(moment))

    def test_server_time_goes_on_for_two_seconds(self) -> None:
        """Then the main process may have been stopped, and its server time may have left that out."""
        shared = control()
        shared.publish(100.0, 1_000_000.0, 33.0)
        shared.publish(100.25, 1_000_000.25, 33.0)
        self.assertEqual(shared.on_time, 33.0)
        self.assertEqual(shared.now(100.25), 1_000_000.25)
        self.assertEqual(shared.now(100.25 + FRESH), 1_000_000.25 + FRESH)
        self.assertIsNone(shared.now(100.25 + FRESH + 0.001))
        self.assertEqual(shared.now(100.2), 1_000_000.2)

    def test_changed_difference_is_published_before_a_moment_that_goes_with_it(self) -> None:
        """After a pause of the main process: no reader sees the new moment beside the old difference."""
        shared = control()
        for moment in (100.0, 100.25):
            shared.publish(moment, moment + 1000, 33.0)
        shared.publish(160.0, 160.0 + 940.5, 33.0)
        self.assertIsNone(shared.now(160.0))
        shared.publish(160.25, 160.25 + 940.5, 33.0)
        self.assertEqual(shared.now(160.25), 160.25 + 940.5)

    def test_other_times_are_published_likewise(self) -> None:
        """A client is ONLINE for longer or shorter than before."""
        shared = control()
        for moment, on_time, expected in ((1.0, 33.0, False), (1.5, 33.0, True), (2.0, 11.0, False), (2.5, 11.0, True)):
            shared.publish(moment, moment, on_time)
            self.assertEqual(shared.now(moment) is not None, expected)

    def test_rounding_stops_no_worker(self) -> None:
        """A difference that drifts by a millisecond is used at once."""
        shared = control()
        for number in range(1, 5):
            shared.publish(float(number), number + 1000 + 0.001 * number, 33.0)
        self.assertEqual(shared.now(4.0), 1004.004)

    def test_withdrawn_time_is_no_time(self) -> None:
        """From the next batch on."""
        shared = control()
        for moment in (1.0, 1.25):
            shared.publish(moment, moment, 33.0)
        shared.withdraw()
        self.assertIsNone(shared.now(1.25))

    def test_workers_have_words_of_their_own(self) -> None:
        """Counts are kept when a process is replaced, and the epoch begins anew."""
        shared = control(2)
        one, other = shared.line(0), shared.line(1)
        one.turn()
        one.add(ANSWERED, 5)
        one.add(BUSY, 7)
        one.add(UNSENDABLE, 0)
        self.assertEqual((one.epoch, other.epoch), (1, 0))
        self.assertEqual([one.count(each) for each in (ANSWERED, BUSY, UNSENDABLE, UNRECEIVABLE)], [5, 7, 0, 0])
        self.assertEqual([other.count(each) for each in (ANSWERED, BUSY)], [0, 0])
        one.reset()
        self.assertEqual((one.epoch, one.count(ANSWERED)), (0, 5))


class MemoryTests(SynchronousTestCase):
    """Tests of :mod:`rendezvous.udp.sharing`."""

    def test_another_mapping_sees_the_same_bytes(self) -> None:
        """Of the whole, or of a part that begins on some page."""
        memory = shared_memory(3 * 4096)
        memory[4096:4100] = b"here"
        descriptor, start, size = where(memory)
        self.assertEqual((start, size, os.pread(descriptor, 4, 4096)), (0, 3 * 4096, b"here"))
        part = memoryview(memory)[4096:8192].cast("Q")
        self.assertEqual(where(part), (descriptor, 4096, 4096))

    def test_private_memory_is_refused(self) -> None:
        """It cannot be given away."""
        self.assertRaises(TypeError, where, memoryview(bytearray(8)))

    def test_descriptor_is_closed_with_the_memory(self) -> None:
        """A server that is made again and again does not use them up."""
        memory = shared_memory(4096)
        descriptor = memory.descriptor
        os.fstat(descriptor)
        del memory
        self.assertRaises(OSError, os.fstat, descriptor)

    def test_memory_that_cannot_be_had_is_an_error_of_the_start(self) -> None:
        """In one line."""
        error = self.assertRaises(StartupError, shared_memory, 1 << 62)
        self.assertIn("give a smaller max_clients", str(error))

    def test_strict_system_gives_all_pages_at_once(self) -> None:
        """Where memory is never overcommitted, a page that is missing later would end the process."""
        path = self.mktemp()
        for mode, blocks in (("2\n", True), ("0\n", False)):
            with open(path, "w") as file:
                file.write(mode)
            self.patch(sharing, "_OVERCOMMIT", path)
            memory = shared_memory(1 << 20)
            self.assertEqual(os.fstat(memory.descriptor).st_blocks > 0, blocks)
        self.patch(sharing, "_OVERCOMMIT", path + "-missing")
        memory = shared_memory(1 << 20)
        self.assertEqual(os.fstat(memory.descriptor).st_blocks, 0)


class HandingTests(SynchronousTestCase):
    """Tests of :mod:`rendezvous.udp.handing`."""

    def batch(self, datagrams: Sequence[bytes]) -> Batch:
        """:returns: a batch that holds these."""
        batch = Batch(MemoryCalls(), socket.AF_INET6)
        names = [source(1000 + row) for row in range(len(datagrams))]
        batch.fill(b"".join(names), datagrams)
        return batch

    @given(st.lists(st.integers(0, MAX_DATAGRAM), max_size=SIZE))
    def test_what_is_packed_is_read(self, sizes: list[int]) -> None:
        """All datagrams with their sources, in messages of a bounded size."""
        datagrams = [bytes([row]) * size for row, size in enumerate(sizes)]
        batch, read, names = self.batch(datagrams), list[bytes](), b""
        for message, count in messages(3, batch, range(len(sizes))):
            self.assertLessEqual(len(message), MAX_MESSAGE)
            port, its_names, found = unpacked(message)
            self.assertEqual((port, len(found), handing.count(message)), (3, count, count))
            read += found
            names += its_names
        self.assertEqual(read, datagrams)
        self.assertEqual(names, bytes(batch.names[: len(sizes) * NAME_SIZE]))

    def test_only_some_rows_are_packed(self) -> None:
        """Those that are left."""
        [(message, count)] = messages(0, self.batch([b"a", b"b", b"c"]), [0, 2])
        self.assertEqual((unpacked(message), count), ((0, source(1000) + source(1002), [b"a", b"c"]), 2))

    def test_fill_is_what_receive_would_have_done(self) -> None:
        """Length, bytes and source of each row."""
        batch = self.batch([b"longer", b""])
        batch.fill(name(AWAY, socket.AF_INET6).ljust(NAME_SIZE, b"\0"), [b"abc"])
        self.assertEqual((batch.datagram(0), batch.length(0), batch.port(0)), (b"abc", 3, AWAY[1]))
        self.assertEqual(batch.source(0), ("::ffff:" + AWAY[0], AWAY[1]))
        self.assertEqual((batch.datagram(1), batch.port(1)), (b"", 1001))

    def test_lengths_that_cannot_be_are_refused(self) -> None:
        """No message leads beyond a batch or beyond itself."""
        [(whole, _)] = messages(0, self.batch([b"abc"]), [0])
        for message in (whole + b"\0", *[whole[:size] for size in range(len(whole))]):
            self.assertRaises(ValueError, unpacked, message)
            self.assertEqual(handing.count(message), 1)
        too_long = struct.pack("=HHH", 0, 1, MAX_DATAGRAM + 1) + bytes(NAME_SIZE + MAX_DATAGRAM + 1)
        self.assertRaises(ValueError, unpacked, too_long)
        for count in (SIZE, SIZE + 1):
            message = struct.pack("=HH", 0, count) + bytes(count * (2 + NAME_SIZE))
            if count > SIZE:
                self.assertRaises(ValueError, unpacked, message)
            else:
                self.assertEqual(len(unpacked(message)[2]), SIZE)

    def test_pair_holds_a_dozen_batches_of_pulses(self) -> None:
        """And then refuses more, without blocking."""
        one, other = pair()
        self.addCleanup(one.close)
        self.addCleanup(other.close)
        [(message, _)] = messages(0, self.batch([bytes(32)] * SIZE), range(SIZE))
        held = 0
        with self.assertRaises(BlockingIOError):
            while held < 10_000:
                one.send(message)
                held += 1
        self.assertGreaterEqual(held, 12)
        self.assertEqual(other.recv(MAX_MESSAGE), message)


class PortTests(SynchronousTestCase):
    """What a worker answers, and what it hands over, before a whole server."""

    def setUp(self) -> None:
        """Start a server with some clients."""
        self.reactor = WorkerMemoryReactor()
        self.server = worker_server(self.reactor)
        self.addCleanup(self.server.stop)
        self.keys = [self.server.register()[1] for _ in range(20)]
        port = self.reactor.udp_ports[0]
        assert isinstance(port, WorkerMemoryPort)
        self.port = port

    def deliver(self, source: tuple[str, int] = HOME) -> list[bytes]:
        """:returns: the replies to a pulse of each client."""
        before = len(self.port.sent)
        self.port.deliver_all([(key, source) for key in self.keys])
        return [reply for reply, _ in self.port.sent[before:]]

    def counts(self) -> list[int]:
        """:returns: how many pulses the worker has answered, and how many datagrams it has handed over."""
        return [self.port.control.line(0).count(ANSWERED), self.port.handed_over]

    def test_only_steady_pulses_are_answered_by_the_worker(self) -> None:
        """First pulses, moves and late pulses are not; the answers are the same."""
        for source, pause, answered, code in (
            (HOME, 0, 0, ON_TIME),
            (HOME, 20, 20, ON_TIME),
            (AWAY, 5, 0, ON_TIME),
            (AWAY, 33, 20, ON_TIME),
            (AWAY, 34, 0, VERIFY),
            (AWAY, 300, 0, UNKNOWN),
        ):
            self.server.reactor.advance(pause)
            before = self.port.control.line(0).count(ANSWERED) if hasattr(self.port, "control") else 0
            self.assertEqual(self.deliver(source), [code] * 20)
            self.assertEqual(self.counts()[0] - before, answered)
        self.assertEqual(self.counts(), [40, 80])

    def test_few_pulses_are_taken_too(self) -> None:
        """One by one."""
        self.deliver()
        for key in self.keys[:3]:
            self.assertEqual(self.port.deliver(key, HOME), [ON_TIME])
        self.assertEqual(self.counts(), [3, 20])

    def test_stopped_server_takes_no_pulse(self) -> None:
        """Everything is handed over, and dropped there."""
        self.deliver()
        self.server.rendezvous.stopService()
        self.assertEqual(self.deliver(), [])
        self.assertEqual(self.counts(), [0, 40])

    def test_worker_that_was_stopped_in_a_batch_hands_all_of_it_over(self) -> None:
        """Its times may be older than what was written meanwhile; those of the main process are not."""
        self.deliver()
        record = self.server.rendezvous.store.live.columns.seen
        seconds = self.reactor.seconds

        class Pausing:
            """A clock that goes on between the two readings of a batch."""

            calls = 0

            def __call__(self) -> float:
                self.calls += 1
                return seconds() + (SLOW + 0.01) * (self.calls % 2 == 0)

        self.port.worker._seconds = Pausing()
        self.server.reactor.advance(1)
        before = self.counts()
        self.assertEqual(self.deliver(), [ON_TIME] * 20)
        self.assertEqual([now - then for now, then in zip(self.counts(), before, strict=True)], [0, 20])
        self.assertEqual(record[8], self.server.rendezvous.clock.seconds())

    def test_errors_of_the_system_are_counted(self) -> None:
        """A batch that cannot be received, and a reply that cannot be sent."""
        self.deliver()
        line = self.port.control.line(0)
        self.reactor.system.errors.append(5)
        self.port.worker.read()
        self.assertEqual(line.count(UNRECEIVABLE), 1)
        self.reactor.system.errors.extend([0] * 20 + [0, 5])
        self.deliver()
        self.assertEqual(line.count(UNSENDABLE), 1)


class LoopTests(SynchronousTestCase):
    """The loop of a worker, over real sockets."""

    def setUp(self) -> None:
        """Have a pair, and a port that takes nothing."""
        self.ours, theirs = pair()
        self.addCleanup(self.ours.close)
        self.addCleanup(theirs.close)
        self.line = control().line(0)
        self.worker = Worker(theirs, self.line)

    def test_idle_worker_shows_that_it_runs(self) -> None:
        """Each turn changes the epoch, and ends with an even one."""
        for _ in range(3):
            self.assertTrue(self.worker.turn(0.0))
        self.assertEqual(self.line.epoch, 6)

    def test_closed_pair_is_the_end(self) -> None:
        """Also if only one direction is closed, so that what was handed over can still be read."""
        self.ours.shutdown(socket.SHUT_WR)
        self.assertFalse(self.worker.turn(0.0))

    def test_what_the_main_process_has_no_room_for_is_dropped_and_counted(self) -> None:
        """The worker goes on."""
        batch = Batch(MemoryCalls(), socket.AF_INET)
        batch.fill(bytes(SIZE * NAME_SIZE), [bytes(32)] * SIZE)
        sent = 0
        while not self.line.count(BUSY) and sent < 10_000:
            self.worker.hand_over(0, batch, range(SIZE))
            sent += 1
        self.assertEqual(self.line.count(BUSY), SIZE)
        self.assertTrue(self.worker.turn(0.0))

    def test_epoch_is_odd_while_a_port_is_read(self) -> None:
        """What is found in the table then is not used later."""
        epochs: list[int] = []

        class Reading(Port):
            """Notes the epoch."""

            def __init__(self, fd: int, line: Line) -> None:
                self.fd, self.line = fd, line

            def read(self) -> None:
                epochs.append(self.line.epoch)

        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(receiver.close)
        receiver.bind(("127.0.0.1", 0))
        self.worker.add(Reading(receiver.fileno(), self.line))
        receiver.sendto(b"x", receiver.getsockname())
        self.assertTrue(self.worker.turn(10.0))
        self.assertEqual((epochs, self.line.epoch), ([1], 2))


class GivenTests(SynchronousTestCase):
    """What a worker is given."""

    def test_message_says_all(self) -> None:
        """Written and read, it is the same."""
        lists: dict[str, Any] = {"columns": [4096, 8], "sockets": [[0, 10, 7]]}
        given = Given(parent=1, worker=2, keys=3, table=4, spread=(1 << 62) + 1, control=5, **lists)
        self.assertEqual(Given.read(given.packed()), given)
