"""
The innocent client, a process of its own: ``python -m tests.attack.innocent HTTP_PORT UDP_PORT PID PATIENCE``.

Ten times a second it pulses, looks up an address over a connection that stays open, looks it up over a fresh
connection, and publishes a message on a WebSocket to a topic that it reads itself. Each round begins on time, whether
the last one was answered or not, so a server that does not answer for a while delays all the rounds of that while. The
program prints a line when it is ready, measures until its standard input ends, and prints its measurements as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from tests.attack.frames import CLOSE, PING, PONG, TEXT, frame, handshake, publish, take

__all__ = ["ADDRESS", "KINDS"]

#: Far from every attacker: neither its address nor its /24 is ever one of theirs.
ADDRESS = "127.0.2.1"
KINDS = ("pulse", "look-up", "fresh", "message")

INTERVAL = 0.1
#: Each client pulses once in this many rounds, so a pulse may be late by two seconds and still be told from the next.
CLIENTS = 20
LOST = 2.0
PATIENCE = 10.0
#: All is well again when no answer took so many milliseconds for so many seconds.
SLOW, QUIET = 50.0, 1.5
ON_TIME = (1020).to_bytes(4, "big")
_TICKS, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """
    A WebSocket that reads what it publishes.

    :param connection: opens a connection.
    """

    def __init__(self, connection: Callable[[], Awaitable[Connection]]) -> None:
        self._connection = connection
        self._opening = asyncio.Lock()
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._sent = 0

    async def exchange(self) -> str:
        """:returns: what went wrong with one message, or an empty text."""
        async with self._opening:
            if self._writer is None:
                await asyncio.wait_for(self._open(), PATIENCE)
        assert self._writer is not None
        self._sent += 1
        number = str(self._sent)
        back = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._writer.write(publish("innocent", number))
        await asyncio.wait_for(back, PATIENCE)
        return ""

    async def _open(self) -> None:
        reader, writer = await self._connection()
        writer.write(handshake())
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in head.partition(b"\r\n")[0]:
            writer.close()
            raise ConnectionError(f"no handshake: {head[:40]!r}")
        writer.write(frame(b'{"type":"subscribe","topics":["innocent"]}'))
        self._writer = writer
        self._reading = asyncio.ensure_future(self._read(reader, writer))

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        buffer = bytearray()
        with contextlib.suppress(OSError):
            while piece := await reader.read(1 << 16):
                buffer += piece
                for opcode, payload in take(buffer):
                    if opcode == TEXT:
                        back = self._waiting.pop(json.loads(payload)["data"], None)
                        if back is not None and not back.done():
                            back.set_result(None)
                    elif opcode == PING:
                        writer.write(frame(payload, PONG))
                    elif opcode == CLOSE:
                        writer.close()
        self._writer = None
        for back in self._waiting.values():
            if not back.done():
                back.set_exception(ConnectionError("the socket was closed"))
        self._waiting.clear()


class Innocent:
    """
    One client program with twenty credentials.

    :param patience: seconds for which it goes on at most after it was asked to end.
    :ivar samples: (kind, start on the monotonic clock, milliseconds or ``None``, what went wrong).
    :ivar process: (time, resident bytes and CPU seconds of the server, CPU seconds of all that has nothing to do with
        the attack).
    """

    def __init__(self, http_port: int, udp_port: int, pid: int, patience: float) -> None:
        self._patience = patience
        self._http_port = http_port
        self._udp_port = udp_port
        self._pid = pid
        self._idle: list[Connection] = []
        self._clients: list[tuple[str, bytes, socket.socket]] = []
        self._asked_to_end = 0.0
        self._running: set[asyncio.Task[None]] = set()
        self._echo = Echo(self._connect)
        self.samples: list[tuple[str, float, float | None, str]] = []
        self.process: list[tuple[float, int, float, float]] = []

    async def prepare(self) -> None:
        """Register, pulse once with each client, and open a WebSocket."""
        await self._echo.exchange()
        for _ in range(CLIENTS):
            status, answer = await self._on_kept("POST /register HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            if status != 200:
                raise RuntimeError(f"the innocent client could not register: {status} {answer}")
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind((ADDRESS, 0))
            sock.connect(("127.0.0.1", self._udp_port))
            sock.setblocking(False)
            self._clients.append((answer["client_id"], bytes.fromhex(answer["private_id"]), sock))
            fault = await self._pulse(len(self._clients) - 1)
            if fault:
                raise RuntimeError(f"the innocent client could not pulse: {fault}")

    async def measure(self, stopped: asyncio.Event) -> None:
        """Go on until the event is set and all is well again, or is not for long; then wait for what is under way."""
        number, next_round = 0, time.monotonic()
        while not (stopped.is_set() and self._may_end()):
            self._look_at_process()
            own = number % CLIENTS
            self._begin("pulse", self._pulse(own))
            self._begin("look-up", self._look_up(own, fresh=False))
            self._begin("fresh", self._look_up(own, fresh=True))
            self._begin("message", self._echo.exchange())
            number += 1
            next_round += INTERVAL
            await asyncio.sleep(max(0.0, next_round - time.monotonic()))
        await asyncio.gather(*self._running)

    def _may_end(self) -> bool:
        """:returns: whether nothing was slow for a while since the end was asked for, or that is long ago."""
        now = time.monotonic()
        self._asked_to_end = self._asked_to_end or now
        slow = [start for _, start, took, _ in self.samples[-200:] if took is None or took >= SLOW]
        since = max([self._asked_to_end, *slow])
        return now - since > QUIET or now - self._asked_to_end > self._patience

    def _begin(self, kind: str, doing: Coroutine[Any, Any, str]) -> None:
        async def timed() -> None:
            start = time.monotonic()
            try:
                fault = await doing
            except (OSError, EOFError, ValueError, TimeoutError) as e:
                fault = repr(e)
            took = None if fault else (time.monotonic() - start) * 1000
            self.samples.append((kind, start, took, fault))

        task = asyncio.ensure_future(timed())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def _look_at_process(self) -> None:
        with contextlib.suppress(OSError):
            used, resident = _process(self._pid)
            ours = used + sum(_process(pid)[0] for pid in (os.getpid(), os.getppid()))
            with open("/proc/stat", encoding="ascii") as file:
                user, nice, system, _, _, irq, softirq, steal, *_ = map(int, file.readline().split()[1:])
            busy = (user + nice + system + irq + softirq + steal) / _TICKS
            self.process.append((time.monotonic(), resident, used, busy - ours))

    async def _pulse(self, own: int) -> str:
        """:returns: what went wrong, or an empty text."""
        _, key, sock = self._clients[own]
        loop = asyncio.get_running_loop()
        with contextlib.suppress(BlockingIOError):
            while sock.recv(64):
                pass  # A reply that came after its pulse had been given up.
        sock.send(key)
        try:
            code = await asyncio.wait_for(loop.sock_recv(sock, 64), LOST)
        except TimeoutError:
            return "lost"
        return "" if code == ON_TIME else f"code {int.from_bytes(code, 'big')}"

    async def _look_up(self, own: int, *, fresh: bool) -> str:
        """:returns: what went wrong, or an empty text."""
        peer, key, _ = self._clients[own]
        request = (
            f"GET /peer/{peer}/udp HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {peer}:{key.hex()}\r\n"
            f"{'Connection: close' + chr(13) + chr(10) if fresh else ''}\r\n"
        )
        ask = self._on_fresh if fresh else self._on_kept
        status, answer = await asyncio.wait_for(ask(request), PATIENCE)
        return "" if status == 200 else f"{status} {answer.get('code')}"

    async def _on_fresh(self, request: str) -> tuple[int, Any]:
        connection = await self._connect()
        try:
            return await _ask(connection, request)
        finally:
            connection[1].close()

    async def _on_kept(self, request: str) -> tuple[int, Any]:
        kept = bool(self._idle)
        connection = self._idle.pop() if kept else await self._connect()
        try:
            answer = await _ask(connection, request)
        except (ConnectionError, asyncio.IncompleteReadError):
            connection[1].close()
            if not kept:
                raise
            # A server may close a connection that is idle; a client then asks again (RFC 9112, section 9.3.1).
            return await self._on_kept(request)
        except BaseException:
            connection[1].close()
            raise
        self._idle.append(connection)
        return answer

    async def _connect(self) -> Connection:
        return await asyncio.open_connection("127.0.0.1", self._http_port, local_addr=(ADDRESS, 0))


def _process(pid: int) -> tuple[float, int]:
    """:returns: CPU seconds and resident bytes of a process."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS, int(fields[21]) * _PAGE


async def _ask(connection: Connection, request: str) -> tuple[int, Any]:
    reader, writer = connection
    writer.write(request.encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.partition("content-length:")[2].partition("\r\n")[0])
    return int(head.split()[1]), json.loads(await reader.readexactly(length))


async def main(http_port: int, udp_port: int, pid: int, patience: float) -> None:
    """Prepare, measure until the input ends, and print."""
    with contextlib.suppress(OSError):
        os.nice(-10)  # In truth it has a machine of its own: how soon it is scheduled here is not what it measures.
    innocent = Innocent(http_port, udp_port, pid, patience)
    await innocent.prepare()
    gc.collect()
    gc.disable()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stopped.set)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await innocent.measure(stopped)
    sys.stdout.write(json.dumps({"samples": innocent.samples, "process": innocent.process}) + "\n")


if __name__ == "__main__":
    http, udp, server = map(int, sys.argv[1:4])
    asyncio.run(main(http, udp, server, float(sys.argv[4])))
