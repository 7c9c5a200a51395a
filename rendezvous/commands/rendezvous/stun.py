"""
Asks the UDP ports of a server where one socket is, with STUN (RFC 8489).

STUN needs no identity, so that this neither moves the address of a client that is online nor needs its lock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import DatagramProtocol

from rendezvous.core.addresses import Address
from rendezvous.errors import WireError
from rendezvous.wire import stun

__all__ = ["TIMES", "TIME_LIMIT", "Observed", "observe"]

#: Seconds after which the requests are sent, as long as there is no answer.
TIMES = (0.0, 0.1, 0.3, 0.7, 1.5)

#: Seconds for all answers.
TIME_LIMIT = 2.5

#: From this time on, a server that does not answer STUN is also sent a pulse with a key that no client has, which any
#: server that speaks the rendezvous protocol answers (1060).
_PULSE_FROM = 0.7
_UNKNOWN_KEY = b"\xff" * 32

_XOR_MAPPED_ADDRESS = 0x0020


@attrs.frozen
class Observed:
    """
    What came back to one socket.

    :ivar local_port: of the socket.
    :ivar seen: where the ports of the server have seen it, by the index of the port.
    :ivar passes: whether any datagram came back, also one that is no answer to STUN.
    """

    local_port: int
    seen: dict[int, Address]
    passes: bool


class _Observer(DatagramProtocol):
    """
    One socket that asks each port.

    :param ports: addresses and ports of the server.
    :param finished: fires when each has answered, or with what is known when the time is over.
    """

    noisy = False

    def __init__(
        self, reactor: Any, ports: Sequence[Address], random: Callable[[int], bytes], finished: Deferred[None]
    ) -> None:
        self._reactor = reactor
        self._ports = ports
        self._finished = finished
        self._ids = [random(12) for _ in ports]
        self._calls: list[IDelayedCall] = []
        self.seen: dict[int, Address] = {}
        self.passes = False

    def startProtocol(self) -> None:
        """Begin."""
        self._calls = [self._reactor.callLater(after, self._ask, after >= _PULSE_FROM) for after in TIMES]
        self._calls.append(self._reactor.callLater(TIME_LIMIT, self._finish))

    def stopProtocol(self) -> None:
        """Send nothing more."""
        for call in self._calls:
            if call.active():
                call.cancel()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Take an answer."""
        source = (addr[0], addr[1])
        if source not in self._ports:
            return
        self.passes = True
        index = self._ports.index(source)
        address = _mapped_address(datagram, self._ids[index])
        if address is not None:
            self.seen.setdefault(index, address)
        if len(self.seen) == len(self._ports):
            self._finish()

    def _ask(self, with_pulse: bool) -> None:
        for index, port in enumerate(self._ports):
            if index in self.seen:
                continue
            request = stun.encode(stun.Message(stun.BINDING, stun.MessageClass.REQUEST, self._ids[index]))
            for datagram in (request, _UNKNOWN_KEY) if with_pulse else (request,):
                try:
                    self.transport.write(datagram, port)  # type: ignore[union-attr]
                except OSError:
                    break  # There is no route now. The next time may be better.

    def _finish(self) -> None:
        if not self._finished.called:
            self._finished.callback(None)


async def observe(
    reactor: Any, ports: Sequence[Address], random: Callable[[int], bytes], begun: Callable[[int], None]
) -> Observed | None:
    """
    Ask each port where a new socket is.

    :param ports: an IP address and a port each, of one family.
    :param random: gives so many random bytes.
    :param begun: called with the local port when the socket is open.
    :returns: after :data:`TIME_LIMIT` at the latest; ``None`` if no socket of this family can be opened.
    """
    finished: Deferred[None] = Deferred()
    observer = _Observer(reactor, ports, random, finished)
    try:
        port = reactor.listenUDP(0, observer, interface="::" if ":" in ports[0][0] else "")
    except (CannotListenError, OSError):
        return None
    try:
        local_port = port.getHost().port
        begun(local_port)
        await finished
        return Observed(local_port, observer.seen, observer.passes)
    finally:
        observer.stopProtocol()
        await _closed(port)


async def _closed(port: Any) -> None:
    await port.stopListening()


def _mapped_address(datagram: bytes, transaction_id: bytes) -> Address | None:
    """:returns: the address in a Binding success with this transaction id."""
    try:
        message = stun.decode(datagram)
    except WireError:
        return None
    if (message.method, message.kind, message.transaction_id) != (
        stun.BINDING,
        stun.MessageClass.SUCCESS,
        transaction_id,
    ):
        return None
    for number, value in message.attributes:
        if number == _XOR_MAPPED_ADDRESS:
            host, port = value
            return str(host), int(port)
    return None
