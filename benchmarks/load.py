"""The load: plain sockets, a window of requests under way, a fixed time."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

WINDOW = 64
CONNECTIONS = 16
#: The shortest request of STUN.
BINDING = bytes.fromhex("000100002112a442") + b"benchmarking"


#: The process of each running server, by its port.
_PROCESSES: dict[int, int] = {}


def pid(port: int) -> int:
    """:returns: the process of a running server."""
    return _PROCESSES[port]


def cpu_of(process: int) -> float:
    """:returns: the seconds of CPU time that all threads of a process have used, by the kernel's accounting."""
    total = 0
    for task in Path(f"/proc/{process}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # The thread has ended.
            total += int((task / "schedstat").read_text(encoding="ascii").split()[0])
    return total / 1e9


def cpu(port: int) -> float:
    """:returns: the CPU seconds that a running server has used."""
    return cpu_of(pid(port))


@contextlib.contextmanager
def server(
    name: str, argument: int = 0, core: int | None = None, checkout: Path | None = None, **settings: object
) -> Iterator[int]:
    """
    Run one of :mod:`benchmarks.servers`; gives its port.

    :param core: the one core that it may use, if not all.
    :param checkout: the directory of another revision, if its code is to be measured.
    :param settings: where they differ from the defaults.
    """
    command = [sys.executable, "-m", "benchmarks.servers", name, str(argument), json.dumps(settings)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=pinned(core), cwd=checkout)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        _PROCESSES[port] = process.pid
        yield port
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def turnserver(core: int, relay_threads: int) -> Iterator[int | None]:
    """
    Run coturn's server for STUN alone; gives its port, or ``None`` if it is not installed.

    :param relay_threads: 0 for a single thread.
    """
    with turnserver_process(core, relay_threads) as running:
        yield None if running is None else running[0]


@contextlib.contextmanager
def turnserver_process(core: int, relay_threads: int) -> Iterator[tuple[int, int] | None]:
    """Run coturn's server as :func:`turnserver` does; gives its port and the number of its process."""
    program = shutil.which("turnserver")
    if program is None:
        yield None
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as directory:
        options = ["-n", "--stun-only", "--no-tls", "--no-dtls", "--no-tcp", "--no-cli", "--no-rfc5780"]
        options += [f"--listening-port={port}", "--listening-ip=127.0.0.1", f"--relay-threads={relay_threads}"]
        options += ["--log-file=stdout", f"--pidfile={directory}/pid", f"--userdb={directory}/db"]
        process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, preexec_fn=pinned(core))
        try:
            _wait_for(port)
            yield port, process.pid
        finally:
            process.kill()
            process.wait()


def pinned(core: int | None) -> Callable[[], None] | None:
    """:returns: what a new process calls to keep to one core."""
    return None if core is None else partial(os.sched_setaffinity, 0, {core})


def other_core(core: int) -> int:
    """:returns: a core for the load of a server that has this one."""
    return min(set(range(os.cpu_count() or 1)) - {core}, default=core)


def _wait_for(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        sock.settimeout(0.1)
        for _ in range(100):
            try:
                sock.send(BINDING)
                sock.recv(2048)
            except TimeoutError:
                continue
            except ConnectionRefusedError:
                time.sleep(0.1)
                continue
            return
    raise RuntimeError(f"nothing answers on port {port}")


@functools.cache
def own_socket(port: int) -> socket.socket:
    """One socket for each server, kept: a pulse from another port would move its client, which is not what is timed."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect(("127.0.0.1", port))
    return sock


def _drain(sock: socket.socket) -> None:
    sock.settimeout(0.1)
    with contextlib.suppress(TimeoutError):
        while True:
            sock.recv(2048)


def datagrams(port: int, payloads: Sequence[bytes], seconds: float) -> float:
    """:returns: replies a second to the payloads, sent in turn with a window of them unanswered."""
    sock = own_socket(port)
    _drain(sock)
    sock.settimeout(0.2)
    count, sent, total = 0, 0, len(payloads)
    start = time.perf_counter()
    end = start + seconds
    while time.perf_counter() < end:
        try:
            # The window is filled anew whenever one has been lost, and at the beginning.
            for _ in range(WINDOW):
                sock.send(payloads[sent % total])
                sent += 1
            while time.perf_counter() < end:
                for _ in range(WINDOW):
                    sock.recv(2048)
                    count += 1
                    sock.send(payloads[sent % total])
                    sent += 1
        except TimeoutError:
            continue
    return count / (time.perf_counter() - start)


def strangers(port: int, payload: bytes, seconds: float) -> float:
    """:returns: replies a second to a payload that a socket sends once, a window of new sockets at a time."""
    count, elapsed = 0, 0.0
    while elapsed < seconds:
        with contextlib.ExitStack() as opened:
            socks = [opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(WINDOW)]
            for sock in socks:
                sock.connect(("127.0.0.1", port))
                sock.settimeout(1.0)
            start = time.perf_counter()
            for sock in socks:
                sock.send(payload)
            for sock in socks:
                sock.recv(2048)
            elapsed += time.perf_counter() - start
            count += WINDOW
    return count / elapsed


def among(port: int, payloads: Sequence[bytes], others: Sequence[bytes], reply: bytes, seconds: float) -> float:
    """
    Send other datagrams as well, one after each payload, whether those are answered or not.

    :returns: replies a second to the payloads alone: those that are ``reply``.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        sock.settimeout(0.2)
        sent = count = missing = 0
        start = time.perf_counter()
        end = start + seconds
        while time.perf_counter() < end:
            while missing < WINDOW:
                sock.send(payloads[sent % len(payloads)])
                sock.send(others[sent % len(others)])
                sent += 1
                missing += 1
            try:
                while sock.recv(2048) != reply:
                    pass
                count += 1
                missing -= 1
            except TimeoutError:
                missing = 0
        return count / (time.perf_counter() - start)


def requests(
    port: int,
    request: bytes,
    seconds: float,
    connections_open: int = CONNECTIONS,
    pause: float = 0.0,
    sources: Sequence[str] = ("127.0.0.1",),
) -> float:
    """
    Send the same HTTP request on several connections, one under way on each.

    :param pause: seconds to rest after each look at the connections.
    :param sources: the addresses of the connections, in turn.
    :returns: answers a second.
    """
    connections = {}
    poll = select.epoll()
    for number in range(connections_open):
        source = sources[number % len(sources)]
        sock = socket.create_connection(("127.0.0.1", port), source_address=(source, 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connections[sock.fileno()] = (sock, bytearray())
        poll.register(sock.fileno(), select.EPOLLIN)
        sock.send(request)
    count = 0
    start = time.perf_counter()
    end = start + seconds
    while time.perf_counter() < end:
        time.sleep(pause)
        for number, _ in poll.poll(1):
            sock, buffer = connections[number]
            buffer += sock.recv(1 << 20)
            if complete(buffer):
                if not buffer.startswith(b"HTTP/1.1 2"):
                    raise RuntimeError(buffer[:300].decode())
                buffer.clear()
                count += 1
                sock.send(request)
    elapsed = time.perf_counter() - start
    for sock, _ in connections.values():
        sock.close()
    return count / elapsed


def complete(buffer: bytearray) -> bool:
    """:returns: whether a whole answer is there."""
    head = buffer.find(b"\r\n\r\n")
    if head < 0:
        return False
    name = buffer.lower().find(b"content-length:", 0, head)
    if name < 0:
        return buffer.endswith(b"0\r\n\r\n")  # chunked
    length = int(buffer[name + 15 : buffer.find(b"\r\n", name)])
    return len(buffer) >= head + 4 + length
