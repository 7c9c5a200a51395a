"""Tests of UDP workers as processes: they answer, they are replaced, and none is left behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from rendezvous.udp.control import ANSWERED, Control, control_size
from tests._process_case import ON_TIME, PATIENCE, UNKNOWN, Client, ForegroundCase
from tests.steady_hammer import Hammered, hammer

if sys.platform != "linux":
    raise SkipTest("workers need Linux")

#: Clients, each with a socket of its own: the kernel spreads them over the processes.
CLIENTS = 40
#: Seconds after which a pulse that was sent while a worker was killed counts as lost.
LOST = 3.0
MODULE = b"rendezvous.udp.worker"


def workers_of(parent: int | None) -> list[int]:
    """:returns: the workers that run, of one server or of all."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command, status = (path / "cmdline").read_bytes(), (path / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if MODULE in command.split(b"\0") and status[0] not in "ZX" and parent in (None, int(status[1])):
            found.append(int(path.name))
    return sorted(found)


def answered(server: int) -> list[int]:
    """:returns: how many pulses each of the two workers has answered, from the memory they share with their server."""
    for path in Path(f"/proc/{server}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if path.readlink().name.startswith("memfd:rendezvous") and path.stat().st_size == control_size(2):
                control = Control(memoryview(path.read_bytes()))
                return [control.line(worker).count(ANSWERED) for worker in range(2)]
    raise AssertionError("the server shares no memory with workers")


class Load:
    """Clients that pulse one after the other, all the time."""

    def __init__(self, clients: list[Client]) -> None:
        self._clients = clients
        self._ends = threading.Event()
        self.replies: Counter[bytes] = Counter()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._ends.is_set():
            for client in self._clients:
                client.socket.sendto(client.key, (client.host, client.udp_port))
            # All replies of a round have the same time. A wait for each that is lost would take most of a test.
            until = time.monotonic() + LOST
            for client in self._clients:
                client.socket.settimeout(max(0.001, until - time.monotonic()))
                try:
                    self.replies[client.socket.recv(100)] += 1
                except TimeoutError:
                    self.replies[b""] += 1

    def end(self) -> Counter[bytes]:
        """:returns: how often each reply came; empty where none came in time."""
        self._ends.set()
        self.thread.join()
        return self.replies


class WorkersCase(ForegroundCase):
    """A server with two workers."""

    def serve(self, *words: str) -> list[Client]:
        """:returns: clients that have pulsed, when the workers are there."""
        options = ("--interface=127.0.0.1", "--no-source-limits", "--udp-workers=2", *words)
        self.found_ports = self.start(*options)
        clients = [self.client("127.0.0.1", self.found_ports) for _ in range(CLIENTS)]
        for client in clients:
            self.assertEqual(client.pulse(), ON_TIME)
        self.eventually(lambda: len(self.answering()) == 2, "both workers answering")
        self.both_answer(clients)
        return clients

    def answering(self) -> list[int]:
        """:returns: the workers that have said that they answer, and run."""
        said = {int(found) for found in re.findall(r"UDP worker \d+ answers, as process (\d+)\n", self.log())}
        return [worker for worker in self.workers() if worker in said]

    def both_answer(self, clients: list[Client]) -> None:
        """Have clients pulse until each of the workers has answered some of them."""
        before = answered(self.process.pid)

        def both() -> bool:
            self.assertEqual({client.pulse() for client in clients}, {ON_TIME})
            return all(now > then for now, then in zip(answered(self.process.pid), before, strict=True))

        self.eventually(both, "answers of both workers")

    def workers(self) -> list[int]:
        """:returns: the workers of the server."""
        return workers_of(self.process.pid)

    def replaced(self, worker: int) -> None:
        """Wait until another process has taken the place of one."""
        self.eventually(lambda: worker not in self.workers() and len(self.answering()) == 2, "a replacement")

    def gone(self, workers: list[int]) -> None:
        """Wait until processes have ended."""
        self.eventually(lambda: not set(workers) & set(workers_of(None)), "the end of the workers")


class WorkersTests(WorkersCase):
    """Workers that answer and end."""

    def test_server_stops_without_leaving_a_process(self) -> None:
        """Ctrl-C ends the workers too, and ends in peace."""
        clients = self.serve("--store=memory:")
        self.assertRegex(self.log(), r"UDP on \S+, fast path with(out)? NumPy, 2 workers")
        workers = self.workers()
        self.assertEqual(clients[0].status(), "ONLINE")
        self.stop(signal.SIGINT)
        self.assertEqual(set(workers) & set(workers_of(None)), set())
        self.assertNotIn("has ended", self.log())

    def test_worker_ignores_what_is_sent_to_the_whole_group(self) -> None:
        """A terminal and a service manager signal every process; only the main one acts."""
        clients = self.serve("--store=memory:")
        workers = self.workers()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            for worker in workers:
                os.kill(worker, number)
        self.assertEqual({client.pulse() for client in clients}, {ON_TIME})
        self.assertEqual(self.workers(), workers)

    def test_worker_that_is_killed_under_load_is_replaced(self) -> None:
        """No answer is wrong; what is lost is no more than the batch that it had in hand."""
        load = Load(self.serve())
        load.thread.start()
        self.addCleanup(load.end)
        for _ in range(3):
            worker = self.workers()[0]
            os.kill(worker, signal.SIGKILL)
            self.replaced(worker)
        # However slow the machine is: the load goes on until there is something to judge by.
        self.eventually(lambda: load.replies[ON_TIME] > 1000, "a thousand answers")
        replies = load.end()
        self.assertEqual(set(replies) - {ON_TIME, b""}, set())
        self.assertLessEqual(replies[b""], 3 * CLIENTS)
        self.assertGreater(replies[ON_TIME], 1000)
        self.assertIn("has ended (signal 9); another process takes its place", self.log())

    def test_worker_that_is_stopped_is_replaced(self) -> None:
        """The main process answers in its place before that, so nothing waits for long."""
        clients = self.serve("--store=memory:")
        worker = self.workers()[1]
        os.kill(worker, signal.SIGSTOP)
        self.assertEqual({client.pulse() for client in clients}, {ON_TIME})
        self.replaced(worker)
        self.assertIn("does not react; its process is ended", self.log())
        self.assertEqual({client.pulse() for client in clients}, {ON_TIME})

    def test_killed_server_leaves_no_worker_and_starts_again_at_once(self) -> None:
        """On the same port and the same store; all clients are where they were."""
        clients = self.serve()
        workers = self.workers()
        self.process.kill()
        self.process.wait(PATIENCE)
        _, udp_port = self.found_ports
        with open(self.directory / "out.log", "w") as out, open(self.directory / "err.log", "w") as err:
            words = ("--http-port=0", f"--udp-port={udp_port}", "--interface=127.0.0.1", "--udp-workers=2")
            self.process = self.launch_words(out, err, *words)
        self.gone(workers)
        self.assertEqual(self.ports()[1], udp_port)
        self.assertEqual({client.pulse() for client in clients}, {ON_TIME})
        self.assertNotIn("Traceback", self.log())

    def test_stopped_server_lets_its_workers_answer_for_two_seconds_only(self) -> None:
        """Then they hand over, since server time may leave out what follows. Nothing is answered wrongly afterwards."""
        clients = self.serve("--store=memory:")
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            time.sleep(2.5)
            for client in clients:
                client.socket.settimeout(0.05)
                self.assertRaises(TimeoutError, client.pulse)
        finally:
            os.kill(self.process.pid, signal.SIGCONT)
        for client in clients:
            client.socket.settimeout(PATIENCE)
            self.assertEqual(client.socket.recv(100), ON_TIME)
            self.assertEqual(client.pulse(), ON_TIME)

    def test_client_that_has_logged_out_is_unknown_at_once(self) -> None:
        """A worker never answers for it, and other clients that register then are not taken for it."""
        clients = self.serve("--store=memory:")
        for client in clients[:20]:
            self.assertEqual(client.ask("POST", "/logout")[0], 200)
            self.assertEqual(client.pulse(), UNKNOWN)
        for client in clients[:20]:
            old = client.key
            client.register()
            self.assertEqual(client.pulse(), ON_TIME)
            client.socket.sendto(old, (client.host, client.udp_port))
            self.assertEqual(client.socket.recv(100), UNKNOWN)
        self.assertEqual({client.pulse() for client in clients}, {ON_TIME})

    def test_index_that_grows_is_seen_by_new_workers(self) -> None:
        """A reload that raises the number of clients makes the index anew."""
        config = self.directory / "rendezvous.toml"
        config.write_text("max_clients = 64\n")
        clients = self.serve("--store=memory:", "--config=rendezvous.toml")
        workers = self.workers()
        config.write_text("max_clients = 128\n")
        self.process.send_signal(signal.SIGHUP)
        self.eventually(lambda: "reloaded: max_clients = 128" in self.log(), "a reload")
        self.eventually(lambda: len(set(self.answering()) - set(workers)) == 2, "new workers")
        self.assertEqual({client.pulse() for client in clients}, {ON_TIME})
        self.both_answer(clients)
        self.assertNotIn("has ended", self.log())


class HammerTests(SynchronousTestCase):
    """Another process takes pulses while clients come and go in few slots; see :mod:`tests.steady_hammer`."""

    def hammer(self, way: str, until: Callable[[Hammered], bool], *, early: bool = False) -> Hammered:
        """:returns: what has happened when it was enough."""
        if way == "together" and find_spec("numpy") is None:
            raise SkipTest("this needs NumPy")
        return hammer(way, until, early=early)

    def test_no_record_of_another_client_is_written_to(self) -> None:
        """However often slots are given out again, and wherever the process is stopped."""
        for way in ("plain", "together"):
            found = self.hammer(way, lambda found: found.taken > 100 and min(found.reused, found.batches) > 2000)
            self.assertEqual(found.wrong, 0, way)
            self.assertGreater(found.taken, 100, way)
            self.assertGreater(min(found.reused, found.batches), 2000, way)

    def test_slot_that_is_freed_at_once_is_noticed(self) -> None:
        """Without the wait, pulses of clients that have ended reach the next clients' records."""
        for way in ("plain", "together"):
            self.assertGreater(self.hammer(way, lambda found: found.wrong > 0, early=True).wrong, 0, way)


class RefusalTests(WorkersCase):
    """What cannot be had is one line."""

    def test_port_that_is_in_use_is_refused_although_it_could_be_shared(self) -> None:
        """By a server with workers, and by one without."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            other.bind(("127.0.0.1", 0))
            port = other.getsockname()[1]
            for count in ("2", "0"):
                done = self.run_twistd(
                    "-n", "rendezvous", "--store=memory:", "--interface=127.0.0.1", "--http-port=0",
                    f"--udp-port={port}", f"--udp-workers={count}",
                )  # fmt: skip
                self.assertEqual(done.returncode, 1)
                self.assertIn(f"cannot listen for UDP on 127.0.0.1:{port}", done.stderr)
                self.assertIsNone(re.search("Traceback", done.stdout + done.stderr))

    def test_second_server_cannot_share_the_port_of_a_first(self) -> None:
        """Each would get a part of the pulses."""
        self.serve("--store=memory:")
        done = self.run_twistd(
            "-n", "--pidfile=other.pid", "rendezvous", "--store=memory:", "--interface=127.0.0.1", "--http-port=0",
            f"--udp-port={self.found_ports[1]}", "--udp-workers=2",
        )  # fmt: skip
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot listen for UDP", done.stderr)
