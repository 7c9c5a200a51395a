"""The load: plain sockets, a window of requests under way, a fixed time."""

from __future__ import annotations

import contextlib
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


def datagrams(port: int, payloads: Sequence[bytes], seconds: float) -> float:
    """:returns: replies a second to the payloads, sent in turn with a window of them unanswered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        sock.settimeout(0.2)
        count, total = 0, len(payloads)
        for number in range(WINDOW):
            sock.send(payloads[number % total])
        sent = WINDOW
        start = time.perf_counter()
        end = start + seconds
        while time.perf_counter() < end:
            try:
                for _ in range(WINDOW):
                    sock.recv(2048)
                    count += 1
                    sock.send(payloads[sent % total])
                    sent += 1
            except TimeoutError:  # One was lost: fill the window again.
                for _ in range(WINDOW):
                    sock.send(payloads[sent % total])
                    sent += 1
        return count / (time.perf_counter() - start)


def requests(port: int, request: bytes, seconds: float) -> float:
    """:returns: answers a second to the same HTTP request, on several connections, one under way on each."""
    connections = {}
    poll = select.epoll()
    for _ in range(CONNECTIONS):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connections[sock.fileno()] = (sock, bytearray())
        poll.register(sock.fileno(), select.EPOLLIN)
        sock.send(request)
    count = 0
    start = time.perf_counter()
    end = start + seconds
    while time.perf_counter() < end:
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
