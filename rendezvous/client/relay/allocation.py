"""One allocation at a TURN server (RFC 8656): its address, permissions and channels, alive until it is released."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred, TimeoutError, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from rendezvous.client.relay.requests import Requests, TurnFailed, TurnRefused
from rendezvous.core.addresses import Address
from rendezvous.errors import WireError
from rendezvous.resolving import is_ipv6, literal
from rendezvous.wire.stun import Message, MessageClass
from rendezvous.wire.turn import (
    CHANNELS,
    Method,
    Name,
    encode,
    encode_channel_data,
    first,
    is_channel_data,
    read_channel_data,
)

__all__ = [
    "LIFETIME",
    "MAX_CHANNELS",
    "MAX_DATAGRAM",
    "MAX_PERMISSIONS",
    "REFRESH",
    "RELEASE_TIME",
    "RENEWAL",
    "Allocation",
    "Carrier",
]

LIFETIME = 600
"""Seconds that the client asks for (RFC 8656, section 3.2); the allocation ends so long after the last refresh."""

REFRESH = 25.0
"""Seconds between refreshes, of which up to a fifth is left off. It is much less than the lifetime asks for, because a
refresh also keeps the mapping of a NAT on the way to the server, and finds out that the server has forgotten us."""

RENEWAL = 240.0
"""Seconds after which a permission, which lasts 300 s, and a channel, which lasts 600 s, are asked for again."""

RELEASE_TIME = 1.0
"""Seconds to wait until the server has confirmed the release of an allocation."""

MAX_PERMISSIONS = 64
"""Hosts of peers that may send to us; one more takes the place of the oldest that has no channel."""

MAX_CHANNELS = 64
"""Addresses of peers with a channel; others are sent to with 36 bytes of overhead in place of 4."""

MAX_DATAGRAM = 8192
"""Bytes of a datagram; longer ones are dropped."""

_UDP: Final = 17


class Carrier(Protocol):
    """
    What carries frames to a TURN server: a UDP socket, or a connection.

    :ivar reliable: whether no frame is lost on the way, and ChannelData needs padding.
    """

    reliable: bool

    def send(self, frame: bytes, *, droppable: bool) -> None:
        """
        Send a frame. It never raises.

        :param droppable: whether the frame may be dropped, and has to be if others wait already.
        """

    def close(self) -> None:
        """Close at once. Nothing is received from then on."""


class Allocation:
    """
    An allocation over one carrier. It is used once.

    :param on_datagram: called with each datagram of a permitted peer and its source.
    :param on_lost: called at most once, after the allocation was there, with the reason why it is not any more.
    :param random: draws transaction ids and the jitter.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        carrier: Carrier,
        username: str,
        password: str,
        *,
        random: Random,
        on_datagram: Callable[[bytes, Address], object],
        on_lost: Callable[[str], object],
    ) -> None:
        self._clock, self._carrier, self._random = clock, carrier, random
        self._on_datagram, self._on_lost = on_datagram, on_lost
        self._requests = Requests(
            clock, username, password, send=self._send_request, reliable=carrier.reliable, draw=random.randbytes
        )
        self._relayed: Address | None = None
        self._over = False  # Released or lost: there is no more data.
        # Whether the server has refused a host; the hosts in the order in which they were asked for.
        self._permissions: dict[str, bool] = {}
        self._heard: dict[Address, None] = {}
        self._numbers: dict[Address, int] = {}
        self._addresses: dict[int, Address] = {}
        self._bound: dict[Address, int] = {}
        self._timers: dict[object, IDelayedCall] = {}

    def allocate(self) -> Deferred[Address]:
        """
        Ask for the allocation.

        :returns: fires with the relayed address; fails with :exc:`TurnFailed`. It can be cancelled.
        """
        asked = self._requests.ask(Method.ALLOCATE, (Name.REQUESTED_TRANSPORT, _UDP), (Name.LIFETIME, LIFETIME))
        return asked.addCallback(self._allocated)

    def received(self, frame: bytes) -> None:
        """Take a frame of the server. It never raises."""
        if is_channel_data(frame):
            self._channel_data(frame)
            return
        message = self._requests.received(frame)
        if message is not None and message.method == Method.DATA:
            self._data(message)

    def permit(self, host: str) -> None:
        """
        Let a host send to us, from any port, for as long as the allocation lives.

        :param host: an IP address as sockets spell it. One of the other family than the relayed address is passed
            over: there is no way between the two.
        """
        if self._over or host in self._permissions:
            return
        if self._relayed is None or literal(host) != host or is_ipv6(host) != is_ipv6(self._relayed[0]):
            return
        if len(self._permissions) == MAX_PERMISSIONS:
            busy = {address[0] for address in self._bound}
            oldest = next((host for host in self._permissions if host not in busy), None)
            if oldest is None:
                return
            self._cancel(oldest)
            del self._permissions[oldest]
        self._permissions[host] = False
        self._ask_permission(host)

    def send(self, datagram: bytes, address: Address) -> None:
        """Send a datagram to a peer, which is permitted if it is not yet. What cannot be sent is dropped."""
        if self._over or self._relayed is None or len(datagram) > MAX_DATAGRAM:
            return
        channel = self._bound.get(address)
        if channel is not None:
            frame = encode_channel_data(channel, datagram, padded=self._carrier.reliable)
            self._carrier.send(frame, droppable=True)
            return
        self.permit(address[0])
        if self._permissions.get(address[0], True):
            return  # It is refused, of the other family, or no address.
        if address in self._heard:
            self._bind(address)
        attributes = ((Name.XOR_PEER_ADDRESS, address), (Name.DATA, datagram))
        message = Message(Method.SEND, MessageClass.INDICATION, self._random.randbytes(12), attributes)
        self._carrier.send(encode(message), droppable=True)

    def release(self) -> Deferred[None]:
        """
        Give the allocation back, also one that the server may be making at this moment, and close the carrier.

        :returns: fires when the server has confirmed it, or after :data:`RELEASE_TIME`.
        """
        if self._over or not self._requests.is_signing:
            # The server has nothing of ours, or has been asked already.
            self._end("the relay was closed")
            return succeed(None)
        self._over = True
        self._stop_timers()
        self._requests.close("the relay was closed")
        asked: Deferred[Any] = self._requests.ask(Method.REFRESH, (Name.LIFETIME, 0))
        asked.addTimeout(RELEASE_TIME, self._clock)
        asked.addErrback(lambda failure: failure.trap(TurnFailed, TimeoutError))
        return asked.addCallback(lambda _: self._end("the relay was closed"))

    def lose(self, reason: str) -> None:
        """End, because the carrier or the server is of no use any more."""
        if self._over:
            self._requests.close(reason)
            return
        was_there = self._relayed is not None
        self._end(reason)
        if was_there:
            self._on_lost(reason)

    def _end(self, reason: str) -> None:
        self._over = True
        self._stop_timers()
        self._requests.close(reason)
        self._carrier.close()

    def _send_request(self, datagram: bytes) -> None:
        self._carrier.send(datagram, droppable=False)

    def _allocated(self, message: Message) -> Address:
        relayed: Address | None = first(message, Name.XOR_RELAYED_ADDRESS)
        if relayed is None or not relayed[1]:
            raise TurnFailed("the TURN server names no relayed address")
        self._relayed = relayed
        self._refresh_later(message)
        return relayed

    def _refresh_later(self, message: Message) -> None:
        lifetime = first(message, Name.LIFETIME)
        # A server that grants next to nothing does not make us ask all the time.
        interval = min(REFRESH, max(1.0, (LIFETIME if lifetime is None else lifetime) / 2))
        self._later(self, interval * (1 - 0.2 * self._random.random()), self._refresh)

    def _refresh(self) -> None:
        asked = self._requests.ask(Method.REFRESH, (Name.LIFETIME, LIFETIME))
        asked.addCallbacks(self._refresh_later, lambda failure: self.lose(_reason(failure)))

    def _ask_permission(self, host: str) -> None:
        self._later(host, RENEWAL, self._ask_permission, host)
        asked = self._requests.ask(Method.CREATE_PERMISSION, (Name.XOR_PEER_ADDRESS, (host, 0)))
        asked.addCallbacks(lambda _: self._note(host, False), lambda failure: self._not_permitted(host, failure))

    def _note(self, host: str, is_refused: bool) -> None:
        if host in self._permissions:
            self._permissions[host] = is_refused

    def _not_permitted(self, host: str, failure: Failure) -> None:
        """Send nothing to a host that the server refuses, until it is asked again. Without an answer, go on sending."""
        if self._is_forgotten(failure):
            return
        self._note(host, failure.check(TurnRefused) is not None)
        self._log.debug("The TURN server does not permit {host}: {reason}", host=host, reason=_reason(failure))

    def _bind(self, address: Address) -> None:
        """Bind a channel to an address that has sent to us and that we send to, once."""
        if address not in self._numbers and len(self._numbers) < MAX_CHANNELS:
            self._numbers[address] = number = CHANNELS[len(self._numbers)]
            # Data may overtake the answer to the request.
            self._addresses[number] = address
            self._ask_channel(address, number)

    def _ask_channel(self, address: Address, number: int) -> None:
        self._later(address, RENEWAL, self._ask_channel, address, number)
        attributes = ((Name.CHANNEL_NUMBER, number), (Name.XOR_PEER_ADDRESS, address))
        asked = self._requests.ask(Method.CHANNEL_BIND, *attributes)
        asked.addCallbacks(
            lambda _: self._bound.update({address: number}), lambda failure: self._unbound(address, failure)
        )

    def _unbound(self, address: Address, failure: Failure) -> None:
        """Send without the channel. It is asked for again when it would have been renewed."""
        if not self._is_forgotten(failure):
            self._bound.pop(address, None)
            self._log.debug("There is no channel to {address}: {reason}", address=address, reason=_reason(failure))

    def _is_forgotten(self, failure: Failure) -> bool:
        """End if the server does not know the allocation any more (RFC 8656, section 5: error 437)."""
        error = failure.check(TurnFailed) and failure.value
        if isinstance(error, TurnRefused) and error.code == 437:
            self.lose(_reason(failure))
        return self._over

    def _channel_data(self, frame: bytes) -> None:
        try:
            number, payload = read_channel_data(frame)
        except WireError:
            return
        address = self._addresses.get(number)
        if address is not None and not self._over:
            self._on_datagram(payload, address)

    def _data(self, message: Message) -> None:
        address: Address | None = first(message, Name.XOR_PEER_ADDRESS)
        payload: bytes | None = first(message, Name.DATA)
        # RFC 8656, section 11.4: only a peer that is permitted can have sent it.
        if address is None or payload is None or self._over or address[0] not in self._permissions:
            return
        if address not in self._heard:
            if len(self._heard) == MAX_PERMISSIONS:
                del self._heard[next(iter(self._heard))]
            self._heard[address] = None
        self._on_datagram(payload, address)

    def _later(self, what: object, delay: float, call: Callable[..., object], *arguments: object) -> None:
        self._timers[what] = self._clock.callLater(delay, call, *arguments)

    def _cancel(self, what: object) -> None:
        timer = self._timers.pop(what)
        if timer.active():
            timer.cancel()

    def _stop_timers(self) -> None:
        for what in list(self._timers):
            self._cancel(what)


def _reason(failure: Failure) -> str:
    return str(failure.value)
