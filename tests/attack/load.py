"""The load: plain sockets in one thread, bounded in number and in time, from loopback addresses of its own."""

from __future__ import annotations

import contextlib
import itertools
import json
import select
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any

import attrs

__all__ = [
    "NEW_AT_ONCE",
    "ONE",
    "Answer",
    "Script",
    "addresses",
    "blast",
    "fetch",
    "flood",
    "hold",
    "request",
    "tcp",
    "udp_sockets",
]

#: One attacker.
ONE = ("127.66.0.1",)
_READ = select.EPOLLIN | select.EPOLLRDHUP
#: New connections in one look at all of them, so that a server which closes each at once is not met with a busy loop.
NEW_AT_ONCE = 32


def addresses(count: int, sites: int = 0) -> list[str]:
    """
    Name attackers' addresses.

    :param sites: over how many /24 they are spread; 0 for one each.
    """
    sites = sites or count
    return [f"127.{67 + n % sites // 250}.{n % sites % 250}.{1 + n // sites}" for n in range(count)]


@attrs.frozen
class Answer:
    """
    What the server said.

    :ivar body: as it came.
    """

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        """:returns: the body, read."""
        return json.loads(self.body)


#: What one connection does: yields requests and is sent their answers; when it ends it begins again.
Script = Callable[[], Generator[bytes, Answer, None]]


def request(method: str, path: str, body: bytes = b"", auth: str = "", **headers: str) -> bytes:
    """:returns: a whole HTTP request."""
    if auth:
        headers["Authorization"] = f"Bearer {auth}"
    if body:
        headers["Content-Type"] = "application/json"
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = [f"{method} {path} HTTP/1.1", "Host: attack", f"Content-Length: {len(body)}", *lines, "", ""]
    return "\r\n".join(head).encode() + body


def fetch(port: int, asked: bytes, source: str, patience: float = 20.0) -> Answer:
    """:returns: the answer to one request on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=patience, source_address=(source, 0)) as sock:
        sock.sendall(asked)
        buffer = bytearray()
        while (answer := _complete(buffer)) is None:
            piece = sock.recv(1 << 16)
            if not piece:
                raise ConnectionError(f"closed after {bytes(buffer[:200])!r}")
            buffer += piece
        return answer


def _complete(buffer: bytearray) -> Answer | None:
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head, body = bytes(buffer[:end]).lower(), end + 4
    _, found, length = head.partition(b"content-length:")
    if found:
        size = int(length.partition(b"\r\n")[0])
        return Answer(int(head[9:12]), bytes(buffer[body : body + size])) if len(buffer) >= body + size else None
    if b"transfer-encoding: chunked" in head:
        return Answer(int(head[9:12]), b"") if buffer.endswith(b"\r\n0\r\n\r\n") else None
    return Answer(int(head[9:12]), b"")


class _Connection:
    """One of a flood's connections, with its script."""

    def __init__(self, port: int, source: str, script: Script) -> None:
        self.sock = tcp(source)
        self._script = script
        self._running = script()
        self._out = memoryview(next(self._running))
        self._buffer = bytearray()
        with contextlib.suppress(BlockingIOError):
            self.sock.connect(("127.0.0.1", port))

    def write(self) -> int:
        """:returns: the events to wait for next."""
        with contextlib.suppress(BlockingIOError):
            while self._out:
                self._out = self._out[self.sock.send(self._out) :]
        return _READ | (select.EPOLLOUT if self._out else 0)

    def read(self) -> Answer | None:
        """
        Read, and go on to the next request when an answer is complete.

        :raises ConnectionError: the server has closed.
        """
        piece = self.sock.recv(1 << 18)
        if not piece:
            raise ConnectionError("closed")
        self._buffer += piece
        answer = _complete(self._buffer)
        if answer is not None and answer.status != 100:
            self._buffer.clear()
            try:
                self._out = memoryview(self._running.send(answer))
            except StopIteration:
                self._running = self._script()
                self._out = memoryview(next(self._running))
        return answer


