"""The load: plain sockets, a window of requests under way, a fixed time."""

from __future__ import annotations

import contextlib
import functools
import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

WINDOW = 64
CONNECTIONS = 16


@contextlib.contextmanager
def server(name: str, argument: int = 0, **settings: object) -> Iterator[int]:
    """Run one of :mod:`benchmarks.servers`, with these settings; gives its port."""
    command = [sys.executable, "-m", "benchmarks.servers", name, str(argument), json.dumps(settings)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


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


def requests(
    port: int, request: bytes, seconds: float, connections_open: int = CONNECTIONS, pause: float = 0.0
) -> float:
    """
    Send the same HTTP request on several connections, one under way on each.

    :param pause: seconds to rest after each look at the connections.
    :returns: answers a second.
    """
    connections = {}
    poll = select.epoll()
    for _ in range(connections_open):
        sock = socket.create_connection(("127.0.0.1", port))
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
            if _complete(buffer):
                if not buffer.startswith(b"HTTP/1.1 2"):
                    raise RuntimeError(buffer[:300].decode())
                buffer.clear()
                count += 1
                sock.send(request)
    elapsed = time.perf_counter() - start
    for sock, _ in connections.values():
        sock.close()
    return count / elapsed


def _complete(buffer: bytearray) -> bool:
    head = buffer.find(b"\r\n\r\n")
    if head < 0:
        return False
    name = buffer.lower().find(b"content-length:", 0, head)
    if name < 0:
        return buffer.endswith(b"0\r\n\r\n")  # chunked
    length = int(buffer[name + 15 : buffer.find(b"\r\n", name)])
    return len(buffer) >= head + 4 + length
