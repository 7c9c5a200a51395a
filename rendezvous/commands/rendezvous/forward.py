"""``rendezvous forward``: listens on local UDP ports and carries what programs send there to ports of a peer."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import attrs

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol

from rendezvous.client.connecting.paths import MAX_PAYLOAD
from rendezvous.commands.rendezvous.connecting import connect
from rendezvous.commands.rendezvous.context import Context
from rendezvous.commands.rendezvous.errors import CommandError
from rendezvous.commands.rendezvous.paths import Path
from rendezvous.errors import WireError
from rendezvous.wire.forward import OVERHEAD, Frame, FrameKind, decode, encode

__all__ = ["LARGEST", "MOST_FLOWS", "ForwardCarrier", "forward_ports"]

#: Bytes of a datagram that is carried.
LARGEST = MAX_PAYLOAD - OVERHEAD

#: Local programs that can use the ports at once; of more, the one that was silent for longest is forgotten.
MOST_FLOWS = 64

#: Numbers of flows.
_NUMBERS = 65536

Source = tuple[str, int]


async def forward_ports(context: Context) -> int:
    """
    Connect to a peer, and carry datagrams until the command is interrupted or the peer closes. A path that is lost is
    replaced by another one.

    :returns: the exit status.
    """
    carrier = ForwardCarrier(context)
    try:
        carrier.listen()
    except CommandError:
        await carrier.stop()
        raise
    return await connect(context, carrier, again=True)


@attrs.frozen
class _Flow:
    """
    A local program.

    :ivar entry: the port that it sends to.
    :ivar source: its address.
    """

    entry: _Entry
    source: Source


class _Entry(DatagramProtocol):
    """
    A local port.

    :param remote: the port at the peer.
    """

    noisy = False

    def __init__(self, carrier: ForwardCarrier, remote: int) -> None:
        self._carrier = carrier
        self.remote = remote

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Carry a datagram."""
        self._carrier.send(_Flow(self, (addr[0], addr[1])), datagram)


class ForwardCarrier:
    """
    Carries datagrams between local programs and one path.

    :param context: names the ports.
    """

    def __init__(self, context: Context) -> None:
        self.finished: Deferred[None] = Deferred()
        self._context = context
        self._path: Path | None = None
        self._entries: list[Any] = []
        # Both directions of one table, the flow that was silent for longest first.
        self._numbers: OrderedDict[_Flow, int] = OrderedDict()
        self._flows: dict[int, _Flow] = {}
        self._next = 0
        self._refused: set[int] = set()
        self._has_warned = False

    def listen(self) -> None:
        """
        Open the local ports.

        :raises CommandError: one of them is taken.
        """
        options = self._context.options
        for local, remote in options.ports:
            try:
                port = self._context.reactor.listenUDP(local, _Entry(self, remote), interface=options.bind)
            except CannotListenError as error:
                reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
                raise CommandError(
                    "port-taken", f"UDP port {local} of {options.bind}: {reason}; choose another one, or 0"
                ) from None
            self._entries.append(port)

    def opened(self, path: Path) -> None:
        """Carry datagrams there."""
        self._path = path
        for port, (_, remote) in zip(self._entries, self._context.options.ports, strict=True):
            local = port.getHost()
            text = f"Forwarding UDP from {local.host} port {local.port} to port {remote} of the peer."
            self._context.output.event("forwarding", text, host=local.host, local=local.port, remote=remote)

    def send(self, flow: _Flow, datagram: bytes) -> None:
        """Carry a datagram to the peer, if there is a path and it fits."""
        if self._path is None:
            return
        if len(datagram) > LARGEST:
            if not self._has_warned:
                self._has_warned = True
                self._context.output.warn(
                    f"A datagram of {len(datagram)} bytes was dropped: at most {LARGEST} fit. For WireGuard, set"
                    " MTU = 1152."
                )
            return
        self._path.send(encode(Frame(FrameKind.DATAGRAM, flow.entry.remote, self._number(flow), datagram)))

    def received(self, path: Path, payload: bytes) -> None:
        """Give a datagram of the peer to the program that it is for."""
        try:
            frame = decode(payload)
        except WireError:
            return
        flow = self._flows.get(frame.flow)
        if flow is None or flow.entry.remote != frame.port:
            return
        if frame.kind is FrameKind.NOT_SERVED:
            self._say_refused(frame.port)
        elif flow.entry.transport is not None:
            try:
                flow.entry.transport.write(frame.payload, flow.source)
            except OSError:
                return  # The program cannot be reached now. Datagrams may be lost.

    def closed(self, path: Path) -> None:
        """Drop what comes from now on."""
        self._path = None

    async def stop(self) -> None:
        """Close the local ports."""
        entries, self._entries = self._entries, []
        await gatherResults([Deferred.fromCoroutine(_stop(entry)) for entry in entries])

    def _number(self, flow: _Flow) -> int:
        """:returns: the number of a flow, which becomes the most recent one."""
        number = self._numbers.get(flow)
        if number is not None:
            self._numbers.move_to_end(flow)
            return number
        if len(self._numbers) == MOST_FLOWS:
            _, forgotten = self._numbers.popitem(last=False)
            del self._flows[forgotten]
        while self._next in self._flows:
            self._next = (self._next + 1) % _NUMBERS
        number, self._next = self._next, (self._next + 1) % _NUMBERS
        self._numbers[flow], self._flows[number] = number, flow
        return number

    def _say_refused(self, port: int) -> None:
        if port not in self._refused:
            self._refused.add(port)
            self._context.output.event("refused", f"The peer does not serve port {port}.", port=port)


async def _stop(port: Any) -> None:
    await port.stopListening()
