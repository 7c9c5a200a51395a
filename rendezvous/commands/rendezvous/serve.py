"""``rendezvous serve``: carries datagrams of peers that forward to the UDP ports that it names, and to no other."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import attrs

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import LoopingCall

from rendezvous.commands.rendezvous.context import Context
from rendezvous.commands.rendezvous.forward import LARGEST
from rendezvous.commands.rendezvous.paths import Path, listen
from rendezvous.errors import WireError
from rendezvous.wire.forward import Frame, FrameKind, decode, encode

__all__ = ["FLOWS_OF_A_PEER", "IDLE", "MOST_PEERS", "ServeCarrier", "serve_ports"]

#: Peers at once.
MOST_PEERS = 16

#: Sockets for one peer; of more, the one that was silent for longest is closed.
FLOWS_OF_A_PEER = 64

#: Seconds of silence after which a socket is closed.
IDLE = 180.0

_SWEEP = 30.0

#: Seconds between two refusals to one peer.
_REFUSAL_PAUSE = 1.0

Key = tuple[int, int]


async def serve_ports(context: Context) -> int:
    """
    Wait for peers, and carry their datagrams until the command is interrupted.

    :returns: the exit status.
    """
    return await listen(context, ServeCarrier(context), MOST_PEERS)


class _Exit(DatagramProtocol):
    """
    A socket for one flow of a peer. The program that is served sees each flow as another client.

    :param target: the port that is served.
    """

    noisy = False

    def __init__(self, served: _Served, key: Key, target: tuple[str, int]) -> None:
        self._served = served
        self._key = key
        self._target = target
        self.port: Any = None
        self.used_at = 0.0

    def send(self, payload: bytes) -> None:
        """Give a datagram to the program."""
        if self.transport is None:
            return
        try:
            self.transport.write(payload, self._target)
        except OSError:
            return  # The program cannot be reached now. Datagrams may be lost.

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Carry an answer of the program, and nothing that others send to this socket."""
        if (addr[0], addr[1]) == self._target:
            self._served.answer(self._key, datagram)


@attrs.define(eq=False)
class _Served:
    """
    One path, and the sockets of its flows, the one that was silent for longest first.

    :ivar refused_at: when the last refusal was sent.
    """

    context: Context
    path: Path
    exits: OrderedDict[Key, _Exit] = attrs.field(factory=OrderedDict)
    refused_at: float = float("-inf")

    def take(self, frame: Frame) -> None:
        """Carry a datagram to the port that it names, if this port is served."""
        options, now = self.context.options, self.context.reactor.seconds()
        if frame.port not in options.ports:
            if now - self.refused_at >= _REFUSAL_PAUSE:
                self.refused_at = now
                self.path.send(encode(Frame(FrameKind.NOT_SERVED, frame.port, frame.flow)))
            return
        found = self._find((frame.port, frame.flow))
        if found is not None:
            found.used_at = now
            found.send(frame.payload)

    def answer(self, key: Key, datagram: bytes) -> None:
        """Carry an answer to the peer, if it fits."""
        self._touch(key)
        if len(datagram) <= LARGEST:
            self.path.send(encode(Frame(FrameKind.DATAGRAM, *key, datagram)))

    def close_idle(self) -> None:
        """Close the sockets that have been silent for long."""
        latest = self.context.reactor.seconds() - IDLE
        while self.exits and next(iter(self.exits.values())).used_at <= latest:
            self._close_oldest()

    def close(self) -> None:
        """Close all sockets."""
        while self.exits:
            self._close_oldest()

    def _find(self, key: Key) -> _Exit | None:
        if key in self.exits:
            self._touch(key)
            return self.exits[key]
        if len(self.exits) == FLOWS_OF_A_PEER:
            self._close_oldest()
        host = self.context.options.host
        made = _Exit(self, key, (host, key[0]))
        try:
            made.port = self.context.reactor.listenUDP(0, made, interface="::" if ":" in host else "")
        except (CannotListenError, OSError):
            return None  # The process has no file descriptors left. Datagrams may be lost.
        self.exits[key] = made
        return made

    def _touch(self, key: Key) -> None:
        self.exits[key].used_at = self.context.reactor.seconds()
        self.exits.move_to_end(key)

    def _close_oldest(self) -> None:
        _, oldest = self.exits.popitem(last=False)
        oldest.port.stopListening()


class ServeCarrier:
    """
    Carries datagrams between paths and the ports that are served.

    :param context: names the ports.
    """

    def __init__(self, context: Context) -> None:
        self.finished: Deferred[None] = Deferred()
        self._context = context
        self._served: dict[str, _Served] = {}
        self._sweep = LoopingCall(self._close_idle)
        self._sweep.clock = context.reactor
        self._sweep.start(_SWEEP, now=False)

    def opened(self, path: Path) -> None:
        """Take datagrams from a peer."""
        self._served[path.peer] = _Served(self._context, path)

    def received(self, path: Path, payload: bytes) -> None:
        """Carry a datagram of a peer."""
        served = self._served.get(path.peer)
        if served is None or served.path is not path:
            return
        try:
            frame = decode(payload)
        except WireError:
            return
        if frame.kind is FrameKind.DATAGRAM:
            served.take(frame)

    def closed(self, path: Path) -> None:
        """Close the sockets of a peer."""
        self._served.pop(path.peer).close()

    async def stop(self) -> None:
        """Close everything."""
        self._sweep.stop()
        for served in self._served.values():
            served.close()

    def _close_idle(self) -> None:
        for served in self._served.values():
            served.close_idle()