def tcp(source: str, receive: int = 0) -> socket.socket:
    """
    :param receive: bytes of its receive buffer; 0 for the system's choice.
    :returns: a socket of this address that does not block.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    if receive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    sock.bind((source, 0))
    return sock


def flood(
    port: int, script: Script, seconds: float, *, connections: int = 64, sources: Sequence[str] = ONE, most: int = 0
) -> Counter[str]:
    """
    Run a script on many connections at once, each as fast as it is answered.

    :param most: end after so many answers; 0 for no bound but the time.
    :returns: how many answers of each status there were, and how many connections were ``closed`` or ``failed``.
    """
    counts: Counter[str] = Counter()
    turn = itertools.cycle(sources)
    opened: dict[int, _Connection] = {}
    end = time.monotonic() + seconds
    answers = 0
    with contextlib.closing(select.epoll()) as poll:
        while time.monotonic() < end and not (most and answers >= most):
            for _ in range(min(NEW_AT_ONCE, connections - len(opened))):
                with _counted(counts):
                    made = _Connection(port, next(turn), script)
                    opened[made.sock.fileno()] = made
                    poll.register(made.sock, select.EPOLLOUT)
            for number, events in poll.poll(0.01):
                connection = opened[number]
                try:
                    if events & ~select.EPOLLOUT and (answer := connection.read()):
                        counts[str(answer.status)] += 1
                        answers += 1
                    poll.modify(number, connection.write())
                except BlockingIOError:
                    continue
                except OSError:
                    counts["closed"] += 1
                    del opened[number]
                    connection.sock.close()
                    time.sleep(0.0005)
        for connection in opened.values():
            connection.sock.close()
    return counts


@contextlib.contextmanager
def _counted(counts: Counter[str]) -> Iterator[None]:
    try:
        yield
    except OSError:
        counts["failed"] += 1


class hold:  # noqa: N801 - used as a function
    """
    Keep many connections open that send almost nothing and read almost nothing.

    :param starts: what each of them sends at first, in turn.
    :param drips: what each sends afterwards, a byte at a time, in turn with ``starts``; or nothing.
    :param every: seconds between two such bytes.
    :param receive: the receive buffer of each, in bytes; 0 for the system's.
    :param rate: how many are opened a second.
    """

    def __init__(
        self, port: int, starts: Sequence[bytes], count: int, sources: Sequence[str], *, drips: Sequence[bytes] = (),
        every: float = 5.0, receive: int = 0, rate: int = 500,
    ) -> None:  # fmt: skip
        self.failed = 0
        self.closed = 0
        self._every = every
        self._due: deque[tuple[float, int]] = deque()
        self._opened: dict[int, tuple[socket.socket, bytes, Iterator[int]]] = {}
        self._poll = select.epoll()
        start = time.monotonic()
        for number in range(count):
            while number > (time.monotonic() - start) * rate:
                self.turn(0.005)
            drip = itertools.cycle(drips[number % len(drips)]) if drips else iter(())
            try:
                sock = tcp(sources[number % len(sources)], receive)
                with contextlib.suppress(BlockingIOError):
                    sock.connect(("127.0.0.1", port))
            except OSError:
                self.failed += 1
                continue
            self._opened[sock.fileno()] = sock, starts[number % len(starts)], drip
            self._poll.register(sock, select.EPOLLOUT | select.EPOLLRDHUP)

    def __len__(self) -> int:
        """Count those that the server has not closed."""
        return len(self._opened)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.turn(0.05)

    def turn(self, patience: float) -> None:
        """Send what is due, and see who was closed."""
        for number, events in self._poll.poll(patience):
            sock, start, drip = self._opened[number]
            if events & (select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR):
                self._drop(number)
                continue
            with contextlib.suppress(OSError):
                start = start[sock.send(start) :]
            self._opened[number] = sock, start, drip
            self._poll.modify(number, select.EPOLLRDHUP | (select.EPOLLOUT if start else 0))
            if not start:
                self._due.append((time.monotonic() + self._every, number))
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, number = self._due.popleft()
            if number in self._opened:
                sock, _, drip = self._opened[number]
                with contextlib.suppress(OSError, StopIteration):
                    sock.send(bytes([next(drip)]))
                self._due.append((now + self._every, number))

    def _drop(self, number: int) -> None:
        self._opened.pop(number)[0].close()
        self.closed += 1

    def close(self) -> None:
        """Hang up, all of them."""
        for sock, _, _ in self._opened.values():
            sock.close()
        self._poll.close()


def udp_sockets(port: int, sources: Iterable[str]) -> list[socket.socket]:
    """Make a connected socket for each source."""
    made = []
    for source in sources:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((source, 0))
        sock.connect(("127.0.0.1", port))
        sock.setblocking(False)
        made.append(sock)
    return made


def blast(sockets: Sequence[socket.socket], payloads: Iterable[bytes], rate: int, seconds: float) -> int:
    """
    Send datagrams from the sockets in turn, so many a second, and read no answer.

    :param payloads: what to send; as many as it has, or for ever.
    :returns: how many were sent.
    """
    sent, start = 0, time.monotonic()
    drawn = iter(payloads)
    while (passed := time.monotonic() - start) < seconds:
        for _ in range(min(int(passed * rate) - sent, 500)):
            payload = next(drawn, None)
            if payload is None:
                return sent
            with contextlib.suppress(OSError):
                sockets[sent % len(sockets)].send(payload)
            sent += 1
        time.sleep(0.002)
    return sent
