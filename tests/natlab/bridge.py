"""
The core's wire: a bridge in userspace with delay, jitter, loss, and loss in bursts.

``python -m tests.natlab.bridge`` joins all interfaces of its namespace whose names begin with ``p-``. A line of JSON on
standard input, the attributes of :class:`Conditions`, sets the conditions. The bridge answers each line with
another one: how many datagrams of UDP it has carried since the last line, as ``{"from>to": number}``. Kernels
without ``netem`` are common, and this needs none.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import math
import os
import random
import select
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping

import attrs

_ALL_PROTOCOLS = 3
_SOL_PACKET = 263
_PACKET_IGNORE_OUTGOING = 23
_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"
_UDP, _ICMPV6 = 17, 58
_NEIGHBOUR_DISCOVERY = range(133, 138)


def _extra(given: Mapping[str, float]) -> Mapping[tuple[str, str], float]:
    """:returns: delays by pairs, from ``{"from>to": milliseconds}``."""
    pairs = ((key.split(">"), value) for key, value in given.items())
    return {(source, target): value for (source, target), value in pairs}


@attrs.frozen
class Conditions:
    """
    What the wire does to packets. Times are milliseconds, one way.

    :ivar delay: between any two ports.
    :ivar jitter: up to so much more, uniformly; packets may overtake each other.
    :ivar loss: the share of packets that is lost.
    :ivar burst: for how long all packets of one direction are lost in one go, on average; 0 for independent losses.
    :ivar extra: further delay from one port to another.
    """

    delay: float = 20.0
    jitter: float = 0.0
    loss: float = 0.0
    burst: float = 0.0
    extra: Mapping[tuple[str, str], float] = attrs.field(factory=dict, converter=_extra)


class Losses:
    """
    Decides which packets of one direction are lost.

    Losses that come in bursts follow Gilbert's model (https://doi.org/10.1002/j.1538-7305.1960.tb03959.x) in continuous
    time: there is a good state and a bad one, in which every packet is lost, and the lengths of both are exponential.
    A model that counts packets would let one burst last for many seconds where there is one packet now and then.

    :param share: of packets that are lost, from 0 on and less than 1.
    :param burst: the mean length of a burst in seconds; 0 for losses that do not depend on each other.
    :param chance: gives a number from 0 to 1.
    """

    def __init__(self, share: float, burst: float, chance: Callable[[], float]) -> None:
        self._share = share
        self._burst = burst
        self._chance = chance
        self._bad = chance() < share
        self._until: float | None = None

    def next(self, now: float) -> bool:
        """:returns: whether a packet is lost at this time; times may not go back."""
        if not self._share or not self._burst:
            return self._chance() < self._share
        if self._until is None:
            self._until = now + self._length()
        while self._until <= now:
            self._bad = not self._bad
            self._until += self._length()
        return self._bad

    def _length(self) -> float:
        """:returns: how long the state lasts that has just begun."""
        mean = self._burst if self._bad else self._burst * (1 - self._share) / self._share
        return -mean * math.log(1 - self._chance())


def is_carried(frame: bytes) -> bool:
    """:returns: whether a frame is one that conditions apply to: IP, but for the discovery of neighbours."""
    if frame[12:14] == _IPV6:
        return not (frame[20] == _ICMPV6 and frame[54] in _NEIGHBOUR_DISCOVERY)
    return frame[12:14] == _IPV4


def is_udp(frame: bytes) -> bool:
    """:returns: whether a frame is a datagram of UDP."""
    return (frame[12:14] == _IPV4 and frame[23] == _UDP) or (frame[12:14] == _IPV6 and frame[20] == _UDP)


class Bridge:
    """
    The bridge without its sockets.

    :param chance: gives a number from 0 to 1.
    """

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._where: dict[bytes, str] = {}
        self._queue: list[tuple[float, int, str, bytes]] = []
        self._order = itertools.count()
        self._carried: Counter[str] = Counter()
        self.set(Conditions(delay=0), [])

    def set(self, conditions: Conditions, ports: list[str]) -> dict[str, int]:
        """
        Change the conditions and the ports; packets that are on their way are not concerned.

        :returns: the datagrams that were sent from port to port since the last change, also those that were lost.
        """
        carried, self._carried = self._carried, Counter()
        self._conditions = conditions
        self._ports = ports
        self._losses: dict[tuple[str, str], Losses] = {}
        return dict(carried)

    def take(self, source: str, frame: bytes, now: float) -> None:
        """Take a frame in at a port."""
        if len(frame) < 14:
            return
        self._where[frame[6:12]] = source
        known = self._where.get(frame[:6])
        for target in [known] if known else self._ports:
            if target != source:
                self._pass(source, target, frame, now)

    def _pass(self, source: str, target: str, frame: bytes, now: float) -> None:
        delay, conditions = 0.0, self._conditions
        if is_carried(frame):
            pair = source, target
            if is_udp(frame):
                self._carried[f"{source}>{target}"] += 1
            if conditions.loss:
                if pair not in self._losses:
                    self._losses[pair] = Losses(conditions.loss, conditions.burst / 1000, self._chance)
                if self._losses[pair].next(now):
                    return
            delay = conditions.delay + conditions.extra.get(pair, 0) + conditions.jitter * self._chance()
        heapq.heappush(self._queue, (now + delay / 1000, next(self._order), target, frame))

    def due(self, now: float) -> list[tuple[str, bytes]]:
        """:returns: the ports and frames whose time has come."""
        found = []
        while self._queue and self._queue[0][0] <= now:
            _, _, target, frame = heapq.heappop(self._queue)
            found.append((target, frame))
        return found

    def wait(self, now: float) -> float | None:
        """:returns: the seconds until a frame is due; ``None`` if there is none."""
        return max(0.0, self._queue[0][0] - now) if self._queue else None


def _open(name: str) -> socket.socket:
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS))
    port.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    port.bind((name, _ALL_PROTOCOLS))
    port.setblocking(False)
    return port


def _drain(bridge: Bridge, port: socket.socket, name: str) -> None:
    while True:
        try:
            frame = port.recv(65536)
        except OSError:
            # Nothing more, or the interface has gone.
            return
        bridge.take(name, frame, time.monotonic())


class Ports:
    """The sockets of the bridge's ports, by name."""

    def __init__(self) -> None:
        self._open: dict[str, socket.socket] = {}

    def join(self) -> list[str]:
        """
        Open the ports that have come.

        :returns: the names of all.
        """
        names = [name.removeprefix("p-") for _, name in socket.if_nameindex() if name.startswith("p-")]
        for name in names:
            if name not in self._open:
                self._open[name] = _open(f"p-{name}")
        return names

    def ready(self, wait: float | None) -> tuple[bool, list[tuple[str, socket.socket]]]:
        """:returns: whether there is a line to read, and the ports that have frames."""
        by_number = {port.fileno(): (name, port) for name, port in self._open.items()}
        ready, _, _ = select.select([sys.stdin.fileno(), *by_number], [], [], wait)
        return sys.stdin.fileno() in ready, [by_number[each] for each in ready if each in by_number]

    def send(self, name: str, frame: bytes) -> None:
        """Send a frame, if that is possible."""
        with contextlib.suppress(OSError):
            self._open[name].send(frame)


def main() -> None:
    """Bridge until standard input ends."""
    with contextlib.suppress(OSError):
        os.nice(-10)
    ports = Ports()
    bridge = Bridge(random.random)
    while True:
        is_line, ready = ports.ready(bridge.wait(time.monotonic()))
        if is_line:
            # There is one line at a time, because the writer waits for the answer.
            line = sys.stdin.readline()
            if not line:
                return
            carried = bridge.set(Conditions(**json.loads(line)), ports.join())
            sys.stdout.write(json.dumps(carried) + "\n")
            sys.stdout.flush()
        for name, port in ready:
            _drain(bridge, port, name)
        for target, frame in bridge.due(time.monotonic()):
            ports.send(target, frame)


if __name__ == "__main__":
    main()
