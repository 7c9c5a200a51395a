"""Connections of a server that runs as a process: the PROXY protocol, and few file descriptors."""

from __future__ import annotations

import contextlib
import http.client
import os
import resource
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from twisted.trial.unittest import SynchronousTestCase

from tests.real_server import running

REGISTER = b"POST /register HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@contextmanager
def server(*options: str, descriptors: int = 0) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """
    Run a server whose HTTP endpoint is one of the options, on port 0.

    :param descriptors: the limit of open files, if it is to have one.
    :returns: its HTTP port, and the process.
    """

    def limit() -> None:
        if descriptors:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors // 2, descriptors))

    options = ("--udp-port=0", "--store=memory:", *options)
    with running(*options, preexec=limit) as process:
        assert process.stdout is not None
        port = 0
        for line in process.stdout:
            if "HTTP on " in line:
                port = int(line.rpartition(":")[2])
            if "UDP on " in line:
                break
        assert port, "the server has not started"
        yield port, process


def ask(port: int, data: bytes) -> int:
    """:returns: the status of the answer to raw bytes."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(data)
        response = http.client.HTTPResponse(connection)
        response.begin()
        response.read()
        return response.status


class ProxyProtocolTests(SynchronousTestCase):
    """A server that listens as ``docs/operating.rst`` says, behind the PROXY protocol."""

    def header(self, version: int, source: str) -> bytes:
        """:returns: the header of one of both versions."""
        if version == 1:
            return f"PROXY TCP4 {source} 192.0.2.1 4711 443\r\n".encode()
        addresses = socket.inet_aton(source) + socket.inet_aton("192.0.2.1") + struct.pack("!HH", 4711, 443)
        return b"\r\n\r\n\x00\r\nQUIT\n\x21\x11" + struct.pack("!H", len(addresses)) + addresses

    def test_source_is_the_one_in_the_header(self) -> None:
        """Each has its own limits, though all connections come from one proxy; a header of HTTP changes nothing."""
        with server("--http=haproxy:tcp:0:interface=127.0.0.1", "--source-registrations=0.02") as (port, _):
            for version in (1, 2):
                for source in (f"198.51.100.{version}", f"203.0.113.{version}"):
                    forged = REGISTER.replace(b"Host: a", b"Host: a\r\nX-Forwarded-For: 192.0.2.99")
                    header = self.header(version, source)
                    statuses = [ask(port, header + request) for request in (REGISTER, forged, forged)]
                    self.assertEqual(statuses, [200, 200, 429], (version, source))

    def test_connections_are_counted_for_the_source_in_the_header(self) -> None:
        """Two of one source take each other's place, and two of different sources do not."""
        running = server("--http=haproxy:tcp:0:interface=127.0.0.1", "--source-connections=1")
        with running as (port, _), contextlib.ExitStack() as stack:
            begun = b"GET /health HTTP/1.1\r\n"
            connections = []
            for source in ("198.51.100.1", "198.51.100.1", "203.0.113.1"):
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), 5))
                connection.sendall(self.header(1, source) + begun)
                connections.append(connection)
                if len(connections) == 2:
                    self.assertRaises(ConnectionResetError, connections[0].recv, 10)
            for connection in connections[1:]:
                connection.sendall(b"Host: a\r\n\r\n")
                self.assertEqual(connection.recv(12), b"HTTP/1.1 200")


class DescriptorTests(SynchronousTestCase):
    """A server with 256 file descriptors, of which it starts with 128."""

    def test_new_client_is_served_beside_600_idle_connections(self) -> None:
        """The oldest give way, nothing is refused, and nothing is logged about it but one line a minute."""
        with server("--http=tcp:0:interface=127.0.0.1", descriptors=256) as (port, process):
            with contextlib.ExitStack() as stack:
                for number in range(600):
                    address = (f"127.0.{number % 50 + 1}.2", 0)
                    stack.enter_context(socket.create_connection(("127.0.0.1", port), 5, address))
                    if number % 100 == 99:
                        self.assertEqual(
                            ask(port, b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), 200
                        )
                self.assertEqual(ask(port, REGISTER), 200)
            process.terminate()
            assert process.stdout is not None
            log = process.stdout.read()
            self.assertNotIn("EMFILE", log)
            self.assertNotIn("Traceback", log)
            self.assertNotIn("Timing out", log)

    def test_connections_that_cannot_be_accepted_are_one_line(self) -> None:
        """No descriptor is left: each of them is closed, and counted. When there are descriptors again, all is well."""
        with server("--http=tcp:0:interface=127.0.0.1") as (port, process):
            known = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            self.addCleanup(known.close)
            known.request("GET", "/health")
            known.getresponse().read()
            before = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
            in_use = len(os.listdir(f"/proc/{process.pid}/fd"))
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (in_use, before[1]))
            for _ in range(50):
                with socket.create_connection(("127.0.0.1", port), 5) as connection:
                    self.assertEqual(connection.recv(1), b"")
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, before)
            # When this is answered, the server has gone on from the last connection that it could not accept.
            known.request("GET", "/health")
            self.assertEqual(known.getresponse().status, 200)
            self.assertEqual(ask(port, REGISTER), 200)
            process.terminate()
            assert process.stdout is not None
            lines = [line for line in process.stdout.read().splitlines() if "EMFILE" in line]
        self.assertEqual(len(lines), 1)
        self.assertTrue(lines[0].endswith("unaccepted connections: {'EMFILE': 50}"), lines)
