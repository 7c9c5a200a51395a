"""What the UDP ports of one server share, and why they drop datagrams."""

from __future__ import annotations

import typing
from enum import StrEnum

import attrs

from twisted.internet.interfaces import IReactorTime

from rendezvous.core.amplification import AmplificationLimit
from rendezvous.core.protocols import Protocol
from rendezvous.core.ratelimit import RateLimit
from rendezvous.counters import Counters
from rendezvous.interfaces import IStore
from rendezvous.wire import tracker

__all__ = ["Datagrams", "Drop", "Socket"]


class Drop(StrEnum):
    """Why a datagram was dropped."""

    UNREADABLE = "unreadable"
    PROTOCOL_OFF = "protocol turned off"
    MALFORMED_STUN = "malformed STUN"
    MALFORMED_TRACKER = "malformed tracker request"
    RATE_LIMIT = "rate limit"
    PULSE_LIMIT = "pulse limit"
    AMPLIFICATION_LIMIT = "amplification limit"
    STORE_UNAVAILABLE = "store unavailable"
    UNSENDABLE = "unsendable"
    UNRECEIVABLE = "receive error"
    NOT_HANDED_OVER = "not handed over"


class Socket(typing.Protocol):
    """
    What the ports use of one another.

    It is a :class:`rendezvous.udp.protocol.RendezvousDatagrams`.
    """

    def choose(self) -> None:
        """Look again whether the store can be used."""

    def send_notice(self, notice: tracker.Message, addr: tuple[str, int], *, is_caller: bool) -> None:
        """Send a message that answers no request of its receiver."""


@attrs.define
class Datagrams:
    """
    What all UDP ports of a server share.

    :ivar limit: how many answers of STUN and of the tracker one source may cause; see ``security`` in the docs.
    :ivar protocols: the protocols that are on.
    :ivar counters: what the server counts; dropped datagrams are counted by :class:`Drop`.
    :ivar amplification: how much the tracker may send to an address, compared with what came from there.
    :ivar sockets: the protocols that are listening, by their number. What answers no request is sent by the socket
        that its receiver has sent to, as that is the one which the receiver's NAT lets through. The number is the local
        port; a second socket on one port number, with another address, has 65536 more.
    """

    store: IStore
    clock: IReactorTime
    limit: RateLimit
    protocols: frozenset[Protocol] = frozenset(Protocol)
    counters: Counters = attrs.field(factory=Counters)
    amplification: AmplificationLimit = attrs.field(factory=AmplificationLimit)
    sockets: dict[int, Socket] = attrs.field(factory=dict)
    _is_running: bool = True

    @property
    def is_running(self) -> bool:
        """:returns: whether the store can be used; if not, all datagrams are dropped."""
        return self._is_running

    def is_on(self, protocol: Protocol) -> bool:
        """:returns: whether datagrams of a protocol are answered at present."""
        return self._is_running and protocol in self.protocols

    def run(self, is_running: bool) -> None:
        """Say whether the store can be used."""
        self._is_running = is_running
        for socket in self.sockets.values():
            socket.choose()
