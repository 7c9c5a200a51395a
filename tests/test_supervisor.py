"""Tests of :mod:`rendezvous.supervisor`."""

from __future__ import annotations

import os
import socket
import tempfile

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.supervisor import supervisor_of, watchdog_interval


def now() -> float:
    """:returns: a time that the messages do not depend on."""
    return 1.0


class SupervisorTests(SynchronousTestCase):
    """Messages arrive at the socket that the environment names."""

    def listen(self, address: str) -> socket.socket:
        """:returns: the socket of a supervisor."""
        found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(found.close)
        found.bind(address)
        found.setblocking(False)
        return found

    def test_socket_in_the_file_system(self) -> None:
        """Each message is a datagram."""
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "notify")
            heard = self.listen(path)
            supervisor = supervisor_of({"NOTIFY_SOCKET": path}, now)
            for say in (supervisor.ready, supervisor.alive, supervisor.reloading, supervisor.stopping):
                say()
            expected = [b"READY=1", b"WATCHDOG=1", b"RELOADING=1\nMONOTONIC_USEC=1000000", b"STOPPING=1"]
            self.assertEqual([heard.recv(100) for _ in expected], expected)

    def test_socket_in_the_abstract_namespace(self) -> None:
        """Its name begins with @ in the environment."""
        name = f"rendezvous-test-{os.getpid()}"
        heard = self.listen(f"\0{name}")
        supervisor_of({"NOTIFY_SOCKET": f"@{name}"}, now).ready()
        self.assertEqual(heard.recv(100), b"READY=1")

    def test_supervisor_that_is_not_there_changes_nothing(self) -> None:
        """Nor does one that reads nothing, so that its queue is full, or a name that is none."""
        for environ in ({}, {"NOTIFY_SOCKET": "/nowhere/x"}, {"NOTIFY_SOCKET": "vsock:2:1234"}, {"NOTIFY_SOCKET": ""}):
            supervisor_of(environ, now).ready()
        name = f"rendezvous-full-{os.getpid()}"
        self.listen(f"\0{name}")
        supervisor = supervisor_of({"NOTIFY_SOCKET": f"@{name}"}, now)
        for _ in range(5000):
            supervisor.alive()

    def test_watchdog(self) -> None:
        """The interval is half of what the supervisor waits, if it waits for this process."""
        for environ, expected in (
            ({}, None),
            ({"WATCHDOG_USEC": "30000000"}, 15.0),
            ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 15.0),
            ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
            ({"WATCHDOG_USEC": "0"}, None),
            ({"WATCHDOG_USEC": "soon"}, None),
        ):  # fmt: skip
            self.assertEqual(watchdog_interval(environ, 7), expected, environ)
