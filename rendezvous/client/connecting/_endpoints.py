"""What probes and data go through: UDP sockets, and addresses at a relay."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from socket import IP_TTL, IPPROTO_IP, IPPROTO_IPV6, IPV6_HOPLIMIT, IPV6_UNICAST_HOPS
from typing import Any, Protocol

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import MessageLengthError
from twisted.internet.protocol import DatagramProtocol

from rendezvous.client.relay import Relay
from rendezvous.core.addresses import Address
from rendezvous.core.punching.pairs import Local

__all__ = ["Address", "Endpoint", "RelayEndpoint", "Sink", "SocketEndpoint"]

Sink = Callable[["Endpoint", bytes, Address], None]

_BUFFER = 2048
"""Bytes of the longest datagram that is read: more than any that a peer sends."""


class Endpoint(Protocol):
    """
    A socket or a relay.

    :ivar local: what the puncher and the path know of it.
    :ivar sink: called with each datagram and its source.
    """

    local: Local
    sink: Sink

    def send(self, datagram: bytes, address: Address, ttl: int | None = None) -> None:
        """
        Send a datagram. One that the system refuses is lost, as in a network.

        :param ttl: of this datagram; ``None`` for the usual one.
        """
        ...

    def close(self) -> Deferred[Any]:
        """:returns: fires when it is closed."""
        ...


class SocketEndpoint(DatagramProtocol):
    """
    A UDP socket on a port of the system's choice.

    :param reactor: provides ``IReactorUDP``.
    :param local: its name and its family.
    :param sink: called with each datagram and its source.
    :ivar port: its number.
    :ivar asked_for_mapping: whether the next router was asked for a mapping of this port.
    :raises CannotListenError: when there is no such socket.
    """

    noisy = False

    def __init__(self, reactor: Any, local: Local, sink: Sink) -> None:
        self.local = local
        self.sink = sink
        self.asked_for_mapping = False
        self._listening = reactor.listenUDP(0, self, interface="::" if local.ipv6 else "", maxPacketSize=_BUFFER)
        self.port: int = self._listening.getHost().port

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        # A socket for IPv6 may get IPv4 too, shown as ::ffff:192.0.2.1. The one for IPv4 is there for that.
        if not addr[0].startswith("::ffff:"):
            self.sink(self, datagram, (addr[0], addr[1]))

    def send(self, datagram: bytes, address: Address, ttl: int | None = None) -> None:
        """
        Send a datagram. One that the system refuses is lost, as in a network.

        :param ttl: of this datagram; ``None`` for the usual one.
        """
        if self.transport is None:
            return
        try:
            if ttl is None:
                self.transport.write(datagram, address)
            else:
                self._send_with_ttl(self._listening.getHandle(), datagram, address, ttl)
        except (OSError, MessageLengthError):
            pass

    def close(self) -> Deferred[Any]:
        """:returns: fires when it is closed."""
        return maybeDeferred(self._listening.stopListening)

    @property
    def ttl_option(self) -> tuple[int, int]:
        """:returns: the level and the name of the socket's option for its TTL or hop limit."""
        return (IPPROTO_IPV6, IPV6_UNICAST_HOPS) if self.local.ipv6 else (IPPROTO_IP, IP_TTL)

    def _send_with_ttl(self, handle: Any, datagram: bytes, address: Address, ttl: int) -> None:
        if sys.platform == "linux":
            kind = IPV6_HOPLIMIT if self.local.ipv6 else IP_TTL
            handle.sendmsg([datagram], [(self.ttl_option[0], kind, struct.pack("@i", ttl))], 0, address)
            return
        # Other systems do not take it with the datagram.
        usual = handle.getsockopt(*self.ttl_option)
        handle.setsockopt(*self.ttl_option, ttl)
        try:
            handle.sendto(datagram, address)
        finally:
            handle.setsockopt(*self.ttl_option, usual)


class RelayEndpoint:
    """
    A relayed address that has been allocated.

    :param relay: the relay, whose ``on_datagram`` is :meth:`received`.
    :param local: its name.
    :param sink: called with each datagram and its source.
    """

    def __init__(self, relay: Relay, local: Local, sink: Sink) -> None:
        self.local = local
        self.sink = sink
        self._relay = relay

    def received(self, datagram: bytes, source: Address) -> None:
        """Take a datagram that has come through the relay."""
        self.sink(self, datagram, source)

    def send(self, datagram: bytes, address: Address, ttl: int | None = None) -> None:
        """
        Send a datagram through the relay.

        :param ttl: is not used: the relay sends with its own.
        """
        self._relay.send(datagram, address)

    def permit(self, host: str) -> None:
        """Let a peer send to the relayed address before it was sent to."""
        self._relay.permit(host)

    def close(self) -> Deferred[Any]:
        """:returns: fires when the address was given back."""
        return self._relay.close()
